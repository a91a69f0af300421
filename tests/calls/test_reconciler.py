"""Calls of which nothing more is heard, on SQLite and on Postgres."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from tests.calls.stored_calls import NOW, OURS, POLICY, SID, SPAIN, OneAgent, a_call, a_stored_call, an_organisation
from tests.calls.stored_calls import reread as reread_call
from tests.contracts.eventually import eventually
from tests.fakes.carrier import FakeCarrier
from voice_agent.calls.model import CarrierReport
from voice_agent.calls.ports import CarrierCall
from voice_agent.calls.processor import CallProcessor, Receipt
from voice_agent.calls.reconciler import Reconciler, Waits, matched
from voice_agent.errors import CarrierError
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow

OTHER_SID = "CA" + "6" * 32
BROKEN = CarrierError("no", status=503)


class World:
    """A reconciler over a database, and a clock that a test moves."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.carrier = FakeCarrier()
        self.now = NOW
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
        self.reconciler = Reconciler(database, self.carrier, self.processor, clock=lambda: self.now)

    async def _note_end(self, _: AsyncSession, call: CallRow) -> None:
        self.ended.append(call.id)

    async def after(self, seconds: float) -> None:
        """Make a pass that much later."""
        self.now += timedelta(seconds=seconds)
        await self.reconciler.reconcile()

    async def call(
        self, state: str, *, call_sid: str | None = None, lease_s: float | None = None, **values: object
    ) -> CallRow:
        """Store a call that was requested at NOW; its lease ends `lease_s` later."""
        call = a_call(await an_organisation(self.database), state=state, call_sid=call_sid)
        call.lease_until = None if lease_s is None else NOW + timedelta(seconds=lease_s)
        for name, value in values.items():
            setattr(call, name, value)
        async with self.database.write() as session:
            session.add(call)
        return call

    def at_carrier(
        self, status: str, *, call_sid: str = SID, seconds: float = 0.2, direction: str = "outbound-api"
    ) -> None:
        """Let the carrier have a call, begun that long after NOW."""
        self.carrier.calls[call_sid] = CarrierCall(
            call_sid=call_sid,
            status=status,
            to=SPAIN,
            caller=OURS,
            created_at=NOW + timedelta(seconds=seconds),
            ended_at=NOW + timedelta(seconds=50) if status == "completed" else None,
            duration_s=50 if status == "completed" else None,
            direction=direction,
        )

    async def reread(self, call: CallRow) -> CallRow:
        return await reread_call(self.database, call.id)

    async def state(self, call: CallRow) -> str:
        return (await self.reread(call)).state

    async def renew(self, call: CallRow, seconds: float) -> None:
        async with self.database.write() as session:
            (await session.get_one(CallRow, call.id)).lease_until = self.now + timedelta(seconds=seconds)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    world = World(database)
    yield world
    await world.reconciler.close()
    await world.processor.close()


# --- calls that the carrier may not have --------------------------------------------------------------------------
async def test_a_call_that_was_only_written_down_is_given_up_after_a_minute(world: World) -> None:
    call = await world.call("intent", requested_at=None)
    await world.after(59)
    assert await world.state(call) == "intent"

    await world.after(2)
    stored = await world.reread(call)
    assert (stored.state, stored.outcome, world.ended) == ("void", "not_placed", [call.id])
    assert world.carrier.placed == []


async def test_f36_a_request_whose_process_is_gone_is_looked_up_like_an_unclear_one(world: World) -> None:
    call = await world.call("dialing")
    world.at_carrier("ringing")
    await world.after(299)
    assert await world.state(call) == "dialing"

    await world.after(2)
    stored = await world.reread(call)
    assert (stored.state, stored.call_sid) == ("ringing", SID)
    assert "unknown" in world.changed


async def test_f36_an_unclear_request_is_found_and_adopted_with_what_the_carrier_says(world: World) -> None:
    call = await world.call("unknown")
    world.at_carrier("completed")
    await world.after(59)
    assert await world.state(call) == "unknown"

    await world.after(2)
    stored = await world.reread(call)
    assert (stored.state, stored.outcome, stored.call_sid, stored.talk_s) == ("ended", "human", SID, 50)
    assert world.ended == [call.id]


async def test_f36_one_that_is_not_found_twice_was_not_placed(world: World) -> None:
    call = await world.call("unknown")
    await world.after(61)
    await world.after(1)
    assert await world.state(call) == "unknown", "one look is not enough, and the second one waits"

    await world.after(30)
    stored = await world.reread(call)
    assert (stored.state, stored.outcome, world.ended) == ("not_placed", "not_placed", [call.id])
    assert world.carrier.placed == []


async def test_f36_a_carrier_that_does_not_answer_proves_nothing(world: World) -> None:
    call = await world.call("unknown")
    world.carrier.error = BROKEN
    for _ in range(5):
        await world.after(61)
    assert await world.state(call) == "unknown"


async def test_one_that_was_not_found_and_tells_of_itself_later_is_there_after_all(world: World) -> None:
    call = await world.call("unknown")
    await world.after(61)
    await world.after(31)
    assert await world.state(call) == "not_placed"

    await world.processor.take(status("in-progress", call_id=call.id))
    stored = await world.reread(call)
    assert (stored.state, stored.call_sid, stored.outcome) == ("in_progress", SID, None)


async def test_f21_a_callback_with_the_calls_key_in_its_path_is_as_good_as_a_look(world: World) -> None:
    call = await world.call("unknown")
    await world.processor.take(status("ringing", call_id=call.id))
    world.at_carrier("ringing")
    await world.after(61)

    stored = await world.reread(call)
    assert (stored.state, stored.call_sid) == ("ringing", SID)


async def test_f36_a_call_that_another_row_holds_is_not_adopted_twice(world: World) -> None:
    org_id = await an_organisation(world.database)
    await a_stored_call(world.database, state="ringing", call_sid=SID, org_id=org_id)
    world.at_carrier("ringing")
    call = await a_stored_call(world.database, state="unknown", org_id=org_id)
    await world.after(61)
    await world.after(31)

    assert await world.state(call) == "not_placed"


async def test_f36_a_request_on_its_way_to_the_same_number_keeps_its_call(world: World) -> None:
    """The carrier has taken the second request, whose answer has not come yet: the first one must not adopt it."""
    first = await world.call("unknown")
    second = await world.call("dialing", requested_at=NOW + timedelta(seconds=60))
    world.at_carrier("queued", seconds=60.3)
    await world.after(61)
    await world.after(31)

    assert await world.state(first) == "not_placed"
    assert (await world.reread(second)).call_sid is None


async def test_many_unclear_requests_to_one_number_are_told_apart_by_their_moments(world: World) -> None:
    calls = [await world.call("unknown", requested_at=NOW + timedelta(seconds=3 * n)) for n in range(4)]
    for n in (0, 1, 3):
        world.at_carrier("queued", call_sid=f"CA{n:032}", seconds=3 * n + 0.2)
    await world.after(100)
    await world.after(31)

    sids = [(await world.reread(call)).call_sid for call in calls]
    assert sids == ["CA" + "0" * 32, f"CA{1:032}", None, f"CA{3:032}"]
    assert await world.state(calls[2]) == "not_placed"


def test_calls_belong_to_the_nearest_request() -> None:
    first, second = new_id(), new_id()
    requests = [(first, NOW), (second, NOW + timedelta(seconds=2))]
    within = timedelta(seconds=300)

    def seen(sid: str, seconds: float | None) -> CarrierCall:
        created_at = None if seconds is None else NOW + timedelta(seconds=seconds)
        return CarrierCall(call_sid=sid, status="queued", to=SPAIN, caller=OURS, created_at=created_at)

    a, b = seen("a", 0.1), seen("b", 2.1)
    assert matched(requests, [b, a], within=within) == {first: a, second: b}
    assert matched(requests, [b], within=within) == {second: b}
    assert matched(requests, [seen("late", 400)], within=within) == {}
    assert matched(requests, [seen("early", -6)], within=within) == {}
    timeless = seen("timeless", None)
    assert matched(requests, [timeless, b], within=within) == {first: timeless, second: b}
    assert matched([], [a], within=within) == {}


def test_a_moment_in_whole_seconds_is_nearest_to_the_request_of_that_second() -> None:
    first, second = new_id(), new_id()
    requests = [(first, NOW + timedelta(seconds=0.9)), (second, NOW + timedelta(seconds=1.8))]
    found = [
        CarrierCall(call_sid=sid, status="queued", to=SPAIN, caller=OURS, created_at=NOW + timedelta(seconds=whole))
        for sid, whole in (("b", 1), ("a", 0))
    ]
    pairs = matched(requests, found, within=timedelta(seconds=300))
    assert {call_id: call.call_sid for call_id, call in pairs.items()} == {first: "a", second: "b"}


# --- calls that the carrier has -----------------------------------------------------------------------------------
async def test_f22_a_call_whose_last_event_never_came_is_asked_about_within_a_minute_of_its_lease(world: World) -> None:
    call = await world.call("in_progress", call_sid=SID, lease_s=10)
    world.at_carrier("completed")
    await world.after(39)
    assert await world.state(call) == "in_progress"

    await world.after(2)
    stored = await world.reread(call)
    assert (stored.state, stored.outcome, stored.talk_s, stored.end_reason) == ("ended", "human", 50, None)
    assert stored.ended_at == NOW + timedelta(seconds=50)
    assert (world.ended, world.carrier.hung_up) == ([call.id], [])


@pytest.mark.parametrize(
    ("said", "state", "outcome"), [("busy", "ended", "busy"), ("canceled", "cancelled", "cancelled")]
)
async def test_f22_a_call_that_never_was_answered_is_asked_about(
    world: World, said: str, state: str, outcome: str
) -> None:
    call = await world.call("ringing", call_sid=SID)
    world.at_carrier(said)
    await world.after(179)
    assert await world.state(call) == "ringing"

    await world.after(2)
    stored = await world.reread(call)
    assert (stored.state, stored.outcome) == (state, outcome)


async def test_f26_a_call_that_nobody_holds_is_hung_up_at_the_second_look(world: World) -> None:
    call = await world.call("in_progress", call_sid=SID, lease_s=10)
    world.at_carrier("in-progress")
    await world.after(41)
    await world.after(1)
    assert world.carrier.hung_up == []

    await world.after(30)
    stored = await world.reread(call)
    assert world.carrier.hung_up == [SID]
    assert (stored.state, stored.end_reason, stored.is_ended_by_us) == ("ended", "transport_lost", True)
    assert world.ended == [call.id]


async def test_f26_a_hang_up_that_fails_is_asked_for_again(world: World) -> None:
    call = await world.call("in_progress", call_sid=SID, lease_s=10)
    world.at_carrier("in-progress")
    await world.after(41)
    world.carrier.hang_up_errors = [BROKEN]
    await world.after(31)
    assert (await world.state(call), world.carrier.hung_up) == ("in_progress", [])

    await world.after(31)
    assert world.carrier.hung_up == [SID]
    world.at_carrier("completed")
    await world.after(61)
    stored = await world.reread(call)
    assert (stored.state, stored.end_reason) == ("ended", "transport_lost")


async def test_f26_a_call_of_two_hours_that_is_alive_is_never_touched(world: World) -> None:
    call = await world.call("in_progress", call_sid=SID, lease_s=10, answered_at=NOW)
    world.at_carrier("in-progress")
    for _ in range(120):
        await world.renew(call, 75)
        await world.after(60)

    assert (await world.state(call), world.carrier.hung_up) == ("in_progress", [])


async def test_f40_leases_that_ended_while_the_database_was_away_end_no_call(world: World) -> None:
    """Every lease is old when the database is back; the processes renew theirs before the second look."""
    call = await world.call("in_progress", call_sid=SID, lease_s=10)
    world.at_carrier("in-progress")
    await world.after(600)
    await world.renew(call, 15)
    await world.after(31)
    for _ in range(3):
        await world.renew(call, 15)
        await world.after(5)

    assert (await world.state(call), world.carrier.hung_up) == ("in_progress", [])


async def test_a_caller_who_talks_with_a_person_is_left_alone(world: World) -> None:
    call = await world.call("in_progress", call_sid=SID, lease_s=10, is_ended_by_us=True, end_reason="transferred")
    world.at_carrier("in-progress")
    for _ in range(60):
        await world.after(60)
    assert (await world.state(call), world.carrier.hung_up) == ("in_progress", [])

    world.at_carrier("completed")
    await world.after(901)
    assert await world.state(call) == "ended"


@pytest.mark.parametrize("reason", ["api", "machine"])
async def test_f37_an_end_that_the_carrier_has_not_heard_of_is_asked_for_again(world: World, reason: str) -> None:
    await world.call("in_progress", call_sid=SID, lease_s=10, is_ended_by_us=True, end_reason=reason)
    world.at_carrier("in-progress")
    await world.after(41)

    assert world.carrier.hung_up == [SID]


async def test_f37_a_call_that_the_carrier_has_forgotten_is_over(world: World) -> None:
    call = await world.call("in_progress", call_sid=SID, lease_s=10)
    await world.after(41)

    stored = await world.reread(call)
    assert (stored.state, stored.end_reason, world.carrier.hung_up) == ("ended", "transport_lost", [])


async def test_f22_a_carrier_that_does_not_answer_is_asked_again(world: World) -> None:
    call = await world.call("in_progress", call_sid=SID, lease_s=10)
    world.at_carrier("completed")
    world.carrier.error = BROKEN
    await world.after(41)
    assert await world.state(call) == "in_progress"

    world.carrier.error = None
    await world.after(10)
    assert await world.state(call) == "ended"


async def test_a_call_in_the_carriers_queue_is_asked_about_less_and_less_often(world: World) -> None:
    call = await world.call("accepted", call_sid=SID)
    world.at_carrier("queued")
    asked = 0
    for _ in range(360):
        before = world.carrier.fetched
        await world.after(10)
        asked += world.carrier.fetched - before

    assert await world.state(call) == "accepted"
    assert 5 <= asked <= 10


# --- calls that nobody knows --------------------------------------------------------------------------------------
async def test_an_orphan_is_hung_up_once(world: World) -> None:
    await world.processor.take(status("in-progress"))
    world.at_carrier("in-progress")
    await world.after(119)
    assert world.carrier.hung_up == []

    await world.after(2)
    await world.after(10)
    assert world.carrier.hung_up == [SID]


@pytest.mark.parametrize(("said", "direction"), [("completed", "outbound-api"), ("in-progress", "inbound")])
async def test_what_is_over_or_came_in_is_no_orphan(world: World, said: str, direction: str) -> None:
    await world.processor.take(status("in-progress"))
    world.at_carrier(said, direction=direction)
    await world.after(121)
    assert world.carrier.hung_up == []


async def test_an_orphan_that_cannot_be_asked_about_is_asked_about_again(world: World) -> None:
    await world.processor.take(status("ringing"))
    world.at_carrier("ringing")
    world.carrier.error = BROKEN
    await world.after(121)
    world.carrier.error = None
    await world.after(10)
    assert world.carrier.hung_up == [SID]


async def test_an_orphan_that_the_carrier_has_forgotten_is_forgotten(world: World) -> None:
    await world.processor.take(status("ringing"))
    await world.after(121)
    before = world.carrier.fetched
    await world.after(10)
    assert (world.carrier.fetched, world.carrier.hung_up) == (before, [])


# --- passes -------------------------------------------------------------------------------------------------------
async def test_passes_go_on_also_after_the_database_was_away(database: Database) -> None:
    world = World(database)
    call = await world.call("intent", requested_at=None)
    world.now += timedelta(seconds=61)
    reconciler = Reconciler(database, world.carrier, world.processor, clock=lambda: world.now, waits=Waits(pass_s=0.01))
    await reconciler.open()
    await eventually(lambda: world.ended == [call.id])
    await reconciler.close()
    await reconciler.close()
    await world.processor.close()


async def test_f48_two_processes_at_once_do_everything_once(world: World) -> None:
    call = await world.call("unknown")
    other = Reconciler(world.database, world.carrier, world.processor, clock=lambda: world.now)
    for seconds in (61, 31):
        world.now += timedelta(seconds=seconds)
        await world.reconciler.reconcile()
        await other.reconcile()

    assert (await world.state(call), world.ended) == ("not_placed", [call.id])


def status(said: str, *, call_id: UUID | None = None) -> Receipt:
    receipt = Receipt(
        source="status", call_sid=SID, dedupe_key=f"{SID}:{said}", event=said, report=CarrierReport(status=said),
        payload={}, received_at=NOW,
    )  # fmt: skip
    return msgspec.structs.replace(receipt, call_id=call_id)
