"""One process that serves: it says when it is ready, and ends once its calls have. tests/end_to_end has calls in it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from tests.calls.live_world import make_service
from tests.contracts.eventually import eventually
from voice_agent.calls.drain import Drain
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.spool import Spool
from voice_agent.process import listen
from voice_agent.serving import DrainingServer
from voice_agent.settings import ServerSettings


class Busy(LiveCalls):
    """Calls that end when the test says so."""

    may_end: asyncio.Event

    async def until_idle(self) -> None:
        await self.may_end.wait()


class Process:
    def __init__(self, calls: Busy) -> None:
        self.calls = calls
        self.ready = 0
        self.server = DrainingServer(
            uvicorn.Config(FastAPI(), log_config=None, timeout_graceful_shutdown=1),
            Drain(calls, drain_s=60.0),
            self._note,
        )
        listener, self.url = listen(ServerSettings(port=0))
        self.task = asyncio.create_task(self.server.serve(sockets=[listener]))

    def _note(self) -> None:
        self.ready += 1

    def signal(self) -> None:
        self.server.handle_exit(signal.SIGTERM, None)


@pytest.fixture
async def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    monkeypatch.chdir(tmp_path)
    with Spool() as spool:
        calls = make_service(spool, tmp_path)
        calls.__class__ = Busy
        assert isinstance(calls, Busy)
        calls.may_end = asyncio.Event()
        yield Process(calls)


async def test_it_says_once_that_it_is_ready(process: Process) -> None:
    await eventually(lambda: process.ready)
    process.calls.may_end.set()
    process.signal()
    await process.task
    assert process.ready == 1
    assert process.url.startswith("http://127.0.0.1:")


async def test_f49_the_first_signal_waits_for_the_calls(process: Process) -> None:
    await eventually(lambda: process.ready)
    process.signal()
    await eventually(lambda: process.calls.is_draining)
    await asyncio.sleep(0.15)
    assert not process.task.done()
    process.calls.may_end.set()
    await process.task


async def test_f49_the_second_signal_does_not(process: Process) -> None:
    await eventually(lambda: process.ready)
    process.signal()
    process.signal()
    await process.task


async def test_a_signal_before_it_is_ready_ends_it(process: Process) -> None:
    process.signal()
    await process.task
