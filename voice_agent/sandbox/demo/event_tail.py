"""Follows the event log of a call that is going on, as `tail -f` does.

The writer hands every line to the kernel at once, so a line is here a few milliseconds after its event. Only whole
lines are taken; a log that does not exist yet is an empty one.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from voice_agent.calls.event_log import LoggedEvent, parse_event_log
from voice_agent.pipeline.events import CallEnded

POLL_S = 0.05


class EventLogTail:
    """Reads what was added to a log since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._header = b""

    def read(self) -> tuple[LoggedEvent, ...]:
        """Return the new events, none where there is nothing new. Raises EventLogError for what is no event log.

        Their line numbers count from the last look.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return ()
        lines = content[: content.rfind(b"\n") + 1]
        self._offset += len(lines)
        if not self._header:
            header, feed, lines = lines.partition(b"\n")
            self._header = header + feed
        if not lines:
            return ()
        return parse_event_log(self._header + lines, name=str(self._path)).entries


async def follow(path: Path) -> AsyncIterator[tuple[LoggedEvent, ...]]:
    """Yield what is new in the log, also nothing, until the call has ended; raises EventLogError as `read` does."""
    tail = EventLogTail(path)
    while True:
        new = tail.read()
        yield new
        if new and isinstance(new[-1].event, CallEnded):
            return
        await asyncio.sleep(POLL_S)
