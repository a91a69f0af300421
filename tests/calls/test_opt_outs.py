"""Opt-outs: in force before the call goes on, kept on the disk while the database is away, never lost."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.calls.stored_calls import NOW, SID, SPAIN, a_stored_call, reread
from tests.contracts.eventually import eventually
from voice_agent.calls.opt_outs import OptOuts
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import DatabaseUnavailable
from voice_agent.pipeline.ports import HeardOptOut
from voice_agent.storage.database import Database
from voice_agent.storage.tables import SuppressionRow

HEARD = HeardOptOut(words="take me off your list\ud800", how="phrase", second=12.345)


class World:
    """Opt-outs over a database that can be away."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.now = NOW
        self.withdrawn: list[tuple[UUID, str]] = []
        self.error: Exception | None = None
        self.opt_outs = self.process()

    def process(self) -> OptOuts:
        """Return what another process on this machine has."""
        return OptOuts(
            self.database,
            ComplianceService(built_in(), clock=lambda: self.now),
            self.folder,
            clock=lambda: self.now,
            withdraw=self._withdraw,
            patience_s=0.5,
            retry_s=0.01,
        )

    async def _withdraw(self, session: AsyncSession, org_id: UUID, e164: str, now: datetime) -> None:
        assert session.in_transaction()
        assert now == self.now
        if self.error is not None:
            raise self.error
        self.withdrawn.append((org_id, e164))

    async def suppressions(self) -> list[SuppressionRow]:
        async with self.database.read() as session:
            return list(await session.scalars(select(SuppressionRow)))

    def files(self) -> list[str]:
        return sorted(path.suffix for path in self.folder.glob("*"))


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[World]:
    world = World(sqlite, tmp_path / "opt_outs")
    yield world
    await world.opt_outs.close()


async def test_it_is_in_force_with_its_evidence_when_the_call_goes_on(database: Database, tmp_path: Path) -> None:
    world = World(database, tmp_path / "opt_outs")
    call = await a_stored_call(database, state="in_progress", call_sid=SID)
    assert await world.opt_outs.record(SID, HEARD)
    (row,) = await world.suppressions()
    assert (row.e164, row.source, row.org_id, row.until) == (SPAIN, "call", call.org_id, None)
    assert row.evidence == {
        "call_id": str(call.id),
        "second": 12.35,
        "words": "take me off your list?",
        "how": "phrase",
        "at": NOW.isoformat(),
    }
    assert (await reread(database, call.id)).is_opted_out
    assert world.withdrawn == [(call.org_id, SPAIN)]
    assert world.files() == []
    assert await world.opt_outs.record(SID, HEARD)
    assert len(await world.suppressions()) == 1


async def test_while_the_database_is_away_it_is_on_the_disk_and_applied_once_it_is_back(world: World) -> None:
    await a_stored_call(world.database, state="in_progress", call_sid=SID)
    world.error = DatabaseUnavailable("away")
    assert not await world.opt_outs.record(SID, HEARD)
    assert world.files() == [".json"]
    assert await world.suppressions() == []
    world.error = None
    await eventually(lambda: not world.opt_outs.is_behind)
    assert world.files() == []
    assert len(await world.suppressions()) == 1


async def test_what_a_killed_process_left_the_next_one_applies(world: World) -> None:
    await a_stored_call(world.database, state="in_progress", call_sid=SID)
    world.error = DatabaseUnavailable("away")
    await world.opt_outs.record(SID, HEARD)
    await world.opt_outs.close()
    world.error = None
    following = world.process()
    await following.open()
    await eventually(lambda: not following.is_behind)
    assert len(await world.suppressions()) == 1
    await following.close()


async def test_a_database_that_takes_too_long_is_not_waited_for(world: World) -> None:
    await a_stored_call(world.database, state="in_progress", call_sid=SID)
    async with world.database.write() as session:
        await session.execute(select(1))
        async with asyncio.timeout(5):
            assert not await world.opt_outs.record(SID, HEARD)
    await eventually(lambda: not world.opt_outs.is_behind)
    assert len(await world.suppressions()) == 1


async def test_one_whose_call_is_not_known_yet_waits_for_it_and_is_put_aside_after_a_day(world: World) -> None:
    assert not await world.opt_outs.record(SID, HEARD)
    assert world.files() == [".json"]
    await a_stored_call(world.database, state="in_progress", call_sid=SID)
    await eventually(lambda: not world.opt_outs.is_behind)
    assert len(await world.suppressions()) == 1
    assert not await world.opt_outs.record("CA" + "6" * 32, HEARD)
    world.now += timedelta(days=1, minutes=1)
    await eventually(lambda: not world.opt_outs.is_behind)
    assert world.files() == [".aside"]


async def test_what_cannot_be_applied_is_put_aside_and_keeps_no_other_waiting(world: World) -> None:
    world.folder.mkdir()
    (world.folder / "0.json").write_bytes(b"torn")
    await a_stored_call(world.database, state="in_progress", call_sid=SID)
    world.error = DatabaseUnavailable("away")
    await world.opt_outs.record(SID, HEARD)
    world.error = None
    await eventually(lambda: not world.opt_outs.is_behind)
    assert world.files() == [".aside"]
    assert len(await world.suppressions()) == 1


async def test_a_withheld_number_leaves_only_the_mark_on_the_call(world: World) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    async with world.database.write() as session:
        (await session.get_one(type(call), call.id)).to_number = "anonymous"
    assert await world.opt_outs.record(SID, HEARD)
    assert (await reread(world.database, call.id)).is_opted_out
    assert await world.suppressions() == []


async def test_a_disk_that_cannot_be_written_leaves_the_database(world: World) -> None:
    world.folder.parent.joinpath("opt_outs").write_bytes(b"a file where the folder should be")
    await a_stored_call(world.database, state="in_progress", call_sid=SID)
    assert await world.opt_outs.record(SID, HEARD)
    assert len(await world.suppressions()) == 1


async def test_of_an_incoming_call_it_is_the_caller_who_is_not_called(world: World) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    async with world.database.write() as session:
        row = await session.get_one(type(call), call.id)
        row.direction, row.from_number, row.to_number = "inbound", SPAIN, "+34910000000"
    assert await world.opt_outs.record(SID, HEARD)
    assert [row.e164 for row in await world.suppressions()] == [SPAIN]
