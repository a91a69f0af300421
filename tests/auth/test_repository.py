"""Accounts are found by their address in any letter case; test_routes has the rest."""

from datetime import UTC, datetime

from voice_agent.auth import repository
from voice_agent.storage.database import Database
from voice_agent.storage.tables import UserRow


async def test_an_address_is_the_same_in_any_letter_case(database: Database) -> None:
    async with database.write() as session:
        session.add(UserRow(email="ana@harbour.test", created_at=datetime.now(UTC)))

    async with database.read() as session:
        assert await repository.user_by_email(session, " ANA@Harbour.test ") is not None
        assert await repository.user_by_email(session, "eva@harbour.test") is None
        assert await repository.oldest_organisation(session) is None
