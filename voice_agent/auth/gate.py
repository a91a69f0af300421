"""The gate before every route: who asks, and may they. Without a good answer nobody gets in.

A credential is an access token (`Authorization: Bearer`) or an API key (the same header, or `X-API-Key`). Whose it is
and whether it is still good is asked of the database, and believed for `REMEMBERED_S`: a disabled user, a revoked key
or a changed role is out after that.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol
from uuid import UUID

import msgspec
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from voice_agent.auth import repository
from voice_agent.auth.principal import ROLE_PERMISSIONS, Permission, Principal, Role
from voice_agent.auth.tokens import API_KEY_PREFIX, fingerprint, read_access_token
from voice_agent.errors import NotAuthenticated, NotPermitted
from voice_agent.rest.limits import REQUESTS, check
from voice_agent.storage.cache import CacheService
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ApiKeyRow, UserRow

ORGANISATION_HEADER = "X-Organisation-Id"
API_KEY_HEADER = "X-API-Key"

REMEMBERED_S = 5.0
"""How long a credential is believed without asking again; what a revocation may take to work."""

REMEMBERED = 10_000
USE_NOTED_S = 60.0
"""A key's last use is written at most this often: a row is not to be locked by every request."""


_Token = Security(HTTPBearer(scheme_name="access_token", auto_error=False))
_Key = Security(APIKeyHeader(name=API_KEY_HEADER, scheme_name="api_key", auto_error=False))


async def _declared(
    _token: Annotated[HTTPAuthorizationCredentials | None, _Token], _key: Annotated[str | None, _Key]
) -> None:
    """Tell the OpenAPI document which credentials there are; `Gate.identify` reads them."""


Declared = Annotated[None, Depends(_declared)]


class ExternalIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Whose token an identity provider issued."""

    external_id: str
    email: str
    """Only if the provider has confirmed it, else empty."""


class ExternalTokens(Protocol):
    """An identity provider's access tokens, such as Supabase Auth's."""

    async def verify(self, token: str) -> ExternalIdentity:
        """Return whose token it is. Raises NotAuthenticated."""
        ...


class Gate:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        token_key: bytes,
        *,
        external: ExternalTokens | None = None,
        trusted_proxies: int = 0,
        cache: CacheService | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `external`, access tokens are the identity provider's and not ours.

        With `cache`, requests are counted there and too many refused (`rest.limits.REQUESTS`).
        """
        self._database = database
        self._token_key = token_key
        self._external = external
        self._trusted_proxies = trusted_proxies
        self._cache = cache
        self._clock = clock
        self._remembered: OrderedDict[tuple[str, str], tuple[float, Principal]] = OrderedDict()

    def allow(self, permission: Permission) -> Callable[..., Awaitable[Principal]]:
        """Return the dependency of routes that need `permission`: it gives the principal.

        Raises NotAuthenticated (401) or NotPermitted (403).
        """

        async def admit(request: Request, _: Declared = None) -> Principal:
            principal = await self.identify(request)
            if not principal.may(permission):
                raise NotPermitted(f"this needs the permission {permission.value}")
            return principal

        return admit

    async def signed_in(self, request: Request, _: Declared = None) -> Principal:
        """Admit anybody who is known: the dependency of routes about oneself."""
        return await self.identify(request)

    async def identify(self, connection: HTTPConnection, credential: str = "") -> Principal:
        """Return who asks, by the request's headers or by `credential`. Raises NotAuthenticated or TooManyRequests."""
        credential = credential or _credential(connection)
        if not credential:
            raise NotAuthenticated("sign in, or send an API key")
        wanted = connection.headers.get(ORGANISATION_HEADER, "")
        principal = self._recall(fingerprint(credential), wanted)
        if principal is None:
            principal = await self._look_up(credential, wanted)
            self._remember(fingerprint(credential), wanted, principal)
        if self._cache is not None:
            await check(self._cache, REQUESTS, f"{principal.kind}:{principal.id}")
        return msgspec.structs.replace(principal, address=self.address(connection))

    def address(self, connection: HTTPConnection) -> str:
        """Return the client's address: the peer's, or what the trusted proxies say it is."""
        peer = connection.client.host if connection.client else ""
        if not self._trusted_proxies:
            return peer
        forwarded = [part.strip() for part in connection.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
        hops = [*forwarded, peer]
        # The last proxy's peer is this connection's; each trusted one before it has added the address that it saw.
        return hops[max(0, len(hops) - 1 - self._trusted_proxies)][:64]

    def forget(self) -> None:
        """Ask the database anew for every credential."""
        self._remembered.clear()

    # --- memory -----------------------------------------------------------------------------------------------
    def _recall(self, mark: str, wanted: str) -> Principal | None:
        known = self._remembered.get((mark, wanted))
        return known[1] if known is not None and self._clock() - known[0] < REMEMBERED_S else None

    def _remember(self, mark: str, wanted: str, principal: Principal) -> None:
        self._remembered[mark, wanted] = (self._clock(), principal)
        self._remembered.move_to_end((mark, wanted))
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    # --- the database -----------------------------------------------------------------------------------------
    async def _look_up(self, credential: str, wanted: str) -> Principal:
        if credential.startswith(API_KEY_PREFIX):
            return await self._key_holder(credential)
        if self._external is not None:
            identity = await self._external.verify(credential)
            async with self._database.write() as session:
                return await _member(session, await _known(session, identity), wanted)
        claims = read_access_token(self._token_key, credential)
        async with self._database.read() as session:
            user = await session.get(UserRow, claims.user_id)
            if user is None or user.token_epoch != claims.epoch:
                raise NotAuthenticated("the token is not valid any more: sign in again")
            return await _member(session, user, wanted)

    async def _key_holder(self, key: str) -> Principal:
        now = datetime.now(UTC)
        async with self._database.read() as session:
            row = await repository.api_key_by_hash(session, fingerprint(key))
        if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
            raise NotAuthenticated("the API key is not valid")
        if _is_due(row, now):
            async with self._database.write() as session:
                await repository.note_key_used(session, row.id, now)
        known = frozenset(Permission)
        permissions = frozenset(Permission(scope) for scope in row.scopes if scope in known)
        return Principal(kind="api_key", id=row.id, name=row.name, org_id=row.org_id, permissions=permissions)


def _credential(connection: HTTPConnection) -> str:
    scheme, _, token = connection.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return connection.headers.get(API_KEY_HEADER, "").strip()


def _is_due(row: ApiKeyRow, now: datetime) -> bool:
    return row.last_used_at is None or now - row.last_used_at >= timedelta(seconds=USE_NOTED_S)


async def _known(session: AsyncSession, identity: ExternalIdentity) -> UserRow:
    """Return the account of an identity provider's user: theirs already, or the invitation to a confirmed address."""
    user = await repository.user_by_external_id(session, identity.external_id)
    if user is None and identity.email:
        user = await repository.user_by_email(session, identity.email)
        if user is not None and user.external_id is None:
            user.external_id = identity.external_id
    if user is None or user.external_id != identity.external_id:
        raise NotAuthenticated("nobody has invited this account")
    return user


async def _member(session: AsyncSession, user: UserRow, wanted: str) -> Principal:
    """Return the user as a member of the wanted organisation, of their first one where they name none."""
    if user.disabled_at is not None:
        raise NotAuthenticated("this account is disabled")
    for membership, organisation in await repository.memberships(session, user.id):
        if wanted and not _is_same(organisation.id, wanted):
            continue
        role = Role(membership.role)
        return Principal(
            kind="user",
            id=user.id,
            name=user.name or user.email,
            org_id=organisation.id,
            permissions=ROLE_PERMISSIONS[role],
            role=role,
        )
    raise NotAuthenticated("this account belongs to no such organisation")


def _is_same(org_id: UUID, text: str) -> bool:
    try:
        return UUID(text) == org_id
    except ValueError:
        return False
