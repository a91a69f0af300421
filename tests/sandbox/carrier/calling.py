"""Inbound calls to the fake server, and what the journal says of them."""

from tests.sandbox.carrier.server import FakeServer, Person
from voice_agent.sandbox.carrier import Call, Carrier
from voice_agent.sandbox.carrier.journal import VerbStarted, Warned

TO, FROM = "+15005550006", "+15005550001"
NUMBERS = {"to": TO, "from_": FROM}


def place(carrier: Carrier, server: FakeServer, person: Person) -> Call:
    server.documents.setdefault("voice", server.stream(inside='<Parameter name="ticket" value="t1"/>'))
    return carrier.place_inbound_call(person, voice_url=f"{server.url}/twiml/voice", **NUMBERS)


def warnings(carrier: Carrier, call: Call) -> list[int]:
    return [entry.code for entry in carrier.journal.of_call(call.record.sid) if isinstance(entry, Warned)]


def speak(text: str, language: str) -> bytes:
    return {"en": b"\x11", "es": b"\x22"}[language] * (8 * len(text))


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
