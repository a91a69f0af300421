"""Accounts made on the command line, on SQLite and on Postgres."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import URL, select

from voice_agent.auth import commands, repository
from voice_agent.auth.passwords import is_right
from voice_agent.auth.principal import Permission
from voice_agent.auth.tokens import fingerprint
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.settings import ServerSettings, Settings, StorageSettings
from voice_agent.storage.database import Database
from voice_agent.storage.tables import AuditRow, UserRow

PASSWORD = "correct horse battery"
EMAIL = "ana@harbour.test"


@pytest.fixture
def settings(database_url: URL, tmp_path: Path) -> Settings:
    address = SecretStr(database_url.render_as_string(hide_password=False))
    server: dict[str, Any] = {"data_dir": tmp_path}
    return Settings(
        server=ServerSettings.model_validate(server),
        storage=StorageSettings.model_validate({"database_url": address}),
    )


async def test_the_first_owner_can_sign_in(settings: Settings, database: Database) -> None:
    org_id = await commands.create_owner(settings, "Ana@Harbour.test", PASSWORD)

    async with database.read() as session:
        user = await repository.user_by_email(session, EMAIL)
        assert user is not None
        assert await is_right(PASSWORD, user.password_hash)
        assert [(m.role, o.id) for m, o in await repository.memberships(session, user.id)] == [("owner", org_id)]


async def test_further_owners_join_the_oldest_organisation_unless_they_name_one(settings: Settings) -> None:
    first = await commands.create_owner(settings, EMAIL, PASSWORD)

    assert await commands.create_owner(settings, "ben@harbour.test") == first
    assert await commands.create_owner(settings, EMAIL, organisation="Other") != first
    with pytest.raises(Conflict):
        await commands.create_owner(settings, EMAIL)


async def test_a_weak_password_makes_nothing(settings: Settings, database: Database) -> None:
    with pytest.raises(InvalidRequest):
        await commands.create_owner(settings, EMAIL, "short")

    async with database.read() as session:
        assert await repository.oldest_organisation(session) is None


async def test_a_forgotten_password_is_replaced_and_signs_out(settings: Settings, database: Database) -> None:
    await commands.create_owner(settings, EMAIL, PASSWORD)
    await commands.set_password(settings, EMAIL, "another good password")

    async with database.read() as session:
        user = (await session.scalars(select(UserRow))).one()
        assert await is_right("another good password", user.password_hash)
        assert user.token_epoch == 1
        actions = (await session.scalars(select(AuditRow.action).order_by(AuditRow.created_at))).all()
        assert actions == ["member.invite", "user.set_password"]
    with pytest.raises(NotFound):
        await commands.set_password(settings, "nobody@harbour.test", PASSWORD)


async def test_a_disabled_account_is_disabled_and_signed_out(settings: Settings, database: Database) -> None:
    await commands.create_owner(settings, EMAIL, PASSWORD)
    await commands.disable(settings, EMAIL)

    async with database.read() as session:
        user = (await session.scalars(select(UserRow))).one()
    assert user.disabled_at is not None
    assert user.token_epoch == 1
    with pytest.raises(NotFound):
        await commands.disable(settings, "nobody@harbour.test")


async def test_a_key_is_good_and_only_its_fingerprint_is_kept(settings: Settings, database: Database) -> None:
    with pytest.raises(NotFound, match="owner"):
        await commands.create_api_key(settings, "crm")
    org_id = await commands.create_owner(settings, EMAIL, PASSWORD)

    key = await commands.create_api_key(settings, "crm", [Permission.CALLS_READ])
    async with database.read() as session:
        row = await repository.api_key_by_hash(session, fingerprint(key))
    assert row is not None
    assert (row.org_id, row.scopes, row.prefix) == (org_id, ["calls:read"], key[: len(row.prefix)])
