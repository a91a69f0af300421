"""What a call leaves on this machine's disk, brought to where everybody can see it: database and storage.

How it works
------------
The folder of a call is the job: it stays until everything in it is filed. Whoever held the call files it as soon as
its files are written and its end was meant, or the carrier says that it is over: within a second, one call after the
other, so that those that go on notice nothing. Every five seconds all folders are looked at, and whoever runs on this
machine takes up what a killed process has left; a lock on the folder keeps the others away. Filing a call, once
nobody holds it any more:

1. Transcript and timing of its turns are written to the database, from the files of each media stream, or from the
   event log where the process was killed before it wrote them; and from the log when the agent was first heard, when
   the disclosure had been, and when a machine had taken its message. Twice is once: rows are replaced.
2. Each recording is looked at (its outline, its levels), stored and verified; only then the copy on the disk goes.
3. A mark says that the folder is done.

A recording that is shorter than its call, or whose stream broke off, is flagged partial; one that is not there at all
becomes a failed one and is logged as an error: none is silently missing (F45-F47). While the database or the storage is
away the folder waits; the next look tries again.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import recording_rows, repository
from voice_agent.calls.event_log import EventLog, LoggedEvent, read_event_log
from voice_agent.calls.model import ACTIVE, CallState
from voice_agent.calls.record import CallFiles, LatencyReport, call_segments
from voice_agent.calls.recorder import HEADER_BYTES, wav_header
from voice_agent.calls.recording_files import TOLERATED_S, Sound, examine, store_sound
from voice_agent.calls.transcript import AgentSaid, AnyEntry, Transcript, details_of, text_of, transcript_of
from voice_agent.errors import DatabaseUnavailable, EventLogError, StorageError
from voice_agent.pipeline.events import CallEnded
from voice_agent.pipeline.latency import LatencyTracker, TurnLatency
from voice_agent.storage.database import Database
from voice_agent.storage.files import StorageService
from voice_agent.storage.ids import new_id
from voice_agent.storage.storable import storable
from voice_agent.storage.tables import CallRow, RecordingRow, TranscriptEntryRow, TurnLatencyRow

log = structlog.get_logger(__name__)

LOOK_S = 5.0
"""Between two looks for folders that are not filed."""

AGAIN_S = (0.25, 0.5, 1.0, 2.0)
"""Between looks at a call that has just ended here and may still come back, as long as the carrier has not told of its
end. Afterwards it is one of all."""

MARK = ".filed"
LOCK = ".filing"
FRAME_BYTES = 4
"""Of the recording: two channels, 16 bits."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """What one media stream of a call has left."""

    files: CallFiles
    log: EventLog
    entries: tuple[AnyEntry, ...]
    turns: tuple[TurnLatency, ...]

    @property
    def length_s(self) -> float:
        """Until the last thing that happened in it."""
        return self.log.entries[-1].event.at if self.log.entries else 0.0


class _Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A call that has just ended here."""

    due_at: float
    """When to look at it, on the event loop's clock."""

    tries: int = 0
    """How often that was in vain."""


class CallFiling:
    """Files the calls of this machine. One for a process; of several that look at a folder one has it."""

    def __init__(
        self,
        database: Database,
        storage: StorageService,
        data_dir: Path,
        *,
        worker: str,
        is_live: Callable[[str], bool],
    ) -> None:
        """`worker` is this process as leases name it.

        `is_live(call_sid)` tells whether this process holds a call, or its files are still at work.
        """
        self._database = database
        self._storage = storage
        self._folder = data_dir / "calls"
        self._worker = worker
        self._is_live = is_live
        self._ended: dict[str, _Ended] = {}
        """Calls that have just ended here."""
        self._has_ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="filing")

    async def close(self) -> None:
        """Stop; what is not filed is taken up at the next start. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def note_end(self, call_sid: str) -> None:
        """File this call soon: its files are complete. Never blocks."""
        self._ended[call_sid] = _Ended(due_at=asyncio.get_running_loop().time())
        self._has_ended.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while True:
            if loop.time() >= look_at:
                await self.look()
                look_at = loop.time() + LOOK_S
            await self.look_at_ended()
            await self._wait(min([look_at, *(each.due_at for each in self._ended.values())]))

    async def _wait(self, until: float) -> None:
        """Return at a moment of the event loop's clock, or when a call has ended."""
        try:
            async with asyncio.timeout_at(until):
                await self._has_ended.wait()
        except TimeoutError:
            pass
        self._has_ended.clear()

    async def look(self) -> int:
        """File every call that is over; return how many were filed."""
        folders = await asyncio.to_thread(_unfiled, self._folder)
        return sum([await self._try(folder) == "filed" for folder in folders])

    async def look_at_ended(self) -> int:
        """File the calls that have just ended here and are over; return how many were filed."""
        now, filed = asyncio.get_running_loop().time(), 0
        for call_sid, ended in tuple(self._ended.items()):
            if ended.due_at > now:
                continue
            del self._ended[call_sid]
            folder = self._folder / call_sid
            if not await asyncio.to_thread(_is_unfiled, folder):
                continue
            attempt = await self._try(folder)
            filed += attempt == "filed"
            if attempt == "too early" and ended.tries < len(AGAIN_S):
                again = _Ended(due_at=now + AGAIN_S[ended.tries], tries=ended.tries + 1)
                self._ended.setdefault(call_sid, again)
        return filed

    async def _try(self, folder: Path) -> Literal["filed", "too early", "failed"]:
        if self._is_live(folder.name):
            return "too early"
        try:
            return "filed" if await self.file(folder) else "too early"
        except (DatabaseUnavailable, StorageError) as error:
            log.warning("filing_waits", call_sid=folder.name, error=str(error))
        except (OSError, EventLogError) as error:
            log.error("filing_failed", call_sid=folder.name, error=str(error))
        return "failed"

    async def file(self, folder: Path) -> bool:
        """File one call; False where it has to wait: nobody knows it yet, or another process holds it."""
        async with self._database.read() as session:
            call = await repository.by_sid(session, folder.name)
        if call is None or self._is_held(call):
            return False
        if call.erased_at is not None:
            await asyncio.to_thread(shutil.rmtree, folder)
            return True
        with _claimed(folder) as is_ours:
            if not is_ours or (folder / MARK).exists():
                return False
            segments = await asyncio.to_thread(_segments, folder)
            async with self._database.write() as session:
                await _write_rows(session, call, segments)
            for segment in segments:
                if segment.log.header.is_recorded:
                    await self._store(call, segment)
            await asyncio.to_thread((folder / MARK).touch)
        return True

    def _is_held(self, call: CallRow) -> bool:
        """Whether the call may go on, or another process may still be writing its files."""
        if call.lease_until is None or call.lease_until <= datetime.now(UTC):
            return False
        if call.worker != self._worker:
            return True
        # Ours, and over here: its line may have been lost, and come back to any process.
        return CallState(call.state) in ACTIVE and not call.is_ended_by_us

    async def _store(self, call: CallRow, segment: Segment) -> None:
        path = segment.files.recording
        recording = await self._recording(call, segment)
        if recording is None or recording.state == "stored":
            return
        if not await asyncio.to_thread(path.is_file):
            log.error("recording_missing", call_sid=call.call_sid, segment=segment.files.segment)
            await self._note(recording, state="failed", is_partial=True, reason="the file is not there")
            return
        sound = await asyncio.to_thread(_examine, path)
        key = f"recordings/{call.org_id}/{call.id}/{segment.files.segment}"
        stored = await store_sound(self._storage, key, path, sound)
        if not await self._note(recording, **stored.columns(_shortcoming(segment, sound.duration_s or 0.0))):
            for stored_key in stored.keys:
                await self._storage.delete(stored_key)
        await asyncio.to_thread(path.unlink)

    async def _recording(self, call: CallRow, segment: Segment) -> RecordingRow | None:
        """Return the recording's row, made where there is none yet; None where the call was erased meanwhile."""
        number = segment.files.segment
        async with self._database.write() as session:
            known = await repository.locked(session, call.id)
            if known is None or known.erased_at is not None:
                return None
            row = await recording_rows.of_stream(session, call.id, number)
            if row is None:
                row = RecordingRow(
                    id=new_id(),
                    org_id=call.org_id,
                    call_id=call.id,
                    kind="stream",
                    segment=number,
                    state="pending",
                    local_path=str(segment.files.recording),
                    created_at=datetime.now(UTC),
                )
                session.add(row)
        return row

    async def _note(self, recording: RecordingRow, **columns: Any) -> bool:
        """Change a recording's row; False where its call was erased meanwhile."""
        async with self._database.write() as session:
            await repository.locked(session, recording.call_id)
            row = await session.get(RecordingRow, recording.id)
            for name, value in columns.items() if row is not None else ():
                setattr(row, name, value)
        return row is not None


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Have a folder for oneself among the processes of this machine; gives False where another one has it.

    The kernel keeps the lock, and lets it go where its holder is killed.
    """
    descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        yield _is_locked(descriptor)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unfiled(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    return [each for each in found if _is_unfiled(each)]


def _is_unfiled(folder: Path) -> bool:
    return folder.is_dir() and not (folder / MARK).exists() and bool(call_segments(folder))


def _segments(folder: Path) -> list[Segment]:
    return [_segment(files) for files in call_segments(folder)]


def _segment(files: CallFiles) -> Segment:
    """Read what a media stream has left; what a killed process did not write is made from its event log."""
    events = read_event_log(files.event_log)
    try:
        entries = msgspec.json.decode(files.transcript.read_bytes(), type=Transcript).entries
    except (OSError, msgspec.DecodeError):
        entries = transcript_of(_ended(events)).entries
    try:
        turns = msgspec.json.decode(files.latency.read_bytes(), type=LatencyReport).turns
    except (OSError, msgspec.DecodeError):
        turns = _timed(events)
    return Segment(files=files, log=events, entries=entries, turns=turns)


def _ended(events: EventLog) -> EventLog:
    """Return the log as if the call had ended where the log does: the caller's last words belong to it."""
    if events.is_complete or not events.entries:
        return events
    last = events.entries[-1]
    end = LoggedEvent(last.line + 1, CallEnded(at=last.event.at, reason="lost"), ())
    return msgspec.structs.replace(events, entries=(*events.entries, end))


def _timed(events: EventLog) -> tuple[TurnLatency, ...]:
    tracker = LatencyTracker()
    for entry in events.entries:
        tracker.observe(entry.event, entry.actions)
    return tracker.turns


# --- rows -------------------------------------------------------------------------------------------------------
async def _write_rows(session: AsyncSession, call: CallRow, segments: Sequence[Segment]) -> None:
    """Replace the call's transcript and timing; nothing of a call that was erased meanwhile comes back."""
    row = await repository.locked(session, call.id)
    if row is None or row.erased_at is not None or not segments:
        return
    await repository.delete_transcript(session, call.id)
    began = segments[0].log.header.started_at
    entries = [
        _entry_row(call, entry, (segment.log.header.started_at - began).total_seconds())
        for segment in segments
        for entry in segment.entries
    ]
    for n, entry in enumerate(entries):
        entry.n = n
    session.add_all(entries)
    session.add_all(_turn_rows(call, segments))
    logs = [segment.log for segment in segments]
    # Streams of the same call may have been filed elsewhere: each happened once, and that was the first time.
    row.disclosed_at = _first(row.disclosed_at, (log.disclosed_at for log in logs))
    row.first_audio_at = _first(row.first_audio_at, (log.first_audio_at for log in logs))
    row.message_left_at = _first(row.message_left_at, (log.message_left_at for log in logs))


def _first(known: datetime | None, moments: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in (known, *moments) if moment is not None), default=None)


def _entry_row(call: CallRow, entry: AnyEntry, offset_s: float) -> TranscriptEntryRow:
    return TranscriptEntryRow(
        call_id=call.id,
        org_id=call.org_id,
        kind=str(type(entry).__struct_config__.tag),
        started_at=round(entry.started_at + offset_s, 3),
        ended_at=round(entry.ended_at + offset_s, 3),
        turn=getattr(entry, "turn", None),
        text=storable(text_of(entry)),
        heard=storable(entry.heard) if isinstance(entry, AgentSaid) and entry.heard is not None else None,
        is_interrupted=isinstance(entry, AgentSaid) and entry.is_interrupted,
        details=details_of(entry),
    )


def _turn_rows(call: CallRow, segments: Sequence[Segment]) -> Iterator[TurnLatencyRow]:
    for segment in segments:
        for turn in segment.turns:
            yield TurnLatencyRow(
                call_id=call.id,
                org_id=call.org_id,
                segment=segment.files.segment,
                turn=turn.turn,
                voice_to_voice_ms=turn.voice_to_voice_ms,
                parts=turn.parts,
            )


# --- recordings ---------------------------------------------------------------------------------------------------
def _examine(path: Path) -> Sound:
    """Mend the header of a recording whose process was killed; return what is in it."""
    frames = max(0, path.stat().st_size - HEADER_BYTES) // FRAME_BYTES
    with path.open("r+b") as file:
        if file.read(HEADER_BYTES) != wav_header(frames):
            file.seek(0)
            file.write(wav_header(frames))
            file.truncate(HEADER_BYTES + frames * FRAME_BYTES)
    return examine(path)


def _shortcoming(segment: Segment, duration_s: float) -> str:
    """Say what a recording lacks; empty where it is whole."""
    if not segment.log.is_complete:
        return "the process that recorded was ended"
    missing_s = segment.length_s - duration_s
    return f"the last {missing_s:.0f} s were not recorded" if missing_s > TOLERATED_S else ""
