"""Runs scenarios: renders the sounds, places the calls, judges what came of them."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path

from voice_agent.calls.transcript import AgentSaid, CallerSaid, Transcript
from voice_agent.errors import ScenarioError
from voice_agent.integrations.local.espeak import EspeakSynthesiser
from voice_agent.sandbox.callers.caller import Caller
from voice_agent.sandbox.callers.clips import Rendering, render
from voice_agent.sandbox.callers.judge import Verdict, Words, judge
from voice_agent.sandbox.callers.scenario import Scenario, load
from voice_agent.sandbox.callers.timeline import Timeline, timeline_of
from voice_agent.sandbox.carrier import Carrier, Synthesise

CALLED = "+15005550006"
CALLING = "+15005550001"
"""Numbers that nobody owns (Twilio's own test numbers)."""

FindTranscript = Callable[[str], Awaitable[Transcript | None]]
"""Call SID to the transcript the server kept of it; may wait until it is written."""


def local_synthesis(voice: str = "") -> Synthesise:
    """Return the built-in synthesis with one voice. Raises ProviderRefused where it is not installed."""
    synthesiser = EspeakSynthesiser()
    return lambda text, language: synthesiser.clip(text, language, voice)


def built_in_scenarios() -> dict[str, Path]:
    """Return the scenarios that come with the package, by name."""
    folder = Path(str(resources.files("voice_agent.sandbox") / "scenarios"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_scenario(name: str) -> Scenario:
    """Return the scenario in the file `name`, or the built-in one of that name. Raises ScenarioError."""
    path = Path(name)
    if path.exists():
        return load(path)
    built_in = built_in_scenarios()
    if name not in built_in:
        raise ScenarioError(f"{name}: no such file; built in are {', '.join(built_in)}")
    return load(built_in[name])


async def prepare(scenario: Scenario, synthesise: Synthesise | None = None) -> Rendering:
    """Return the scenario with its sounds, which any number of calls may share. Raises ScenarioError."""
    return await asyncio.to_thread(lambda: render(scenario, synthesise or local_synthesis(scenario.voice)))


async def hold_call(
    rendering: Rendering, carrier: Carrier, voice_url: str, *, to: str = CALLED, from_: str = CALLING
) -> tuple[str, Timeline]:
    """Have one caller follow the scenario to the end of its call; return the call's SID and timeline."""
    caller = Caller(rendering)
    call = carrier.place_inbound_call(caller, to=to, from_=from_, voice_url=voice_url)
    await call.ended.wait()
    return call.record.sid, timeline_of(call, caller, carrier.journal)


async def run_scenario(
    scenario: Scenario | Rendering,
    carrier: Carrier,
    voice_url: str,
    *,
    to: str = CALLED,
    from_: str = CALLING,
    find_transcript: FindTranscript | None = None,
) -> Verdict:
    """Run one scenario as one call to the server whose voice webhook is `voice_url`, and judge it.

    Any number may run at once over one carrier. Raises ScenarioError where a sound cannot be made.
    """
    rendering = scenario if isinstance(scenario, Rendering) else await prepare(scenario)
    call_sid, timeline = await hold_call(rendering, carrier, voice_url, to=to, from_=from_)
    transcript = await find_transcript(call_sid) if find_transcript is not None else None
    return judge(
        timeline,
        rendering.scenario.expect,
        scenario=rendering.scenario.name,
        call_sid=call_sid,
        words=None if transcript is None else words_of(transcript),
    )


def words_of(transcript: Transcript) -> Words:
    """Return what both sides said, each joined to one text; of a cut reply, what was heard where it is known."""
    agent = [
        entry.text if entry.heard is None else entry.heard
        for entry in transcript.entries
        if isinstance(entry, AgentSaid)
    ]
    caller = [entry.text for entry in transcript.entries if isinstance(entry, CallerSaid)]
    return Words(" ".join(agent), " ".join(caller))
