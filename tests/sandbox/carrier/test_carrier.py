"""The carrier as a whole: who is called, how many at once, and what `stop` leaves behind."""

import asyncio

from tests.sandbox.carrier.calling import FROM, TO, place
from tests.sandbox.carrier.server import FakeServer, Person, Wire
from voice_agent.sandbox.carrier import Call, Callee, Carrier, CarrierSettings, twiml, wait_for_calls
from voice_agent.sandbox.carrier.call import Application
from voice_agent.sandbox.carrier.callbacks import StatusCallback
from voice_agent.sandbox.carrier.journal import CallChanged, Warned
from voice_agent.sandbox.carrier.record import CallRecord


def create(carrier: Carrier, document: str, *, to: str = TO, time_limit_s: float = 60.0) -> Call:
    return carrier.create_call(
        CallRecord(account_sid="AC1", to=to, from_=FROM, direction="outbound-api"),
        Application(twiml.parse(f"<Response>{document}</Response>")),
        StatusCallback(),
        ring_timeout_s=5.0,
        time_limit_s=time_limit_s,
    )


async def test_calls_are_listed_newest_first_and_found(carrier: Carrier) -> None:
    first, second = create(carrier, ""), create(carrier, "")
    assert carrier.list_calls() == (second, first)
    assert carrier.find_call(first.record.sid) is first
    assert carrier.find_call("CAother") is None
    await wait_for_calls(first, second)


async def test_each_number_meets_its_own_callee(carrier: Carrier) -> None:
    carrier.register(TO, Callee(ring_s=0.0, person=Person))
    carrier.register("+15005550009", Callee(outcome="busy", ring_s=0.0))
    calls = [create(carrier, "", to=number) for number in (TO, "+15005550009", "+15005550010")]
    await wait_for_calls(*calls)
    assert [call.record.status for call in calls] == ["completed", "busy", "failed"]


async def test_calls_beyond_the_rate_wait_in_the_queue() -> None:
    async with Carrier(CarrierSettings(calls_per_s=10.0)) as carrier:
        carrier.register(TO, Callee(ring_s=0.0, person=Person))
        calls = [create(carrier, "") for _ in range(3)]
        await wait_for_calls(*calls)
        rang = [
            next(e.at for e in carrier.journal.of_call(call.record.sid) if isinstance(e, CallChanged)) for call in calls
        ]
    assert rang == sorted(rang)
    assert rang[2] - rang[0] >= 0.15


async def test_the_time_limit_ends_a_call(carrier: Carrier) -> None:
    person = Person()
    carrier.register(TO, Callee(ring_s=0.0, person=lambda: person))
    call = create(carrier, '<Pause length="600"/>', time_limit_s=0.2)
    await wait_for_calls(call)
    assert person.gone.is_set()
    assert call.record.status == "completed"
    assert [entry.code for entry in carrier.journal if isinstance(entry, Warned)] == [0]


async def test_stopping_ends_what_is_left(server: FakeServer) -> None:
    started = asyncio.Event()

    async def hold(wire: Wire) -> None:
        await wire.next("start")
        started.set()
        await wire.read_to_end()

    server.hold = hold
    person = Person()
    async with Carrier() as carrier:
        call = place(carrier, server, person)
        await asyncio.wait_for(started.wait(), 5)
    assert call.ended.is_set()
    assert person.gone.is_set()
    await server.ended.wait()
    assert server.wires[0].received[-1]["event"] == "stop"
