"""One contract for both caches, then what is each one's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from voice_agent.settings import StorageSettings
from voice_agent.storage.cache import CacheService, InProcessCache, RedisCache, cache_key, open_cache


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=["in process", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[CacheService]:
    if request.param == "redis":
        opened: CacheService = RedisCache(request.getfixturevalue("redis_url"), prefix=f"{request.node.name}:")
    else:
        opened = InProcessCache(clock=Clock())
    yield opened
    await opened.close()


async def test_what_was_put_is_there(cache: CacheService) -> None:
    await cache.put("greeting", b"\x00\xff\r\n")

    assert await cache.get("greeting") == b"\x00\xff\r\n"
    assert await cache.get("another") is None


async def test_the_last_value_stands(cache: CacheService) -> None:
    await cache.put("greeting", b"one")
    await cache.put("greeting", b"two")

    assert await cache.get("greeting") == b"two"


async def test_an_empty_value_is_a_value(cache: CacheService) -> None:
    await cache.put("silence", b"")

    assert await cache.get("silence") == b""


async def test_deleting_forgets_and_may_be_repeated(cache: CacheService) -> None:
    await cache.put("greeting", b"one")

    await cache.delete("greeting")
    await cache.delete("greeting")

    assert await cache.get("greeting") is None


@pytest.mark.parametrize("ttl_s", [0.0, -1.0])
async def test_a_value_without_time_to_live_is_not_kept(cache: CacheService, ttl_s: float) -> None:
    await cache.put("greeting", b"one")
    await cache.put("greeting", b"two", ttl_s=ttl_s)

    assert await cache.get("greeting") is None


async def test_closing_twice_is_no_error(cache: CacheService) -> None:
    await cache.close()
    await cache.close()


async def test_in_process_a_value_expires_with_its_time() -> None:
    clock = Clock()
    cache = InProcessCache(clock=clock)
    await cache.put("greeting", b"one", ttl_s=60)

    clock.now_s += 59.9
    assert await cache.get("greeting") == b"one"
    clock.now_s += 0.1
    assert await cache.get("greeting") is None
    assert cache.size_bytes == 0


async def test_in_process_the_least_recently_used_value_leaves_first() -> None:
    cache = InProcessCache(clock=Clock(), capacity_bytes=10)
    await cache.put("a", b"1234")
    await cache.put("b", b"1234")
    await cache.get("a")

    await cache.put("c", b"1234")

    assert [await cache.get(key) for key in "abc"] == [b"1234", None, b"1234"]


async def test_in_process_a_value_beyond_the_capacity_is_not_kept_and_drives_nothing_out() -> None:
    cache = InProcessCache(clock=Clock(), capacity_bytes=10)
    await cache.put("a", b"1234")

    await cache.put("b", b"12345678901")

    assert await cache.get("a") == b"1234"
    assert await cache.get("b") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.binary(max_size=12), st.floats(-5, 20), st.floats(0, 10))))
async def test_in_process_the_size_is_that_of_what_can_be_read(steps: list[tuple[str, bytes, float, float]]) -> None:
    clock = Clock()
    cache = InProcessCache(clock=clock, capacity_bytes=30)
    for key, value, ttl_s, passed_s in steps:
        await cache.put(key, value, ttl_s=ttl_s)
        clock.now_s += passed_s
        kept = [found for each in "abcdef" if (found := await cache.get(each)) is not None]
        assert cache.size_bytes == sum(map(len, kept)) <= 30


async def test_in_redis_a_value_expires_with_its_time(redis_url: str) -> None:
    cache = RedisCache(redis_url, prefix="expiry:")
    await cache.put("greeting", b"one", ttl_s=60)

    async with Redis.from_url(redis_url) as redis:
        assert 59_000 < await redis.pttl("expiry:greeting") <= 60_000
    await cache.close()


async def test_f44_a_redis_that_is_not_there_is_an_empty_cache(unused_tcp_port: int) -> None:
    cache = RedisCache(f"redis://127.0.0.1:{unused_tcp_port}")

    await cache.put("greeting", b"one")
    await cache.delete("greeting")

    assert await cache.get("greeting") is None
    await cache.close()


def test_parts_of_a_key_are_kept_apart() -> None:
    keys = {
        cache_key("phrase", "a", "bc"),
        cache_key("phrase", "ab", "c"),
        cache_key("phrase", "abc"),
        cache_key("x", "a"),
    }

    assert len(keys) == 4
    assert cache_key("phrase", "Sarah", "flash", "¡Hola!") == cache_key("phrase", "Sarah", "flash", "¡Hola!")


async def test_the_settings_choose_the_cache(redis_url: str) -> None:
    shared = open_cache(StorageSettings.model_validate({"redis_url": redis_url}), clock=Clock())
    own = open_cache(StorageSettings.model_validate({"redis_url": ""}), clock=Clock())

    assert isinstance(shared, RedisCache)
    assert isinstance(own, InProcessCache)
    await shared.put("chosen", b"1")
    assert await shared.get("chosen") == b"1"
    await shared.close()


async def test_a_bucket_gives_its_tokens_at_once_and_then_one_by_one(cache: CacheService) -> None:
    taken = [await cache.take("sign-in", limit=3, window_s=60) for _ in range(5)]

    assert taken[:3] == [0.0, 0.0, 0.0]
    assert all(15 < wait_s <= 20 for wait_s in taken[3:])
    assert await cache.take("another", limit=3, window_s=60) == 0.0


async def test_a_token_comes_back_with_time() -> None:
    clock = Clock()
    cache = InProcessCache(clock=clock)
    waits = [await cache.take("k", limit=2, window_s=10) for _ in range(3)]
    clock.now_s += 5

    assert waits == [0.0, 0.0, 5.0]
    assert await cache.take("k", limit=2, window_s=10) == 0.0
    assert await cache.take("k", limit=2, window_s=10) == 5.0


async def test_f44_without_redis_each_process_counts_by_itself(tmp_path: Path) -> None:
    cache = RedisCache(f"unix://{tmp_path / 'nobody.sock'}")
    try:
        waits = [await cache.take("k", limit=1, window_s=60) for _ in range(2)]
    finally:
        await cache.close()

    assert waits[0] == 0.0
    assert waits[1] > 0.0
