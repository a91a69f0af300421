"""Writes the event log of one call, through the spool.

A log is never short without saying so: once a line was refused nothing more is written, because a log with a gap
replays wrongly.
"""

from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from voice_agent.calls.event_log import EventLogHeader, encoded_header, encoded_line
from voice_agent.calls.spool import FileOutcome, Spool
from voice_agent.pipeline.actions import AnyAction
from voice_agent.pipeline.events import AnyEvent


class LineCopy(Protocol):
    """Who is given a copy of each line (`event_shipper`)."""

    def add(self, line: bytes) -> None:
        """Take a line that was handed to the spool, line feed included. Must not block."""
        ...

    def close(self) -> None:
        """No more lines follow."""
        ...


class EventLogWriter:
    """Writes one call's log. `record` takes microseconds and never blocks or raises."""

    def __init__(self, spool: Spool, path: Path, header: EventLogHeader, copy: LineCopy | None = None) -> None:
        self._file = spool.open(path)
        self._copy = copy
        self._is_closed = False
        self._offset = 0
        self._append(encoded_header(header))

    @property
    def is_truncated(self) -> bool:
        """Whether the log ends before the call does."""
        return self._file.is_truncated

    def record(self, event: AnyEvent, actions: tuple[AnyAction, ...]) -> None:
        """Add one event and what the machine decided on it."""
        if not self._file.is_truncated:
            self._append(encoded_line(event, actions))

    def close(self) -> "Future[FileOutcome]":
        """Write what is waiting and close. Safe to call twice."""
        if self._copy is not None and not self._is_closed:
            self._copy.close()
        self._is_closed = True
        return self._file.close()

    def _append(self, line: bytes) -> None:
        if self._file.write_at(self._offset, line):
            self._offset += len(line)
            if self._copy is not None:
                self._copy.add(line)
