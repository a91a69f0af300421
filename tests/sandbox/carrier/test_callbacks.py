"""What status callbacks say, and how they may go astray."""

import pytest

from tests.sandbox.carrier.calling import FROM, TO
from tests.sandbox.carrier.server import FakeServer, Person
from voice_agent.sandbox.carrier import CallbackFaults, Callee, Carrier, CarrierSettings, twiml
from voice_agent.sandbox.carrier.call import Application
from voice_agent.sandbox.carrier.callbacks import CallEvent, StatusCallback, parameters_of
from voice_agent.sandbox.carrier.record import CallRecord, Status

EVERY_EVENT = frozenset({"initiated", "ringing", "answered", "completed"})


def record(status: Status = "queued") -> CallRecord:
    return CallRecord(account_sid="AC1", to=TO, from_=FROM, direction="outbound-api", status=status)


@pytest.mark.parametrize(
    ("event", "status", "told"),
    [
        ("initiated", "queued", {"CallStatus": "initiated"}),
        ("ringing", "ringing", {"CallStatus": "ringing"}),
        ("answered", "in-progress", {"CallStatus": "in-progress"}),
        ("completed", "busy", {"CallStatus": "busy", "SipResponseCode": "486", "CallDuration": "0"}),
        ("completed", "canceled", {"CallStatus": "canceled", "SipResponseCode": "487"}),
        ("completed", "completed", {"CallStatus": "completed", "SipResponseCode": "200", "Duration": "0"}),
    ],
)
def test_the_fields_of_each_event(event: CallEvent, status: Status, told: dict[str, str]) -> None:
    parameters = parameters_of(event, record(status), 7)
    assert told.items() <= parameters.items()
    assert (parameters["SequenceNumber"], parameters["CallbackSource"]) == ("7", "call-progress-events")
    assert ("Duration" in parameters) == (status == "completed")


async def call_with(faults: CallbackFaults, server: FakeServer, *, calls: int) -> list[list[int]]:
    """Return the order in which each call's events arrived once every call has ended."""
    async with Carrier(CarrierSettings(callback_faults=faults)) as carrier:
        carrier.register(TO, Callee(ring_s=0.0, person=Person))
        placed = [
            carrier.create_call(
                record(),
                Application(twiml.parse("<Response/>")),
                StatusCallback(f"{server.url}/twiml/status", events=EVERY_EVENT),
                ring_timeout_s=1.0,
                time_limit_s=60.0,
            )
            for _ in range(calls)
        ]
        copies = faults.copies if faults.duplicated else 1
        await server.wait_for("/twiml/status", 4 * copies * calls)
    forms = server.forms("/twiml/status")
    return [[int(form["SequenceNumber"]) for form in forms if form["CallSid"] == call.record.sid] for call in placed]


async def test_events_arrive_in_order(server: FakeServer) -> None:
    assert await call_with(CallbackFaults(), server, calls=2) == [[0, 1, 2, 3]] * 2


async def test_events_may_come_twice_and_late(server: FakeServer) -> None:
    faults = CallbackFaults(duplicated=1.0, delayed=0.5, delay_s=0.05, seed=3)
    orders = await call_with(faults, server, calls=6)
    assert all(sorted(order) == [0, 0, 1, 1, 2, 2, 3, 3] for order in orders)
    assert any(order != sorted(order) for order in orders)


async def test_f20_a_message_may_come_ten_times_at_once_with_one_token(server: FakeServer) -> None:
    await call_with(CallbackFaults(duplicated=1.0, copies=10), server, calls=1)
    tokens = [headers["I-Twilio-Idempotency-Token"] for path, _, headers in server.posts if path == "/twiml/status"]
    assert len(tokens) == 40
    assert len(set(tokens)) == 4


async def test_f21_events_may_change_places_and_the_last_one_waits_for_none(server: FakeServer) -> None:
    assert await call_with(CallbackFaults(reordered=1.0), server, calls=1) == [[3, 0, 1, 2]]
    server.posts.clear()
    orders = await call_with(CallbackFaults(reordered=0.5, seed=1), server, calls=6)
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)


async def test_events_may_be_lost(server: FakeServer) -> None:
    async with Carrier(CarrierSettings(callback_faults=CallbackFaults(lost=1.0))) as carrier:
        server.documents["voice"] = "<Response/>"
        call = carrier.place_inbound_call(
            Person(),
            to=TO,
            from_=FROM,
            voice_url=f"{server.url}/twiml/voice",
            status_callback=f"{server.url}/twiml/status",
        )
        await call.ended.wait()
    assert server.forms("/twiml/status") == []
