"""Accounts, roles and API keys: signing in and out, inviting and removing people, making and revoking keys.

Works in the caller's transaction, with one exception that its caller must know: `refresh` raises for a token that was
used before *after* revoking its family, which has to be committed all the same (`StolenToken`).
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit, passwords, repository
from voice_agent.auth.principal import ROLE_PERMISSIONS, Permission, Principal, Role
from voice_agent.auth.tokens import (
    API_KEY_PREFIX,
    SHOWN_CHARACTERS,
    AccessClaims,
    fingerprint,
    issue_access_token,
    new_secret,
)
from voice_agent.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound, NotPermitted
from voice_agent.settings import AuthSettings
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ApiKeyRow, MembershipRow, OrganisationRow, RefreshTokenRow, UserRow

REUSE_GRACE_S = 10.0
"""A refresh token that comes twice within this time came from two tabs of one browser, not from a thief."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What signing in gives."""

    access_token: str
    expires_in_s: int
    refresh_token: str


class StolenToken(NotAuthenticated):
    """A refresh token came a second time: all of its sign-in is revoked."""


class IdentityService:
    """One for the process."""

    def __init__(self, settings: AuthSettings, token_key: bytes, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._settings = settings
        self._token_key = token_key
        self._clock = clock

    # --- signing in -------------------------------------------------------------------------------------------
    async def prove(self, session: AsyncSession, email: str, password: str) -> UUID:
        """Return whose address and password these are. Raises NotAuthenticated, the same way whatever was wrong.

        It takes 50 ms: give it a session that only reads, others want to write.
        """
        user = await repository.user_by_email(session, email)
        is_right = await passwords.is_right(password, user.password_hash if user else None)
        if user is None or not is_right or user.disabled_at is not None:
            raise NotAuthenticated("address or password is wrong")
        return user.id

    async def sign_in(self, session: AsyncSession, user_id: UUID) -> Tokens:
        """Return tokens for somebody who has proved who they are. Raises NotAuthenticated for a disabled account."""
        user = await session.get(UserRow, user_id)
        if user is None or user.disabled_at is not None:
            raise NotAuthenticated("this account is disabled")
        user.signed_in_at = self._clock()
        return self._tokens(session, user, family=new_id())

    def _tokens(self, session: AsyncSession, user: UserRow, *, family: UUID) -> Tokens:
        now = self._clock()
        refresh = new_secret()
        session.add(
            RefreshTokenRow(
                user_id=user.id,
                family=family,
                token_hash=fingerprint(refresh),
                created_at=now,
                expires_at=now + timedelta(days=self._settings.refresh_token_days),
            )
        )
        lifetime_s = self._settings.access_token_s
        claims = AccessClaims(user_id=user.id, epoch=user.token_epoch)
        access = issue_access_token(self._token_key, claims, now=now, lifetime_s=lifetime_s)
        return Tokens(access_token=access, expires_in_s=lifetime_s, refresh_token=refresh)

    async def refresh(self, session: AsyncSession, refresh_token: str) -> Tokens:
        """Exchange a refresh token, once. Raises NotAuthenticated, or StolenToken after revoking its family."""
        now = self._clock()
        row = await repository.refresh_token(session, fingerprint(refresh_token))
        if row is None or row.revoked_at is not None or row.expires_at <= now:
            raise NotAuthenticated("sign in again")
        if row.used_at is not None:
            if now - row.used_at > timedelta(seconds=REUSE_GRACE_S):
                await repository.revoke_family(session, row.family, now)
                raise StolenToken("this refresh token was used before: sign in again")
            raise NotAuthenticated("this refresh token was used a moment ago")
        row.used_at = now
        user = await session.get(UserRow, row.user_id)
        if user is None or user.disabled_at is not None:
            raise NotAuthenticated("this account is disabled")
        return self._tokens(session, user, family=row.family)

    async def sign_out(self, session: AsyncSession, refresh_token: str) -> None:
        """Make one sign-in's refresh tokens worthless. An unknown token is no error."""
        row = await repository.refresh_token(session, fingerprint(refresh_token))
        if row is not None:
            await repository.revoke_family(session, row.family, self._clock())

    async def change_password(self, session: AsyncSession, principal: Principal, old: str, new: str) -> None:
        """Change one's own password and sign out everywhere. Raises NotPermitted or InvalidRequest."""
        user = await session.get(UserRow, principal.id) if principal.kind == "user" else None
        if user is None or not await passwords.is_right(old, user.password_hash):
            raise NotPermitted("the old password is wrong")
        user.password_hash = await passwords.hashed(new)
        await repository.revoke_sessions(session, user.id, self._clock())
        await audit.record(session, principal, "user.change_password", target_kind="user", target_id=str(user.id))

    async def set_password(self, session: AsyncSession, email: str, new: str) -> None:
        """Give an account another password and sign it out everywhere. Raises NotFound or InvalidRequest."""
        user = await self._account(session, email)
        user.password_hash = await passwords.hashed(new)
        await self._end_sessions(session, user, "user.set_password")

    async def disable(self, session: AsyncSession, email: str) -> None:
        """Let an account sign in no more, and sign it out everywhere. Raises NotFound."""
        user = await self._account(session, email)
        user.disabled_at = self._clock()
        await self._end_sessions(session, user, "user.disable")

    async def _account(self, session: AsyncSession, email: str) -> UserRow:
        user = await repository.user_by_email(session, email)
        if user is None:
            raise NotFound("there is no account with this address")
        return user

    async def _end_sessions(self, session: AsyncSession, user: UserRow, action: str) -> None:
        """Sign out, and note why in each organisation of the user."""
        await repository.revoke_sessions(session, user.id, self._clock())
        for _, organisation in await repository.memberships(session, user.id):
            await audit.record(session, owner_of(organisation.id), action, target_kind="user", target_id=str(user.id))

    # --- people -----------------------------------------------------------------------------------------------
    async def create_organisation(self, session: AsyncSession, name: str) -> OrganisationRow:
        """Create an organisation without members."""
        row = OrganisationRow(id=new_id(), name=name, created_at=self._clock())
        session.add(row)
        await session.flush()
        return row

    async def organisation(self, session: AsyncSession, principal: Principal) -> OrganisationRow:
        """Return the principal's organisation. Raises NotFound."""
        row = await session.get(OrganisationRow, principal.org_id)
        if row is None:
            raise NotFound("there is no such organisation")
        return row

    async def edit_organisation(
        self, session: AsyncSession, principal: Principal, name: str | None, settings: dict[str, Any] | None
    ) -> OrganisationRow:
        """Change what is not None. Raises NotFound."""
        row = await self.organisation(session, principal)
        before = {"name": row.name, "settings": row.settings}
        row.name = row.name if name is None else name
        row.settings = row.settings if settings is None else settings
        after = {"name": row.name, "settings": row.settings}
        if after != before:
            await audit.record(
                session,
                principal,
                "organisation.edit",
                target_kind="organisation",
                target_id=str(row.id),
                before=before,
                after=after,
            )
        return row

    async def invite(
        self, session: AsyncSession, principal: Principal, email: str, role: Role, *, name: str = "", password: str = ""
    ) -> UserRow:
        """Make somebody a member: a new account, or one that exists already. Raises Conflict for a member.

        Without a password a new account can only be used through an identity provider, or after `set_password`.
        """
        address = email.strip().lower()
        user = await repository.user_by_email(session, address)
        if user is None:
            password_hash = await passwords.hashed(password) if password else None
            user = UserRow(id=new_id(), email=address, name=name, password_hash=password_hash, created_at=self._clock())
            session.add(user)
            await session.flush()
        elif await repository.membership(session, principal.org_id, user.id) is not None:
            raise Conflict("this person is a member already")
        session.add(MembershipRow(org_id=principal.org_id, user_id=user.id, role=role.value, created_at=self._clock()))
        await audit.record(
            session, principal, "member.invite", target_kind="user", target_id=str(user.id), after={"role": role.value}
        )
        return user

    async def change_role(self, session: AsyncSession, principal: Principal, user_id: UUID, role: Role) -> None:
        """Give a member another role. Raises NotFound, or Conflict where nobody would own the organisation."""
        membership = await self._locked_membership(session, principal.org_id, user_id)
        before = membership.role
        if before != role.value:
            await self._check_an_owner_stays(session, membership)
            membership.role = role.value
            await audit.record(
                session,
                principal,
                "member.change_role",
                target_kind="user",
                target_id=str(user_id),
                before={"role": before},
                after={"role": role.value},
            )

    async def remove(self, session: AsyncSession, principal: Principal, user_id: UUID) -> None:
        """End a membership. Raises NotFound, or Conflict where nobody would own the organisation."""
        membership = await self._locked_membership(session, principal.org_id, user_id)
        await self._check_an_owner_stays(session, membership)
        await session.delete(membership)
        await audit.record(
            session,
            principal,
            "member.remove",
            target_kind="user",
            target_id=str(user_id),
            before={"role": membership.role},
        )

    async def _locked_membership(self, session: AsyncSession, org_id: UUID, user_id: UUID) -> MembershipRow:
        await repository.lock_organisation(session, org_id)
        membership = await repository.membership(session, org_id, user_id)
        if membership is None:
            raise NotFound("there is no such member")
        return membership

    async def _check_an_owner_stays(self, session: AsyncSession, leaving: MembershipRow) -> None:
        if leaving.role != Role.OWNER.value:
            return
        user = await session.get(UserRow, leaving.user_id)
        is_counted = user is not None and user.disabled_at is None
        if await repository.count_active(session, leaving.org_id, Role.OWNER.value) <= int(is_counted):
            raise Conflict("an organisation needs an owner: make somebody else one first")

    # --- API keys ---------------------------------------------------------------------------------------------
    async def create_key(
        self,
        session: AsyncSession,
        principal: Principal,
        name: str,
        scopes: Sequence[Permission],
        *,
        lifetime_days: int | None = None,
    ) -> tuple[ApiKeyRow, str]:
        """Return a new key's row and the key itself, which is never shown again.

        Raises NotPermitted for a scope that the creator does not have, InvalidRequest for none.
        """
        if not scopes:
            raise InvalidRequest("scopes: a key without any can do nothing")
        excess = sorted(scope.value for scope in scopes if not principal.may(scope))
        if excess:
            raise NotPermitted(f"you do not have {', '.join(excess)} yourself")
        key = new_secret(API_KEY_PREFIX)
        now = self._clock()
        row = ApiKeyRow(
            id=new_id(),
            org_id=principal.org_id,
            name=name,
            prefix=key[:SHOWN_CHARACTERS],
            key_hash=fingerprint(key),
            scopes=sorted({scope.value for scope in scopes}),
            created_by=principal.id,
            created_at=now,
            expires_at=None if lifetime_days is None else now + timedelta(days=lifetime_days),
        )
        session.add(row)
        await audit.record(
            session,
            principal,
            "api_key.create",
            target_kind="api_key",
            target_id=str(row.id),
            after={"scopes": row.scopes},
        )
        return row, key

    async def revoke_key(self, session: AsyncSession, principal: Principal, key_id: UUID) -> None:
        """Make a key worthless. Raises NotFound."""
        row = await repository.api_key(session, principal.org_id, key_id)
        if row is None:
            raise NotFound("there is no such key")
        if row.revoked_at is None:
            row.revoked_at = self._clock()
            await audit.record(session, principal, "api_key.revoke", target_kind="api_key", target_id=str(key_id))


def owner_of(org_id: UUID) -> Principal:
    """Return the principal of the command line: whoever can read the database owns what is in it."""
    return Principal(
        kind="system", id=None, name="command line", org_id=org_id, permissions=ROLE_PERMISSIONS[Role.OWNER]
    )
