"""The socket of those who watch, on a real port."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from fastapi import FastAPI

import voice_agent.api.live as live_module
from tests.api.world import ApiWorld, api_world
from tests.servers.application import serving
from voice_agent.api.live import PATH, LiveMessage, live_router, live_schemas
from voice_agent.auth.principal import Permission, Role
from voice_agent.auth.sockets import SocketGate
from voice_agent.calls.live_feed import LiveFeed
from voice_agent.storage.bus import EventBus, InProcessBus
from voice_agent.storage.database import Database
from voice_agent.storage.redis_bus import RedisBus

WAIT_S = 10.0


class Watcher:
    """A client of the socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        """Return the next message but a ping; every one is of the documented form."""
        while True:
            message = await self.socket.receive(timeout=WAIT_S)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            LiveMessage.validate_json(message.data)
            heard: dict[str, Any] = json.loads(message.data)
            if heard["type"] != "ping":
                return heard

    async def watch(self, topic: str, since: str | None = None) -> None:
        """Subscribe to one topic."""
        await self.say(subscribe={topic: since})
        assert await self.hear() == {"type": "subscribed", "topic": topic}

    async def closed(self) -> int:
        """Return the code that the server closes with."""
        while True:
            message = await self.socket.receive(timeout=WAIT_S)
            if message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
                return int(self.socket.close_code or 0)


class Console:
    """A served socket, the bus behind it, and who may use it."""

    def __init__(self, world: ApiWorld, bus: EventBus, address: str) -> None:
        self.world = world
        self.bus = bus
        self.feed = LiveFeed(bus)
        self._address = address

    @asynccontextmanager
    async def watcher(self, headers: dict[str, str]) -> AsyncIterator[Watcher]:
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"ws://{self._address}{PATH}", headers=headers) as socket,
        ):
            yield Watcher(socket)


@asynccontextmanager
async def console(database: Database, folder: Path, bus: EventBus) -> AsyncIterator[Console]:
    async with api_world(database, folder) as world:
        app = FastAPI()
        app.include_router(live_router(SocketGate(world.gate), bus))
        async with serving(app) as address:
            yield Console(world, bus, address)


@pytest.fixture
async def here(sqlite: Database, tmp_path: Path) -> AsyncIterator[Console]:
    async with console(sqlite, tmp_path, InProcessBus(backlog=50)) as here:
        yield here


async def test_what_happens_is_told_in_order_with_where_it_stands(here: Console) -> None:
    org_id, call_id = await here.world.organisation(), uuid4()
    async with here.watcher(await here.world.key(org_id)) as watcher:
        await watcher.watch(f"call:{call_id}")
        feed = here.feed.of_call(org_id, call_id, 0)
        for at in range(3):
            feed.words(float(at), f"word {at}")
        heard = [await watcher.hear() for _ in range(3)]

    assert [each["event"]["text"] for each in heard] == ["word 0", "word 1", "word 2"]
    assert [each["sequence"] for each in heard] == sorted({each["sequence"] for each in heard})
    assert {(each["topic"], each["event"]["call_id"]) for each in heard} == {(f"call:{call_id}", str(call_id))}


async def test_a_line_that_was_lost_goes_on_where_it_was(here: Console) -> None:
    org_id, call_id = await here.world.organisation(), uuid4()
    key, topic = await here.world.key(org_id), f"call:{call_id}"
    feed = here.feed.of_call(org_id, call_id, 0)
    async with here.watcher(key) as watcher:
        await watcher.watch(topic)
        feed.words(1.0, "first")
        last = (await watcher.hear())["sequence"]
    feed.words(2.0, "second")
    async with here.watcher(key) as watcher:
        await watcher.watch(topic, last)
        assert (await watcher.hear())["event"]["text"] == "second"
    async with here.watcher(key) as watcher:
        await watcher.watch(topic, "00000000000001-0000000001")
        assert await watcher.hear() == {"type": "gap", "topic": topic}
        assert [(await watcher.hear())["event"]["text"] for _ in range(2)] == ["first", "second"]


async def test_only_from_now_on_and_no_more_once_unsubscribed(here: Console) -> None:
    org_id, call_id = await here.world.organisation(), uuid4()
    feed = here.feed.of_call(org_id, call_id, 0)
    feed.words(1.0, "before")
    async with here.watcher(await here.world.key(org_id)) as watcher:
        await watcher.watch(f"call:{call_id}")
        feed.words(2.0, "now")
        assert (await watcher.hear())["event"]["text"] == "now"
        await watcher.say(unsubscribe=[f"call:{call_id}"], subscribe={"calls": None})
        assert await watcher.hear() == {"type": "subscribed", "topic": "calls"}
        feed.words(3.0, "unheard")
        await watcher.watch(f"call:{call_id}")
        feed.words(4.0, "again")
        assert (await watcher.hear())["event"]["text"] == "again"


async def test_g17_another_organisations_calls_are_never_told(here: Console) -> None:
    ours, theirs, call_id = (
        await here.world.organisation(),
        await here.world.organisation("Beach", "+34910000001"),
        uuid4(),
    )
    async with here.watcher(await here.world.key(theirs)) as watcher:
        await watcher.watch(f"call:{call_id}")
        await watcher.watch("calls")
        here.feed.of_call(ours, call_id, 0).words(1.0, "secret")
        here.feed.of_call(theirs, call_id, 0).words(1.0, "own")
        assert (await watcher.hear())["event"]["text"] == "own"


@pytest.mark.parametrize(
    ("topic", "since", "why"),
    [
        ("weather", None, "there is no such topic"),
        ("calls:0192a000-0000-7000-8000-000000000000", None, "there is no such topic"),
        ("call", None, "there is no such topic"),
        ("call:*", None, "there is no such topic"),
        ("", None, "there is no such topic"),
        ("x" * 200, None, "there is no such topic"),
        ("calls", "yesterday", "that is no sequence of an event"),
    ],
)
async def test_what_cannot_be_watched_is_refused_and_the_rest_goes_on(
    here: Console, topic: str, since: str | None, why: str
) -> None:
    org_id = await here.world.organisation()
    async with here.watcher(await here.world.key(org_id)) as watcher:
        await watcher.say(subscribe={topic: since})
        assert await watcher.hear() == {"type": "refused", "topic": topic[:80], "why": why}
        await watcher.watch("calls")


async def test_topics_are_counted(here: Console) -> None:
    org_id = await here.world.organisation()
    async with here.watcher(await here.world.key(org_id)) as watcher:
        topics = [f"call:{uuid4()}" for _ in range(live_module.MOST_TOPICS)]
        await watcher.say(subscribe=dict.fromkeys(topics))
        assert {(await watcher.hear())["topic"] for _ in topics} == set(topics)
        await watcher.say(subscribe={"calls": None})
        assert (await watcher.hear())["why"] == "a socket has 50 topics at most"
        await watcher.say(unsubscribe=topics[:1])
        await watcher.watch("calls")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "garbage",
        '{"' + "ñ" * 200 + '": 7}',
        "[]",
        '{"subscribe": 7}',
        '{"listen": {}}',
        '{"subscribe": {"calls": 7}}',
        "x" * 20_000,
    ],
)
async def test_what_is_no_message_closes_the_socket(here: Console, message: str) -> None:
    org_id = await here.world.organisation()
    async with here.watcher(await here.world.key(org_id)) as watcher:
        await watcher.socket.send_str(message)
        assert await watcher.closed() == live_module.UNUSABLE


async def test_bytes_close_it_too(here: Console) -> None:
    org_id = await here.world.organisation()
    async with here.watcher(await here.world.key(org_id)) as watcher:
        await watcher.socket.send_bytes(b"{}")
        assert await watcher.closed() == live_module.UNUSABLE


async def test_g17_nobody_and_who_may_not_read_calls_are_closed_out(here: Console) -> None:
    org_id = await here.world.organisation()
    async with here.watcher({"X-API-Key": "va_garbage"}) as watcher:
        assert await watcher.closed() == 4401
    async with here.watcher(await here.world.key(org_id, Permission.AGENTS_READ)) as watcher:
        assert await watcher.closed() == 4403


async def test_whoever_is_put_out_while_watching_is_closed(here: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "PING_S", 0.05)
    org_id = await here.world.organisation()
    headers = await here.world.member(org_id, Role.VIEWER)
    address = f"viewer.{org_id.hex[-6:]}@people.test"
    async with here.watcher(headers) as watcher:
        await watcher.watch("calls")
        ping = await watcher.socket.receive(timeout=WAIT_S)
        assert json.loads(ping.data)["type"] == "ping"
        async with here.world.database.write() as session:
            await here.world.identity.disable(session, address)
        here.world.gate.forget()
        assert await watcher.closed() == 4401


async def test_one_that_reads_too_slowly_is_closed_and_harms_nobody(here: Console) -> None:
    org_id, call_id = await here.world.organisation(), uuid4()
    key, topic = await here.world.key(org_id), f"call:{call_id}"
    async with here.watcher(key) as slow, here.watcher(key) as quick:
        await slow.watch(topic)
        await quick.watch(topic)
        feed = here.feed.of_call(org_id, call_id, 0)
        for number in range(200):  # in one go: nobody can have read the first before the last is there
            feed.words(float(number), "word")
        assert await slow.closed() == 1013
        assert await quick.closed() == 1013
    async with here.watcher(key) as watcher:
        await watcher.watch(topic)
        feed.words(1.0, "on")
        assert (await watcher.hear())["event"]["text"] == "on"


async def test_what_happens_in_another_process_is_told_through_redis(
    sqlite: Database, tmp_path: Path, redis_url: str
) -> None:
    there, mine = RedisBus(redis_url), RedisBus(redis_url)
    await there.open()
    await mine.open()
    try:
        async with console(sqlite, tmp_path, mine) as here:
            org_id, call_id = await here.world.organisation(), uuid4()
            feed = LiveFeed(there).of_call(org_id, call_id, 0)
            feed.words(0.5, "early")
            async with here.watcher(await here.world.key(org_id)) as watcher:
                await watcher.watch(f"call:{call_id}", "")
                feed.words(1.0, "from afar")
                heard = [await watcher.hear() for _ in range(2)]
                while heard[-1]["type"] != "event" or heard[-1]["event"]["text"] != "from afar":
                    heard.append(await watcher.hear())
    finally:
        await there.close()
        await mine.close()
    assert [each["event"]["text"] for each in heard if each["type"] == "event"] == ["early", "from afar"]


def test_the_messages_are_in_the_documents_form() -> None:
    schemas = live_schemas("#/components/schemas/{model}")
    assert {"LiveMessage", "Happened", "CallChanged", "TranscriptChanged", "WordsHeard", "TurnTimed"} <= set(schemas)
    assert schemas["LiveMessage"]["discriminator"]["propertyName"] == "type"
