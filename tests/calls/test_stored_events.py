"""Where the logs of a call that is to be resumed are found: on this machine, in the database, or in both."""

import asyncio
from pathlib import Path

import pytest

from tests.calls.call_world import log_of, short_call
from tests.calls.stored_calls import a_stored_call
from voice_agent.calls import repository, stored_events
from voice_agent.calls.record import call_files
from voice_agent.calls.stored_events import UNKNOWN_SEGMENT, StoredCall, StoredEvents
from voice_agent.errors import MediaStreamError
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow

SID = "CA" + "1" * 32
WHOLE = log_of(short_call())
LINES = WHOLE.decode().splitlines()


def _keep(data_dir: Path, content: bytes, segment: int = 0) -> None:
    files = call_files(data_dir, SID, segment)
    files.folder.mkdir(parents=True, exist_ok=True)
    files.event_log.write_bytes(content)


async def _ship(database: Database, call: CallRow, lines: list[str], segment: int = 0, *, leave_out: int = 0) -> None:
    rows = [
        {"call_id": call.id, "org_id": call.org_id, "segment": segment, "line": number, "body": body}
        for number, body in enumerate(lines, start=1)
        if number != leave_out
    ]
    async with database.write() as session:
        await repository.add_event_lines(session, rows)


def _lengths(found: StoredCall) -> list[int]:
    return [len(log.entries) for log in found.logs]


async def test_a_call_that_begins_has_nothing_stored_and_the_database_is_not_asked(tmp_path: Path) -> None:
    assert await StoredEvents(tmp_path).of_call(SID, is_resumed=False) == StoredCall((), 0)


async def test_a_call_of_which_nobody_knows_anything_is_resumed_all_the_same(sqlite: Database, tmp_path: Path) -> None:
    nothing = StoredCall((), UNKNOWN_SEGMENT)
    assert await StoredEvents(tmp_path).of_call(SID, is_resumed=True) == nothing
    assert await StoredEvents(tmp_path, sqlite).of_call(SID, is_resumed=True) == nothing


async def test_f47_on_the_same_machine_the_files_are_enough(tmp_path: Path) -> None:
    _keep(tmp_path, WHOLE)
    _keep(tmp_path, WHOLE[:-20], segment=1)
    for is_resumed in (True, False):
        found = await StoredEvents(tmp_path).of_call(SID, is_resumed=is_resumed)
        assert _lengths(found) == [len(LINES) - 1, len(LINES) - 2]
        assert found.next_segment == 2


async def test_f47_on_another_machine_the_database_has_what_was_shipped(database: Database, tmp_path: Path) -> None:
    call = await a_stored_call(database, call_sid=SID)
    await _ship(database, call, LINES)
    await _ship(database, call, LINES[:5], segment=1)
    found = await StoredEvents(tmp_path, database).of_call(SID, is_resumed=True)
    assert _lengths(found) == [len(LINES) - 1, 4]
    assert found.next_segment == 2


async def test_each_stream_is_taken_from_where_more_of_it_is(database: Database, tmp_path: Path) -> None:
    call = await a_stored_call(database, call_sid=SID)
    _keep(tmp_path, WHOLE)
    await _ship(database, call, LINES[:4])
    await _ship(database, call, LINES[:5], segment=1)
    found = await StoredEvents(tmp_path, database).of_call(SID, is_resumed=True)
    assert _lengths(found) == [len(LINES) - 1, 4]


async def test_resumptions_that_were_counted_are_not_numbered_again(database: Database, tmp_path: Path) -> None:
    call = await a_stored_call(database, call_sid=SID)
    stored = StoredEvents(tmp_path, database)
    assert (await stored.of_call(SID, is_resumed=True)).next_segment == 1
    async with database.write() as session:
        (await session.get_one(CallRow, call.id)).resumptions = 3
    assert (await stored.of_call(SID, is_resumed=True)).next_segment == 3


async def test_a_log_with_a_gap_is_used_up_to_it_and_a_broken_one_not_at_all(
    database: Database, tmp_path: Path
) -> None:
    call = await a_stored_call(database, call_sid=SID)
    await _ship(database, call, LINES, leave_out=6)
    await _ship(database, call, ["{", "{"], segment=1)
    _keep(tmp_path, b"{", segment=2)
    found = await StoredEvents(tmp_path, database).of_call(SID, is_resumed=True)
    assert _lengths(found) == [4]


async def test_a_long_log_comes_in_pages(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = await a_stored_call(database, call_sid=SID)
    await _ship(database, call, LINES)
    monkeypatch.setattr(stored_events, "PAGE_LINES", 7)
    assert _lengths(await StoredEvents(tmp_path, database).of_call(SID, is_resumed=True)) == [len(LINES) - 1]


async def test_f40_a_database_that_does_not_answer_is_not_waited_for(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_events, "DATABASE_S", 0.01)

    async def stuck(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(repository, "by_sid", stuck)
    _keep(tmp_path, WHOLE)
    assert _lengths(await StoredEvents(tmp_path, sqlite).of_call(SID, is_resumed=True)) == [len(LINES) - 1]


async def test_a_name_that_is_no_calls_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(MediaStreamError):
        await StoredEvents(tmp_path).of_call("../secret", is_resumed=True)
