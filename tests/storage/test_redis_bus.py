"""The bus between processes: two of them share a Redis, which is killed, started again and flushed (F44)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.contracts.event_bus import PATIENCE_S, EventBusContract, bodies, take
from tests.contracts.eventually import eventually
from tests.servers.redis import RedisServer
from voice_agent.settings import StorageSettings
from voice_agent.storage import redis_bus
from voice_agent.storage.bus import Event, EventBus, InProcessBus, Subscription
from voice_agent.storage.redis_bus import RedisBus, open_bus


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name}:"


class TestRedisBus(EventBusContract):
    @pytest.fixture
    async def bus(self, redis_url: str, prefix: str) -> AsyncIterator[EventBus]:
        opened = RedisBus(redis_url, prefix=prefix)
        await opened.open()
        yield opened
        await opened.close()

    @pytest.fixture
    async def small_bus(self, redis_url: str, prefix: str) -> AsyncIterator[EventBus]:
        opened = RedisBus(redis_url, prefix=prefix, kept=300, backlog=20)
        await opened.open()
        yield opened
        await opened.close()


async def collect(subscription: Subscription, into: list[Event]) -> None:
    async for event in subscription:
        into.append(event)


async def test_what_one_process_publishes_the_others_are_told(redis_url: str, prefix: str) -> None:
    here, there = RedisBus(redis_url, prefix=prefix), RedisBus(redis_url, prefix=prefix)
    await here.open()
    await there.open()
    try:
        async with here.subscribe(["a", "b"]) as one, there.subscribe(["a"]) as other:
            there.publish("a", b"1")
            assert bodies(await take(one, 1)) == bodies(await take(other, 1)) == [b"1"]
            here.publish("a", b"2")
            here.publish("b", b"3")
            assert sorted(bodies(await take(one, 2))) == [b"2", b"3"]
            assert bodies(await take(other, 1)) == [b"2"]
    finally:
        await here.close()
        await there.close()


async def test_a_new_topic_interrupts_the_read_that_waits_for_news(redis_url: str, prefix: str) -> None:
    bus = RedisBus(redis_url, prefix=prefix)
    await bus.open()
    try:
        async with bus.subscribe(["quiet"]) as quiet:
            for number in range(20):
                async with bus.subscribe([f"call:{number}"]) as subscription, asyncio.timeout(1.0):
                    bus.publish(f"call:{number}", b"here")
                    assert bodies(await take(subscription, 1)) == [b"here"]
            bus.publish("quiet", b"still there")
            assert bodies(await take(quiet, 1)) == [b"still there"]
    finally:
        await bus.close()


async def test_streams_are_short_and_forgotten_after_a_day(redis_url: str, prefix: str) -> None:
    bus = RedisBus(redis_url, prefix=prefix, kept=400)
    await bus.open()
    try:
        async with bus.subscribe(["a"]) as subscription:
            for number in range(2_000):
                bus.publish("a", b"%d" % number)
            events = await take(subscription, 1)
            while events[-1].body != b"1999":
                events += await take(subscription, 1)
        async with Redis.from_url(redis_url) as redis:
            assert 400 <= await redis.xlen(f"{prefix}a") <= 600
            assert 86_000 < await redis.ttl(f"{prefix}a") <= redis_bus.KEPT_S
    finally:
        await bus.close()
    # Whether the reader kept up or not: what it has not had, it was told of.
    is_whole = len(events) == 2_000
    assert is_whole or any(event.is_gap for event in events)


async def test_f44_a_redis_that_is_killed_and_started_again_is_found_again(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    here, there = RedisBus(server.url), RedisBus(server.url)
    await here.open()
    await there.open()
    try:
        async with there.subscribe(["a"]) as subscription:
            here.publish("a", b"before")
            assert bodies(await take(subscription, 1)) == [b"before"]

            server.stop()
            for number in range(10):
                here.publish("a", b"%d" % number)
            server.start()

            # Redis has forgotten everything: that something may be missing is said, and what was waiting comes.
            gap, *events = await take(subscription, 11)
            assert gap.is_gap
            assert bodies(events) == [b"%d" % number for number in range(10)]
            there.publish("a", b"after")
            assert bodies(await take(subscription, 1)) == [b"after"]
        assert here.dropped == there.dropped == 0
    finally:
        await here.close()
        await there.close()
        server.stop()


async def test_f44_who_subscribes_while_redis_is_away_is_told_so_and_served_later(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    bus = RedisBus(server.url)
    await bus.open()
    received: list[Event] = []
    try:
        async with bus.subscribe(["a"]) as subscription:
            collecting = asyncio.create_task(collect(subscription, received))
            await eventually(lambda: received)
            assert received[0].is_gap

            server.start()
            await eventually(lambda: len(received) == 2)
            assert received[1].is_gap
            bus.publish("a", b"1")
            await eventually(lambda: received[-1].body == b"1")
            collecting.cancel()
    finally:
        await bus.close()
        server.stop()


async def test_f44_without_redis_nothing_waits_and_the_oldest_events_are_dropped(tmp_path: Path) -> None:
    bus = RedisBus(f"unix://{tmp_path / 'nobody.sock'}", queue=50)
    await bus.open()
    async with asyncio.timeout(PATIENCE_S):
        for number in range(60):
            bus.publish("a", b"%d" % number)
        await eventually(lambda: bus._is_away)
        for number in range(60, 80):
            bus.publish("a", b"%d" % number)
        await bus.close()

    assert bus.dropped == 30
    assert [body for _, body in bus._queue] == [b"%d" % number for number in range(30, 80)]


async def test_the_settings_choose_the_bus(redis_url: str) -> None:
    shared = open_bus(StorageSettings.model_validate({"redis_url": redis_url}))
    own = open_bus(StorageSettings.model_validate({"redis_url": ""}))

    assert isinstance(shared, RedisBus)
    assert isinstance(own, InProcessBus)
    for bus in (shared, own):
        await bus.open()
        await bus.close()
