"""Workers behind one port: started again where they die, ended where they are told to. Real ones: tests/end_to_end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.contracts.eventually import eventually
from voice_agent import supervisor as module
from voice_agent.settings import AREAS, JobsSettings, ServerSettings, Settings, StorageSettings, variable_name
from voice_agent.supervisor import Supervisor, worker_environment

URL = "http://127.0.0.1:1"

GOOD = """
import signal, socket, sys
listening = socket.socket(fileno=int(sys.argv[1]))
print("ready", flush=True)
signal.sigwait({signal.SIGTERM})
"""
STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True: signal.pause()
"""
DYING = "import sys; sys.exit(3)"


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for area in AREAS.values():
        for field in area.model_fields:
            monkeypatch.delenv(variable_name(area, field), raising=False)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAKE_OVER_S", 0.01)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


class Parent:
    def __init__(self, listener: socket.socket, script: str, storage: StorageSettings | None = None) -> None:
        settings = Settings(server=ServerSettings(drain_s=60.0), storage=storage or StorageSettings())
        self.announced: list[str] = []
        self.supervisor = Supervisor(listener, URL, settings, 2, command=(sys.executable, "-c", script))
        self.task = asyncio.create_task(self.supervisor.run(self.announced.append))

    async def ready(self) -> None:
        await eventually(lambda: self.announced)

    async def end(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await self.task


@pytest.fixture
async def parent(listener: socket.socket) -> AsyncIterator[Parent]:
    running = Parent(listener, GOOD)
    await running.ready()
    yield running
    if not running.task.done():
        await running.end()


async def test_it_is_ready_once_all_workers_are(parent: Parent) -> None:
    assert parent.announced == [URL]
    assert len(set(parent.supervisor.pids)) == 2


@pytest.mark.parametrize(("url", "is_warned"), [("", True), ("redis://127.0.0.1:1", False)])
async def test_workers_that_cannot_tell_each_other_of_their_calls_are_warned_of(
    listener: socket.socket, url: str, is_warned: bool
) -> None:
    with capture_logs() as entries:
        parent = Parent(listener, GOOD, StorageSettings(redis_url=SecretStr(url)))
        await parent.ready()
        await parent.end()
    assert ("workers_share_nothing" in {entry["event"] for entry in entries}) is is_warned


async def test_f47_a_worker_that_is_killed_is_started_again(parent: Parent) -> None:
    first, second = parent.supervisor.pids
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: first not in parent.supervisor.pids and len(parent.supervisor.pids) == 2)
    assert second in parent.supervisor.pids
    assert parent.announced == [URL]


async def test_f49_sigterm_goes_on_to_the_workers_and_the_port_is_closed(
    parent: Parent, listener: socket.socket
) -> None:
    await parent.end()
    assert parent.supervisor.pids == []
    assert listener.fileno() == -1


async def test_f49_workers_that_do_not_end_are_killed(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OVERTIME_S", 0.02)
    stuck = Parent(listener, STUBBORN)
    await stuck.ready()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    await stuck.end()
    assert stuck.supervisor.pids == []


async def test_a_worker_that_keeps_dying_is_started_later_and_later_and_holds_nothing_up(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_S", (0.0, 0.01, 60.0))
    dying = Parent(listener, DYING)
    await eventually(lambda: dying.supervisor.pids)
    await eventually(lambda: not dying.supervisor.pids)
    await dying.end()
    assert dying.announced == []


def test_of_the_workers_one_runs_jobs_and_each_has_a_slot_of_its_own() -> None:
    settings = Settings(jobs=JobsSettings(slot="main"))
    first, second, third = (worker_environment(slot, settings, {"PORT": "1"}) for slot in range(3))
    assert first["PORT"] == second["PORT"] == "1"
    assert "JOBS_SLOT" not in first
    assert (second["JOBS_SLOT"], third["JOBS_SLOT"]) == ("main-1", "main-2")
    assert (first.get("JOBS_IN_SERVER"), second["JOBS_IN_SERVER"]) == (None, "false")
