"""Invitations; test_routes has signing in, roles and keys."""

import pytest

from tests.api.world import KEY, now
from voice_agent.auth import repository
from voice_agent.auth.principal import Permission, Role
from voice_agent.auth.service import IdentityService, owner_of
from voice_agent.errors import InvalidRequest, NotAuthenticated
from voice_agent.settings import AuthSettings
from voice_agent.storage.database import Database


async def test_an_invited_account_without_a_password_cannot_sign_in_with_one(database: Database) -> None:
    identity = IdentityService(AuthSettings(), KEY, now)
    async with database.write() as session:
        organisation = await identity.create_organisation(session, "Harbour")
        await identity.invite(session, owner_of(organisation.id), "Ana@harbour.test", Role.VIEWER)

    async with database.write() as session:
        with pytest.raises(NotAuthenticated):
            await identity.prove(session, "ana@harbour.test", "nobody has this password")
        assert [user.email for _, user in await repository.members(session, organisation.id)] == ["ana@harbour.test"]


async def test_a_weak_password_makes_no_account(database: Database) -> None:
    identity = IdentityService(AuthSettings(), KEY, now)
    async with database.write() as session:
        organisation = await identity.create_organisation(session, "Harbour")
        with pytest.raises(InvalidRequest, match="password"):
            await identity.invite(session, owner_of(organisation.id), "a@b.test", Role.OWNER, password="short")
        with pytest.raises(InvalidRequest, match="scopes"):
            await identity.create_key(session, owner_of(organisation.id), "none", ())
        row, _ = await identity.create_key(
            session, owner_of(organisation.id), "one", [Permission.CALLS_READ], lifetime_days=1
        )
        assert row.expires_at is not None
