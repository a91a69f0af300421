"""Two legs joined by sound."""

import pytest

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


WHISPERED = '<Dial action="done"><Number url="whisper">+15005550009</Number></Dial>'


async def test_who_is_called_hears_the_whisper_before_both_are_joined(
    speaking_carrier: Carrier, server: FakeServer
) -> None:
    server.documents["whisper"] = '<Response><Say language="es">un cliente</Say></Response>'
    caller, called = Person(says=b"\x21" * 3_200), Person(says=b"\x31" * 3_200, hangs_up_after_frames=30)
    speaking_carrier.register("+15005550009", Callee(ring_s=0.0, person=lambda: called))
    whisper = WHISPERED.replace('"whisper"', f'"{server.url}/twiml/whisper"')
    await run(speaking_carrier, server, whisper, caller)
    assert called.heard.count(b"\x22") == 8 * len("un cliente")
    assert called.heard.index(b"\x22") < called.heard.index(b"\x21")
    form = server.forms("/twiml/whisper")[0]
    assert (form["To"], form["Direction"]) == ("+15005550009", "outbound-dial")
    assert server.forms("/twiml/done")[0]["DialBridged"] == "true"


@pytest.mark.parametrize("whisper", ["<Response><Hangup/></Response>", "no document"])
async def test_a_whisper_that_hangs_up_or_fails_keeps_both_apart(
    speaking_carrier: Carrier, server: FakeServer, whisper: str
) -> None:
    server.documents["whisper"] = whisper
    caller, called = Person(), Person(says=b"\x31" * 1_600)
    speaking_carrier.register("+15005550009", Callee(ring_s=0.0, person=lambda: called))
    await run(speaking_carrier, server, WHISPERED.replace('"whisper"', f'"{server.url}/twiml/whisper"'), caller)
    assert caller.heard.count(b"\x31") == 0
    assert server.forms("/twiml/done")[0]["DialBridged"] == "false"


async def test_who_hangs_up_in_the_whisper_is_not_joined(speaking_carrier: Carrier, server: FakeServer) -> None:
    server.documents["whisper"] = "<Response><Pause length='30'/></Response>"
    called = Person(hangs_up_after_frames=3)
    speaking_carrier.register("+15005550009", Callee(ring_s=0.0, person=lambda: called))
    await run(speaking_carrier, server, WHISPERED.replace('"whisper"', f'"{server.url}/twiml/whisper"'), Person())
    assert server.forms("/twiml/done")[0]["DialBridged"] == "false"
