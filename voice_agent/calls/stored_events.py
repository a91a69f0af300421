"""The event logs of a call that is to be resumed: from this machine's disk, and from the database.

A worker on the same machine finds whole files; another one finds what the event shipper has copied. Each media stream
is taken from where more of it is. Neither is waited for longer than a caller can be kept: without both, the call is
resumed with nothing remembered.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import repository
from voice_agent.calls.event_log import EventLog, parse_event_log, read_event_log
from voice_agent.calls.record import call_files, call_segments
from voice_agent.errors import DatabaseUnavailable, EventLogError
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ConversationEventRow

DATABASE_S = 1.0
"""The longest that the database is waited for."""

PAGE_LINES = 10_000
"""Asked for at a time."""

UNKNOWN_SEGMENT = 10
"""Number of a media stream where nobody can say how many there were: above any that was counted."""

log = structlog.get_logger(__name__)


class StoredCall(msgspec.Struct, frozen=True):
    """What is known of a call's media streams before the one that begins now."""

    logs: tuple[EventLog, ...]
    """In order."""

    next_segment: int


class StoredEvents:
    """Where the logs of calls are found again."""

    def __init__(self, data_dir: Path, database: Database | None = None) -> None:
        self._data_dir = data_dir
        self._database = database

    async def of_call(self, call_sid: str, *, is_resumed: bool) -> StoredCall:
        """Return what is stored of a call; the database is asked only where the call is known to be resumed."""
        folder = call_files(self._data_dir, call_sid).folder
        on_disk = await asyncio.to_thread(_read_folder, folder)
        if not is_resumed and not on_disk:
            return StoredCall((), 0)
        stored, resumptions = await self._ask_database(call_sid)
        segments = sorted(on_disk.keys() | stored.keys())
        logs = tuple(_longer(on_disk.get(segment), stored.get(segment)) for segment in segments)
        first = UNKNOWN_SEGMENT if resumptions is None else 1
        next_segment = segments[-1] + 1 if segments else first
        return StoredCall(logs, max(next_segment, resumptions or 0))

    async def _ask_database(self, call_sid: str) -> tuple[Mapping[int, EventLog], int | None]:
        """Return the logs by segment, and how often the call was resumed; None where the database does not answer."""
        if self._database is None:
            return {}, None
        try:
            async with asyncio.timeout(DATABASE_S), self._database.read() as session:
                call = await repository.by_sid(session, call_sid)
                if call is None:
                    return {}, None
                lines = [row async for row in _all_lines(session, call.id)]
            return await asyncio.to_thread(_by_segment, call_sid, lines), call.resumptions
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("stored_events_not_asked_for", call_sid=call_sid, error=type(error).__name__)
            return {}, None


async def _all_lines(session: AsyncSession, call_id: UUID) -> AsyncIterator[ConversationEventRow]:
    after = (-1, 0)
    while rows := await repository.event_lines(session, call_id, after=after, limit=PAGE_LINES):
        for row in rows:
            yield row
        after = (rows[-1].segment, rows[-1].line)


def _longer(one: EventLog | None, other: EventLog | None) -> EventLog:
    found = [each for each in (one, other) if each is not None]
    return max(found, key=lambda each: len(each.entries))


def _read_folder(folder: Path) -> dict[int, EventLog]:
    found: dict[int, EventLog] = {}
    for files in call_segments(folder):
        try:
            found[files.segment] = read_event_log(files.event_log)
        except EventLogError as error:
            log.warning("event_log_not_used", error=str(error))
    return found


def _by_segment(call_sid: str, rows: Sequence[ConversationEventRow]) -> dict[int, EventLog]:
    lines: dict[int, list[str]] = {}
    for row in rows:
        segment = lines.setdefault(row.segment, [])
        if row.line == len(segment) + 1:  # a log with a gap is used up to it
            segment.append(row.body)
    found: dict[int, EventLog] = {}
    for number, bodies in lines.items():
        try:
            found[number] = parse_event_log("".join(f"{body}\n" for body in bodies).encode(), name=call_sid)
        except EventLogError as error:
            log.warning("event_log_not_used", error=str(error))
    return found
