"""The event bus between processes: one Redis stream for each topic (https://redis.io/docs/latest/develop/data-types/streams/).

How it works: `publish` puts into a queue in memory; one task sends what is there, a batch in one transaction. Another
task reads all topics that this process has subscribers for, in one blocking XREAD; a stream of its own wakes it for
new topics. Redis being away stops neither: the queue drops its oldest, both tasks try again, and topics whose last
event is not there any more afterwards get a gap (F44). A batch whose fate is unclear is sent again: an event may come
twice.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from voice_agent.settings import StorageSettings
from voice_agent.storage.bus import (
    BACKLOG,
    KEPT,
    NOTHING_SEEN,
    Event,
    EventBus,
    InProcessBus,
    Subscription,
    is_sequence,
    sequence_of,
)

log = structlog.get_logger(__name__)

KEPT_S = 86_400
"""A topic in which nothing happens for a day is forgotten."""

QUEUE = 10_000
"""Events that wait for Redis: ten seconds of 100 busy calls."""

BATCH = 200
RETRY_S = 0.5
BLOCK_MS = 2_000
"""How long one read waits for news."""

ANSWER_S = 2.0
"""The longest that Redis may take for anything but waiting for news."""

CANCEL_S = 0.2
"""redis-py waits by `asyncio.wait_for`, which Python 3.11 may let pass over a cancellation: asked again after this."""

_START = "0-0"

_Entry = tuple[bytes, dict[bytes, bytes]]


class _Feed:
    """A topic that is read here: up to where, and for whom."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        """Redis' own id of the last entry read; None until Redis has been asked for it."""

        self.is_blind = False
        """Whether somebody subscribed while Redis could not be asked."""

        self.subscribers: set[_Subscriber] = set()

    def give(self, event: Event) -> None:
        for subscriber in self.subscribers:
            subscriber.take(event)


class _Subscriber:
    """A subscription, which holds back what comes while it is still told what it has missed."""

    def __init__(self, backlog: int) -> None:
        self.subscription = Subscription(backlog)
        self._held: dict[str, list[Event]] = {}

    def hold(self, topic: str) -> None:
        self._held[topic] = []

    def release(self, topic: str) -> None:
        for event in self._held.pop(topic):
            self.subscription.take(event)

    def take(self, event: Event) -> None:
        if event.topic in self._held:
            self._held[event.topic].append(event)
        else:
            self.subscription.take(event)


class RedisBus:
    """For several processes that share a Redis."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "voice-agent:events:",
        kept: int = KEPT,
        queue: int = QUEUE,
        backlog: int = BACKLOG,
    ) -> None:
        self._sending = _client(url, ANSWER_S)
        self._reading = _client(url, ANSWER_S + BLOCK_MS / 1_000)
        self._prefix = prefix
        self._kept = kept
        self._backlog = backlog
        self._queue: deque[tuple[str, bytes]] = deque(maxlen=queue)
        self._has_work = asyncio.Event()
        self._feeds: dict[str, _Feed] = {}
        self._sender: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._wake = f"{prefix}wake:{uuid4().hex}"
        """A topic of this process alone, by which the reader is told of new topics."""

        self._woken = _START
        self._is_closed = False
        self._is_away = False
        self._is_doubtful = False
        """Whether Redis was away, and may have forgotten what was read last."""

        self.dropped = 0
        """Events that nobody was told of, because Redis was away for too long."""

    async def open(self) -> None:
        """Begin to send."""
        self._sender = asyncio.create_task(self._send_for_good(), name="bus-sender")

    async def close(self) -> None:
        """End; what is still in the queue is dropped."""
        self._is_closed = True
        for task in (self._sender, self._reader):
            while task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=CANCEL_S)
        self._sender = self._reader = None
        await self._sending.aclose()
        await self._reading.aclose()

    # --- publishing -------------------------------------------------------------------------------------------
    def publish(self, topic: str, body: bytes) -> None:
        """Tell everybody who is subscribed to `topic`, in whatever process."""
        self.dropped += len(self._queue) == self._queue.maxlen
        self._queue.append((topic, body))
        self._has_work.set()

    async def _send_for_good(self) -> None:
        while not self._is_closed:
            await self._has_work.wait()
            self._has_work.clear()
            while self._queue and not self._is_closed:
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                if not await self._send(batch):
                    self._put_back(batch)
                    await asyncio.sleep(RETRY_S)

    async def _send(self, batch: list[tuple[str, bytes]]) -> bool:
        pipeline = self._sending.pipeline(transaction=True)
        for topic, body in batch:
            pipeline.xadd(self._prefix + topic, {b"b": body}, maxlen=self._kept, approximate=True)
        for topic in {topic for topic, _ in batch}:
            pipeline.expire(self._prefix + topic, KEPT_S)
        try:
            await pipeline.execute()
        except RedisError as error:
            self._lost(error)
            return False
        self._found()
        return True

    def _put_back(self, batch: list[tuple[str, bytes]]) -> None:
        """Put what could not be sent before what has come since; the oldest leaves where there is no room."""
        room = (self._queue.maxlen or 0) - len(self._queue)
        self.dropped += max(0, len(batch) - room)
        self._queue.extendleft(reversed(batch[max(0, len(batch) - room) :]))

    # --- subscribing ------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def subscribe(
        self, topics: Iterable[str], *, since: Mapping[str, str] = NOTHING_SEEN
    ) -> AsyncIterator[Subscription]:
        """Subscribe for as long as the context is open. Where Redis is away, each topic begins with a gap."""
        subscriber, wanted = _Subscriber(self._backlog), tuple(dict.fromkeys(topics))
        for topic in wanted:
            subscriber.hold(topic)
            self._feeds.setdefault(topic, _Feed()).subscribers.add(subscriber)
        try:
            for topic in wanted:
                await self._begin(topic, subscriber, since.get(topic))
            await self._read_on()
            yield subscriber.subscription
        finally:
            for topic in wanted:
                self._feeds[topic].subscribers.discard(subscriber)
                if not self._feeds[topic].subscribers:
                    del self._feeds[topic]

    async def _begin(self, topic: str, subscriber: _Subscriber, since: str | None) -> None:
        feed, missed = self._feeds[topic], [Event(topic=topic, is_gap=True)]
        try:
            if since is None:
                cursor, missed = await self._newest(topic), []
            else:
                cursor, missed = await self._missed(topic, since)
            feed.cursor = feed.cursor or cursor
        except RedisError as error:
            feed.is_blind = True
            self._lost(error)
        subscriber.subscription.replay(missed)
        subscriber.release(topic)

    async def _newest(self, topic: str) -> str:
        entries: Any = await self._sending.xrevrange(self._prefix + topic, count=1)
        return _id(entries[0]) if entries else _START

    async def _kept_from(self, topic: str, start: str) -> list[_Entry]:
        entries: Any = await self._sending.xrange(self._prefix + topic, min=start)
        return list(entries)

    async def _missed(self, topic: str, since: str) -> tuple[str, list[Event]]:
        """Return the id of the last event of a topic, and what followed the one that was seen last."""
        entries = await self._kept_from(topic, _id_of(since) if is_sequence(since) else _START)
        if entries and _event(topic, entries[0]).sequence == since:
            return _id(entries[-1]), [_event(topic, entry) for entry in entries[1:]]
        entries = await self._kept_from(topic, _START)
        gap = Event(topic=topic, is_gap=True)
        return _id(entries[-1]) if entries else _START, [gap, *(_event(topic, entry) for entry in entries)]

    # --- reading ----------------------------------------------------------------------------------------------
    async def _read_on(self) -> None:
        """Let the reader know of new topics. It is not cancelled for that: its library can miss being cancelled."""
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_for_good(), name="bus-reader")
            return
        pipeline = self._sending.pipeline(transaction=True)
        pipeline.xadd(self._wake, {b"b": b""}, maxlen=1, approximate=False)
        pipeline.expire(self._wake, KEPT_S)
        try:
            await pipeline.execute()
        except RedisError as error:
            self._lost(error)

    async def _read_for_good(self) -> None:
        while self._feeds and not self._is_closed:
            try:
                if self._is_doubtful:
                    await self._find_again()
                await self._read()
                self._found()
            except RedisError as error:
                self._lost(error)
                await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        streams: dict[Any, Any] = {
            self._prefix + topic: feed.cursor for topic, feed in self._feeds.items() if feed.cursor is not None
        }
        streams[self._wake] = self._woken
        answer: Any = await self._reading.xread(streams, count=BATCH, block=BLOCK_MS)
        for name, entries in dict(answer or ()).items():
            if name.decode() == self._wake:
                self._woken = _id(entries[-1])
                continue
            topic = name.decode().removeprefix(self._prefix)
            # Whoever is a whole batch behind may be so far behind that Redis has dropped what comes next.
            is_far_behind = len(entries) == BATCH and not await self._has(topic, streams[self._prefix + topic])
            if feed := self._feeds.get(topic):
                if is_far_behind:
                    feed.give(Event(topic=topic, is_gap=True))
                for entry in entries:
                    feed.give(_event(topic, entry))
                feed.cursor = _id(entries[-1])

    async def _find_again(self) -> None:
        """After Redis was away: tell the subscribers of topics of which something may have been missed."""
        for topic, feed in list(self._feeds.items()):
            if feed.is_blind:
                feed.cursor, feed.is_blind = await self._newest(topic), False
                feed.give(Event(topic=topic, is_gap=True))
            elif feed.cursor is not None and not await self._has(topic, feed.cursor):
                feed.cursor = _START
                feed.give(Event(topic=topic, is_gap=True))
        self._is_doubtful = False

    async def _has(self, topic: str, id_: str) -> bool:
        return id_ == _START or bool(await self._sending.xrange(self._prefix + topic, min=id_, max=id_))

    # --- Redis being away -------------------------------------------------------------------------------------
    def _lost(self, error: RedisError) -> None:
        self._is_doubtful = True
        if not self._is_away:
            self._is_away = True
            log.warning("bus_unreachable", error=type(error).__name__)

    def _found(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("bus_reachable", dropped=self.dropped)


def _client(url: str, timeout_s: float) -> Redis:
    # No retries of the library's own: it would repeat what may have been done.
    retry = Retry(NoBackoff(), 0)
    client: Redis = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=ANSWER_S, retry=retry)
    return client


def _id(entry: _Entry) -> str:
    return entry[0].decode()


def _event(topic: str, entry: _Entry) -> Event:
    milliseconds, _, number = _id(entry).partition("-")
    return Event(topic=topic, sequence=sequence_of(int(milliseconds), int(number)), body=entry[1][b"b"])


def _id_of(sequence: str) -> str:
    milliseconds, _, number = sequence.partition("-")
    return f"{int(milliseconds)}-{int(number)}"


def open_bus(settings: StorageSettings) -> EventBus:
    """Return the bus that the settings ask for; `open` it."""
    url = settings.redis_url.get_secret_value()
    return RedisBus(url) if url else InProcessBus()
