"""The carrier's own recordings: told of by its messages, fetched into our storage, deleted where they came from.

How it works
------------
1. What a message says is written down in the transaction that keeps the message (`note`): a complete recording is a
   pending row and the request for a job, one that the carrier does not have a failed row with the reason. Copies and
   other orders change nothing; a message that was parked says it when its call is known.
2. The job (`fetch`) brings the file to this machine's disk, looks at it, stores it and has it verified, and marks the
   row; then it deletes the carrier's copy, unless the settings keep that. Killed anywhere in between it does all of it
   again, under the same key. Twilio answers 404 for a while after it has told of a recording: the next try finds it.
3. Of a call that was erased nothing is stored, and the carrier's copy is deleted. The end of the job and an erasure
   wait for each other by the call's lock: whichever is second deletes.
4. Every hour (`check`) calls whose recording nobody has told of are asked for, and what was pending for a day has
   failed. None is silently missing (reliability.md G23).

Source: https://www.twilio.com/docs/voice/api/recording; protocols.md 2.5.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import recording_rows, repository
from voice_agent.calls.ports import Carrier, CarrierRecording
from voice_agent.calls.recording_files import (
    LARGEST_BYTES,
    TOLERATED_S,
    Sound,
    StoredSound,
    examine,
    peaks_key,
    sound_key,
    store_sound,
)
from voice_agent.calls.service import JobRequests
from voice_agent.errors import CarrierError, VoiceAgentError
from voice_agent.jobs.model import JobContext
from voice_agent.storage.database import Database
from voice_agent.storage.files import StorageService
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, RecordingRow

log = structlog.get_logger(__name__)

FETCH_RECORDING = "call.fetch_recording"
"""The job that fetches a `RecordingToFetch`."""

FETCH_S = 1_800.0
"""The longest that one try may take: two hours of sound are 230 MB."""

LEFTOVERS_S = 2 * FETCH_S
"""Files of a fetch that are older belong to a process that was killed."""

UNTOLD_S = 900.0
"""So long after a call's end its recording is asked for, where no message has told of it."""

UNTOLD_AT_MOST_S = 7 * 86_400.0
LOST_S = 86_400.0
"""After a day what is not there is given up: twice as long as the job is tried."""

FAILURES = {"absent": "the carrier has no sound of this call", "failed": "the carrier could not record this call"}
COMPLETED = "completed"


class RecordingToFetch(msgspec.Struct, frozen=True, kw_only=True):
    """A recording that is complete at the carrier."""

    org_id: UUID
    call_id: UUID
    recording_sid: str

    @property
    def key(self) -> str:
        """Where it is kept, without ending: the same for every try."""
        return f"recordings/{self.org_id}/{self.call_id}/{self.recording_sid.lower()}"


class CarrierRecordings:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        carrier: Carrier,
        storage: StorageService,
        jobs: JobRequests,
        *,
        data_dir: Path,
        keeps_copy: bool,
        clock: Callable[[], datetime],
    ) -> None:
        """`keeps_copy`: the carrier's copy stays there. `clock` returns the present in UTC."""
        self._database = database
        self._carrier = carrier
        self._storage = storage
        self._jobs = jobs
        self._folder = data_dir / "fetched"
        self._keeps_copy = keeps_copy
        self._clock = clock

    # --- what the carrier tells -------------------------------------------------------------------------------
    async def note(self, session: AsyncSession, call: CallRow, told: CarrierRecording) -> None:
        """Write down what became of a locked call's recording, and have it fetched where it is complete."""
        if told.status != COMPLETED and told.status not in FAILURES:
            return
        if call.erased_at is None and not await self._write_down(session, call, told):
            return
        if told.status == COMPLETED and told.recording_sid:
            wanted = RecordingToFetch(org_id=call.org_id, call_id=call.id, recording_sid=told.recording_sid)
            job_id = f"{FETCH_RECORDING}-{told.recording_sid}"
            await self._jobs.request(session, FETCH_RECORDING, wanted, job_id=job_id)

    async def _write_down(self, session: AsyncSession, call: CallRow, told: CarrierRecording) -> bool:
        """Have a row say what was told; return whether that is news."""
        row = (
            await recording_rows.of_carrier_sid(session, told.recording_sid)
            if told.recording_sid
            else await recording_rows.first_of_carrier(session, call.id)
        )
        if row is not None and row.call_id != call.id:
            log.warning("carrier_recording_of_another_call", call_id=str(call.id), recording_sid=told.recording_sid)
            return False
        reason = _reason(told)
        if row is None:
            row = RecordingRow(
                id=new_id(),
                org_id=call.org_id,
                call_id=call.id,
                kind="carrier",
                segment=await recording_rows.count_of_carrier(session, call.id),
                carrier_sid=told.recording_sid or None,
                created_at=self._clock(),
            )
            session.add(row)
        elif reason or row.state != "failed" or row.storage_key is not None:
            return False
        row.state, row.reason = ("failed" if reason else "pending"), reason
        row.duration_s, row.channels = told.duration_s, told.channels
        if not reason:
            wanted = RecordingToFetch(org_id=call.org_id, call_id=call.id, recording_sid=told.recording_sid)
            # Known before there is a file: what a try leaves behind that failed is deleted with the call.
            row.storage_key, row.peaks_key = sound_key(wanted.key), peaks_key(wanted.key)
        else:
            log.error("carrier_recording_failed", call_sid=call.call_sid, reason=reason)
        return True

    # --- the job ----------------------------------------------------------------------------------------------
    async def fetch(self, wanted: RecordingToFetch, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """Store a recording and delete the carrier's copy; what is done already is not done again.

        Raises what went wrong, for another try.
        """
        async with self._database.read() as session:
            row = await recording_rows.of_carrier_sid(session, wanted.recording_sid)
        if row is None:
            await self._forget(wanted)
            return
        if row.state != "stored":
            stored = await self._bring(wanted)
            if not await self._mark(wanted, stored):
                await self._forget(wanted)
                return
        if not self._keeps_copy:
            await self._carrier.delete_recording(wanted.recording_sid)

    async def _bring(self, wanted: RecordingToFetch) -> StoredSound:
        async with self._downloaded(wanted.recording_sid) as path:
            try:
                sound = await asyncio.to_thread(examine, path)
            except ValueError as error:
                raise CarrierError(f"what came is not the whole recording: {error}") from error
            return await store_sound(self._storage, wanted.key, path, sound)

    @asynccontextmanager
    async def _downloaded(self, recording_sid: str) -> AsyncIterator[Path]:
        """Have the carrier's file on this machine's disk for a while."""
        folder = await asyncio.to_thread(_new_folder, self._folder)
        try:
            path = folder / "recording.wav"
            size_bytes = 0
            with await asyncio.to_thread(path.open, "wb") as file:
                async with aclosing(self._carrier.download_recording(recording_sid)) as pieces:
                    async for piece in pieces:
                        size_bytes += len(piece)
                        if size_bytes > LARGEST_BYTES:
                            raise CarrierError("the recording is longer than any call")
                        await asyncio.to_thread(file.write, piece)
            yield path
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)

    async def _mark(self, wanted: RecordingToFetch, stored: StoredSound) -> bool:
        """Say that a recording is stored; False where its call was erased meanwhile."""
        async with self._database.write() as session:
            await repository.locked(session, wanted.call_id)
            row = await recording_rows.of_carrier_sid(session, wanted.recording_sid)
            if row is None:
                return False
            for name, value in stored.columns(_shortcoming(stored.sound, row.duration_s)).items():
                setattr(row, name, value)
        return True

    async def _forget(self, wanted: RecordingToFetch) -> None:
        """Leave nothing of a recording whose call was erased, here or at the carrier."""
        for key in (sound_key(wanted.key), peaks_key(wanted.key)):
            await self._storage.delete(key)
        await self._carrier.delete_recording(wanted.recording_sid)

    async def give_up(self, wanted: RecordingToFetch, error: Exception) -> None:
        """Have the row of a recording say that it is not tried any more, and why; a stored one stays stored."""
        said = str(error) if isinstance(error, VoiceAgentError) else type(error).__name__
        async with self._database.write() as session:
            row = await recording_rows.of_carrier_sid(session, wanted.recording_sid)
            is_lost = row is not None and row.state != "stored"
            if row is not None and is_lost:
                row.state, row.reason = "failed", f"it could not be fetched: {said}"[:200]
        event = "carrier_recording_lost" if is_lost else "carrier_copy_not_deleted"
        log.error(event, recording_sid=wanted.recording_sid, call_id=str(wanted.call_id), error=said)

    # --- what the carrier has ---------------------------------------------------------------------------------
    async def delete_copies(self, call_sid: str, recording_sids: tuple[str, ...]) -> None:
        """Delete recordings at the carrier, and whatever else it has of the call. Raises CarrierError."""
        unknown = () if not call_sid else await self._carrier.list_recordings(call_sid)
        for recording_sid in {*recording_sids, *(each.recording_sid for each in unknown)}:
            await self._carrier.delete_recording(recording_sid)

    async def check(self) -> None:
        """Look for recordings that nobody has told of, and give up those that never came."""
        now = self._clock()
        await self._give_up_pending(now - timedelta(seconds=LOST_S))
        ended_between = (now - timedelta(seconds=UNTOLD_AT_MOST_S), now - timedelta(seconds=UNTOLD_S))
        async with self._database.read() as session:
            calls = await repository.without_carrier_recording(session, *ended_between)
        for call in calls:
            await self._ask_for(call, is_over=call.ended_at is None or call.ended_at < now - timedelta(seconds=LOST_S))

    async def _give_up_pending(self, before: datetime) -> None:
        async with self._database.write() as session:
            for row in await recording_rows.pending_of_carrier(session, before):
                row.state, row.reason = "failed", "it was not fetched within a day"
                log.error("carrier_recording_lost", recording_sid=row.carrier_sid, call_id=str(row.call_id))

    async def _ask_for(self, call: CallRow, *, is_over: bool) -> None:
        """Ask the carrier what it has of a call; where it has nothing, and will not any more, say so."""
        call_sid = str(call.call_sid)
        try:
            found = await self._carrier.list_recordings(call_sid)
        except CarrierError as error:
            log.warning("carrier_recording_unknown", call_sid=call_sid, status=error.status)
            found = ()
        if not found and is_over:
            found = (CarrierRecording(recording_sid="", call_sid=call_sid, status="absent"),)
        async with self._database.write() as session:
            locked = await repository.locked(session, call.id)
            if locked is not None:
                for told in found:
                    await self.note(session, locked, told)


def _reason(told: CarrierRecording) -> str:
    """Say why there is nothing to fetch; empty where there is."""
    if told.status == COMPLETED:
        return "" if told.recording_sid else "the carrier did not say which recording it is"
    return FAILURES[told.status] + (f" (error {told.error_code})" if told.error_code else "")


def _shortcoming(sound: Sound, told_s: float | None) -> str:
    """Say what a recording lacks of the length that the carrier told; empty where it is whole."""
    if sound.duration_s is None or told_s is None or told_s - sound.duration_s <= TOLERATED_S:
        return ""
    return f"{told_s - sound.duration_s:.0f} s are missing of what the carrier told"


def _new_folder(parent: Path) -> Path:
    """Return a fresh folder, and delete those that killed processes have left."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for each in parent.iterdir():
        with suppress(FileNotFoundError):  # several processes may share the folder
            if time.time() - each.stat().st_mtime > LEFTOVERS_S:
                shutil.rmtree(each)
    return Path(tempfile.mkdtemp(dir=parent))
