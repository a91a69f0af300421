"""Verbs, as a caller and a server see them. Speech is a constant tone of a known length."""

import io
import math
import wave

from aiohttp import web

from tests.sandbox.carrier.calling import FROM, TO, run, verbs, warnings
from tests.sandbox.carrier.server import FakeServer, Person
from voice_agent.audio.mulaw import encode
from voice_agent.sandbox.carrier import Carrier, twiml


async def test_texts_are_heard_in_order_and_to_their_end(speaking_carrier: Carrier, server: FakeServer) -> None:
    person = Person()
    await run(
        speaking_carrier,
        server,
        '<Say>Hello there.</Say><Say language="es-ES" loop="2">Hola</Say><Pause length="0.05"/><Hangup/><Say>no</Say>',
        person,
    )
    assert (person.heard.count(b"\x11"), person.heard.count(b"\x22")) == (96, 64)
    assert person.heard.rindex(b"\x11") < person.heard.index(b"\x22")


async def test_the_end_of_the_document_ends_the_call(speaking_carrier: Carrier, server: FakeServer) -> None:
    call = await run(speaking_carrier, server, "")
    assert (call.record.status, verbs(speaking_carrier, call)) == ("completed", [])


async def test_an_unknown_verb_is_reported_and_skipped(speaking_carrier: Carrier, server: FakeServer) -> None:
    call = await run(speaking_carrier, server, "<Enqueue>x</Enqueue><Say>on</Say>")
    assert warnings(speaking_carrier, call) == [12200]
    assert verbs(speaking_carrier, call) == ["UnknownVerb", "Say"]


async def test_redirects_are_relative_to_the_document(speaking_carrier: Carrier, server: FakeServer) -> None:
    server.documents["second"] = "<Response><Say>two</Say></Response>"
    call = await run(speaking_carrier, server, '<Redirect method="GET">second?x=1</Redirect><Say>never</Say>')
    assert verbs(speaking_carrier, call) == ["Redirect", "Say"]
    assert server.forms("/twiml/second")[0]["x"] == "1"


async def test_gather_collects_until_the_finishing_key(speaking_carrier: Carrier, server: FakeServer) -> None:
    await run(
        speaking_carrier,
        server,
        '<Gather action="keys" timeout="3"><Say>' + "x" * 20_000 + "</Say></Gather>",
        Person(presses="12#"),
    )
    assert server.forms("/twiml/keys")[0]["Digits"] == "12"


async def test_gather_stops_at_its_number_of_digits(speaking_carrier: Carrier, server: FakeServer) -> None:
    await run(speaking_carrier, server, '<Gather action="keys" numDigits="2"/>', Person(presses="345"))
    assert server.forms("/twiml/keys")[0]["Digits"] == "34"


async def test_gather_without_keys_goes_on(speaking_carrier: Carrier, server: FakeServer) -> None:
    call = await run(
        speaking_carrier, server, '<Gather action="keys" timeout="0.05"><Say>?</Say></Gather><Say>on</Say>'
    )
    assert verbs(speaking_carrier, call) == ["Gather", "Say"]
    assert server.forms("/twiml/keys") == []


async def test_play_fetches_a_wav_file(speaking_carrier: Carrier, server: FakeServer) -> None:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        tone = b"".join(round(9_000 * math.sin(index / 3)).to_bytes(2, "little", signed=True) for index in range(800))
        file.writeframes(tone)
    server.documents["tone.wav"] = lambda _: web.Response(body=content.getvalue(), content_type="audio/wav")
    person = Person()
    await run(speaking_carrier, server, "<Play>tone.wav</Play>", person)
    assert encode(tone)[:500] in bytes(person.heard)


async def test_what_is_no_wav_file_is_skipped(speaking_carrier: Carrier, server: FakeServer) -> None:
    call = await run(speaking_carrier, server, "<Play>missing.mp3</Play><Say>on</Say>")
    assert warnings(speaking_carrier, call) == [11200]
    assert verbs(speaking_carrier, call) == ["Play", "Say"]


async def test_a_relative_action_needs_a_document_with_an_address(
    speaking_carrier: Carrier, server: FakeServer
) -> None:
    server.documents["voice"] = '<Response><Pause length="60"/></Response>'
    person = Person()
    call = speaking_carrier.place_inbound_call(person, to=TO, from_=FROM, voice_url=f"{server.url}/twiml/voice")
    await person.answered.wait()
    call.redirect(twiml.parse("<Response><Redirect>/next</Redirect></Response>"))
    await call.ended.wait()
    assert warnings(speaking_carrier, call) == [15004]
