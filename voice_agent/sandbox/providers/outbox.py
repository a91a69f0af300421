"""What a socket double will say, and when: one queue and one task for each connection, no timer for each message."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from heapq import heapify, heappop, heappush

import msgspec


class Outgoing(msgspec.Struct, order=True):
    """A message waiting for its moment; equal moments keep the order in which they were put."""

    due_s: float
    """When to send it, on the clock of `time.monotonic`."""
    number: int
    payload: bytes
    """The text of the message; empty for a close."""
    name: str = ""
    """What the journal calls it; empty: not worth a line."""
    key: str = ""
    """What `drop` finds it by."""
    audio_bytes: int = 0
    close_code: int = 0
    """Close the connection instead of sending."""
    is_last: bool = False
    """The answer to everything asked under `key`; `on_sent` hears of it."""


class Outbox:
    """Messages in the order of their moments, sent by `run`."""

    def __init__(self) -> None:
        self.on_last: Callable[[str], None] | None = None
        """Told the key of a message put with `is_last`, when it has been sent."""
        self._waiting: list[Outgoing] = []
        self._wake = asyncio.Event()
        self._count = 0

    def put(
        self,
        payload: bytes,
        *,
        name: str = "",
        due_s: float = 0.0,
        key: str = "",
        audio_bytes: int = 0,
        is_last: bool = False,
    ) -> None:
        """Send `payload` at `due_s`, at once by default."""
        self._push(Outgoing(due_s, self._next(), payload, name, key, audio_bytes, is_last=is_last))

    def close(self, code: int, *, due_s: float = 0.0) -> None:
        """Close the connection at `due_s`, after what was put for the same moment."""
        self._push(Outgoing(due_s, self._next(), b"", close_code=code))

    def drop(self, is_dropped: Callable[[Outgoing], bool]) -> None:
        """Forget the waiting messages for which `is_dropped` holds."""
        self._waiting = [message for message in self._waiting if not is_dropped(message)]
        heapify(self._waiting)

    async def run(self, transmit: Callable[[Outgoing], Awaitable[None]]) -> None:
        """Send each message when it is due, for as long as the connection lives."""
        loop = asyncio.get_running_loop()
        while True:
            wait_s = self._waiting[0].due_s - time.monotonic() if self._waiting else -1.0
            if self._waiting and wait_s <= 0:
                message = heappop(self._waiting)
                await transmit(message)
                if message.is_last and self.on_last is not None:
                    self.on_last(message.key)
                continue
            self._wake.clear()
            timer = loop.call_later(wait_s, self._wake.set) if self._waiting else None
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _push(self, message: Outgoing) -> None:
        heappush(self._waiting, message)
        if self._waiting[0] is message:
            self._wake.set()
