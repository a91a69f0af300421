"""Two legs joined by sound."""

from tests.sandbox.carrier.calling import run, verbs
from tests.sandbox.carrier.server import FakeServer, Person
from voice_agent.sandbox.carrier import Callee, Carrier


async def test_dial_joins_two_people_until_the_called_one_hangs_up(
    speaking_carrier: Carrier, server: FakeServer
) -> None:
    caller, called = Person(says=b"\x21" * 1_600), Person(says=b"\x31" * 1_600, hangs_up_after_frames=15)
    speaking_carrier.register("+15005550009", Callee(ring_s=0.0, person=lambda: called))
    call = await run(speaking_carrier, server, '<Dial action="done"><Number>+15005550009</Number></Dial>', caller)
    assert called.heard.count(b"\x21") > 0
    assert caller.heard.count(b"\x31") > 0
    form = server.forms("/twiml/done")[0]
    assert (form["DialCallStatus"], form["DialBridged"], form["CallSid"]) == ("completed", "true", call.record.sid)
    assert called.gone.is_set()


async def test_the_called_one_is_let_go_when_the_caller_hangs_up(speaking_carrier: Carrier, server: FakeServer) -> None:
    called = Person()
    speaking_carrier.register("+15005550009", Callee(ring_s=0.0, person=lambda: called))
    await run(speaking_carrier, server, "<Dial>+15005550009</Dial>", Person(hangs_up_after_frames=5))
    assert called.gone.is_set()


async def test_dial_tells_when_nobody_answers(speaking_carrier: Carrier, server: FakeServer) -> None:
    speaking_carrier.register("+15005550009", Callee(outcome="no-answer"))
    call = await run(speaking_carrier, server, '<Dial timeout="0.05">+15005550009</Dial><Say>nobody</Say>')
    assert verbs(speaking_carrier, call) == ["Dial", "Say"]
