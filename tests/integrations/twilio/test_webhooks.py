"""The webhooks' answers, by signed requests to the routes; tests/end_to_end asks them over sockets."""

import random
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import select

from tests.calls.live_world import make_service
from tests.calls.stored_calls import NOW, OURS, POLICY, SPAIN, OneAgent, a_stored_call, an_organisation, reread
from tests.contracts.eventually import eventually
from tests.fakes.carrier import FakeCarrier
from tests.integrations.twilio.test_signature import PROXIES
from tests.servers.stalling import stalled
from voice_agent.calls.inbox import Inbox
from voice_agent.calls.processor import CallProcessor
from voice_agent.calls.reception import Reception
from voice_agent.calls.spool import Spool
from voice_agent.integrations.twilio.addresses import (
    AFTER_DIAL_PATH,
    AFTER_STREAM_PATH,
    MEDIA_PATH,
    STREAM_STATUS_PATH,
    VOICE_PATH,
    TwilioAddresses,
)
from voice_agent.integrations.twilio.signature import WebhookSignature
from voice_agent.integrations.twilio.twiml import SENTENCES
from voice_agent.integrations.twilio.webhooks import LARGEST_BODY_BYTES, TwilioWebhooks
from voice_agent.media_stream.connection import Upgrade
from voice_agent.sandbox.carrier.webhooks import signature
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, CarrierEventRow

PUBLIC = "https://calls.example.org"
TOKEN = "0123456789abcdef0123456789abcdef"
CALL = "CA00000000000000000000000000000001"


class World:
    """The webhooks over a database."""

    def __init__(
        self, database: Database, spool: Spool, folder: Path, *, max_calls: int = 2, patience_s: float = 10.0
    ) -> None:
        self.database = database
        self.live = make_service(spool, folder, max_calls=max_calls)
        self.carrier = FakeCarrier()
        self.processor = CallProcessor(database, self.carrier, OneAgent(), policy=POLICY)
        self.inbox = Inbox(self.processor.take, folder / "inbox", patience_s=patience_s, retry_s=0.01)
        self.reception = Reception(database, self.live, self.inbox, clock=lambda: NOW, patience_s=patience_s)
        self.webhooks = TwilioWebhooks(
            self.reception,
            self.inbox,
            self.live,
            WebhookSignature(TOKEN, PUBLIC),
            addresses=TwilioAddresses(PUBLIC + "/"),
            language="en",
        )
        self.app = FastAPI()
        self.app.include_router(self.webhooks.router)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://inside")

    async def send(
        self, path: str, form: dict[str, str], signed: str, headers: list[tuple[str, str]]
    ) -> httpx.Response:
        async with self.client() as client:
            return await client.post(path, data=form, headers=[*headers, ("X-Twilio-Signature", signed)])

    async def post(self, path: str, form: dict[str, str], *, token: str = TOKEN) -> httpx.Response:
        headers = {"X-Twilio-Signature": signature(token, PUBLIC + path, form)}
        async with self.client() as client:
            return await client.post(path, data=form, headers=headers)

    async def call(self, call_sid: str = CALL) -> CallRow:
        async with self.database.read() as session:
            return (await session.scalars(select(CallRow).where(CallRow.call_sid == call_sid))).one()

    async def close(self) -> None:
        await self.reception.close()
        await self.inbox.close()
        await self.processor.close()


def hook_paths(world: World) -> list[str]:
    return [route.path for route in world.webhooks.router.routes if isinstance(route, APIRoute)]


FORGERIES = ("no signature", "wrong token", "tampered body", "other path", "other field twice", "noise", "base64 noise")


def forged(
    kind: str, path: str, form: dict[str, str], twisted: random.Random
) -> tuple[dict[str, str | list[str]], dict[str, str]]:
    """Return a body and headers that are not what Twilio sent."""
    genuine = signature(TOKEN, PUBLIC + path, form)
    sent: dict[str, str | list[str]] = {**form}
    match kind:
        case "no signature":
            return sent, {}
        case "wrong token":
            genuine = signature(f"{twisted.getrandbits(128):032x}", PUBLIC + path, form)
        case "tampered body":
            sent["CallSid"] = f"CA{twisted.getrandbits(128):032x}"
        case "other path":
            genuine = signature(TOKEN, PUBLIC + path + "/x", form)
        case "other field twice":
            sent["CallStatus"] = ["completed", f"in-progress-{twisted.random()}"]
        case "noise":
            genuine = "".join(chr(twisted.randrange(33, 127)) for _ in range(28))
        case _:
            genuine = b64encode(twisted.randbytes(20)).decode()
    return sent, {"X-Twilio-Signature": genuine}


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    with Spool() as spool:
        world = World(database, spool, tmp_path)
        yield world
        await world.close()


async def test_a_call_is_connected_to_the_public_media_socket_with_a_ticket_of_its_own(world: World) -> None:
    await an_organisation(world.database)
    answer = await world.post(VOICE_PATH, {"CallSid": CALL, "To": OURS, "From": SPAIN})
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


async def test_a_request_signed_over_another_address_is_refused(world: World) -> None:
    answer = await world.post(VOICE_PATH, {"CallSid": CALL}, token="f" * 32)
    assert (answer.status_code, answer.content) == (403, b"")


async def test_the_query_belongs_to_what_is_signed(world: World) -> None:
    await an_organisation(world.database)
    assert (await world.post(VOICE_PATH + "?campaign=7", {"CallSid": CALL})).status_code == 200


async def test_a_request_without_a_call_gets_an_apology(world: World) -> None:
    answer = await world.post(VOICE_PATH, {"From": "+15005550001"})
    assert SENTENCES["en"]["failure"] in answer.text
    assert "<Connect" not in answer.text


async def test_a_call_beyond_the_lines_hears_so(sqlite: Database, tmp_path: Path) -> None:
    with Spool() as spool:
        world = World(sqlite, spool, tmp_path, max_calls=0)
        answer = await world.post(VOICE_PATH, {"CallSid": CALL})
        await world.close()
    assert SENTENCES["en"]["busy"] in answer.text


async def test_a_stream_that_nobody_meant_to_end_is_apologised_for(world: World) -> None:
    answer = await world.post(AFTER_STREAM_PATH, {"CallSid": CALL})
    assert SENTENCES["en"]["failure"] in answer.text


@pytest.mark.parametrize(("status", "is_said"), [("completed", False), ("no-answer", True), ("", True)])
async def test_after_a_transfer(world: World, status: str, is_said: bool) -> None:
    answer = await world.post(AFTER_DIAL_PATH, {"CallSid": CALL, "DialCallStatus": status})
    assert (SENTENCES["en"]["no_answer"] in answer.text) is is_said
    assert "<Hangup" in answer.text


@pytest.mark.parametrize("event", ["stream-started", "stream-error"])
async def test_the_stream_status_is_only_noted(world: World, event: str) -> None:
    answer = await world.post(STREAM_STATUS_PATH, {"CallSid": CALL, "StreamEvent": event, "StreamError": "31920"})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_upgrades_are_checked_over_the_socket_address(world: World) -> None:
    calls = world.live
    signed = signature(TOKEN, "wss://calls.example.org" + MEDIA_PATH, {})
    assert calls.is_signed(Upgrade(MEDIA_PATH, {"x-twilio-signature": signed}))
    assert not calls.is_signed(Upgrade(MEDIA_PATH, {"x-twilio-signature": "forged"}))
    assert not calls.is_signed(Upgrade(MEDIA_PATH, {}))


async def test_an_incoming_call_is_written_down_with_who_answers_it(world: World) -> None:
    org_id = await an_organisation(world.database)
    await world.post(VOICE_PATH, {"CallSid": CALL, "To": OURS, "From": SPAIN})
    await world.post(VOICE_PATH, {"CallSid": CALL, "To": OURS, "From": SPAIN})

    call = await world.call()
    assert (call.org_id, call.direction, call.state) == (org_id, "inbound", "ringing")
    assert (call.to_number, call.from_number, call.agent_name, call.language) == (OURS, SPAIN, "Anna", "es")


async def test_an_outbound_call_is_followed_by_the_addresses_that_name_it(world: World) -> None:
    call = await a_stored_call(world.database)
    path = f"/twilio/calls/{call.id}"
    answer = await world.post(f"{path}/answer", {"CallSid": CALL, "CallStatus": "in-progress"})
    assert "<Stream" in answer.text
    form = {"CallSid": CALL, "CallStatus": "completed", "CallDuration": "9", "SequenceNumber": "3"}
    assert (await world.post(f"{path}/status", form)).status_code == 204
    assert (await world.post(f"{path}/machine", {"CallSid": CALL, "AnsweredBy": "human"})).status_code == 204
    assert (await world.post(f"{path}/recording", {"CallSid": CALL, "RecordingSid": "RE1"})).status_code == 204

    stored = await reread(world.database, call.id)
    assert (stored.state, stored.call_sid, stored.talk_s, stored.answered_by) == ("ended", CALL, 9, "human")


async def test_f25_a_stream_that_was_lost_is_connected_again_three_times_and_no_more(world: World) -> None:
    await a_stored_call(world.database, state="in_progress", call_sid=CALL)
    for _ in range(3):
        answer = await world.post(AFTER_STREAM_PATH, {"CallSid": CALL})
        names = {each.attrib["name"] for each in ElementTree.fromstring(answer.text).iter("Parameter")}
        assert names == {"ticket", "resume"}

    assert SENTENCES["en"]["failure"] in (await world.post(AFTER_STREAM_PATH, {"CallSid": CALL})).text


async def test_a_stream_whose_end_was_meant_is_hung_up(world: World) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=CALL)
    async with world.database.write() as session:
        (await session.get_one(CallRow, call.id)).is_ended_by_us = True

    answer = await world.post(AFTER_STREAM_PATH, {"CallSid": CALL})
    assert [verb.tag for verb in ElementTree.fromstring(answer.text)] == ["Hangup"]


async def test_whoever_answers_a_warm_transfer_hears_what_it_is_about(world: World) -> None:
    call = await a_stored_call(world.database, state="in_progress", call_sid=CALL)
    async with world.database.write() as session:
        (await session.get_one(CallRow, call.id)).briefing = "Ana asks about <her> bill"

    said = ElementTree.fromstring((await world.post(f"/twilio/calls/{call.id}/whisper", {})).text)
    assert [verb.text for verb in said] == ["Ana asks about <her> bill"]
    unknown = ElementTree.fromstring((await world.post(f"/twilio/calls/{uuid4()}/whisper", {})).text)
    assert list(unknown) == []


@pytest.mark.parametrize("subject", ["answer", "status", "machine", "recording", "after-dial", "whisper"])
async def test_f23_a_path_is_not_read_before_the_signature(world: World, subject: str) -> None:
    for path in (f"/twilio/calls/{uuid4()}/{subject}", f"/twilio/calls/nonsense/{subject}"):
        assert (await world.post(path, {"CallSid": CALL}, token="f" * 32)).status_code == 403
        assert (await world.post(path, {"CallSid": CALL})).status_code in {200, 204}


@pytest.mark.parametrize("headers", PROXIES.values(), ids=PROXIES.keys())
async def test_f23_every_hook_behind_every_proxy(
    sqlite: Database, tmp_path: Path, headers: list[tuple[str, str]]
) -> None:
    """What a proxy writes about the address is believed by none; what Twilio signed is, by all."""
    with Spool() as spool:
        world = World(sqlite, spool, tmp_path)
        await an_organisation(sqlite)
        call = await a_stored_call(sqlite)
        told = [value for name, value in headers if name in {"host", "x-forwarded-host"}]
        paths = [path.replace("{call_id}", str(call.id)) for path in hook_paths(world)]
        assert len(paths) == 11
        for path in paths:
            form = {"CallSid": CALL, "CallStatus": "ringing"}
            genuine = signature(TOKEN, PUBLIC + path, form)
            assert (await world.send(path, form, genuine, headers)).status_code in {200, 204}
            for host in {*told, "evil.example.net"} - {"calls.example.org"}:
                moved = signature(TOKEN, f"https://{host}{path}", form)
                assert (await world.send(path, form, moved, headers)).status_code == 403
        await world.close()


async def test_f23_5000_forged_requests_are_refused_and_leave_nothing(sqlite: Database, tmp_path: Path) -> None:
    with Spool() as spool:
        world = World(sqlite, spool, tmp_path)
        call = await a_stored_call(sqlite, state="in_progress", call_sid=CALL)
        paths = [path.replace("{call_id}", str(call.id)) for path in hook_paths(world)]
        form = {"CallSid": CALL, "CallStatus": "completed", "AnsweredBy": "human"}
        twisted = random.Random(7)
        async with world.client() as client:
            for number in range(5_000):
                path = paths[number % len(paths)]
                sent, header = forged(FORGERIES[number % len(FORGERIES)], path, form, twisted)
                answer = await client.post(path, data=sent, headers=header)
                assert (answer.status_code, answer.content) == (403, b""), (number, path)
        await world.close()

        assert (await reread(sqlite, call.id)).revision == call.revision
        async with sqlite.read() as session:
            assert (await session.scalars(select(CarrierEventRow))).all() == []
        assert not (tmp_path / "inbox").exists()


async def test_f23_only_post_is_answered(world: World) -> None:
    async with world.client() as client:
        for path in hook_paths(world):
            for method in ("GET", "PUT", "DELETE", "HEAD"):
                header = {"X-Twilio-Signature": signature(TOKEN, PUBLIC + path, {})}
                assert (await client.request(method, path, headers=header)).status_code == 405


async def test_f40_every_hook_is_answered_while_the_database_stands_still(database: Database, tmp_path: Path) -> None:
    with Spool() as spool:
        world = World(database, spool, tmp_path, patience_s=0.05)
        call = await a_stored_call(database, state="in_progress", call_sid=CALL)
        async with stalled(database):
            for path in hook_paths(world):
                form = {"CallSid": CALL, "CallStatus": "in-progress", "StreamEvent": "stream-started"}
                answer = await world.post(path.replace("{call_id}", str(call.id)), form)
                assert answer.status_code in {200, 204}
                if path in {VOICE_PATH, AFTER_STREAM_PATH} or path.endswith("answer"):
                    assert "<Stream" in answer.text
        await eventually(lambda: not world.inbox.is_behind)
        await world.close()


async def test_what_callers_choose_themselves_can_be_stored(world: World) -> None:
    await an_organisation(world.database)
    odd = "\0Jos\u00e9 \U0001f600 \u202e \ud7ff"
    answer = await world.post(VOICE_PATH, {"CallSid": CALL, "To": OURS, "From": "sip:\0x@y", "CallerName": odd})
    assert answer.status_code == 200
    assert (await world.call()).from_number == "sip:x@y"


async def test_a_body_that_no_callback_has_is_not_read_to_its_end(world: World) -> None:
    answer = await world.post(VOICE_PATH, {"CallSid": CALL, "Pad": "x" * LARGEST_BODY_BYTES})
    assert answer.status_code == 413
