"""What is done with calls that come in, are answered, and lose their streams."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.calls.live_world import make_service
from tests.calls.stored_calls import NOW, OURS, POLICY, SID, SPAIN, OneAgent, a_stored_call, an_organisation, reread
from tests.contracts.eventually import eventually
from tests.fakes.carrier import FakeCarrier
from tests.servers.postgres import PostgresServer
from tests.servers.stalling import stalled
from voice_agent.calls import repository
from voice_agent.calls.inbox import Inbox
from voice_agent.calls.processor import CallProcessor, IncomingCall
from voice_agent.calls.reception import MOST_RESUMPTIONS, AfterStream, Answer, Reception, Welcome
from voice_agent.calls.spool import Spool
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow

INCOMING = IncomingCall(to=OURS, from_number=SPAIN)
PATIENCE_S = 0.05


class World:
    """A reception over a database."""

    def __init__(self, database: Database, spool: Spool, folder: Path, *, max_calls: int = 2) -> None:
        self.database = database
        self.live = make_service(spool, folder, max_calls=max_calls)
        self.processor = CallProcessor(database, FakeCarrier(), OneAgent(), policy=POLICY)
        self.inbox = Inbox(self.processor.take, folder / "inbox", patience_s=PATIENCE_S, retry_s=0.01)
        self.reception = Reception(database, self.live, self.inbox, clock=lambda: NOW, patience_s=PATIENCE_S)

    async def set(self, call: CallRow, **values: object) -> None:
        async with self.database.write() as session:
            row = await session.get_one(CallRow, call.id)
            for name, value in values.items():
                setattr(row, name, value)

    async def close(self) -> None:
        await self.reception.close()
        await self.inbox.close()
        await self.processor.close()


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    with Spool() as spool:
        # In time on the slowest machine: a test of what is too late has a world of its own.
        world = World(database, spool, tmp_path)
        world.inbox = Inbox(world.processor.take, tmp_path / "inbox", patience_s=10.0)
        world.reception = Reception(database, world.live, world.inbox, clock=lambda: NOW, patience_s=10.0)
        yield world
        await world.close()


@pytest.fixture
async def hurried(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    with Spool() as spool:
        world = World(database, spool, tmp_path)
        yield world
        await world.close()


async def test_an_incoming_call_is_written_down_and_connected(world: World) -> None:
    await an_organisation(world.database)
    welcome = await world.reception.incoming(SID, INCOMING)

    assert (welcome.answer, welcome.language) == (Answer.CONNECT, "es")
    assert welcome.call_id is not None
    stored = await reread(world.database, welcome.call_id)
    assert (stored.direction, stored.state, stored.call_sid) == ("inbound", "ringing", SID)


async def test_f49_a_process_that_is_to_end_takes_no_call(world: World) -> None:
    call = await a_stored_call(world.database)
    world.live.drain()

    assert (await world.reception.incoming(SID, INCOMING)).answer is Answer.SAY_BUSY
    assert (await world.reception.answered(call.id, SID)).answer is Answer.SAY_BUSY


async def test_f40_an_incoming_call_is_connected_without_the_database_and_written_down_later(hurried: World) -> None:
    org_id = await an_organisation(hurried.database)
    async with stalled(hurried.database):
        assert await hurried.reception.incoming(SID, INCOMING) == Welcome(answer=Answer.CONNECT)

    await eventually(lambda: not hurried.inbox.is_behind)
    async with hurried.database.read() as session:
        call = await repository.by_sid(session, SID)
    assert call is not None
    assert (call.org_id, call.state, call.created_at) == (org_id, "ringing", NOW)


async def test_an_answered_call_is_connected_and_known_by_the_carriers_name(world: World) -> None:
    call = await a_stored_call(world.database)
    welcome = await world.reception.answered(call.id, SID)

    assert welcome == Welcome(answer=Answer.CONNECT, language="en", call_id=call.id)
    stored = await reread(world.database, call.id)
    assert (stored.state, stored.call_sid) == ("in_progress", SID)


async def test_f40_an_answered_call_is_connected_without_the_database(hurried: World) -> None:
    call = await a_stored_call(hurried.database)
    async with stalled(hurried.database):
        welcome = await hurried.reception.answered(call.id, SID)
    assert welcome == Welcome(answer=Answer.CONNECT, call_id=call.id)

    await eventually(lambda: not hurried.inbox.is_behind)
    assert (await reread(hurried.database, call.id)).state == "in_progress"


async def test_a_call_that_nobody_placed_is_hung_up(world: World) -> None:
    assert (await world.reception.answered(new_id(), SID)).answer is Answer.HANG_UP


@pytest.mark.parametrize("values", [{"is_ended_by_us": True}, {"state": "cancelled", "outcome": "cancelled"}])
async def test_a_call_that_was_ended_before_it_was_answered_is_hung_up(world: World, values: dict[str, object]) -> None:
    call = await a_stored_call(world.database, state="ringing", call_sid=SID)
    await world.set(call, **values)
    assert (await world.reception.answered(call.id, SID)).answer is Answer.HANG_UP


async def test_f25_a_lost_stream_is_connected_again_so_often_and_no_more(world: World) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    follows = [await world.reception.after_stream(SID) for _ in range(MOST_RESUMPTIONS + 1)]

    assert follows == [(AfterStream.RESUME, "en")] * MOST_RESUMPTIONS + [(AfterStream.APOLOGISE, "en")]
    assert (await reread(world.database, call.id)).resumptions == MOST_RESUMPTIONS


@pytest.mark.parametrize("values", [{"is_ended_by_us": True}, {"state": "ended", "outcome": "human"}])
async def test_f25_a_stream_whose_end_was_meant_is_not_connected_again(world: World, values: dict[str, object]) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    await world.set(call, **values)
    assert await world.reception.after_stream(SID) == (AfterStream.HANG_UP, "en")


async def test_f25_without_a_line_or_a_call_there_is_an_apology(world: World, tmp_path: Path) -> None:
    assert await world.reception.after_stream(SID) == (AfterStream.APOLOGISE, "")
    await a_stored_call(world.database, state="in_progress", call_sid=SID)
    with Spool() as spool:
        full = World(world.database, spool, tmp_path, max_calls=0)
        full.reception = Reception(world.database, full.live, full.inbox, clock=lambda: NOW, patience_s=10.0)
        assert await full.reception.after_stream(SID) == (AfterStream.APOLOGISE, "en")
        await full.close()


async def test_f40_a_stream_that_was_lost_without_the_database_is_connected_again(hurried: World) -> None:
    call = await a_stored_call(hurried.database, state="in_progress", call_sid=SID)
    async with stalled(hurried.database):
        assert await hurried.reception.after_stream(SID) == (AfterStream.RESUME, "")
    await hurried.reception.close()

    assert (await reread(hurried.database, call.id)).resumptions <= 1, "counted late, or not at all"


async def test_whoever_answers_a_warm_transfer_hears_what_it_is_about(world: World) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    await world.set(call, briefing="Ana asks about her bill")

    assert await world.reception.briefing(call.id) == ("Ana asks about her bill", "en")
    assert await world.reception.briefing(new_id()) == ("", "")


async def test_f41_a_warm_transfer_does_not_wait_for_the_database(postgres: PostgresServer, tmp_path: Path) -> None:
    """On Postgres only: SQLite's readers do not wait for its writer."""
    database = Database(postgres.fresh_database())
    with Spool() as spool:
        world = World(database, spool, tmp_path)
        call = await a_stored_call(database, state="in_progress", call_sid=SID)
        async with stalled(database):
            assert await world.reception.briefing(call.id) == ("", "")
        await world.close()
    await database.close()
