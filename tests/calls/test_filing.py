"""What calls leave on disk, brought to database and storage, also of processes that were killed."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from tests.calls.call_world import HEADER, SETTINGS, Call
from tests.calls.stored_calls import SID, a_stored_call, reread
from tests.contracts.eventually import eventually
from voice_agent.calls import erasure, filing
from voice_agent.calls.event_log import encoded_header, encoded_line
from voice_agent.calls.filing import MARK, CallFiling
from voice_agent.calls.record import CallFiles
from voice_agent.calls.recorder import wav_header
from voice_agent.errors import StorageError
from voice_agent.storage.database import Database
from voice_agent.storage.files import LinkOffice, LocalStorage, StoredFile
from voice_agent.storage.tables import CallRow, RecordingRow, TranscriptEntryRow, TurnLatencyRow

WORKER, ANOTHER = "a-1", "b-1"


class FailingStorage(LocalStorage):
    """A folder that is away as often as it is told to."""

    failures = 0
    on_stored: Callable[[], Awaitable[None]] | None = None

    async def put_file(self, key: str, path: Path, *, content_type: str) -> StoredFile:
        if self.failures:
            self.failures -= 1
            raise StorageError("away")
        stored = await super().put_file(key, path, content_type=content_type)
        if self.on_stored is not None:
            on_stored, self.on_stored = self.on_stored, None
            await on_stored()
        return stored


class World:
    """A call that is over, its folder, and whoever files it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.data_dir = folder / "data"
        self.folder = self.data_dir / "calls" / SID
        self.folder.mkdir(parents=True)
        self.storage = FailingStorage(folder / "files", LinkOffice(b"s" * 32, "http://t"))
        self.live: set[str] = set()
        self.filing = CallFiling(database, self.storage, self.data_dir, worker=WORKER, is_live=self.live.__contains__)

    def leave(
        self,
        *,
        seconds: float = 5.0,
        segment: int = 0,
        is_ended: bool = True,
        began_s: float = 0.0,
        disclosure: str = "",
    ) -> CallFiles:
        """Leave what a process does that was killed, or that only just wrote its log."""
        files = CallFiles(self.folder, segment)
        call = Call(msgspec.structs.replace(SETTINGS, disclosure=disclosure))
        call.greet()
        call.say("how much is it", 3.0)
        if is_ended:
            call.end(5.0)
        header = msgspec.structs.replace(HEADER, started_at=HEADER.started_at + timedelta(seconds=began_s))
        events = [encoded_line(event, actions) for event, actions in call.decided]
        files.event_log.write_bytes(encoded_header(header) + b"".join(events))
        frames = int(8_000 * seconds)
        files.recording.write_bytes(wav_header(frames // 2) + b"\x00\x10\x00\x20" * frames)
        return files

    async def lease(self, call: CallRow, *, worker: str, seconds: float = 15.0, **columns: Any) -> None:
        """Have a worker hold the call for so long from now on."""
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        async with self.database.write() as session:
            row = await session.get_one(CallRow, call.id)
            for name, value in {"worker": worker, "lease_until": until, **columns}.items():
                setattr(row, name, value)

    async def recordings(self) -> list[RecordingRow]:
        async with self.database.read() as session:
            return list((await session.scalars(select(RecordingRow).order_by(RecordingRow.segment))).all())

    async def said(self) -> list[tuple[str, str, float]]:
        async with self.database.read() as session:
            rows = await session.scalars(select(TranscriptEntryRow).order_by(TranscriptEntryRow.n))
            return [(row.kind, row.text, row.started_at) for row in rows]


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


async def test_f47_of_two_processes_that_find_a_folder_one_files_it(world: World) -> None:
    world.leave()
    await a_stored_call(world.database, state="ended", call_sid=SID)
    other = CallFiling(world.database, world.storage, world.data_dir, worker="other", is_live=lambda _: False)
    filed: list[int] = []

    async def look_too() -> None:
        filed.append(await other.look())

    world.storage.on_stored = look_too
    assert await world.filing.look() == 1
    assert (filed, await other.look()) == ([0], 0)
    (recording,) = await world.recordings()
    assert (recording.state, recording.is_partial) == ("stored", False)


async def test_a_call_is_filed_once_and_its_recording_moves_to_the_storage(world: World) -> None:
    files = world.leave()
    call = await a_stored_call(world.database, state="ended", call_sid=SID)

    assert await world.filing.look() == 1
    assert await world.filing.look() == 0
    said = await world.said()
    assert [kind for kind, _, _ in said] == ["agent", "caller"]
    assert said[1][1] == "how much is it"
    (recording,) = await world.recordings()
    assert (recording.state, recording.is_partial, recording.reason) == ("stored", False, "")
    assert recording.duration_s == 5.0
    assert recording.loudness_db is not None
    assert set(recording.loudness_db) == {"caller", "agent"}
    stored = b"".join([piece async for piece in world.storage.read(str(recording.storage_key))])
    assert stored[:44] == wav_header(40_000)  # the header of a killed recorder has been mended
    assert len(stored) == recording.size_bytes
    peaks = msgspec.json.decode(b"".join([piece async for piece in world.storage.read(str(recording.peaks_key))]))
    assert (peaks["channels"], peaks["sample_rate"]) == (2, 8_000)
    assert not files.recording.exists()
    assert (world.folder / MARK).exists()
    assert call.org_id == recording.org_id


async def test_the_moment_at_which_the_disclosure_was_heard_is_stored_with_the_call(world: World) -> None:
    world.leave(disclosure="This is an automated call.", is_ended=False)
    world.leave(disclosure="This is an automated call.", segment=1, began_s=60.0)
    call = await a_stored_call(world.database, state="ended", call_sid=SID)
    await world.filing.look()

    heard_at = HEADER.started_at + timedelta(seconds=1)
    assert (await reread(world.database, call.id)).disclosed_at == heard_at
    assert [text for kind, text, _ in await world.said() if kind == "agent"][0] == "This is an automated call."
    (world.folder / MARK).unlink()
    earlier = heard_at - timedelta(minutes=1)
    async with world.database.write() as session:
        (await session.get_one(CallRow, call.id)).disclosed_at = earlier  # a stream that was filed elsewhere
    assert await world.filing.look() == 1
    assert (await reread(world.database, call.id)).disclosed_at == earlier


async def test_a_call_without_a_disclosure_has_no_moment_of_it(world: World) -> None:
    world.leave()
    call = await a_stored_call(world.database, state="ended", call_sid=SID)
    await world.filing.look()

    assert (await reread(world.database, call.id)).disclosed_at is None


async def test_f47_a_recording_whose_process_was_killed_is_flagged_and_what_was_said_comes_from_the_log(
    world: World,
) -> None:
    world.leave(is_ended=False)
    await a_stored_call(world.database, state="ended", call_sid=SID)
    await world.filing.look()

    (recording,) = await world.recordings()
    assert (recording.state, recording.is_partial) == ("stored", True)
    assert "ended" in recording.reason
    assert [text for kind, text, _ in await world.said() if kind == "caller"] == ["how much is it"]


async def test_f45_a_recording_that_broke_off_says_how_much_is_missing(world: World) -> None:
    world.leave(seconds=1.0)
    await a_stored_call(world.database, state="ended", call_sid=SID)
    await world.filing.look()

    (recording,) = await world.recordings()
    assert (recording.is_partial, recording.reason) == (True, "the last 4 s were not recorded")


async def test_g23_a_recording_that_is_not_there_is_never_silently_missing(world: World) -> None:
    world.leave().recording.unlink()
    await a_stored_call(world.database, state="ended", call_sid=SID)
    await world.filing.look()

    (recording,) = await world.recordings()
    assert (recording.state, recording.reason) == ("failed", "the file is not there")


async def test_f46_while_the_storage_is_away_the_file_stays_and_is_stored_later(world: World) -> None:
    files = world.leave()
    await a_stored_call(world.database, state="ended", call_sid=SID)
    for _ in range(2):
        world.storage.failures = 1
        assert await world.filing.look() == 0
        assert files.recording.exists()
        assert [recording.state for recording in await world.recordings()] == ["pending"]

    assert await world.filing.look() == 1
    assert [recording.state for recording in await world.recordings()] == ["stored"]


async def test_a_call_that_came_back_is_one_conversation_in_two_recordings(world: World) -> None:
    world.leave(is_ended=False)
    world.leave(segment=1, began_s=60.0)
    await a_stored_call(world.database, state="ended", call_sid=SID)
    await world.filing.look()

    assert [(each.segment, each.is_partial) for each in await world.recordings()] == [(0, True), (1, False)]
    starts = [started_at for _, _, started_at in await world.said()]
    assert starts == sorted(starts)
    assert starts[-1] > 60


async def test_a_call_waits_while_somebody_holds_it_or_nobody_knows_it(world: World) -> None:
    world.leave()
    assert await world.filing.look() == 0
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID)
    await world.lease(call, worker=ANOTHER)
    assert await world.filing.look() == 0
    await world.lease(call, worker=ANOTHER, seconds=-1)
    world.live.add(SID)
    assert await world.filing.look() == 0
    world.live.clear()
    assert await world.filing.look() == 1


async def test_files_that_another_process_may_still_write_are_left_to_it(world: World) -> None:
    world.leave()
    call = await a_stored_call(world.database, call_sid=SID)
    await world.lease(call, worker=ANOTHER, state="ended", is_ended_by_us=True)
    assert await world.filing.look() == 0
    await world.lease(call, worker=ANOTHER, seconds=-1)
    assert await world.filing.look() == 1


@pytest.mark.parametrize("over", [{"state": "ended"}, {"state": "in_progress", "is_ended_by_us": True}])
async def test_a_call_of_our_own_that_is_over_is_filed_while_its_lease_lasts(
    world: World, over: dict[str, Any]
) -> None:
    world.leave()
    call = await a_stored_call(world.database, call_sid=SID)
    await world.lease(call, worker=WORKER, **over)
    assert await world.filing.look() == 1


async def test_a_call_that_has_ended_here_is_filed_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing, "LOOK_S", 3_600.0)
    await world.filing.open()
    world.filing.note_end("CA" + "9" * 32)
    await eventually(lambda: not world.filing._ended)  # the look at all is over
    call = await a_stored_call(world.database, call_sid=SID)
    await world.lease(call, worker=WORKER, state="ended")
    world.leave()
    world.filing.note_end(SID)
    await eventually((world.folder / MARK).exists)
    await world.filing.close()


async def test_a_call_that_may_come_back_is_looked_at_again_until_its_end_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "AGAIN_S", (0.0, 0.0))
    world.leave()
    call = await a_stored_call(world.database, call_sid=SID)
    await world.lease(call, worker=WORKER, state="in_progress")
    world.filing.note_end(SID)
    assert await world.filing.look_at_ended() == 0
    await world.lease(call, worker=WORKER, state="ended")
    assert await world.filing.look_at_ended() == 1
    assert await world.filing.look_at_ended() == 0


async def test_a_call_whose_end_nobody_tells_is_left_to_the_look_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "AGAIN_S", (0.0,))
    world.leave()
    world.filing.note_end(SID)
    for _ in range(2):
        assert await world.filing.look_at_ended() == 0
    await a_stored_call(world.database, state="ended", call_sid=SID)
    assert await world.filing.look_at_ended() == 0
    assert await world.filing.look() == 1


async def test_what_fails_and_what_left_no_files_is_not_tried_again_and_again(world: World) -> None:
    world.filing.note_end("CA" + "9" * 32)
    world.leave()
    await a_stored_call(world.database, state="ended", call_sid=SID)
    world.storage.failures = 1
    world.filing.note_end(SID)
    for _ in range(2):
        assert await world.filing.look_at_ended() == 0
    assert await world.filing.look() == 1


async def test_nothing_of_a_call_that_was_erased_comes_back(world: World) -> None:
    world.leave()
    call = await a_stored_call(world.database, state="ended", call_sid=SID)
    async with world.database.write() as session:
        await erasure.erase(session, await session.get_one(CallRow, call.id), now=datetime.now(UTC))
    await world.filing.look()

    assert not world.folder.exists()
    assert await world.said() == []
    assert await world.recordings() == []
    async with world.database.read() as session:
        assert (await session.scalars(select(TurnLatencyRow))).all() == []


async def test_of_a_call_that_is_erased_while_it_is_stored_nothing_is_left(world: World) -> None:
    for segment in range(2):
        world.leave(segment=segment)
    call = await a_stored_call(world.database, state="ended", call_sid=SID)

    async def erase() -> None:
        async with world.database.write() as session:
            await erasure.erase(session, await session.get_one(CallRow, call.id), now=datetime.now(UTC))

    world.storage.on_stored = erase
    await world.filing.look()

    assert await world.recordings() == []
    files = world.data_dir.parent / "files"
    assert [path for path in files.rglob("*") if path.is_file()] == []


async def test_a_log_that_cannot_be_read_stops_nobody_elses_filing(world: World) -> None:
    files = world.leave()
    files.event_log.write_bytes(b"nonsense\n")
    await a_stored_call(world.database, state="ended", call_sid=SID)

    assert await world.filing.look() == 0
