"""The test bench of the whole server: three processes that a benchmark drives by calls.

    callers and carrier (this process)  <->  the server under test (one core)  <->  provider doubles

The server is the product, started as a user starts it, with real accounts' settings pointed at the doubles; it knows
nothing of being measured. It has one core to itself, everything else shares the other.
"""

import asyncio
import os
import re
import signal
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
import psutil

from voice_agent.calls.event_log import EventLog, read_event_log
from voice_agent.calls.record import LatencyReport, call_files
from voice_agent.calls.transcript import AgentSaid, CallerSaid, Transcript
from voice_agent.sandbox.callers.clips import Rendering
from voice_agent.sandbox.callers.run import hold_call
from voice_agent.sandbox.callers.timeline import Timeline
from voice_agent.sandbox.carrier import Carrier, CarrierSettings
from voice_agent.sandbox.carrier.journal import StreamClosed, StreamOpened
from voice_agent.sandbox.providers import Dialogue, DoublesConfig, Reply, Rule, Timings

START_S = 60.0
PRODUCT = ("-m", "voice_agent", "serve")
BARE_SERVER = ("-m", "bench.bare_server")
"""Command lines of the servers that can be measured, for the Python of this process."""

KEY = "bench-0123456789"

GREETING = "Good morning, Harbour Dental, how can I help you?"

AGENT = """
name: Bench
language: {language}
prompt: You are the receptionist of a dental practice.
voice: bench-voice
model: openai:bench-model
tools: [end_call]
lines:
  greeting: {greeting}
  idle_prompts: [Are you still there?, Hello?]
  goodbye: Goodbye, and thank you for calling.
  filler: One moment please.
  not_understood: I am sorry, I did not catch that.
  apology: I am sorry, could you say that once more?
  failure: We have a technical problem, please call again later.
limits: {{idle_s: 30, duration_s: 900}}
"""

REPLIES = (
    "Of course, I can help you with that. Which day would suit you best?",
    "Thank you, let me see. We have a place on Tuesday morning at ten, or on Friday afternoon at three.",
    "That is no problem. A check-up takes about half an hour, and it costs 50 euros. Shall I book it?",
    "Certainly. I have put you down for Friday at three. Is there anything else that I can do for you?",
    "I see. Dr. Smith is here from Monday to Thursday, so one of these days would be best.",
    "Sure, no problem at all. You can park right behind the house, and the entrance is on the left.",
)


class Rig:
    """Use as an async context manager. `server` is the command line of the server; by default, the product."""

    def __init__(
        self,
        *,
        timings: Timings | None = None,
        replies: Sequence[str] = REPLIES,
        rules: Sequence[Rule] = (),
        greeting: str = GREETING,
        language: str = "en",
        server: Sequence[str] = PRODUCT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._timings = timings or Timings()
        self._dialogue = Dialogue(replies=tuple(Reply(text) for text in replies), rules=tuple(rules))
        self._agent = AGENT.format(greeting=greeting, language=language)
        self._server_command = server
        self._environment = dict(environment or {})
        self._exit = AsyncExitStack()
        self.carrier = Carrier(CarrierSettings())
        self.voice_url = ""
        self.server = psutil.Process()
        """The server under test, once started."""

        self.own = psutil.Process()
        """This process: carrier and callers."""

        self.doubles = psutil.Process()
        """The provider doubles, once started."""

        self.doubles_url = ""
        self.data_dir = Path()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def _start(self) -> None:
        own_cores = sorted(os.sched_getaffinity(0))
        self._exit.callback(os.sched_setaffinity, 0, set(own_cores))
        os.sched_setaffinity(0, {own_cores[-1]})
        folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="voice-agent-bench-")))
        self.data_dir = folder / "data"
        await self._exit.enter_async_context(self.carrier)
        doubles = await self._start_doubles(folder)
        (folder / "agent.yaml").write_text(self._agent, "utf-8")
        settings = {
            **doubles,
            "OPENAI_API_KEY": KEY,
            "ELEVENLABS_API_KEY": KEY,
            "TWILIO_ACCOUNT_SID": self.carrier.settings.account_sid,
            "TWILIO_AUTH_TOKEN": self.carrier.settings.auth_token,
            "TWILIO_BASE_URL": self.carrier.base_url,
            "AGENT_FILE": str(folder / "agent.yaml"),
            "DATA_DIR": str(self.data_dir),
            "PORT": "0",
            "MAX_CALLS": "1000",
            "LOG_LEVEL": "WARNING",
            **self._environment,
        }
        address = await self._start_server(settings, own_cores[0])
        self.voice_url = f"{address}/twilio/voice"

    async def _start_doubles(self, folder: Path) -> dict[str, str]:
        config = folder / "doubles.json"
        config.write_bytes(msgspec.json.encode(DoublesConfig(api_key=KEY, timings=self._timings)))
        command = (sys.executable, "-m", "voice_agent.sandbox.providers", "--port", "0", "--config", str(config))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        self._exit.push_async_callback(_end, process)
        environment = msgspec.json.decode(await _first_line(process), type=dict[str, str])
        self.doubles = psutil.Process(process.pid)
        self.doubles_url = environment["ELEVENLABS_BASE_URL"]
        await self._tell("dialogue", msgspec.json.encode(self._dialogue))
        return environment

    async def _start_server(self, settings: Mapping[str, str], core: int) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self._server_command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **settings}
        )
        self._exit.push_async_callback(_end, process)
        self.server = psutil.Process(process.pid)
        self.server.cpu_affinity([core])
        found = re.search(r"http://[\d.]+:\d+", (await _first_line(process)).decode())
        if found is None:
            raise RuntimeError("the server did not say where it listens")
        return found.group()

    async def _tell(self, what: str, body: bytes) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.doubles_url}/sandbox/{what}", data=body) as response,
        ):
            response.raise_for_status()

    async def teach(self, phrases: Iterable[tuple[bytes, str, tuple[float, ...]]]) -> None:
        """Let the recognition double understand these clips: mu-law, text, ends of its words in milliseconds."""
        entries = [
            {"audio": b64encode(clip).decode(), "text": text, "word_ends_ms": ends} for clip, text, ends in phrases
        ]
        await self._tell("phrases", msgspec.json.encode({"phrases": entries}))

    async def call(
        self, renderings: Sequence[Rendering], *, calls: int, over_s: float = 0.0
    ) -> list[tuple[str, Timeline]]:
        """Hold `calls` calls at once, begun evenly over `over_s` seconds; return SID and timeline of each."""

        async def one(number: int) -> tuple[str, Timeline]:
            await asyncio.sleep(over_s * number / calls)
            return await hold_call(renderings[number % len(renderings)], self.carrier, self.voice_url)

        return await asyncio.gather(*(one(number) for number in range(calls)))

    def hang_up(self) -> None:
        """End every call, from the carrier's side; `call` returns once they have ended."""
        for call in self.carrier.list_calls():
            call.hang_up()

    async def latency(self, call_sid: str) -> LatencyReport:
        """Return what the server itself measured of a call, once it is written. Raises FileNotFoundError."""
        path = call_files(self.data_dir, call_sid).latency
        for _ in range(100):
            if path.exists():
                break
            await asyncio.sleep(0.05)
        return msgspec.json.decode(path.read_bytes(), type=LatencyReport)

    async def event_log(self, call_sid: str) -> EventLog:
        """Return the server's event log of a call that has ended. Raises EventLogError."""
        await self.latency(call_sid)  # the report is queued just before the log is closed
        await asyncio.sleep(0.2)
        return read_event_log(call_files(self.data_dir, call_sid).event_log)

    async def replies(self, call_sid: str) -> list[str]:
        """Return what the agent answered to the caller's turns of a call, in order."""
        path = call_files(self.data_dir, call_sid).transcript
        transcript = msgspec.json.decode(path.read_bytes(), type=Transcript)
        answered = {entry.turn for entry in transcript.entries if isinstance(entry, CallerSaid)}
        return [entry.text for entry in transcript.entries if isinstance(entry, AgentSaid) and entry.turn in answered]

    @property
    def live_calls(self) -> int:
        """How many calls have an open media stream."""
        entries = [type(entry) for entry in self.carrier.journal]
        return entries.count(StreamOpened) - entries.count(StreamClosed)

    def cpu_s(self) -> float:
        """Processor seconds the server has used so far."""
        return cpu_s(self.server)


def cpu_s(process: psutil.Process) -> float:
    """Return the processor seconds that a process has used so far, its threads included."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    """Return the line with which a process says that it is ready. Raises RuntimeError where it ends instead."""
    assert process.stdout is not None
    async with asyncio.timeout(START_S):
        line = await process.stdout.readline()
    if not line:
        raise RuntimeError(f"process {process.pid} ended before it was ready")
    return line


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that was started here, kindly first."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(15.0):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
