"""`voice-agent demo`: a server with no account, a carrier, one call, shown live, and what came of it.

Nothing here is made for show: the server is `voice-agent serve`, the call comes in over Twilio's protocol, the caller
follows the scenario `demo`, what is shown is read from the event log that every call writes, and the figures are the
judge's, measured on the caller's line. Afterwards the call is looked at as a program would, through the API.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from voice_agent.calls.record import CallFiles, call_files
from voice_agent.calls.transcript import Transcript
from voice_agent.errors import SandboxServerError
from voice_agent.sandbox.callers.caller import Caller
from voice_agent.sandbox.callers.judge import Verdict, judge, percentile
from voice_agent.sandbox.callers.run import CALLED, CALLING, find_scenario, prepare, words_of
from voice_agent.sandbox.callers.timeline import timeline_of
from voice_agent.sandbox.carrier import Call, Carrier
from voice_agent.sandbox.demo.api import CallOverApi, Copy, call_over_api
from voice_agent.sandbox.demo.event_tail import follow
from voice_agent.sandbox.demo.screen import Screen
from voice_agent.sandbox.local_server import LocalServer, local_server

SCENARIO = "demo"

LEAST_TURNS = 6

CONNECT_S = 20.0
"""Longest wait for the call's first event after it was placed, and for its last one once the line is dead."""


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds; None where nothing was measured."""

    p50: float | None
    p95: float | None


class ApiReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the API said of the call."""

    call_id: str
    direction: str
    state: str
    outcome: str | None
    duration_s: int | None
    agent: str
    transcript_lines: int
    interrupted_lines: int
    turns_timed: int
    voice_to_voice_p50_ms: float | None
    recording: Copy
    loudness_db: dict[str, float | None] | None
    """By channel, dB of full scale; None where all is silence."""


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` writes. Paths are absolute."""

    turns: int
    """Turns of the caller that were answered."""
    barge_ins: int
    """Interruptions that stopped the agent."""
    false_stops: int
    stuck: int
    underrun_ms: float
    voice_to_voice_ms: Percentiles
    recording: str
    transcript: str
    event_log: str
    api: ApiReport | None
    """None where the API did not show the call."""

    def as_json(self) -> bytes:
        """Return it as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def report_of(verdict: Verdict, files: CallFiles, seen: CallOverApi | None = None) -> DemoReport:
    """Return the report on one judged call, with what the API said of it."""
    latencies_ms = verdict.latencies_ms
    return DemoReport(
        turns=verdict.answered_turns,
        barge_ins=verdict.stopping_barge_ins,
        false_stops=verdict.false_stops,
        stuck=verdict.stuck,
        underrun_ms=verdict.underrun_ms,
        voice_to_voice_ms=Percentiles(percentile(latencies_ms, 0.5), percentile(latencies_ms, 0.95)),
        recording=str(files.recording.absolute()) if seen is None else seen.copy.path,
        transcript=str(files.transcript.absolute()),
        event_log=str(files.event_log.absolute()),
        api=None if seen is None else api_report_of(seen),
    )


def api_report_of(seen: CallOverApi) -> ApiReport:
    """Return the report on what the API said of a call."""
    call = seen.call
    return ApiReport(
        call_id=call.id,
        direction=call.direction,
        state=call.state,
        outcome=call.outcome,
        duration_s=call.duration_s,
        agent=call.agent_name,
        transcript_lines=len(call.transcript),
        interrupted_lines=sum(each.is_interrupted for each in call.transcript),
        turns_timed=len(call.turns),
        voice_to_voice_p50_ms=None if seen.turn_p50_ms is None else round(seen.turn_p50_ms, 1),
        recording=seen.copy,
        loudness_db=seen.recording.loudness_db,
    )


def broken_promises(report: DemoReport, fault: str = "") -> Iterator[str]:
    """Yield in a sentence each thing that the demo promises and this one did not do; `fault` is the API's."""
    if report.turns < LEAST_TURNS:
        yield f"{report.turns} turns were answered instead of at least {LEAST_TURNS}."
    if not report.barge_ins:
        yield "The interruption did not stop the agent."
    if report.stuck:
        yield f"{report.stuck} turns got no answer."
    for path in (report.recording, report.transcript, report.event_log):
        if not Path(path).is_file():
            yield f"{path} was not written."
    if report.api is None:
        yield f"The API did not show the call: {fault}."
    elif report.barge_ins and not report.api.interrupted_lines:
        yield "The stored transcript does not say that a reply was interrupted."


class Demo(msgspec.Struct, frozen=True):
    """A call that was held."""

    verdict: Verdict
    files: CallFiles
    seen: CallOverApi | None
    """As the API has it; None where it did not show it."""

    fault: str = ""
    """Why it did not."""

    @property
    def report(self) -> DemoReport:
        """What `--json` writes."""
        return report_of(self.verdict, self.files, self.seen)


async def run_demo(data_dir: Path, console: Console) -> Demo:
    """Hold the demo's call and show it; `data_dir` is absolute.

    Raises SandboxServerError where the server does not start, ScenarioError where a sound cannot be made.
    """
    began_s = time.monotonic()
    console.print("Starting the server and the sandbox carrier: no account, no key, everything on this machine.")
    scenario = find_scenario(SCENARIO)
    caller = Caller(await prepare(scenario))
    async with Carrier() as carrier, local_server(data_dir, carrier) as server:
        console.print(f"Ready in {time.monotonic() - began_s:.1f} s. The caller dials {server.voice_url}\n")
        call = carrier.place_inbound_call(
            caller, to=CALLED, from_=CALLING, voice_url=server.voice_url, status_callback=server.status_url
        )
        files = call_files(data_dir, call.record.sid)
        await _show(call, files, Screen(console))
        console.print("\nAsking for the call through the API, with a key made by `voice-agent api-key`.")
        seen, fault = await _ask(server, call.record.sid)
    # The server has ended: everything is written.
    transcript = read_transcript(files)
    verdict = judge(
        timeline_of(call, caller, carrier.journal),
        scenario.expect,
        scenario=scenario.name,
        call_sid=call.record.sid,
        words=None if transcript is None else words_of(transcript),
    )
    return Demo(verdict, files, seen, fault)


async def _ask(server: LocalServer, call_sid: str) -> tuple[CallOverApi | None, str]:
    """Return what the API has of a call, or None and the reason."""
    try:
        return await call_over_api(server, call_sid, server.data_dir / "recordings"), ""
    except SandboxServerError as error:
        return None, f"{error} (the server's log: {server.log_file})"


async def _show(call: Call, files: CallFiles, screen: Screen) -> None:
    """Show the call until its log has ended; a call that never gets that far is given up when its line is dead."""
    deadline_s = time.monotonic() + CONNECT_S
    async for new in follow(files.event_log):
        for logged in new:
            screen.show(logged.event, logged.actions)
        if new or not call.ended.is_set():
            deadline_s = time.monotonic() + CONNECT_S
        if time.monotonic() > deadline_s:
            return


def read_transcript(files: CallFiles) -> Transcript | None:
    """Return the transcript as it stands, None where there is none yet."""
    try:
        return msgspec.json.decode(files.transcript.read_bytes(), type=Transcript)
    except (OSError, msgspec.DecodeError):
        return None


def summary(demo: Demo) -> Table:
    """Return what came of the call as a table."""
    verdict, report = demo.verdict, demo.report
    clears_ms = [barge_in.clear_ms for barge_in in verdict.barge_ins if barge_in.clear_ms is not None]
    table = Table(title="What the caller experienced", title_justify="left")
    table.add_column("measured on the caller's line")
    table.add_column("", justify="right")
    table.add_row("turns answered", str(report.turns))
    table.add_row("interruptions that stopped the agent", str(report.barge_ins))
    table.add_row("  first sound to the agent's audio cleared", _ms(max(clears_ms, default=None)))
    table.add_row("false stops (“mhm”, coughs)", str(report.false_stops))
    table.add_row("turns without an answer", str(report.stuck))
    table.add_row("gaps inside replies", _ms(report.underrun_ms))
    table.add_row("voice to voice, median", _ms(report.voice_to_voice_ms.p50))
    table.add_row("voice to voice, 95th percentile", _ms(report.voice_to_voice_ms.p95))
    table.add_row("length of the call", f"{verdict.duration_s:.0f} s")
    return table


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"
