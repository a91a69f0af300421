"""The SQL of suppressions, consents, checks of registries, and of what else is known of a number. Nothing commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.many_rows import Values, insert_rows, is_one_of, is_postgres
from voice_agent.storage.tables import (
    ConsentRow,
    ContactPhoneRow,
    ContactRow,
    PhoneNumberRow,
    RegistryCheckRow,
    SuppressionRow,
)

Place = tuple[datetime, UUID]
GLOBAL = "global"


def scope_of(org_id: UUID | None, campaign_id: UUID | None = None) -> str:
    """Return the name of where a suppression holds."""
    if campaign_id is not None:
        return f"campaign:{campaign_id}"
    return GLOBAL if org_id is None else f"organisation:{org_id}"


# --- suppressions ---------------------------------------------------------------------------------------------------
async def in_force(
    session: AsyncSession, org_id: UUID, digest: str, campaign_id: UUID | None
) -> Sequence[SuppressionRow]:
    """Return the suppressions of a number that hold for an organisation and one of its campaigns, expired ones too."""
    scopes = [GLOBAL, scope_of(org_id)]
    if campaign_id is not None:
        scopes.append(scope_of(org_id, campaign_id))
    query = select(SuppressionRow).where(
        SuppressionRow.digest == digest, SuppressionRow.lifted_at.is_(None), SuppressionRow.scope.in_(scopes)
    )
    return (await session.scalars(query)).all()


async def in_force_of_any(
    session: AsyncSession, org_id: UUID, digests: Sequence[str], campaign_id: UUID | None
) -> Sequence[SuppressionRow]:
    """Return as `in_force`, of many numbers."""
    scopes = [GLOBAL, scope_of(org_id)]
    if campaign_id is not None:
        scopes.append(scope_of(org_id, campaign_id))
    query = select(SuppressionRow).where(
        is_one_of(session, SuppressionRow.digest, digests),
        SuppressionRow.lifted_at.is_(None),
        SuppressionRow.scope.in_(scopes),
    )
    return (await session.scalars(query)).all()


async def suppressed_digests(
    session: AsyncSession, org_id: UUID, digests: Sequence[str], now: datetime
) -> frozenset[str]:
    """Return which of these are suppressed for the whole organisation or everywhere."""
    query = select(SuppressionRow.digest).where(
        is_one_of(session, SuppressionRow.digest, digests),
        SuppressionRow.lifted_at.is_(None),
        SuppressionRow.scope.in_([GLOBAL, scope_of(org_id)]),
        or_(SuppressionRow.until.is_(None), SuppressionRow.until > now),
    )
    return frozenset((await session.scalars(query)).all())


async def suppression_with(session: AsyncSession, scope: str, digest: str) -> SuppressionRow | None:
    """Return the suppression of a number in a scope that was not lifted, of which there is one at the most."""
    query = select(SuppressionRow).where(
        SuppressionRow.scope == scope, SuppressionRow.digest == digest, SuppressionRow.lifted_at.is_(None)
    )
    return await session.scalar(query)


async def ending(session: AsyncSession, digests: Sequence[str]) -> Sequence[SuppressionRow]:
    """Return the suppressions of these numbers that end by themselves, for a change: others wait."""
    query = select(SuppressionRow).where(
        is_one_of(session, SuppressionRow.digest, digests),
        SuppressionRow.lifted_at.is_(None),
        SuppressionRow.until.is_not(None),
    )
    ordered = query.order_by(SuppressionRow.digest, SuppressionRow.scope).with_for_update()
    return (await session.scalars(ordered.execution_options(populate_existing=True))).all()


async def add_suppressions(session: AsyncSession, rows: Sequence[Values]) -> int:
    """Add suppressions, where there is none in force in the same scope; return how many are new."""
    return await insert_rows(session, SuppressionRow, rows)


async def locked_suppression(session: AsyncSession, org_id: UUID | None, suppression_id: UUID) -> SuppressionRow | None:
    """Return a suppression of an organisation (None: of the installation) for a change."""
    query = select(SuppressionRow).where(SuppressionRow.id == suppression_id)
    query = query.where(SuppressionRow.org_id.is_(None) if org_id is None else SuppressionRow.org_id == org_id)
    return await session.scalar(query.with_for_update().execution_options(populate_existing=True))


async def suppressions_of(session: AsyncSession, org_id: UUID, digest: str) -> Sequence[SuppressionRow]:
    """Return every suppression of a number by an organisation, newest first, lifted ones too."""
    query = select(SuppressionRow).where(SuppressionRow.org_id == org_id, SuppressionRow.digest == digest)
    return (await session.scalars(_newest_first(query, SuppressionRow, None))).all()


async def suppression_page(
    session: AsyncSession, org_id: UUID, *, digest: str | None, is_lifted: bool | None, before: Place | None, limit: int
) -> Sequence[SuppressionRow]:
    """Return an organisation's suppressions, newest first."""
    query = select(SuppressionRow).where(SuppressionRow.org_id == org_id)
    if digest is not None:
        query = query.where(SuppressionRow.digest == digest)
    if is_lifted is not None:
        lifted_at = SuppressionRow.lifted_at
        query = query.where(lifted_at.is_not(None) if is_lifted else lifted_at.is_(None))
    return (await session.scalars(_newest_first(query, SuppressionRow, before).limit(limit))).all()


# --- consents -------------------------------------------------------------------------------------------------------
async def add_consents(session: AsyncSession, rows: Sequence[Values]) -> int:
    """Add words to the ledger; those that are there stay as they are. Return how many are new."""
    return await insert_rows(session, ConsentRow, rows)


async def consents_of(session: AsyncSession, org_id: UUID, digests: Sequence[str]) -> Sequence[ConsentRow]:
    """Return everything that these numbers' people said, newest first."""
    query = select(ConsentRow).where(ConsentRow.org_id == org_id, is_one_of(session, ConsentRow.digest, digests))
    return (await session.scalars(query.order_by(ConsentRow.at.desc(), ConsentRow.id.desc()))).all()


async def consent_page(
    session: AsyncSession, org_id: UUID, *, digest: str | None, purpose: str, before: Place | None, limit: int
) -> Sequence[ConsentRow]:
    """Return an organisation's consents and revocations, newest first."""
    query = select(ConsentRow).where(ConsentRow.org_id == org_id)
    if digest is not None:
        query = query.where(ConsentRow.digest == digest)
    if purpose:
        query = query.where(ConsentRow.purpose == purpose)
    return (await session.scalars(_newest_first(query, ConsentRow, before).limit(limit))).all()


# --- registries -----------------------------------------------------------------------------------------------------
async def checks_of(session: AsyncSession, org_id: UUID, digest: str) -> Sequence[RegistryCheckRow]:
    """Return what registries said of a number."""
    query = select(RegistryCheckRow).where(RegistryCheckRow.org_id == org_id, RegistryCheckRow.digest == digest)
    return (await session.scalars(query.order_by(RegistryCheckRow.registry_key))).all()


async def checks_of_any(session: AsyncSession, org_id: UUID, digests: Sequence[str]) -> Sequence[RegistryCheckRow]:
    """Return what registries said of many numbers."""
    query = select(RegistryCheckRow).where(
        RegistryCheckRow.org_id == org_id, is_one_of(session, RegistryCheckRow.digest, digests)
    )
    return (await session.scalars(query.order_by(RegistryCheckRow.registry_key))).all()


async def put_checks(session: AsyncSession, rows: Sequence[Values]) -> None:
    """Write down what a registry said; an older answer does not take the place of a newer one."""
    if not rows:
        return
    statement = (postgresql.insert if is_postgres(session) else sqlite.insert)(RegistryCheckRow)
    new = statement.excluded
    kept = {name: new[name] for name in ("e164", "is_listed", "checked_at", "valid_until", "source")}
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["org_id", "registry_key", "digest"],
            set_=kept,
            where=RegistryCheckRow.checked_at <= new.checked_at,
        ),
        list(rows),
    )


async def contact_numbers(session: AsyncSession, org_id: UUID, prefix: str, *, after: str, limit: int) -> Sequence[str]:
    """Return numbers of contacts that begin so, in order, those after `after`."""
    further = select(ContactPhoneRow.e164).where(*_numbered(ContactPhoneRow, org_id, prefix, after))
    first = select(ContactRow.e164).where(
        *_numbered(ContactRow, org_id, prefix, after), ContactRow.deleted_at.is_(None)
    )
    return (await session.scalars(first.union(further).order_by("e164").limit(limit))).all()


def _numbered(row: Any, org_id: UUID, prefix: str, after: str) -> tuple[Any, ...]:
    return row.org_id == org_id, row.e164.startswith(prefix, autoescape=True), row.e164 > after


# --- what else is known -----------------------------------------------------------------------------------------------
async def contacts_with(session: AsyncSession, org_id: UUID, e164: str) -> Sequence[ContactRow]:
    """Return the contacts with this number, as the first that is called or as a further one; 20 at the most."""
    further = select(ContactPhoneRow.contact_id).where(ContactPhoneRow.org_id == org_id, ContactPhoneRow.e164 == e164)
    query = select(ContactRow).where(
        ContactRow.org_id == org_id,
        ContactRow.deleted_at.is_(None),
        or_(ContactRow.e164 == e164, ContactRow.id.in_(further)),
    )
    return (await session.scalars(query.order_by(ContactRow.id).limit(20))).all()


async def contacts_with_any(session: AsyncSession, org_id: UUID, numbers: Sequence[str]) -> dict[str, list[ContactRow]]:
    """Return the contacts that have each of these numbers, as the first that is called or as a further one."""
    found: dict[str, list[ContactRow]] = {e164: [] for e164 in numbers}
    is_there = (ContactRow.org_id == org_id, ContactRow.deleted_at.is_(None))
    first = select(ContactRow.e164, ContactRow).where(*is_there, is_one_of(session, ContactRow.e164, numbers))
    further = (
        select(ContactPhoneRow.e164, ContactRow)
        .join(ContactRow, ContactRow.id == ContactPhoneRow.contact_id)
        .where(ContactPhoneRow.org_id == org_id, is_one_of(session, ContactPhoneRow.e164, numbers), *is_there)
    )
    for query in (first, further):
        for e164, contact in await session.execute(query.order_by(ContactRow.id)):
            if contact not in found[e164]:
                found[e164].append(contact)
    return found


async def own_numbers(session: AsyncSession, org_id: UUID, numbers: Sequence[str]) -> frozenset[str]:
    """Return which of these numbers are the organisation's own."""
    query = select(PhoneNumberRow.e164).where(
        PhoneNumberRow.org_id == org_id, is_one_of(session, PhoneNumberRow.e164, numbers)
    )
    return frozenset((await session.scalars(query)).all())


async def is_own_number(session: AsyncSession, org_id: UUID, e164: str) -> bool:
    """Tell whether a number is one of the organisation's own."""
    query = select(PhoneNumberRow.id).where(PhoneNumberRow.org_id == org_id, PhoneNumberRow.e164 == e164)
    return await session.scalar(query) is not None


# --- forgetting -------------------------------------------------------------------------------------------------------
async def forget_number(session: AsyncSession, org_id: UUID, digest: str) -> None:
    """Take a number out of everything that an organisation keeps of it; its digest stays."""
    for table in (SuppressionRow, ConsentRow, RegistryCheckRow):
        await session.execute(update(table).where(table.org_id == org_id, table.digest == digest).values(e164=None))


def _newest_first(query: Select[Any], row: Any, before: Place | None) -> Select[Any]:
    if before is not None:
        query = query.where(tuple_(row.created_at, row.id) < tuple_(*before))
    return query.order_by(row.created_at.desc(), row.id.desc())
