"""The webhooks' answers, by signed requests to the routes; tests/end_to_end asks them over sockets."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
from fastapi import FastAPI

from tests.calls.live_world import make_service
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.spool import Spool
from voice_agent.integrations.twilio.signature import WebhookSignature
from voice_agent.integrations.twilio.twiml import SENTENCES
from voice_agent.integrations.twilio.addresses import (
    AFTER_DIAL_PATH,
    AFTER_STREAM_PATH,
    MEDIA_PATH,
    STREAM_STATUS_PATH,
    VOICE_PATH,
)
from voice_agent.media_stream.connection import Upgrade
from voice_agent.sandbox.carrier.webhooks import signature

PUBLIC = "https://calls.example.org"
TOKEN = "0123456789abcdef0123456789abcdef"
CALL = "CA00000000000000000000000000000001"


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[LiveCalls]:
    with Spool() as spool:
        yield make_service(spool, tmp_path)


def _app(calls: LiveCalls) -> FastAPI:
    webhooks = TwilioWebhooks(calls, WebhookSignature(TOKEN, PUBLIC), public_base_url=PUBLIC + "/", language="en")
    app = FastAPI()
    app.include_router(webhooks.router)
    return app


async def _post(calls: LiveCalls, path: str, form: dict[str, str], *, token: str = TOKEN) -> httpx.Response:
    transport = httpx.ASGITransport(_app(calls))
    headers = {"X-Twilio-Signature": signature(token, PUBLIC + path, form)}
    async with httpx.AsyncClient(transport=transport, base_url="http://inside") as client:
        return await client.post(path, data=form, headers=headers)


async def test_a_call_is_connected_to_the_public_media_socket_with_a_ticket_of_its_own(calls: LiveCalls) -> None:
    answer = await _post(calls, VOICE_PATH, {"CallSid": CALL})
    assert answer.headers["content-type"].startswith("text/xml")
    document = ElementTree.fromstring(answer.text)
    connect, stream = document.find("Connect"), document.find("Connect/Stream")
    assert connect is not None
    assert stream is not None
    assert connect.attrib["action"] == PUBLIC + AFTER_STREAM_PATH
    assert stream.attrib["url"] == "wss://calls.example.org" + MEDIA_PATH
    assert stream.attrib["statusCallback"] == PUBLIC + STREAM_STATUS_PATH
    (ticket,) = stream.findall("Parameter")
    assert ticket.attrib["value"]
    assert [verb.tag for verb in document] == ["Connect", "Say", "Hangup"]


async def test_a_request_signed_over_another_address_is_refused(calls: LiveCalls) -> None:
    answer = await _post(calls, VOICE_PATH, {"CallSid": CALL}, token="f" * 32)
    assert (answer.status_code, answer.content) == (403, b"")


async def test_the_query_belongs_to_what_is_signed(calls: LiveCalls) -> None:
    assert (await _post(calls, VOICE_PATH + "?campaign=7", {"CallSid": CALL})).status_code == 200


async def test_a_request_without_a_call_gets_an_apology(calls: LiveCalls) -> None:
    answer = await _post(calls, VOICE_PATH, {"From": "+15005550001"})
    assert SENTENCES["en"]["failure"] in answer.text
    assert "<Connect" not in answer.text


async def test_a_call_beyond_the_lines_hears_so(tmp_path: Path) -> None:
    with Spool() as spool:
        answer = await _post(make_service(spool, tmp_path, max_calls=0), VOICE_PATH, {"CallSid": CALL})
    assert SENTENCES["en"]["busy"] in answer.text


async def test_a_stream_that_nobody_meant_to_end_is_apologised_for(calls: LiveCalls) -> None:
    answer = await _post(calls, AFTER_STREAM_PATH, {"CallSid": CALL})
    assert SENTENCES["en"]["failure"] in answer.text


@pytest.mark.parametrize(("status", "is_said"), [("completed", False), ("no-answer", True), ("", True)])
async def test_after_a_transfer(calls: LiveCalls, status: str, is_said: bool) -> None:
    answer = await _post(calls, AFTER_DIAL_PATH, {"CallSid": CALL, "DialCallStatus": status})
    assert (SENTENCES["en"]["no_answer"] in answer.text) is is_said
    assert "<Hangup" in answer.text


@pytest.mark.parametrize("event", ["stream-started", "stream-error"])
async def test_the_stream_status_is_only_noted(calls: LiveCalls, event: str) -> None:
    answer = await _post(calls, STREAM_STATUS_PATH, {"CallSid": CALL, "StreamEvent": event, "StreamError": "31920"})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_upgrades_are_checked_over_the_socket_address(calls: LiveCalls) -> None:
    _app(calls)
    signed = signature(TOKEN, "wss://calls.example.org" + MEDIA_PATH, {})
    assert calls.is_signed(Upgrade(MEDIA_PATH, {"x-twilio-signature": signed}))
    assert not calls.is_signed(Upgrade(MEDIA_PATH, {"x-twilio-signature": "forged"}))
    assert not calls.is_signed(Upgrade(MEDIA_PATH, {}))
