"""The end of a process: nobody is cut off, everybody who stays too long hears why (F49)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.calls.live_world import Providers, Wire, make_service
from tests.contracts.eventually import eventually
from voice_agent.calls import drain as module
from voice_agent.calls.drain import Drain
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.spool import Spool
from voice_agent.media_stream.connection import PlayoutClock

ONE = "CA" + "1" * 32


class Process:
    def __init__(self, calls: LiveCalls, providers: Providers) -> None:
        self.calls = calls
        self.providers = providers

    async def call(self) -> Wire:
        wire = Wire(self.calls, PlayoutClock())
        wire.start(ONE, self.calls.issue_ticket(ONE))
        await eventually(lambda: self.providers.tts.streams and self.providers.tts.streams[-1].spoken)
        return wire

    async def drain(self, drain_s: float) -> Drain:
        drain = Drain(self.calls, drain_s=drain_s)
        assert not drain.has_begun
        drain.begin()
        await asyncio.sleep(0)
        return drain


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    providers = Providers()
    with Spool() as spool:
        calls = make_service(spool, tmp_path, providers=providers)
        yield Process(calls, providers)
        await calls.close()


async def test_f49_without_calls_it_is_over_at_once(process: Process) -> None:
    drain = await process.drain(60.0)
    await eventually(lambda: drain.is_over)
    assert process.calls.why_not_ready() == "draining"


async def test_f49_it_waits_for_the_last_call(process: Process) -> None:
    wire = await process.call()
    drain = await process.drain(60.0)
    await asyncio.sleep(0.02)
    assert (drain.has_begun, drain.is_over, wire.connection.is_closed) == (True, False, False)
    wire.stop()
    await eventually(lambda: drain.is_over)


async def test_f49_at_the_deadline_a_goodbye_is_said_and_waited_for(process: Process) -> None:
    wire = await process.call()
    drain = await process.drain(0.0)
    await eventually(lambda: len(process.providers.tts.streams[-1].spoken) == 2)
    assert not drain.is_over
    wire.stop()
    await eventually(lambda: drain.is_over)


async def test_f49_a_goodbye_that_does_not_come_to_its_end_is_not_waited_for(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GOODBYE_S", 0.01)
    wire = await process.call()
    drain = await process.drain(0.0)
    await eventually(lambda: drain.is_over)
    wire.stop()


async def test_f49_a_second_signal_ends_it_at_once(process: Process) -> None:
    wire = await process.call()
    drain = await process.drain(60.0)
    drain.begin()
    assert drain.is_over
    drain.begin()
    await drain.close()
    assert not wire.connection.is_closed
    wire.stop()


async def test_it_can_be_closed_before_it_has_begun(process: Process) -> None:
    drain = Drain(process.calls, drain_s=1.0)
    await drain.close()
    drain.hurry()
    assert drain.has_begun
