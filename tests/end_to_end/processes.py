"""The product as processes of its own, on real sockets: to be killed, drained and left without a database."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from tests.end_to_end.stand import AGENT, DIALOGUE, PATIENCE_S
from voice_agent.calls.event_log import EventLog, read_event_log
from voice_agent.calls.record import call_files
from voice_agent.errors import EventLogError
from voice_agent.pipeline import events as ev
from voice_agent.sandbox.callers import Scenario, prepare
from voice_agent.sandbox.callers.run import hold_call
from voice_agent.sandbox.callers.scenario import Step
from voice_agent.sandbox.callers.timeline import Timeline
from voice_agent.sandbox.carrier import Carrier
from voice_agent.sandbox.providers import DoublesConfig, ProviderDoubles, Timings

STEP_S = 0.02
START_S = 120.0
"""The longest that a server may take to start: it is seconds of CPU, and the machine may be busy."""

ROOT = Path(__file__).parent.parent.parent


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; other processes may take their time."""
    for _ in range(round(PATIENCE_S / STEP_S)):
        if condition():
            return
        await asyncio.sleep(STEP_S)
    raise AssertionError("it never happened")


class Running:
    """A server and the world around it; made by `running`."""

    def __init__(self, process: Process, url: str, data_dir: Path, carrier: Carrier, doubles: ProviderDoubles) -> None:
        self.process = process
        self.url = url
        self.data_dir = data_dir
        self.carrier = carrier
        self.doubles = doubles

    def begin_call(self, *steps: Step) -> "asyncio.Task[tuple[str, Timeline]]":
        """Have a simulated caller call and follow `steps`."""
        return asyncio.create_task(self._call(steps))

    async def _call(self, steps: tuple[Step, ...]) -> tuple[str, Timeline]:
        rendering = await prepare(Scenario(name="call", steps=steps, limit_s=PATIENCE_S))
        for clip in rendering.clips.values():
            self.doubles.phrases.add(clip.mulaw, clip.label)
        async with asyncio.timeout(2 * PATIENCE_S):
            return await hold_call(rendering, self.carrier, f"{self.url}/twilio/voice")

    def call_sids(self) -> list[str]:
        return [call.record.sid for call in self.carrier.list_calls()]

    def log(self, call_sid: str, segment: int = 0) -> EventLog | None:
        """Return the log of a call's media stream as far as it is written."""
        try:
            return read_event_log(call_files(self.data_dir, call_sid, segment).event_log)
        except EventLogError:
            return None

    def count(self, call_sid: str, kind: type[ev.Event], segment: int = 0) -> int:
        """Return how many events of a kind a stream has had."""
        log = self.log(call_sid, segment)
        return 0 if log is None else sum(isinstance(entry.event, kind) for entry in log.entries)

    async def heard(self, replies: int, segment: int = 0) -> str:
        """Return the newest call's name, once its caller has heard so many replies to their end."""
        await until(self.call_sids)
        call_sid = self.call_sids()[0]
        await until(lambda: self.count(call_sid, ev.PlaybackFinished, segment) >= replies)
        return call_sid

    def holder(self, call_sid: str) -> psutil.Process:
        """Return the process that writes a call's log."""
        path = str(call_files(self.data_dir, call_sid).event_log)
        parent = psutil.Process(self.process.pid)
        (found,) = [each for each in (parent, *parent.children()) if path in [file.path for file in each.open_files()]]
        return found

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Return the exit code, once the server has ended."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def running(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Run `voice-agent serve` with these arguments; nothing of it is left when this returns."""
    (folder / "agent.yaml").write_text(AGENT, "utf-8")
    config = DoublesConfig(timings=Timings.instant())
    async with Carrier() as carrier, await ProviderDoubles.start(config) as doubles:
        doubles.converse(DIALOGUE)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "voice_agent", "serve", "--port", "0", *arguments),
            cwd=folder,
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                **doubles.environment(),
                "PYTHONPATH": str(ROOT),
                "DATA_DIR": str(folder / "data"),
                "AGENT_FILE": str(folder / "agent.yaml"),
                "VOICE_ACTIVITY": "webrtc",
                "TWILIO_ACCOUNT_SID": carrier.settings.account_sid,
                "TWILIO_AUTH_TOKEN": carrier.settings.auth_token,
                "TWILIO_BASE_URL": carrier.base_url,
                **(environment or {}),
            },
            stdout=PIPE,
            stderr=None,
        )
        try:
            yield Running(process, await _address(process), folder / "data", carrier, doubles)
        finally:
            await _end(process)


async def _address(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(START_S):
        line = await process.stdout.readline()
    found = re.search(rb"http://[\d.]+:\d+", line)
    assert found is not None, "the server did not start"
    return found.group().decode()


async def _end(process: Process) -> None:
    """End a server at once: two signals, then force."""
    for _ in range(2):
        if process.returncode is None:
            process.terminate()
            await asyncio.sleep(0.1)
    try:
        async with asyncio.timeout(15.0):
            await process.communicate()
    except TimeoutError:
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()
        await process.communicate()
