"""The carrier's own recordings, on SQLite and on Postgres: told of, fetched, deleted where they came from."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.calls.sounds import a_wav
from tests.calls.stored_calls import NOW, POLICY, SID, OneAgent, a_stored_call
from tests.fakes.carrier import FakeCarrier
from tests.jobs.world import AT_ONCE, new_jobs, running, until_idle
from voice_agent.calls import erasure, repository
from voice_agent.calls.carrier_recordings import (
    FETCH_RECORDING,
    LEFTOVERS_S,
    LOST_S,
    UNTOLD_S,
    CarrierRecordings,
    RecordingToFetch,
)
from voice_agent.calls.model import CarrierReport
from voice_agent.calls.ports import CarrierRecording
from voice_agent.calls.processor import CallProcessor, Receipt
from voice_agent.errors import CarrierError, StorageError
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.files import LinkOffice, LocalStorage, StoredFile
from voice_agent.storage.tables import CallRow, JobRow, RecordingRow

RE = "RE" + "a" * 32
CONTEXT = JobContext(job_id="1", kind=FETCH_RECORDING, tries=1, is_last=False)


class WatchedStorage(LocalStorage):
    """A folder that is away as often as it is told to, and lets a test do something once a file is there."""

    failures = 0
    erase: CallRow | None = None
    database: Database

    async def put_file(self, key: str, path: Path, *, content_type: str) -> StoredFile:
        if self.failures:
            self.failures -= 1
            raise StorageError("away")
        stored = await super().put_file(key, path, content_type=content_type)
        if self.erase is not None:
            call, self.erase = self.erase, None
            async with self.database.write() as session:
                await erasure.erase(session, await session.get_one(CallRow, call.id), now=NOW)
        return stored


class World:
    """A processor whose messages about recordings are written down, and who fetches them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.carrier = FakeCarrier()
        self.storage = WatchedStorage(folder / "files", LinkOffice(b"s" * 32, "http://t"))
        self.storage.database = database
        self.data_dir = folder / "data"
        self.now = NOW
        self.recordings = self.fetching()
        self.processor = CallProcessor(
            database, self.carrier, OneAgent(), policy=POLICY, on_recording=self.recordings.note
        )

    def fetching(self, *, keeps_copy: bool = False) -> CarrierRecordings:
        return CarrierRecordings(
            self.database,
            self.carrier,
            self.storage,
            JobOutbox(),
            data_dir=self.data_dir,
            keeps_copy=keeps_copy,
            clock=lambda: self.now,
        )

    async def row(self) -> RecordingRow:
        (row,) = await self.rows()
        return row

    async def rows(self) -> list[RecordingRow]:
        async with self.database.read() as session:
            return list((await session.scalars(select(RecordingRow).order_by(RecordingRow.segment))).all())

    async def jobs(self) -> list[JobRow]:
        async with self.database.read() as session:
            return list((await session.scalars(select(JobRow))).all())

    async def erase(self, call: CallRow) -> erasure.ErasedFiles:
        async with self.database.write() as session:
            return await erasure.erase(session, await session.get_one(CallRow, call.id), now=NOW)

    async def told_and_there(self, content: bytes | None = None) -> tuple[CallRow, RecordingToFetch]:
        """Return a call whose recording is complete at the carrier, and what is to be fetched."""
        call = await a_stored_call(self.database, state="ended", call_sid=SID)
        await self.processor.take(receipt())
        self.carrier.recordings[RE] = a_wav() if content is None else content
        return call, RecordingToFetch(org_id=call.org_id, call_id=call.id, recording_sid=RE)

    def files(self) -> list[str]:
        folder = self.data_dir.parent / "files"
        return sorted(path.name for path in folder.rglob("*") if path.is_file())

    def temporary(self) -> list[Path]:
        return list((self.data_dir / "fetched").iterdir())


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    world = World(database, tmp_path)
    yield world
    await world.processor.close()


def receipt(status: str = "completed", *, mark: str = "1", sid: str = RE, error_code: int = 0) -> Receipt:
    told = CarrierRecording(
        recording_sid=sid, call_sid=SID, status=status, duration_s=5, channels=2, error_code=error_code
    )
    return Receipt(
        source="recording", call_sid=SID, dedupe_key=mark, event=status, report=CarrierReport(), payload={},
        received_at=NOW, recording=told,
    )  # fmt: skip


# --- what the carrier tells ---------------------------------------------------------------------------------------
async def test_a_complete_recording_is_a_pending_row_and_one_job(world: World) -> None:
    call = await a_stored_call(world.database, state="ended", call_sid=SID)
    await world.processor.take(receipt("in-progress", mark="0"))
    assert await world.rows() == []
    await world.processor.take(receipt())

    row = await world.row()
    assert (row.kind, row.state, row.carrier_sid, row.call_id) == ("carrier", "pending", RE, call.id)
    assert (row.duration_s, row.channels, row.segment) == (5.0, 2, 0)
    (job,) = await world.jobs()
    assert (job.id, job.kind) == (f"call.fetch_recording-{RE}", "call.fetch_recording")
    assert job.payload == {"org_id": str(call.org_id), "call_id": str(call.id), "recording_sid": RE}


async def test_f20_ten_copies_at_once_and_others_later_are_one_recording(world: World) -> None:
    await a_stored_call(world.database, state="ended", call_sid=SID)
    copies = [receipt(mark=str(number % 5)) for number in range(10)]
    await asyncio.gather(*(world.processor.take(each) for each in copies))
    await world.processor.take(receipt(mark="again"))

    assert (await world.row()).state == "pending"
    assert len(await world.jobs()) == 1


async def test_f21_every_order_of_its_messages_ends_alike(world: World) -> None:
    call = await a_stored_call(world.database, state="ended", call_sid=SID)
    for number, order in enumerate(itertools.permutations(("in-progress", "absent", "completed"))):
        for status in order:
            await world.processor.take(receipt(status, mark=f"{number}{status}"))
        row = await world.row()
        assert (row.state, row.reason, len(await world.jobs())) == ("pending", "", 1)
        async with world.database.write() as session:
            await session.delete(await session.get_one(RecordingRow, row.id))
    assert call.state == "ended"


async def test_f21_a_message_before_its_call_is_known_is_written_down_once_it_is(world: World) -> None:
    call = await a_stored_call(world.database)
    await world.processor.take(receipt())
    await world.processor.take(receipt())
    assert (await world.rows(), await world.jobs()) == ([], [])

    async with world.database.write() as session:
        await repository.lock_sid(session, SID)
        row = await repository.locked(session, call.id)
        assert row is not None
        await world.processor.adopt(session, row, SID)
    await world.processor.take(receipt(mark="another copy"))

    assert ((await world.row()).state, len(await world.jobs())) == ("pending", 1)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (receipt("absent"), "the carrier has no sound of this call"),
        (receipt("failed", error_code=16_001), "the carrier could not record this call (error 16001)"),
        (receipt("completed", sid=""), "the carrier did not say which recording it is"),
    ],
    ids=["absent", "failed", "unnamed"],
)
async def test_g23_a_recording_that_there_is_none_of_is_never_silently_missing(
    world: World, told: Receipt, reason: str
) -> None:
    await a_stored_call(world.database, state="ended", call_sid=SID)
    await world.processor.take(told)
    await world.processor.take(receipt("absent", sid="", mark="2"))

    row = await world.row()
    assert (row.state, row.reason, row.storage_key) == ("failed", reason, None)
    assert await world.jobs() == []


async def test_a_second_recording_of_a_call_has_a_row_of_its_own(world: World) -> None:
    call, _ = await world.told_and_there()
    await world.processor.take(receipt(sid="RE" + "b" * 32, mark="2"))
    assert [(row.segment, row.call_id) for row in await world.rows()] == [(0, call.id), (1, call.id)]
    assert len(await world.jobs()) == 2


async def test_a_recording_belongs_to_the_call_that_it_was_first_told_of(world: World) -> None:
    call, _ = await world.told_and_there()
    other = await a_stored_call(world.database, state="ended", call_sid="CA" + "6" * 32)
    async with world.database.write() as session:
        locked = await repository.locked(session, other.id)
        told = receipt("absent").recording
        assert locked is not None
        assert told is not None
        await world.recordings.note(session, locked, told)
    assert (await world.row()).call_id == call.id


# --- the job ------------------------------------------------------------------------------------------------------
async def test_a_recording_is_stored_verified_and_deleted_at_the_carrier(world: World) -> None:
    _, wanted = await world.told_and_there()
    await world.recordings.fetch(wanted, CONTEXT)

    row = await world.row()
    assert (row.state, row.is_partial, row.reason, row.duration_s, row.channels) == ("stored", False, "", 5.0, 2)
    assert row.loudness_db is not None
    assert row.loudness_db["caller"] > row.loudness_db["agent"]
    stored = b"".join([piece async for piece in world.storage.read(str(row.storage_key))])
    assert (stored, row.size_bytes) == (a_wav(), len(a_wav()))
    assert row.peaks_key is not None
    assert (await world.storage.stat(row.peaks_key)).size_bytes > 0
    assert world.carrier.deleted_recordings == [RE]
    assert world.temporary() == []

    await world.recordings.fetch(wanted, CONTEXT)
    assert (await world.row()).sha256 == row.sha256


async def test_the_carriers_copy_may_be_kept(world: World) -> None:
    _, wanted = await world.told_and_there()
    await world.fetching(keeps_copy=True).fetch(wanted, CONTEXT)
    assert (await world.row()).state == "stored"
    assert world.carrier.deleted_recordings == []


async def test_f46_a_recording_that_is_late_or_breaks_off_is_tried_again(world: World) -> None:
    _, wanted = await world.told_and_there()
    sound = world.carrier.recordings.pop(RE)
    with pytest.raises(CarrierError, match="no such recording"):
        await world.recordings.fetch(wanted, CONTEXT)
    world.carrier.recordings[RE] = sound
    world.carrier.download_errors = [CarrierError("it broke off")]
    with pytest.raises(CarrierError, match="broke off"):
        await world.recordings.fetch(wanted, CONTEXT)
    world.carrier.recordings[RE] = sound[:-1_000]
    with pytest.raises(CarrierError, match="not the whole recording"):
        await world.recordings.fetch(wanted, CONTEXT)
    assert ((await world.row()).state, world.files(), world.temporary()) == ("pending", [], [])

    world.carrier.recordings[RE] = sound
    await world.recordings.fetch(wanted, CONTEXT)
    assert (await world.row()).state == "stored"


async def test_f46_while_the_storage_is_away_the_carriers_copy_stays(world: World) -> None:
    _, wanted = await world.told_and_there()
    world.storage.failures = 1
    with pytest.raises(StorageError):
        await world.recordings.fetch(wanted, CONTEXT)
    assert ((await world.row()).state, world.carrier.deleted_recordings) == ("pending", [])

    await world.recordings.fetch(wanted, CONTEXT)
    assert ((await world.row()).state, world.carrier.deleted_recordings) == ("stored", [RE])


async def test_g23_after_the_last_try_the_row_says_why_and_can_still_be_retried(world: World) -> None:
    _, wanted = await world.told_and_there()
    sound = world.carrier.recordings.pop(RE)
    with pytest.raises(CarrierError) as error:
        await world.recordings.fetch(wanted, CONTEXT)
    await world.recordings.give_up(wanted, error.value)
    row = await world.row()
    assert (row.state, row.reason) == ("failed", "it could not be fetched: no such recording")
    await world.processor.take(receipt(mark="a late copy"))
    assert (await world.row()).state == "failed"

    world.carrier.recordings[RE] = sound
    await world.recordings.fetch(wanted, CONTEXT)
    assert ((await world.row()).state, (await world.row()).reason) == ("stored", "")


async def test_a_copy_that_cannot_be_deleted_leaves_the_recording_stored(world: World) -> None:
    _, wanted = await world.told_and_there()
    await world.fetching(keeps_copy=True).fetch(wanted, CONTEXT)
    world.carrier.error = CarrierError("away", status=503)
    with pytest.raises(CarrierError) as error:
        await world.recordings.fetch(wanted, CONTEXT)
    await world.recordings.give_up(wanted, error.value)
    assert (await world.row()).state == "stored"


async def test_f47_killed_between_upload_and_row_a_fetch_ends_complete(world: World, tmp_path: Path) -> None:
    _, wanted = await world.told_and_there()
    sound = tmp_path / "sound.wav"
    sound.write_bytes(b"half of an earlier try")
    await world.storage.put_file(f"{wanted.key}.wav", sound, content_type="audio/wav")

    await world.recordings.fetch(wanted, CONTEXT)
    row = await world.row()
    assert (row.state, row.size_bytes) == ("stored", len(a_wav()))
    assert (await world.storage.stat(str(row.storage_key))).size_bytes == len(a_wav())


async def test_f47_what_a_killed_fetch_left_on_the_disk_is_deleted_by_a_later_one(world: World) -> None:
    _, wanted = await world.told_and_there()
    for name, age_s in (("old", LEFTOVERS_S + 60), ("fresh", 0)):
        folder = world.data_dir / "fetched" / name
        folder.mkdir(parents=True)
        (folder / "recording.wav").write_bytes(b"x")
        moment = datetime.now().timestamp() - age_s  # noqa: DTZ005 - as the file system counts
        os.utime(folder, (moment, moment))

    await world.recordings.fetch(wanted, CONTEXT)
    assert [path.name for path in world.temporary()] == ["fresh"]


async def test_a_recording_shorter_than_the_carrier_told_is_flagged(world: World) -> None:
    _, wanted = await world.told_and_there(a_wav(seconds=1.0))
    await world.recordings.fetch(wanted, CONTEXT)
    row = await world.row()
    assert (row.state, row.is_partial, row.reason) == ("stored", True, "4 s are missing of what the carrier told")


async def test_a_recording_longer_than_any_call_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voice_agent.calls.carrier_recordings.LARGEST_BYTES", 1_000)
    _, wanted = await world.told_and_there()
    with pytest.raises(CarrierError, match="longer than any call"):
        await world.recordings.fetch(wanted, CONTEXT)
    assert world.temporary() == []


async def test_f46_the_job_is_tried_until_the_recording_is_there(world: World) -> None:
    _, wanted = await world.told_and_there()
    world.carrier.download_errors = [CarrierError("it broke off")] * (AT_ONCE.tries - 1)
    jobs = new_jobs(world.database)
    jobs.register(
        FETCH_RECORDING,
        RecordingToFetch,
        world.recordings.fetch,
        retry=AT_ONCE,
        give_up=world.recordings.give_up,
    )
    async with running(jobs):
        await until_idle(jobs)
        assert await jobs.count() == (0, 0)
    assert ((await world.row()).state, world.carrier.deleted_recordings) == ("stored", [wanted.recording_sid])


async def test_g23_a_job_that_failed_has_said_so_in_the_row_and_can_be_retried(world: World) -> None:
    _, wanted = await world.told_and_there()
    sound = world.carrier.recordings.pop(RE)
    jobs = new_jobs(world.database)
    jobs.register(
        FETCH_RECORDING,
        RecordingToFetch,
        world.recordings.fetch,
        retry=AT_ONCE,
        give_up=world.recordings.give_up,
    )
    async with running(jobs):
        await until_idle(jobs)
        (failed,) = await jobs.failed()
        assert ((await world.row()).state, failed.tries) == ("failed", AT_ONCE.tries)

        world.carrier.recordings[RE] = sound
        await jobs.retry(failed.id)
        await until_idle(jobs)
    assert (await world.row()).state == "stored"
    assert world.carrier.deleted_recordings == [wanted.recording_sid]


# --- erasure ------------------------------------------------------------------------------------------------------
async def test_of_a_call_that_was_erased_before_nothing_is_stored_and_nothing_stays_there(
    world: World, tmp_path: Path
) -> None:
    call, wanted = await world.told_and_there()
    files = await world.erase(call)
    assert files.carrier_sids == (RE,)
    assert files.keys == (f"{wanted.key}.wav", f"{wanted.key}.json")
    leftover = tmp_path / "sound.wav"
    leftover.write_bytes(b"of a killed try")
    await world.storage.put_file(f"{wanted.key}.wav", leftover, content_type="audio/wav")

    await world.recordings.fetch(wanted, CONTEXT)
    assert (await world.rows(), world.files(), world.carrier.deleted_recordings) == ([], [], [RE])


async def test_of_a_call_that_is_erased_while_it_is_fetched_nothing_is_left(world: World) -> None:
    call, wanted = await world.told_and_there()
    world.storage.erase = call
    await world.recordings.fetch(wanted, CONTEXT)
    assert (await world.rows(), world.files(), world.carrier.deleted_recordings) == ([], [], [RE])


async def test_a_recording_that_is_told_of_after_its_call_was_erased_is_deleted_at_the_carrier(world: World) -> None:
    call = await a_stored_call(world.database, state="ended", call_sid=SID)
    await world.erase(call)
    await world.processor.take(receipt())
    assert await world.rows() == []
    (job,) = await world.jobs()
    assert job.payload["recording_sid"] == RE

    wanted = RecordingToFetch(org_id=call.org_id, call_id=call.id, recording_sid=RE)
    await world.fetching(keeps_copy=True).fetch(wanted, CONTEXT)
    assert (world.files(), world.carrier.deleted_recordings) == ([], [RE])


async def test_an_erasure_deletes_what_the_carrier_never_told_of(world: World) -> None:
    other = CarrierRecording(recording_sid="RE2", call_sid=SID, status="completed")
    world.carrier.listed[SID] = (other,)
    await world.recordings.delete_copies(SID, (RE,))
    assert sorted(world.carrier.deleted_recordings) == ["RE2", RE]


# --- what nobody tells --------------------------------------------------------------------------------------------
async def a_silent_call(world: World) -> CallRow:
    """Return a call that the carrier was to record, and that has just ended."""
    call = await a_stored_call(world.database, state="ended", call_sid=SID)
    async with world.database.write() as session:
        row = await session.get_one(CallRow, call.id)
        row.is_carrier_recorded, row.answered_at, row.ended_at = True, NOW, NOW
    return call


async def test_f22_a_recording_that_no_message_told_of_is_asked_for(world: World) -> None:
    await a_silent_call(world)
    complete = CarrierRecording(recording_sid=RE, call_sid=SID, status="completed", duration_s=5, channels=2)
    world.carrier.listed[SID] = (complete,)
    await world.recordings.check()
    assert await world.rows() == []

    world.now = NOW + timedelta(seconds=UNTOLD_S + 1)
    for _ in range(2):
        await world.recordings.check()
    assert ((await world.row()).state, len(await world.jobs())) == ("pending", 1)


async def test_g23_what_the_carrier_has_not_got_after_a_day_has_failed(world: World) -> None:
    await a_silent_call(world)
    world.now = NOW + timedelta(seconds=UNTOLD_S + 1)
    await world.recordings.check()
    world.carrier.error = CarrierError("away", status=503)
    await world.recordings.check()
    assert await world.rows() == []

    world.now = NOW + timedelta(seconds=LOST_S + 1)
    await world.recordings.check()
    assert ((await world.row()).state, (await world.row()).reason) == (
        "failed", "the carrier has no sound of this call",
    )  # fmt: skip


async def test_g23_what_has_been_pending_for_a_day_has_failed(world: World) -> None:
    await world.told_and_there()
    world.now = NOW + timedelta(seconds=LOST_S - 1)
    await world.recordings.check()
    assert (await world.row()).state == "pending"

    world.now = NOW + timedelta(seconds=LOST_S + 1)
    await world.recordings.check()
    assert ((await world.row()).state, (await world.row()).reason) == ("failed", "it was not fetched within a day")
