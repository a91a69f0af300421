"""What is asked of an installation without anything in it; test_routes has the rest."""

from uuid import uuid4

from voice_agent.agents import repository
from voice_agent.storage.database import Database


async def test_an_empty_installation_has_nobody(database: Database) -> None:
    async with database.read() as session:
        assert await repository.oldest_organisation_id(session) is None
        assert await repository.oldest_published(session, uuid4()) is None
        assert await repository.phone_number(session, "+34910000000") is None
        assert await repository.highest_number(session, uuid4()) == 0
        assert await repository.page(session, uuid4(), before=None, limit=5) == []
