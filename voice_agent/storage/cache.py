"""The cache: bytes under a key for a while. Fixed phrases are synthesised once and kept here.

A cache is never the only place where something is: one that cannot be reached answers "not there" and the work is
done again (F44). Nothing on the way of a call's audio waits for it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from voice_agent.settings import StorageSettings

log = structlog.get_logger(__name__)

DAY_S = 86_400.0


class CacheService(Protocol):
    """Bytes by key, forgotten after a time or under pressure."""

    async def get(self, key: str) -> bytes | None:
        """Return what was put under `key`, None where it is not there any more."""
        ...

    async def put(self, key: str, value: bytes, *, ttl_s: float = DAY_S) -> None:
        """Keep `value` for at most `ttl_s` seconds, replacing what was there."""
        ...

    async def delete(self, key: str) -> None:
        """Forget `key`; an unknown one is no error."""
        ...

    async def take(self, key: str, *, limit: int, window_s: float) -> float:
        """Take one of `limit` tokens that come back evenly over `window_s` seconds.

        Returns 0.0 where there was one, else the seconds until the next. Shared by whoever shares the cache.
        """
        ...

    async def close(self) -> None:
        """Release connections. Safe to call twice."""
        ...


def cache_key(kind: str, *parts: str) -> str:
    """Return the key of what `parts` determine, such as voice, model and text of a phrase.

    Parts are kept apart: ("a", "bc") and ("ab", "c") have different keys.
    """
    return f"{kind}:{sha256(msgspec.json.encode(parts)).hexdigest()}"


class _Entry(msgspec.Struct, frozen=True):
    value: bytes
    expires_at_s: float


class TokenBuckets:
    """Token buckets in memory, by key; the longest unused ones leave beyond `MOST_BUCKETS`.

    Kept as one number each, the time at which the bucket will be full again (generic cell rate algorithm).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str, *, limit: int, window_s: float) -> float:
        """Take a token; 0.0 where there was one, else the seconds until the next."""
        now_s, interval_s = self._clock(), window_s / limit
        full_at_s = max(self._full_at_s.get(key, 0.0), now_s) + interval_s
        wait_s = full_at_s - now_s - window_s
        if wait_s > ROUNDING_S:
            return wait_s
        self._full_at_s[key] = full_at_s
        self._full_at_s.move_to_end(key)
        while len(self._full_at_s) > MOST_BUCKETS:
            self._full_at_s.popitem(last=False)
        return 0.0


MOST_BUCKETS = 100_000
ROUNDING_S = 1e-6
"""Sums of intervals are not exact."""

_TAKE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local window, interval = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + interval
local wait = full_at - now - window
if wait > 0.000001 then return tostring(wait) end
redis.call('SET', KEYS[1], string.format('%.6f', full_at), 'PX', math.ceil(window * 1000))
return '0'
"""
"""`TokenBuckets.take` by Redis' own clock, in one step."""


class InProcessCache:
    """The default: the least recently used entries leave once the values together exceed `capacity_bytes`."""

    def __init__(self, *, clock: Callable[[], float], capacity_bytes: int = 64_000_000) -> None:
        self._clock = clock
        self._capacity_bytes = capacity_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size_bytes = 0
        self._buckets = TokenBuckets(clock)

    @property
    def size_bytes(self) -> int:
        """What the values take together."""
        return self._size_bytes

    async def get(self, key: str) -> bytes | None:
        """Return what was put under `key`, None where it is not there any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at_s <= self._clock():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    async def put(self, key: str, value: bytes, *, ttl_s: float = DAY_S) -> None:
        """Keep `value` for at most `ttl_s` seconds; one that exceeds the capacity by itself is not kept."""
        self._remove(key)
        if len(value) > self._capacity_bytes or ttl_s <= 0:
            return
        self._entries[key] = _Entry(value, self._clock() + ttl_s)
        self._size_bytes += len(value)
        while self._size_bytes > self._capacity_bytes:
            self._remove(next(iter(self._entries)))

    async def delete(self, key: str) -> None:
        """Forget `key`."""
        self._remove(key)

    async def take(self, key: str, *, limit: int, window_s: float) -> float:
        """Take one of `limit` tokens that come back evenly over `window_s` seconds."""
        return self._buckets.take(key, limit=limit, window_s=window_s)

    async def close(self) -> None:
        """Forget everything."""
        self._buckets = TokenBuckets(self._clock)
        self._entries.clear()
        self._size_bytes = 0

    def _remove(self, key: str) -> None:
        if entry := self._entries.pop(key, None):
            self._size_bytes -= len(entry.value)


class RedisCache:
    """Shared by all processes. Where Redis fails, nothing is there and nothing is kept."""

    def __init__(self, url: str, *, prefix: str = "voice-agent:", timeout_s: float = 0.5) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        self._prefix = prefix
        self._take = self._redis.register_script(_TAKE)
        self._buckets = TokenBuckets(time.monotonic)

    async def get(self, key: str) -> bytes | None:
        """Return what was put under `key`, None where it is not there any more or Redis cannot be asked."""
        try:
            value = await self._redis.get(self._prefix + key)
        except RedisError as error:
            self._missed(error)
            return None
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, *, ttl_s: float = DAY_S) -> None:
        """Keep `value` for at most `ttl_s` seconds."""
        if ttl_s <= 0:
            return await self.delete(key)
        try:
            await self._redis.set(self._prefix + key, value, px=max(1, round(ttl_s * 1_000)))
        except RedisError as error:
            self._missed(error)

    async def delete(self, key: str) -> None:
        """Forget `key`."""
        try:
            await self._redis.delete(self._prefix + key)
        except RedisError as error:
            self._missed(error)

    async def take(self, key: str, *, limit: int, window_s: float) -> float:
        """Take one of `limit` tokens. Where Redis cannot be asked, each process counts by itself."""
        try:
            wait = await self._take(keys=[f"{self._prefix}bucket:{key}"], args=[window_s, window_s / limit])
        except RedisError as error:
            self._missed(error)
            return self._buckets.take(key, limit=limit, window_s=window_s)
        return float(wait)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _missed(self, error: RedisError) -> None:
        log.warning("cache_unreachable", error=type(error).__name__)


def open_cache(settings: StorageSettings, *, clock: Callable[[], float]) -> CacheService:
    """Return the cache that the settings ask for. Connects on first use."""
    url = settings.redis_url.get_secret_value()
    return RedisCache(url) if url else InProcessCache(clock=clock)
