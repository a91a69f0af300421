"""Who may stream, which calls are live, and how each came to its end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.calls.live_world import Providers, Wire, make_service
from tests.calls.stored_calls import a_stored_call
from tests.contracts.eventually import eventually
from voice_agent.calls import live, repository
from voice_agent.calls.event_log import read_event_log
from voice_agent.calls.ledger import CallLedger
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.record import call_files
from voice_agent.calls.replay import replay
from voice_agent.calls.spool import Spool
from voice_agent.media_stream.connection import PlayoutClock
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.ports import UserMessage
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, ConversationEventRow

ONE, TWO, THREE = (f"CA{number:032d}" for number in (1, 2, 3))
REFUSED = 1008


@pytest.fixture
def spool() -> Iterator[Spool]:
    with Spool() as running:
        yield running


@pytest.fixture
def providers() -> Providers:
    return Providers()


@pytest.fixture
async def calls(spool: Spool, providers: Providers, tmp_path: Path) -> AsyncIterator[LiveCalls]:
    running = make_service(spool, tmp_path, providers=providers)
    yield running
    await running.close()


async def _admitted(calls: LiveCalls, clock: PlayoutClock, call_sid: str) -> Wire:
    wire = Wire(calls, clock)
    wire.start(call_sid, calls.issue_ticket(call_sid))
    return wire


async def _ended(calls: LiveCalls, *wires: Wire) -> None:
    for wire in wires:
        wire.stop()
    await eventually(lambda: len(calls) == 0)


async def test_a_stream_with_its_calls_ticket_is_live_until_it_ends(calls: LiveCalls) -> None:
    wire = await _admitted(calls, PlayoutClock(), ONE)
    assert len(calls) == 1
    assert wire.socket.close_code == 0
    await _ended(calls, wire)
    assert not calls.was_ended_by_us(ONE)


@pytest.mark.parametrize("ticket", ["", "forged", "of another call"])
async def test_a_stream_without_its_ticket_is_refused_before_anything_is_planned(
    calls: LiveCalls, providers: Providers, ticket: str
) -> None:
    wire = Wire(calls, PlayoutClock())
    wire.start(ONE, calls.issue_ticket(TWO) if ticket == "of another call" else ticket)
    assert wire.socket.close_code == REFUSED
    assert (len(calls), providers.planned, providers.stt.streams) == (0, [], [])


async def test_a_ticket_is_good_for_one_stream(calls: LiveCalls) -> None:
    clock, ticket = PlayoutClock(), calls.issue_ticket(ONE)
    first, second = Wire(calls, clock), Wire(calls, clock)
    first.start(ONE, ticket)
    second.start(ONE, ticket)
    assert (first.socket.close_code, second.socket.close_code) == (0, REFUSED)
    await _ended(calls, first)


async def test_a_call_has_one_stream_at_a_time(calls: LiveCalls) -> None:
    clock = PlayoutClock()
    first = await _admitted(calls, clock, ONE)
    second = await _admitted(calls, clock, ONE)
    assert second.socket.close_code == REFUSED
    await _ended(calls, first)


async def test_an_upgrade_that_is_not_signed_does_not_use_the_ticket_up(calls: LiveCalls) -> None:
    clock, ticket = PlayoutClock(), calls.issue_ticket(ONE)
    calls.is_signed = lambda upgrade: upgrade.headers.get("signed") == "yes"
    refused, admitted = Wire(calls, clock), Wire(calls, clock, headers={"signed": "yes"})
    refused.start(ONE, ticket)
    admitted.start(ONE, ticket)
    assert (refused.socket.close_code, admitted.socket.close_code) == (REFUSED, 0)
    await _ended(calls, admitted)


async def test_beyond_its_lines_it_is_not_ready_and_takes_nobody(calls: LiveCalls) -> None:
    clock = PlayoutClock()
    assert (calls.has_room, calls.why_not_ready()) == (True, "")
    live = [await _admitted(calls, clock, call_sid) for call_sid in (ONE, TWO)]
    assert (calls.has_room, calls.why_not_ready()) == (False, "all lines are busy")
    late = await _admitted(calls, clock, THREE)
    assert late.socket.close_code == REFUSED
    await _ended(calls, *live)
    assert calls.has_room


@pytest.mark.parametrize("call_sid", ["../../etc/passwd", "CA 1", "C" * 65])
async def test_a_call_sid_never_leads_out_of_the_data_folder(calls: LiveCalls, call_sid: str, tmp_path: Path) -> None:
    wire = await _admitted(calls, PlayoutClock(), call_sid)
    assert wire.socket.close_code != 0
    assert len(calls) == 0
    assert not (tmp_path / "calls").exists()


async def test_endings_are_remembered_for_a_while_only(calls: LiveCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REMEMBERED_ENDINGS", 1)
    clock = PlayoutClock()
    for call_sid in (ONE, TWO):
        wire = await _admitted(calls, clock, call_sid)
        (session,) = calls._live.values()
        await session.hang_up()
        assert calls.was_ended_by_us(call_sid)
        await _ended(calls, wire)
    assert not calls.was_ended_by_us(ONE)
    assert calls.was_ended_by_us(TWO)


async def test_closing_waits_for_the_files_of_calls_that_have_just_ended(calls: LiveCalls) -> None:
    wire = await _admitted(calls, PlayoutClock(), ONE)
    await asyncio.sleep(0)
    wire.connection.shut_down()
    await calls.close()
    assert len(calls) == 0


async def test_a_call_is_at_work_until_its_files_are_written(calls: LiveCalls, spool: Spool, tmp_path: Path) -> None:
    written: list[str] = []
    calls.on_written = written.append
    wire = await _admitted(calls, PlayoutClock(), ONE)
    await eventually(call_files(tmp_path, ONE).event_log.exists)
    may_write = threading.Event()

    def wait() -> None:
        may_write.wait(10)

    spool.put_always(wait)
    await _ended(calls, wire)
    assert calls.is_at_work(ONE)
    assert not written
    may_write.set()
    await eventually(lambda: written)
    assert written == [ONE]
    assert not calls.is_at_work(ONE)
    assert call_files(tmp_path, ONE).transcript.exists()
    assert read_event_log(call_files(tmp_path, ONE).event_log).is_complete


# --- a call that comes back ---------------------------------------------------------------------------------------
async def _said(providers: Providers, text: str) -> None:
    await eventually(lambda: text in [t for p in providers.tts.streams[-1].spoken.values() for t in p])


async def _lost_in_mid_call(calls: LiveCalls, providers: Providers) -> Wire:
    """A call in which the caller has just said something."""
    wire = await _admitted(calls, PlayoutClock(), ONE)
    await eventually(lambda: providers.stt.streams)
    providers.stt.streams[-1].interim("My name is Ann.")
    return wire


def _resume(calls: LiveCalls) -> Wire:
    wire = Wire(calls, PlayoutClock())
    wire.start(ONE, calls.issue_ticket(ONE), is_resumed=True)
    return wire


async def test_f25_a_dropped_socket_is_resumed_with_what_was_said(
    calls: LiveCalls, providers: Providers, tmp_path: Path, spool: Spool
) -> None:
    wire = await _lost_in_mid_call(calls, providers)
    wire.connection.lost()
    providers.llm.scripts.append(("Hello Ann.",))
    second = _resume(calls)
    await eventually(lambda: providers.llm.requests)
    assert providers.llm.requests[-1].messages[-1] == UserMessage("My name is Ann.")
    await _said(providers, "Sorry, we were cut off for a moment.")
    await _ended(calls, second)
    await calls.close()
    spool.close()
    logs = [read_event_log(call_files(tmp_path, ONE, segment).event_log) for segment in (0, 1)]
    assert isinstance(logs[0].entries[-1].event, ev.CallEnded)
    assert isinstance(logs[1].entries[0].event, ev.CallResumed)
    assert replay(call_files(tmp_path, ONE, 1).event_log).is_same
    assert call_files(tmp_path, ONE, 1).recording.exists()


async def test_f25_a_stream_that_takes_the_calls_place_ends_one_that_does_not_know_it_is_dead(
    calls: LiveCalls, providers: Providers
) -> None:
    first = await _lost_in_mid_call(calls, providers)
    providers.llm.scripts.append(("Hello Ann.",))
    second = _resume(calls)
    assert first.connection.is_closed
    assert not second.connection.is_closed
    await _said(providers, "Sorry, we were cut off for a moment.")
    assert len(calls) == 1
    await _ended(calls, second)


async def test_f47_a_call_of_which_nothing_is_known_is_taken_up_all_the_same(
    calls: LiveCalls, providers: Providers
) -> None:
    wire = _resume(calls)
    await eventually(lambda: providers.tts.streams)
    await _said(providers, "Sorry, we were cut off for a moment.")
    await _ended(calls, wire)


async def test_a_log_is_never_overwritten_by_a_stream_that_does_not_say_that_it_resumes(
    calls: LiveCalls, providers: Providers, tmp_path: Path
) -> None:
    await _ended(calls, await _lost_in_mid_call(calls, providers))
    await calls.close()
    await eventually(call_files(tmp_path, ONE).event_log.exists)
    wire = await _admitted(calls, PlayoutClock(), ONE)
    await eventually(call_files(tmp_path, ONE, 1).event_log.exists)
    await _ended(calls, wire)


# --- the end of the process ---------------------------------------------------------------------------------------
async def test_f49_while_draining_live_calls_go_on_and_no_new_ones_come(calls: LiveCalls, providers: Providers) -> None:
    await calls.until_idle()
    wire = await _lost_in_mid_call(calls, providers)
    calls.drain()
    assert (calls.is_draining, calls.has_room, calls.has_line) == (True, False, True)
    assert calls.why_not_ready() == "draining"
    assert not wire.connection.is_closed
    wire.connection.lost()
    providers.llm.scripts.append(("Hello Ann.",))
    again = _resume(calls)
    await _said(providers, "Sorry, we were cut off for a moment.")
    waiting = asyncio.create_task(calls.until_idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    await _ended(calls, again)
    await waiting


async def test_f49_every_live_call_hears_a_goodbye(calls: LiveCalls, providers: Providers) -> None:
    clock = PlayoutClock()
    wires = [await _admitted(calls, clock, call_sid) for call_sid in (ONE, TWO)]
    await eventually(lambda: len(providers.tts.streams) == 2)
    calls.say_goodbye("shutdown")
    await eventually(lambda: [len(stream.spoken) for stream in providers.tts.streams] == [2, 2])
    await _ended(calls, *wires)


# --- what other processes know --------------------------------------------------------------------------------------
async def test_f47_another_machine_takes_the_call_up_from_the_database(
    database: Database, providers: Providers, spool: Spool, tmp_path: Path
) -> None:
    call = await a_stored_call(database, call_sid=ONE, state="in_progress")
    ledgers = [CallLedger(database, tmp_path / name, worker=name) for name in ("a", "b")]
    first, second = (
        make_service(spool, tmp_path / name, providers=providers, ledger=ledger)
        for name, ledger in zip("ab", ledgers, strict=True)
    )
    for ledger in ledgers:
        await ledger.open()
    lost = await _lost_in_mid_call(first, providers)
    await _until(database, call, lambda row, lines: row.worker == "a" and len(lines) > 3)
    providers.llm.scripts.append(("Hello Ann.",))
    wire = Wire(second, PlayoutClock())
    wire.start(ONE, second.issue_ticket(ONE), is_resumed=True)
    await _said(providers, "Sorry, we were cut off for a moment.")
    assert providers.llm.requests[-1].messages[-1] == UserMessage("My name is Ann.")
    await _until(database, call, lambda row, lines: row.worker == "b" and lines[-1].segment == 1)
    await second._live[ONE].hang_up()
    await _until(database, call, lambda row, _: row.is_ended_by_us)
    await _ended(second)
    await _ended(first, lost)
    for calls, ledger in ((first, ledgers[0]), (second, ledgers[1])):
        await calls.close()
        await ledger.close()


async def _until(
    database: Database, call: CallRow, holds: Callable[[CallRow, Sequence[ConversationEventRow]], bool]
) -> None:
    for _ in range(1_000):
        async with database.read() as session:
            row = await session.get_one(CallRow, call.id)
            if holds(row, await repository.event_lines(session, call.id)):
                return
        await asyncio.sleep(0.005)
    raise AssertionError("it never happened")
