"""What the command line does to accounts: the first owner, forgotten passwords, disabled accounts, keys for programs.

Whoever can run these can read the database, so nobody is asked who they are. An account is disabled here and not by an
organisation's owner: it may belong to several organisations, and each can end its own membership.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import repository
from voice_agent.auth.principal import Permission, Role
from voice_agent.auth.service import IdentityService, owner_of
from voice_agent.errors import NotFound
from voice_agent.settings import Settings
from voice_agent.storage.database import Database, database_url
from voice_agent.storage.secret_key import load_secret_key

FIRST_ORGANISATION = "My organisation"
TOKEN_KEY_PURPOSE = "access tokens"  # noqa: S105 - the name of a key


async def create_owner(settings: Settings, email: str, password: str = "", *, organisation: str = "") -> UUID:
    """Make somebody an owner of the oldest organisation, or of a new one called `organisation`; return its id.

    Without a password the account is for an identity provider. Raises InvalidRequest or Conflict.
    """
    async with _opened(settings) as (session, identity):
        row = None if organisation else await repository.oldest_organisation(session)
        if row is None:
            row = await identity.create_organisation(session, organisation or FIRST_ORGANISATION)
        await identity.invite(session, owner_of(row.id), email, Role.OWNER, password=password)
        return row.id


async def set_password(settings: Settings, email: str, password: str) -> None:
    """Give an account another password; it signs out everywhere. Raises NotFound or InvalidRequest."""
    async with _opened(settings) as (session, identity):
        await identity.set_password(session, email, password)


async def disable(settings: Settings, email: str) -> None:
    """Let an account sign in no more, and out everywhere. Raises NotFound."""
    async with _opened(settings) as (session, identity):
        await identity.disable(session, email)


async def create_api_key(settings: Settings, name: str, scopes: Sequence[Permission] = tuple(Permission)) -> str:
    """Return a new key of the oldest organisation, which is never shown again. Raises NotFound without one."""
    async with _opened(settings) as (session, identity):
        organisation = await repository.oldest_organisation(session)
        if organisation is None:
            raise NotFound("there is no organisation yet: create an owner first")
        _, key = await identity.create_key(session, owner_of(organisation.id), name, scopes)
        return key


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[AsyncSession, IdentityService]]:
    """Open the database, brought up to date, for one transaction."""
    identity = IdentityService(
        settings.auth, load_secret_key(settings.server).derive(TOKEN_KEY_PURPOSE), lambda: datetime.now(UTC)
    )
    database = Database(database_url(settings))
    try:
        if not database.is_pooled_by_transaction:
            await database.migrate()
        async with database.write() as session:
            yield session, identity
    finally:
        await database.close()
