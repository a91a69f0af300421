"""The event bus: what happens in live calls, for whoever watches them now. In one process here, in many by `redis_bus`.

It is not where anything is kept: what counts is in the database, and who has missed something is told so (`is_gap`)
and reads it there. A topic's newest events are kept for a while, so that a console whose line was lost for a moment
goes on where it was. Publishing never waits and never fails; who listens too slowly is dropped, not waited for.
"""

import asyncio
import re
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from typing import Protocol, Self

import msgspec

KEPT = 10_000
"""Events of a topic, the newest ones."""

KEPT_IN_PROCESS = 100_000
"""Events of all topics together; topics in which nothing has happened for longest leave first."""

BACKLOG = 2_000
"""Events that a subscriber may be behind. A call has some ten a second."""

NOTHING_SEEN: Mapping[str, str] = {}

_SEQUENCE = re.compile(r"[0-9]{14}-[0-9]{10}")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has happened, or the word that something has been missed."""

    topic: str
    sequence: str = ""
    """Where it stands in its topic: strings compare as the events follow each other. Empty for a gap."""

    body: bytes = b""
    is_gap: bool = False
    """Events of the topic before this place have been lost to the subscriber."""


def sequence_of(milliseconds: int, number: int) -> str:
    """Return the sequence of the event `number` of a millisecond since 1970."""
    return f"{milliseconds:014d}-{number:010d}"


def is_sequence(text: str) -> bool:
    """Tell whether a text has the form of a sequence."""
    return _SEQUENCE.fullmatch(text) is not None


class Subscription:
    """Iterate over it: the events of its topics, each topic in order. One consumer.

    The iteration ends where the subscriber has fallen too far behind (`is_overrun`); otherwise never.
    """

    def __init__(self, backlog: int = BACKLOG) -> None:
        self._waiting: deque[Event] = deque()
        self._most = backlog
        self._last: dict[str, str] = {}
        self._arrived = asyncio.Event()
        self.is_overrun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting and not self.is_overrun:
            self._arrived.clear()
            await self._arrived.wait()
        if self.is_overrun:
            raise StopAsyncIteration
        return self._waiting.popleft()

    def replay(self, events: Iterable[Event]) -> None:
        """Take what it has missed and what is still kept; that does not count as being behind."""
        before = len(self._waiting)
        for event in events:
            self._append(event)
        self._most += len(self._waiting) - before

    def take(self, event: Event) -> None:
        """Take what has just happened; what it has had already is left out."""
        if self.is_overrun:
            return
        self._append(event)
        if len(self._waiting) > self._most:
            self.is_overrun = True
            self._waiting.clear()

    def _append(self, event: Event) -> None:
        if not event.is_gap:
            if event.sequence <= self._last.get(event.topic, ""):
                return
            self._last[event.topic] = event.sequence
        self._waiting.append(event)
        self._arrived.set()


class EventBus(Protocol):
    """Topics that anybody publishes to and anybody subscribes to. `open` it first, `close` it at the end."""

    async def open(self) -> None:
        """Begin. Never fails: what cannot be reached is waited for in the background."""
        ...

    async def close(self) -> None:
        """End. Safe to call twice."""
        ...

    def publish(self, topic: str, body: bytes) -> None:
        """Tell everybody who is subscribed to `topic`. Never waits and never fails."""
        ...

    def subscribe(
        self, topics: Iterable[str], *, since: Mapping[str, str] = NOTHING_SEEN
    ) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe for as long as the context is open: to what is published from its beginning on.

        `since` gives, by topic, the sequence of the last event already seen: what followed is given first. Where that
        event is not kept any more, an event with `is_gap` comes in its place, and then what is kept.
        """
        ...


class InProcessBus:
    """The default: for what happens in this process."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        kept: int = KEPT,
        kept_together: int = KEPT_IN_PROCESS,
        backlog: int = BACKLOG,
    ) -> None:
        self._clock = clock
        self._kept = kept
        self._kept_together = kept_together
        self._backlog = backlog
        self._topics: OrderedDict[str, deque[Event]] = OrderedDict()
        self._size = 0
        self._last = (0, 0)
        self._subscribers: dict[str, set[Subscription]] = {}

    async def open(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Forget everything."""
        self._topics.clear()
        self._size = 0

    def publish(self, topic: str, body: bytes) -> None:
        """Tell everybody who is subscribed to `topic`."""
        event = Event(topic=topic, sequence=self._next_sequence(), body=body)
        self._keep(event)
        for subscriber in self._subscribers.get(topic, ()):
            subscriber.take(event)

    @asynccontextmanager
    async def subscribe(
        self, topics: Iterable[str], *, since: Mapping[str, str] = NOTHING_SEEN
    ) -> AsyncIterator[Subscription]:
        """Subscribe for as long as the context is open."""
        subscription, wanted = Subscription(self._backlog), tuple(dict.fromkeys(topics))
        for topic in wanted:
            if topic in since:
                subscription.replay(self._since(topic, since[topic]))
            self._subscribers.setdefault(topic, set()).add(subscription)
        try:
            yield subscription
        finally:
            for topic in wanted:
                self._subscribers[topic].discard(subscription)
                if not self._subscribers[topic]:
                    del self._subscribers[topic]

    def _next_sequence(self) -> str:
        now, (before, number) = int(self._clock() * 1_000), self._last
        self._last = (now, 0) if now > before else (before, number + 1)
        return sequence_of(*self._last)

    def _keep(self, event: Event) -> None:
        events = self._topics.setdefault(event.topic, deque(maxlen=self._kept))
        self._size += len(events) < self._kept
        events.append(event)
        self._topics.move_to_end(event.topic)
        while self._size > self._kept_together and len(self._topics) > 1:
            self._size -= len(self._topics.popitem(last=False)[1])

    def _since(self, name: str, sequence: str) -> Iterable[Event]:
        events = self._topics.get(name, deque())
        for index, event in enumerate(events):
            if event.sequence == sequence:
                return islice(events, index + 1, None)
        return [Event(topic=name, is_gap=True), *events]
