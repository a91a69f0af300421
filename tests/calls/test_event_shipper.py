"""Event logs on their way to the database: every line once, in order, whatever the database does meanwhile."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import delete, select

from tests.calls.call_world import HEADER, short_call
from tests.calls.stored_calls import a_stored_call, reread
from tests.contracts.eventually import eventually
from tests.servers.postgres import PostgresServer
from voice_agent.calls import event_shipper, repository
from voice_agent.calls.event_log import encoded_line, parse_event_log
from voice_agent.calls.event_shipper import EventShipper
from voice_agent.calls.event_writer import EventLogWriter
from voice_agent.calls.record import CallFiles, call_files
from voice_agent.calls.spool import Spool
from voice_agent.errors import DatabaseUnavailable
from voice_agent.pipeline import events as ev
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, ConversationEventRow

ONE, TWO = "CA" + "1" * 32, "CA" + "2" * 32


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_shipper, "BATCH_S", 0.005)
    monkeypatch.setattr(event_shipper, "RETRY_S", (0.01,))
    monkeypatch.setattr(event_shipper, "UNKNOWN_S", 0.005)
    monkeypatch.setattr(event_shipper, "SCAN_S", 0.01)


@pytest.fixture
async def shipper(database: Database, tmp_path: Path) -> AsyncIterator[EventShipper]:
    running = EventShipper(database, tmp_path)
    await running.open()
    yield running
    await running.close()


class Line:
    """A live call's log, written through the spool and shipped."""

    def __init__(self, shipper: EventShipper, spool: Spool, files: CallFiles, call_sid: str) -> None:
        self.files = files
        self.writer = EventLogWriter(spool, files.event_log, HEADER, shipper.copy(call_sid, files))

    def hear(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self.writer.record(ev.TranscriptUpdated(at=float(number), text=f"words {number}"), ())


Begin = Callable[..., Line]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Begins the log of a call; all that were begun end with the test."""
    with Spool() as spool, ExitStack() as stack:

        def begin_line(shipper: EventShipper, call_sid: str = ONE) -> Line:
            line = Line(shipper, spool, call_files(tmp_path, call_sid), call_sid)
            stack.callback(line.writer.close)
            return line

        yield begin_line


async def _bodies(database: Database, call: CallRow) -> list[str]:
    async with database.read() as session:
        lines = await repository.event_lines(session, call.id)
    assert [(row.segment, row.line) for row in lines] == [(0, number) for number in range(1, len(lines) + 1)]
    assert {row.org_id for row in lines} <= {call.org_id}
    return [row.body for row in lines]


async def _shipped(database: Database, call: CallRow, count: int) -> list[str]:
    """Return the call's lines once there are so many."""
    for _ in range(2_000):
        bodies = await _bodies(database, call)
        if len(bodies) >= count:
            return bodies
        await asyncio.sleep(0.005)
    raise AssertionError(f"{len(bodies)} of {count} lines")


def _leave(files: CallFiles, content: bytes, *, age_s: float = 3_600.0) -> None:
    """Leave a log as a process does that was killed."""
    files.folder.mkdir(parents=True, exist_ok=True)
    files.event_log.write_bytes(content)
    then = time.time() - age_s
    os.utime(files.event_log, (then, then))


def _content(count: int) -> bytes:
    lines = [encoded_line(ev.TranscriptUpdated(at=float(number), text="words"), ()) for number in range(count)]
    return msgspec.json.encode(HEADER) + b"\n" + b"".join(lines)


async def test_a_live_calls_log_is_in_the_database_line_by_line(
    database: Database, shipper: EventShipper, begin: Begin
) -> None:
    call = await a_stored_call(database, call_sid=ONE)
    line = begin(shipper)
    for event, actions in short_call().decided:
        line.writer.record(event, actions)
    count = 1 + len(short_call().decided)
    bodies = await _shipped(database, call, count)
    line.writer.close()
    await eventually(line.files.shipped.exists)
    assert shipper.waiting_bytes == shipper.backlog == 0
    stored = parse_event_log("\n".join(bodies).encode() + b"\n")
    assert [entry.event for entry in stored.entries] == [event for event, _ in short_call().decided]
    await eventually(lambda: line.files.event_log.exists())
    assert int(line.files.shipped.read_text("ascii")) == len("\n".join(bodies)) + 1


async def test_calls_go_together_and_a_call_that_is_not_known_yet_waits(
    database: Database, shipper: EventShipper, begin: Begin
) -> None:
    """The answer to the request that placed a call may come after the call has begun."""
    first = await a_stored_call(database, call_sid=ONE)
    lines = [begin(shipper, call_sid) for call_sid in (ONE, TWO)]
    for line in lines:
        line.hear(1, 150)
    await _shipped(database, first, 151)
    second = await a_stored_call(database, call_sid=TWO)
    assert len(await _shipped(database, second, 151)) == 151


async def test_f40_a_database_that_is_away_loses_nothing_and_memory_is_bounded(
    postgres: PostgresServer, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no longer fits into memory comes from the file when the database is back."""
    monkeypatch.setattr(event_shipper, "MEMORY_BYTES", 2_000)
    monkeypatch.setattr(event_shipper, "READ_BYTES", 1_000)
    database = Database(postgres.fresh_database())
    shipper = EventShipper(database, tmp_path)
    try:
        call = await a_stored_call(database, call_sid=ONE)
        await shipper.open()
        line = begin(shipper)
        line.hear(1, 10)
        await _shipped(database, call, 11)
        postgres.stop()
        try:
            for first in range(11, 511, 10):
                line.hear(first, 10)
                assert shipper.waiting_bytes <= 2_000
                await asyncio.sleep(0.002)
            assert shipper.backlog >= 500
        finally:
            postgres.start()
        line.hear(511, 5)
        bodies = await _shipped(database, call, 516)
        assert [msgspec.json.decode(body)["text"] for body in bodies[1:]] == [f"words {n}" for n in range(1, 516)]
        await eventually(lambda: shipper.backlog == 0)
    finally:
        await shipper.close()
        await database.close()


async def test_f41_a_line_is_taken_in_no_time_while_the_database_is_stuck(
    sqlite: Database, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_shipper, "TRANSACTION_S", 0.02)
    call = await a_stored_call(sqlite, call_sid=ONE)
    shipper = EventShipper(sqlite, tmp_path)
    await shipper.open()
    line = begin(shipper)
    async with sqlite.write():
        line.hear(1, 1_000)
        await asyncio.sleep(0.1)
        assert shipper.backlog == 1_001
    monkeypatch.setattr(event_shipper, "TRANSACTION_S", 10.0)
    await _shipped(sqlite, call, 1_001)
    await shipper.close()


async def test_a_batch_whose_commit_was_not_confirmed_lands_once(
    database: Database, begin: Begin, tmp_path: Path
) -> None:
    call = await a_stored_call(database, call_sid=ONE)
    shipper = EventShipper(database, tmp_path)
    line = begin(shipper)
    line.hear(1, 20)
    already = [
        {"call_id": call.id, "org_id": call.org_id, "segment": 0, "line": number, "body": body.decode()}
        for number, body in enumerate((msgspec.json.encode(HEADER), b"{}"), start=1)
    ]
    async with database.write() as session:
        await repository.add_event_lines(session, already)
        await repository.add_event_lines(session, [])
    await shipper.open()
    bodies = await _shipped(database, call, 21)
    assert bodies[1] == "{}"
    await shipper.close()


@pytest.mark.usefixtures("shipper")
async def test_f47_what_a_killed_process_has_left_is_shipped_to_its_torn_line(
    database: Database, tmp_path: Path
) -> None:
    call = await a_stored_call(database, call_sid=ONE)
    files = call_files(tmp_path, ONE)
    _leave(files, _content(30) + b'{"event":"Transcr')
    assert len(await _shipped(database, call, 31)) == 31
    await eventually(files.shipped.exists)
    assert int(files.shipped.read_text("ascii")) == len(_content(30))
    _leave(files, _content(40))
    assert len(await _shipped(database, call, 41)) == 41


async def test_a_log_that_was_shipped_is_not_looked_at_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_shipper, "MOST_SCANNED", 1)
    call = await a_stored_call(database, call_sid=ONE)
    for call_sid, size in ((ONE, len(_content(3))), (TWO, 1)):
        files = call_files(tmp_path, call_sid)
        _leave(files, _content(3))
        files.shipped.write_text(str(size), "ascii")
    known: dict[Path, int] = {}
    assert [left.call_sid for left in event_shipper._left_behind(tmp_path, known)] == [TWO]
    assert known == {call_files(tmp_path, ONE).event_log: len(_content(3))}
    assert await _bodies(database, call) == []


async def test_logs_of_live_calls_and_what_is_no_log_are_left_alone(
    database: Database, shipper: EventShipper, tmp_path: Path
) -> None:
    call = await a_stored_call(database, call_sid=ONE)
    files = call_files(tmp_path, ONE)
    _leave(files, _content(3), age_s=1.0)
    _leave(call_files(tmp_path, TWO), b"")
    (tmp_path / "calls" / "note.txt").write_text("x")
    await asyncio.sleep(0.05)
    assert await _bodies(database, call) == []
    await shipper.adopt(ONE)
    assert len(await _shipped(database, call, 4)) == 4


@pytest.mark.usefixtures("shipper")
async def test_a_log_that_cannot_be_read_is_tried_again(database: Database, tmp_path: Path) -> None:
    call = await a_stored_call(database, call_sid=ONE)
    files = call_files(tmp_path, ONE)
    files.event_log.mkdir(parents=True)
    then = time.time() - 3_600.0
    os.utime(files.event_log, (then, then))
    await asyncio.sleep(0.05)
    files.event_log.rmdir()
    _leave(files, _content(3))
    assert len(await _shipped(database, call, 4)) == 4


async def test_a_file_that_is_gone_before_it_was_shipped_holds_nobody_up(
    database: Database, shipper: EventShipper, begin: Begin
) -> None:
    call = await a_stored_call(database, call_sid=TWO)
    lost = begin(shipper, ONE)
    await a_stored_call(database, call_sid=ONE)
    await eventually(lost.files.event_log.exists)
    shipper._spill()
    lost.hear(1, 3)
    for copy in shipper._copies:
        copy.forget()
    lost.files.event_log.unlink()
    begin(shipper, TWO).hear(1, 3)
    assert len(await _shipped(database, call, 4)) == 4


async def test_an_erased_call_stays_erased(database: Database, shipper: EventShipper, begin: Begin) -> None:
    call = await a_stored_call(database, call_sid=ONE)
    async with database.write() as session:
        (await session.get_one(CallRow, call.id)).erased_at = call.created_at
    line = begin(shipper)
    line.hear(1, 5)
    await eventually(lambda: not shipper._copies)
    assert shipper.waiting_bytes == 0
    line.hear(6, 5)
    line.writer.close()
    assert await _bodies(database, call) == []
    assert (await reread(database, call.id)).erased_at is not None


async def test_a_call_that_was_deleted_meanwhile_holds_nobody_up(
    database: Database, shipper: EventShipper, begin: Begin
) -> None:
    first, second = [await a_stored_call(database, call_sid=call_sid) for call_sid in (ONE, TWO)]
    lines = [begin(shipper, call_sid) for call_sid in (ONE, TWO)]
    await _shipped(database, first, 1)
    await _shipped(database, second, 1)
    async with database.write() as session:
        await session.execute(delete(CallRow).where(CallRow.id == first.id))
    for line in lines:
        line.hear(1, 3)
    assert len(await _shipped(database, second, 4)) == 4


async def test_of_a_call_that_nobody_knows_it_despairs_once_it_is_over(
    database: Database, shipper: EventShipper, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_shipper, "MOST_TRIES", 3)
    line = begin(shipper)
    await eventually(lambda: all(copy.tries > 3 for copy in shipper._copies))
    line.writer.close()
    await eventually(lambda: not shipper._copies)
    async with database.read() as session:
        assert (await session.scalars(select(ConversationEventRow))).all() == []


async def test_closing_ships_what_is_waiting_and_gives_up_on_what_cannot_be(
    database: Database, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_shipper, "BATCH_S", 60.0)
    monkeypatch.setattr(event_shipper, "CLOSE_S", 5.0)
    call = await a_stored_call(database, call_sid=ONE)
    shipper = EventShipper(database, tmp_path)
    await shipper.close()
    shipper = EventShipper(database, tmp_path)
    await shipper.open()
    begin(shipper).hear(1, 3)
    begin(shipper, TWO).hear(1, 3)
    await shipper.close()
    await shipper.close()
    assert len(await _bodies(database, call)) == 4


async def test_closing_does_not_wait_for_a_database_that_is_away(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite: Database
) -> None:
    monkeypatch.setattr(event_shipper, "CLOSE_S", 0.05)

    class Away(Database):
        def write(self) -> object:  # type: ignore[override]  # it is never entered
            raise DatabaseUnavailable("away")

    away = Away(sqlite.url)
    shipper = EventShipper(away, tmp_path)
    await shipper.open()
    begin(shipper).hear(1, 3)
    await asyncio.sleep(0.03)
    await shipper.close()
    assert shipper.backlog == 4
    await away.close()
