"""Verbs, as a caller and a server see them. Speech is a constant tone of a known length."""

import io
import math
import wave
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.sandbox.carrier.server import FakeServer, Person
from voice_agent.audio.mulaw import encode
from voice_agent.sandbox.carrier import Call, Callee, Carrier, twiml
from voice_agent.sandbox.carrier.journal import VerbStarted, Warned

TO, FROM = "+15005550006", "+15005550001"


def speak(text: str, language: str) -> bytes:
    return {"en": b"\x11", "es": b"\x22"}[language] * (8 * len(text))


@pytest.fixture
async def carrier() -> AsyncIterator[Carrier]:
    async with Carrier(synthesise=speak) as running:
        yield running


async def run(carrier: Carrier, server: FakeServer, document: str, person: Person | None = None) -> Call:
    server.documents["voice"] = f"<Response>{document}</Response>"
    call = carrier.place_inbound_call(
        person or Person(),
        to=TO,
        from_=FROM,
        voice_url=f"{server.url}/twiml/voice",
        fallback_url=f"{server.url}/twiml/fallback",
    )
    await call.ended.wait()
    return call


def verbs(carrier: Carrier, call: Call) -> list[str]:
    return [entry.verb for entry in carrier.journal.of_call(call.record.sid) if isinstance(entry, VerbStarted)]


def warnings(carrier: Carrier, call: Call) -> list[int]:
    return [entry.code for entry in carrier.journal.of_call(call.record.sid) if isinstance(entry, Warned)]


async def test_texts_are_heard_in_order_and_to_their_end(carrier: Carrier, server: FakeServer) -> None:
    person = Person()
    await run(
        carrier,
        server,
        '<Say>Hello there.</Say><Say language="es-ES" loop="2">Hola</Say><Pause length="0.05"/><Hangup/><Say>no</Say>',
        person,
    )
    assert (person.heard.count(b"\x11"), person.heard.count(b"\x22")) == (96, 64)
    assert person.heard.rindex(b"\x11") < person.heard.index(b"\x22")


async def test_the_end_of_the_document_ends_the_call(carrier: Carrier, server: FakeServer) -> None:
    call = await run(carrier, server, "")
    assert (call.record.status, verbs(carrier, call)) == ("completed", [])


@pytest.mark.parametrize(("reason", "status"), [("rejected", "no-answer"), ("busy", "busy")])
async def test_reject_does_not_answer(carrier: Carrier, server: FakeServer, reason: str, status: str) -> None:
    person = Person()
    call = await run(carrier, server, f'<Reject reason="{reason}"/>', person)
    assert (call.record.status, person.answered.is_set(), person.gone.is_set()) == (status, False, True)


async def test_an_unknown_verb_is_reported_and_skipped(carrier: Carrier, server: FakeServer) -> None:
    call = await run(carrier, server, "<Enqueue>x</Enqueue><Say>on</Say>")
    assert warnings(carrier, call) == [12200]
    assert verbs(carrier, call) == ["UnknownVerb", "Say"]


async def test_redirects_are_relative_to_the_document(carrier: Carrier, server: FakeServer) -> None:
    server.documents["second"] = "<Response><Say>two</Say></Response>"
    call = await run(carrier, server, '<Redirect method="GET">second?x=1</Redirect><Say>never</Say>')
    assert verbs(carrier, call) == ["Redirect", "Say"]
    assert server.forms("/twiml/second")[0]["x"] == "1"


async def test_a_broken_document_goes_to_the_fallback_which_is_told_why(carrier: Carrier, server: FakeServer) -> None:
    server.documents["fallback"] = "<Response><Say>sorry</Say></Response>"
    call = await run(carrier, server, "<Say>")
    form = server.forms("/twiml/fallback")[0]
    assert (form["ErrorCode"], form["ErrorUrl"]) == ("12100", f"{server.url}/twiml/voice")
    assert verbs(carrier, call) == ["Say"]


async def test_without_a_fallback_the_carrier_apologises(carrier: Carrier, server: FakeServer) -> None:
    server.documents["voice"] = lambda _: web.Response(status=500)
    person = Person(hangs_up_after_frames=5)
    call = carrier.place_inbound_call(person, to=TO, from_=FROM, voice_url=f"{server.url}/twiml/voice")
    await call.ended.wait()
    assert warnings(carrier, call) == [11200]
    assert person.heard.count(b"\x11") > 0


async def test_a_wrong_content_type_is_12300(carrier: Carrier, server: FakeServer) -> None:
    server.documents["voice"] = lambda _: web.Response(text="<Response/>", content_type="application/json")
    person = Person(hangs_up_after_frames=2)
    call = carrier.place_inbound_call(person, to=TO, from_=FROM, voice_url=f"{server.url}/twiml/voice")
    await call.ended.wait()
    assert warnings(carrier, call) == [12300]


async def test_gather_collects_until_the_finishing_key(carrier: Carrier, server: FakeServer) -> None:
    await run(
        carrier,
        server,
        '<Gather action="keys" timeout="3"><Say>' + "x" * 20_000 + "</Say></Gather>",
        Person(presses="12#"),
    )
    assert server.forms("/twiml/keys")[0]["Digits"] == "12"


async def test_gather_stops_at_its_number_of_digits(carrier: Carrier, server: FakeServer) -> None:
    await run(carrier, server, '<Gather action="keys" numDigits="2"/>', Person(presses="345"))
    assert server.forms("/twiml/keys")[0]["Digits"] == "34"


async def test_gather_without_keys_goes_on(carrier: Carrier, server: FakeServer) -> None:
    call = await run(carrier, server, '<Gather action="keys" timeout="0.05"><Say>?</Say></Gather><Say>on</Say>')
    assert verbs(carrier, call) == ["Gather", "Say"]
    assert server.forms("/twiml/keys") == []


async def test_play_fetches_a_wav_file(carrier: Carrier, server: FakeServer) -> None:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        tone = b"".join(round(9_000 * math.sin(index / 3)).to_bytes(2, "little", signed=True) for index in range(800))
        file.writeframes(tone)
    server.documents["tone.wav"] = lambda _: web.Response(body=content.getvalue(), content_type="audio/wav")
    person = Person()
    await run(carrier, server, "<Play>tone.wav</Play>", person)
    assert encode(tone)[:500] in bytes(person.heard)


async def test_what_is_no_wav_file_is_skipped(carrier: Carrier, server: FakeServer) -> None:
    call = await run(carrier, server, "<Play>missing.mp3</Play><Say>on</Say>")
    assert warnings(carrier, call) == [11200]
    assert verbs(carrier, call) == ["Play", "Say"]


async def test_dial_joins_two_people_until_the_called_one_hangs_up(carrier: Carrier, server: FakeServer) -> None:
    caller, called = Person(says=b"\x21" * 1_600), Person(says=b"\x31" * 1_600, hangs_up_after_frames=15)
    carrier.register("+15005550009", Callee(ring_s=0.0, person=lambda: called))
    call = await run(carrier, server, '<Dial action="done"><Number>+15005550009</Number></Dial>', caller)
    assert called.heard.count(b"\x21") > 0
    assert caller.heard.count(b"\x31") > 0
    form = server.forms("/twiml/done")[0]
    assert (form["DialCallStatus"], form["DialBridged"], form["CallSid"]) == ("completed", "true", call.record.sid)
    assert called.gone.is_set()


async def test_the_called_one_is_let_go_when_the_caller_hangs_up(carrier: Carrier, server: FakeServer) -> None:
    called = Person()
    carrier.register("+15005550009", Callee(ring_s=0.0, person=lambda: called))
    await run(carrier, server, "<Dial>+15005550009</Dial>", Person(hangs_up_after_frames=5))
    assert called.gone.is_set()


async def test_dial_tells_when_nobody_answers(carrier: Carrier, server: FakeServer) -> None:
    carrier.register("+15005550009", Callee(outcome="no-answer"))
    call = await run(carrier, server, '<Dial timeout="0.05">+15005550009</Dial><Say>nobody</Say>')
    assert verbs(carrier, call) == ["Dial", "Say"]


async def test_a_relative_action_needs_a_document_with_an_address(carrier: Carrier, server: FakeServer) -> None:
    server.documents["voice"] = '<Response><Pause length="60"/></Response>'
    person = Person()
    call = carrier.place_inbound_call(person, to=TO, from_=FROM, voice_url=f"{server.url}/twiml/voice")
    await person.answered.wait()
    call.redirect(twiml.parse("<Response><Redirect>/next</Redirect></Response>"))
    await call.ended.wait()
    assert warnings(carrier, call) == [15004]


async def test_a_person_that_fails_loses_only_its_own_line(carrier: Carrier, server: FakeServer) -> None:
    class Broken(Person):
        def on_tick(self, heard: bytes) -> bytes:
            raise ZeroDivisionError(f"on {len(heard)} bytes")

    call = await run(carrier, server, '<Pause length="60"/>', Broken())
    assert (call.record.status, warnings(carrier, call)) == ("completed", [0])
