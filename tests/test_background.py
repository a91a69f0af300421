"""What is done in the background, on SQLite and on Postgres."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from tests.api.world import api_world
from tests.calls.stored_calls import SID, a_stored_call, reread
from voice_agent.background import Background
from voice_agent.calls.erasure import ErasedFiles
from voice_agent.calls.ports import CarrierRecording
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.settings import JobsSettings
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, IdempotencyRow, OrganisationRow

CONTEXT = JobContext(job_id="1", kind="call.delete_files", tries=1, is_last=False)


async def test_an_erased_calls_files_are_deleted_and_twice_is_once(sqlite: Database, tmp_path: Path) -> None:
    async with api_world(sqlite, tmp_path) as world:
        background = Background(sqlite, world.calls, world.storage, world.recordings, tmp_path / "data")
        background.register(Jobs(sqlite, JobsSettings()))
        world.sound.write_bytes(b"x")
        await world.storage.put_file("recordings/1.wav", world.sound, content_type="audio/wav")
        folder = tmp_path / "data" / "calls" / SID
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text("{}")

        for _ in range(2):
            await background.delete_files(ErasedFiles(call_sid=SID, keys=("recordings/1.wav",)), CONTEXT)
        assert not folder.exists()
        assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_an_erased_calls_recordings_are_deleted_at_the_carrier_too(sqlite: Database, tmp_path: Path) -> None:
    async with api_world(sqlite, tmp_path) as world:
        background = Background(sqlite, world.calls, world.storage, world.recordings, tmp_path)
        untold = CarrierRecording(recording_sid="RE2", call_sid=SID, status="completed")
        world.carrier.listed[SID] = (untold,)

        await background.delete_files(ErasedFiles(call_sid=SID, keys=()), CONTEXT)
        assert world.carrier.deleted_recordings == []
        files = ErasedFiles(call_sid=SID, keys=(), carrier_sids=("RE1",), is_carrier_recorded=True)
        await background.delete_files(files, CONTEXT)
        assert sorted(world.carrier.deleted_recordings) == ["RE1", "RE2"]


async def test_calls_are_kept_as_long_as_their_organisation_says(database: Database, tmp_path: Path) -> None:
    async with api_world(database, tmp_path) as world:
        call = await a_stored_call(database, state="ended", call_sid=SID)
        async with database.write() as session:
            (await session.get_one(CallRow, call.id)).ended_at = datetime.now(UTC) - timedelta(days=8)
            (await session.get_one(OrganisationRow, call.org_id)).settings = {"retention_days": 7}

        await Background(database, world.calls, world.storage, world.recordings, tmp_path).erase_old_calls()
    assert (await reread(database, call.id)).erased_at is not None


async def test_idempotency_keys_are_forgotten_after_a_day(database: Database, tmp_path: Path) -> None:
    async with api_world(database, tmp_path) as world:
        org_id = await world.organisation()
        async with database.write() as session:
            for key, hours in (("old", 25), ("new", 23)):
                at = datetime.now(UTC) - timedelta(hours=hours)
                session.add(IdempotencyRow(org_id=org_id, key=key, request_hash="x", created_at=at))

        await Background(database, world.calls, world.storage, world.recordings, tmp_path).forget_old_keys()
        async with database.read() as session:
            assert (await session.scalars(select(IdempotencyRow.key))).all() == ["new"]
