"""What the carrier tells us, on SQLite and on Postgres."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.calls.stored_calls import NOW, POLICY, SID, OneAgent, a_stored_call, an_organisation, reread
from tests.contracts.eventually import eventually
from tests.fakes.carrier import FakeCarrier
from voice_agent.calls import repository
from voice_agent.calls.model import CarrierReport
from voice_agent.calls.processor import CallProcessor, Receipt, Source
from voice_agent.errors import CarrierError
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, CarrierEventRow, SpendRow

LIFE = ("initiated", "ringing", "in-progress", "completed")


class World:
    """A processor over a database, and what it told."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.carrier = FakeCarrier()
        self.changed: list[str] = []
        self.ended: list[UUID] = []
        self.processor = CallProcessor(
            database,
            self.carrier,
            OneAgent(),
            policy=POLICY,
            on_changed=lambda call: self.changed.append(call.state),
            on_ended=self._note_end,
        )

    async def _note_end(self, _: AsyncSession, call: CallRow) -> None:
        self.ended.append(call.id)

    async def take(self, *receipts: Receipt) -> None:
        for each in receipts:
            await self.processor.take(each)

    async def events(self) -> list[CarrierEventRow]:
        async with self.database.read() as session:
            return list((await session.scalars(select(CarrierEventRow))).all())


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    world = World(database)
    yield world
    await world.processor.close()


def receipt(status: str, *, call_id: UUID | None = None, sid: str = SID, source: Source = "status") -> Receipt:
    moment = NOW + timedelta(seconds=10 * LIFE.index(status)) if status in LIFE else NOW
    duration_s = 61 if status == "completed" else None
    return Receipt(
        source=source,
        call_sid=sid,
        dedupe_key=f"{sid}:{status}",
        event=status,
        report=CarrierReport(status=status, at=moment, duration_s=duration_s),
        payload={"CallStatus": status},
        received_at=NOW,
        call_id=call_id,
    )


def verdict(answered_by: str, *, sid: str = SID) -> Receipt:
    return Receipt(
        source="machine_detection", call_sid=sid, dedupe_key=f"{sid}:machine", event=answered_by,
        report=CarrierReport(answered_by=answered_by), payload={}, received_at=NOW,
    )  # fmt: skip


async def test_a_call_that_the_agent_ended_was_not_ended_by_its_caller(world: World) -> None:
    call = await a_stored_call(world.database)
    await world.take(*(receipt(status, call_id=call.id) for status in LIFE[:-1]))
    async with world.database.write() as session:
        await repository.mark_ended_by_us(session, SID, "transferred")

    await world.take(receipt(LIFE[-1], call_id=call.id))

    assert (await reread(world.database, call.id)).end_reason == "transferred"


async def test_a_call_is_followed_to_its_end(world: World) -> None:
    call = await a_stored_call(world.database)

    await world.take(*(receipt(status, call_id=call.id) for status in LIFE))

    stored = await reread(world.database, call.id)
    assert (stored.state, stored.outcome, stored.call_sid, stored.talk_s) == ("ended", "human", SID, 61)
    assert stored.end_reason == "caller_hung_up"
    assert world.changed == ["accepted", "ringing", "in_progress", "ended"]
    assert world.ended == [call.id]
    async with world.database.read() as session:
        assert (await session.get_one(SpendRow, call.id)).settled == 2 * POLICY.cost_per_minute


async def test_f21_all_120_orders_of_five_events_end_alike(world: World) -> None:
    """The four of a call's life and the verdict on who answered, each a second time after all of them."""
    org_id = await an_organisation(world.database)
    ends = set()
    for number, order in enumerate(itertools.permutations((*LIFE, "machine"))):
        sid = f"CA{number:032}"
        call = await a_stored_call(world.database, org_id=org_id)
        receipts = [
            verdict("machine_start", sid=sid) if event == "machine" else receipt(event, call_id=call.id, sid=sid)
            for event in order
        ]
        await world.take(*receipts, receipts[number % 5])
        stored = await reread(world.database, call.id)
        ends.add(
            (
                stored.state, stored.outcome, stored.answered_by, stored.ringing_at, stored.answered_at,
                stored.ended_at, stored.talk_s,
            )
        )  # fmt: skip

    assert len(ends) == 1
    assert next(iter(ends))[:3] == ("ended", "voicemail", "machine_start")
    assert len(world.ended) == 120
    assert sum(event.copies for event in await world.events()) == 6 * 120
    assert not [event for event in await world.events() if event.call_id is None]


async def test_f20_ten_copies_of_each_at_once_have_one_effect(world: World) -> None:
    call = await a_stored_call(world.database)
    copies = [receipt(status, call_id=call.id) for status in reversed(LIFE) for _ in range(10)]

    await asyncio.gather(*(world.processor.take(each) for each in copies))

    assert (await reread(world.database, call.id)).state == "ended"
    assert world.ended == [call.id]
    assert sorted(event.copies for event in await world.events()) == [10, 10, 10, 10]
    assert len(world.changed) == 4


async def test_f21_events_before_the_call_is_known_are_parked_and_applied_once_it_is(world: World) -> None:
    call = await a_stored_call(world.database)
    await world.take(*(receipt(status) for status in reversed(LIFE)))
    assert (await reread(world.database, call.id)).state == "dialing"
    assert world.ended == []

    async with world.database.write() as session:
        await repository.lock_sid(session, SID)
        row = await repository.locked(session, call.id)
        assert row is not None
        await world.processor.adopt(session, row, SID)

    assert (await reread(world.database, call.id)).state == "ended"
    assert world.ended == [call.id]
    assert {event.call_id for event in await world.events()} == {call.id}


async def test_an_event_and_the_answer_to_the_request_at_once_lose_nothing(world: World) -> None:
    for number in range(10):
        sid = f"CA{number:032}"
        call = await a_stored_call(world.database)

        async def adopt(call_id: UUID = call.id, call_sid: str = sid) -> None:
            async with world.database.write() as session:
                await repository.lock_sid(session, call_sid)
                row = await repository.locked(session, call_id)
                assert row is not None
                await world.processor.adopt(session, row, call_sid)

        await asyncio.gather(adopt(), world.processor.take(receipt("completed", sid=sid)))
        assert (await reread(world.database, call.id)).state == "ended"


async def test_an_address_that_names_another_call_is_not_believed(world: World) -> None:
    mine = await a_stored_call(world.database, state="accepted", call_sid="CA" + "1" * 32)

    await world.take(receipt("completed", call_id=mine.id))

    assert (await reread(world.database, mine.id)).state == "accepted"


async def test_a_machine_is_hung_up_where_the_call_says_so(world: World) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    await world.take(verdict("machine_start"))
    assert world.carrier.hung_up == []

    async with world.database.write() as session:
        (await session.get_one(CallRow, call.id)).on_machine = "hang_up"
    other = msgspec.structs.replace(verdict("machine_end_beep"), dedupe_key="second")
    await world.take(other)

    await eventually(lambda: world.carrier.hung_up == [SID])
    stored = await reread(world.database, call.id)
    assert (stored.answered_by, stored.end_reason, stored.is_ended_by_us) == ("machine_start", "machine", True)


async def test_a_carrier_that_refuses_to_hang_up_a_machine_fails_nothing(world: World) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    async with world.database.write() as session:
        (await session.get_one(CallRow, call.id)).on_machine = "hang_up"
    world.carrier.error = CarrierError("no", status=500)

    await world.take(verdict("fax"))
    await world.processor.close()

    assert (await reread(world.database, call.id)).answered_by == "fax"


async def test_a_call_ended_by_our_own_hand_stays_ended(world: World) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    async with world.database.write() as session:
        row = await repository.locked(session, call.id)
        assert row is not None
        await world.processor.end(session, row, at=NOW, outcome=None, reason="transport_lost")
    await world.take(receipt("completed"))

    stored = await reread(world.database, call.id)
    assert (stored.state, stored.end_reason, stored.talk_s) == ("ended", "transport_lost", 61)
    assert world.ended == [call.id]


async def test_what_a_call_cost_is_settled_again_when_the_carrier_tells_more(world: World) -> None:
    """First ended by our own hand, then its length by callback, then its price by a look."""
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)

    async def end(session: AsyncSession, row: CallRow) -> bool:
        await world.processor.end(session, row, at=NOW, outcome=None, reason="transport_lost")
        return True

    async def settled() -> int | None:
        async with world.database.read() as session:
            return (await session.get_one(SpendRow, call.id)).settled

    assert await world.processor.change(call.id, end)
    assert await settled() == 0
    await world.take(receipt("completed"))
    assert await settled() == 2 * POLICY.cost_per_minute
    priced = msgspec.structs.replace(receipt("completed", source="poll"), report=CarrierReport(price=17_500))
    await world.take(priced)
    assert await settled() == 17_500
    assert world.ended == [call.id]


async def test_a_change_that_is_none_is_not_told(world: World) -> None:
    call = await a_stored_call(world.database)

    async def nothing(_: AsyncSession, __: CallRow) -> bool:
        return False

    assert not await world.processor.change(call.id, nothing)
    assert not await world.processor.change(an_unknown_call(), nothing)
    assert world.changed == []


def an_unknown_call() -> UUID:
    return UUID(int=1)


async def test_whoever_holds_a_call_takes_the_verdict_and_the_carrier_is_left_alone(world: World) -> None:
    told: list[tuple[str, str]] = []

    async def tell(call_sid: str, answered_by: str) -> bool:
        told.append((call_sid, answered_by))
        return True

    world.processor.tell_holder = tell
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    async with world.database.write() as session:
        (await session.get_one(CallRow, call.id)).on_machine = "hang_up"
    await world.take(verdict("machine_start"))
    await eventually(lambda: told == [(SID, "machine_start")])
    await world.processor.close()
    assert world.carrier.hung_up == []
    assert (await reread(world.database, call.id)).end_reason is None


@pytest.mark.parametrize(("on_machine", "hung_up"), [("hang_up", [SID]), ("speak", [])])
async def test_a_machine_that_nobody_holds_is_hung_up_on_by_the_carrier_where_that_is_the_rule(
    world: World, on_machine: str, hung_up: list[str]
) -> None:
    async def tell(call_sid: str, answered_by: str) -> bool:
        return not (call_sid and answered_by)

    world.processor.tell_holder = tell
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    async with world.database.write() as session:
        (await session.get_one(CallRow, call.id)).on_machine = on_machine
    await world.take(verdict("machine_start"))
    await world.processor.close()
    assert world.carrier.hung_up == hung_up
