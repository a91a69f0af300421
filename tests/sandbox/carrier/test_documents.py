"""Documents are fetched for a leg; what a call makes of a failure is in test_call.py."""

import pytest
from aiohttp import web

from tests.sandbox.carrier.calling import FROM, TO, warnings
from tests.sandbox.carrier.server import FakeServer, Person
from voice_agent.sandbox.carrier import Carrier
from voice_agent.sandbox.carrier.documents import Fetch, fetch_document


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (web.Response(status=503), 11200),
        (web.Response(text="{}", content_type="application/json"), 12300),
        (web.Response(text="<Say>", content_type="text/xml"), 12100),
        (web.Response(text="<Response/>", content_type="text/xml"), 0),
    ],
)
async def test_what_is_wrong_with_a_document_is_said_in_twilios_numbers(
    carrier: Carrier, server: FakeServer, answer: web.Response, code: int
) -> None:
    server.documents["voice"] = "<Response/>"
    call = carrier.place_inbound_call(Person(), to=TO, from_=FROM, voice_url=f"{server.url}/twiml/voice")
    await call.ended.wait()
    server.documents["other"] = lambda _: answer
    document, found = await fetch_document(call.leg, Fetch(f"{server.url}/twiml/other", parameters={"Extra": "1"}))
    assert (document is None, found) == (code != 0, code)
    assert warnings(carrier, call) == ([code] if code else [])
    assert server.forms("/twiml/other")[0]["Extra"] == "1"
