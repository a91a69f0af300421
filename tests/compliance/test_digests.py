"""Digests of numbers: the same in every process of a database, another in every other one, none without the key."""

import hashlib

import pytest
from sqlalchemy import delete

from voice_agent.compliance.digests import NumberDigests
from voice_agent.errors import DatabaseUnavailable, InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.tables import NumberKeyRow

ANA = "+34612345678"


async def test_a_number_has_one_digest_that_says_nothing_about_it(database: Database) -> None:
    async with database.read() as session:
        digest = await NumberDigests().of(session, ANA)
        again = await NumberDigests().of_many(session, [ANA, ANA, "+34612345679"])

    assert again[ANA] == digest
    assert len(set(again.values())) == 2
    assert len(digest) == 64
    assert digest != hashlib.sha256(ANA.encode()).hexdigest()


async def test_the_key_is_made_with_the_database_and_read_once(sqlite: Database) -> None:
    digests = NumberDigests()
    async with sqlite.write() as session:
        before = await digests.of(session, ANA)
        await session.execute(delete(NumberKeyRow))
        assert await digests.of(session, ANA) == before
        with pytest.raises(DatabaseUnavailable, match="number_key"):
            await NumberDigests().of(session, ANA)


async def test_a_number_is_found_as_people_write_it(sqlite: Database) -> None:
    digests = NumberDigests()
    async with sqlite.read() as session:
        assert await digests.of_written(session, "+34 612 34 56 78") == await digests.of(session, ANA)
        assert await digests.of_written(session, " ") is None
        with pytest.raises(InvalidRequest):
            await digests.of_written(session, "Ana")
