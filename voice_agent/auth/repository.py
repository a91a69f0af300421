"""The SQL of accounts, roles and keys."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.tables import ApiKeyRow, MembershipRow, OrganisationRow, RefreshTokenRow, UserRow


async def user_by_email(session: AsyncSession, email: str) -> UserRow | None:
    """Return the account with this address, in any letter case."""
    return await session.scalar(select(UserRow).where(UserRow.email == email.strip().lower()))


async def user_by_external_id(session: AsyncSession, external_id: str) -> UserRow | None:
    """Return the account of an identity provider's user."""
    return await session.scalar(select(UserRow).where(UserRow.external_id == external_id))


async def memberships(session: AsyncSession, user_id: UUID) -> Sequence[tuple[MembershipRow, OrganisationRow]]:
    """Return a user's organisations, oldest membership first."""
    query = (
        select(MembershipRow, OrganisationRow)
        .join(OrganisationRow, OrganisationRow.id == MembershipRow.org_id)
        .where(MembershipRow.user_id == user_id)
        .order_by(MembershipRow.created_at, MembershipRow.org_id)
    )
    return [(membership, organisation) for membership, organisation in (await session.execute(query)).all()]


async def members(session: AsyncSession, org_id: UUID) -> Sequence[tuple[MembershipRow, UserRow]]:
    """Return an organisation's people, by address."""
    query = (
        select(MembershipRow, UserRow)
        .join(UserRow, UserRow.id == MembershipRow.user_id)
        .where(MembershipRow.org_id == org_id)
        .order_by(UserRow.email)
    )
    return [(membership, user) for membership, user in (await session.execute(query)).all()]


async def membership(session: AsyncSession, org_id: UUID, user_id: UUID) -> MembershipRow | None:
    """Return what a user is in an organisation."""
    return await session.get(MembershipRow, (org_id, user_id), populate_existing=True)


async def lock_organisation(session: AsyncSession, org_id: UUID) -> OrganisationRow | None:
    """Return an organisation for a change of who belongs to it."""
    query = select(OrganisationRow).where(OrganisationRow.id == org_id).with_for_update(key_share=True)
    return await session.scalar(query.execution_options(populate_existing=True))


async def count_active(session: AsyncSession, org_id: UUID, role: str) -> int:
    """Return how many people of this role can sign in."""
    query = (
        select(func.count())
        .select_from(MembershipRow)
        .join(UserRow, UserRow.id == MembershipRow.user_id)
        .where(MembershipRow.org_id == org_id, MembershipRow.role == role, UserRow.disabled_at.is_(None))
    )
    return int((await session.execute(query)).scalar_one())


async def refresh_token(session: AsyncSession, token_hash: str) -> RefreshTokenRow | None:
    """Return a refresh token for its one use."""
    query = select(RefreshTokenRow).where(RefreshTokenRow.token_hash == token_hash).with_for_update()
    return await session.scalar(query)


async def revoke_family(session: AsyncSession, family: UUID, now: datetime) -> None:
    """Make every refresh token of one sign-in worthless."""
    await session.execute(
        update(RefreshTokenRow)
        .where(RefreshTokenRow.family == family, RefreshTokenRow.revoked_at.is_(None))
        .values(revoked_at=now)
    )


async def revoke_sessions(session: AsyncSession, user_id: UUID, now: datetime) -> None:
    """Sign a user out everywhere: refresh tokens at once, access tokens by their epoch."""
    await session.execute(
        update(RefreshTokenRow)
        .where(RefreshTokenRow.user_id == user_id, RefreshTokenRow.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    await session.execute(update(UserRow).where(UserRow.id == user_id).values(token_epoch=UserRow.token_epoch + 1))


async def api_key_by_hash(session: AsyncSession, key_hash: str) -> ApiKeyRow | None:
    """Return an API key, revoked or expired ones too."""
    return await session.scalar(select(ApiKeyRow).where(ApiKeyRow.key_hash == key_hash))


async def api_keys(session: AsyncSession, org_id: UUID) -> Sequence[ApiKeyRow]:
    """Return an organisation's keys, newest first."""
    query = select(ApiKeyRow).where(ApiKeyRow.org_id == org_id).order_by(ApiKeyRow.created_at.desc())
    return (await session.scalars(query)).all()


async def api_key(session: AsyncSession, org_id: UUID, key_id: UUID) -> ApiKeyRow | None:
    """Return one key of an organisation."""
    return await session.scalar(select(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.org_id == org_id))


async def note_key_used(session: AsyncSession, key_id: UUID, now: datetime) -> None:
    """Note when a key was last used."""
    await session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(last_used_at=now))


async def oldest_organisation(session: AsyncSession) -> OrganisationRow | None:
    """Return the first organisation of this installation."""
    return await session.scalar(select(OrganisationRow).order_by(OrganisationRow.created_at).limit(1))
