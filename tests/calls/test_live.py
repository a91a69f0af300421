"""Who may stream, which calls are live, and how each came to its end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.calls.live_world import Providers, Wire, make_service
from tests.contracts.eventually import eventually
from voice_agent.calls import live
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.spool import Spool
from voice_agent.media_stream.connection import PlayoutClock

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
