"""How documents are found, and what a call does when there is none."""

import pytest
from aiohttp import web

from tests.sandbox.carrier.calling import FROM, TO, run, verbs, warnings
from tests.sandbox.carrier.server import FakeServer, Person
from voice_agent.sandbox.carrier import Carrier


@pytest.mark.parametrize(("reason", "status"), [("rejected", "no-answer"), ("busy", "busy")])
async def test_reject_does_not_answer(speaking_carrier: Carrier, server: FakeServer, reason: str, status: str) -> None:
    person = Person()
    call = await run(speaking_carrier, server, f'<Reject reason="{reason}"/>', person)
    assert (call.record.status, person.answered.is_set(), person.gone.is_set()) == (status, False, True)


async def test_a_broken_document_goes_to_the_fallback_which_is_told_why(
    speaking_carrier: Carrier, server: FakeServer
) -> None:
    server.documents["fallback"] = "<Response><Say>sorry</Say></Response>"
    call = await run(speaking_carrier, server, "<Say>")
    form = server.forms("/twiml/fallback")[0]
    assert (form["ErrorCode"], form["ErrorUrl"]) == ("12100", f"{server.url}/twiml/voice")
    assert verbs(speaking_carrier, call) == ["Say"]


async def test_without_a_fallback_the_carrier_apologises(speaking_carrier: Carrier, server: FakeServer) -> None:
    server.documents["voice"] = lambda _: web.Response(status=500)
    person = Person(hangs_up_after_frames=5)
    call = speaking_carrier.place_inbound_call(person, to=TO, from_=FROM, voice_url=f"{server.url}/twiml/voice")
    await call.ended.wait()
    assert warnings(speaking_carrier, call) == [11200]
    assert person.heard.count(b"\x11") > 0


async def test_a_wrong_content_type_is_12300(speaking_carrier: Carrier, server: FakeServer) -> None:
    server.documents["voice"] = lambda _: web.Response(text="<Response/>", content_type="application/json")
    person = Person(hangs_up_after_frames=2)
    call = speaking_carrier.place_inbound_call(person, to=TO, from_=FROM, voice_url=f"{server.url}/twiml/voice")
    await call.ended.wait()
    assert warnings(speaking_carrier, call) == [12300]
