import pytest

from tests.sandbox.carrier.calling import FROM, TO, place, run, warnings
from tests.sandbox.carrier.server import FakeServer, Person
from voice_agent.sandbox.carrier import Callee, Carrier
from voice_agent.sandbox.carrier.leg import Leg
from voice_agent.sandbox.carrier.record import CallRecord


async def test_a_person_that_fails_loses_only_its_own_line(speaking_carrier: Carrier, server: FakeServer) -> None:
    class Broken(Person):
        def on_tick(self, heard: bytes) -> bytes:
            raise ZeroDivisionError(f"on {len(heard)} bytes")

    call = await run(speaking_carrier, server, '<Pause length="60"/>', Broken())
    assert (call.record.status, warnings(speaking_carrier, call)) == ("completed", [0])


async def test_only_keys_of_a_telephone_can_be_pressed(carrier: Carrier, server: FakeServer) -> None:
    person = Person(hangs_up_after_frames=3)
    call = place(carrier, server, person)
    with pytest.raises(ValueError, match="no key"):
        call.leg.press("x")
    await call.ended.wait()


async def test_a_leg_ends_once(carrier: Carrier, server: FakeServer) -> None:
    call = place(carrier, server, Person(hangs_up_after_frames=3))
    await call.ended.wait()
    call.leg.end("failed")
    assert call.record.status == "completed"


async def test_a_number_that_answers_needs_a_person(carrier: Carrier) -> None:
    record = CallRecord(account_sid="AC1", to=TO, from_=FROM, direction="outbound-api")
    leg = place(carrier, FakeServer(url="http://127.0.0.1:9"), Person()).leg
    with pytest.raises(ValueError, match="nobody is at"):
        await Leg(record, leg.services).ring(Callee(ring_s=0.0), 1.0)


async def test_there_is_no_line_before_the_answer(carrier: Carrier) -> None:
    leg = place(carrier, FakeServer(url="http://127.0.0.1:9"), Person()).leg
    assert (leg.is_answered, leg.sample) == (False, 0)
    with pytest.raises(RuntimeError, match="not answered"):
        _ = leg.line
