"""`voice-agent simulate`: callers who follow a scenario, against a server of its own or one that runs already.

A server of its own is the demo's: local speech, the scripted receptionist. With a URL the user's settings are read,
for the account whose signature that server expects and the address at which it expects its carrier.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rich.console import Console

from voice_agent.calls.record import call_files
from voice_agent.calls.transcript import Transcript
from voice_agent.errors import ScenarioError, SettingsError
from voice_agent.sandbox.callers import Rendering, Scenario, Verdict, find_scenario, prepare, run_scenario
from voice_agent.sandbox.carrier import Carrier, CarrierSettings
from voice_agent.sandbox.demo.run import read_transcript
from voice_agent.sandbox.local_server import local_server
from voice_agent.settings import Settings, is_loopback, load_settings

LOCAL_LANGUAGE = "en"
"""All that the local speech recognition knows."""

TRANSCRIPT_S = 20.0
"""How long after a call its transcript is waited for: the server writes it when the stream has ended."""

FOLDER_S = 3.0
"""How long the call's folder is waited for. It is there since the call began, unless the server is elsewhere."""


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    scenario: str
    """A file or the name of a built-in scenario."""
    url: str = ""
    """Voice webhook of a running server; empty for one of its own."""
    calls: int = 1
    """Callers at once."""
    data_dir: Path
    """Of the own server; absolute."""


class SimulationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` writes."""

    scenario: str
    has_passed: bool
    calls: tuple[Verdict, ...]

    def as_json(self) -> bytes:
        """Return it as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class Target(msgspec.Struct, frozen=True):
    """Who is called."""

    carrier: Carrier
    voice_url: str
    data_dir: Path
    """Where the server keeps its transcripts, if it is on this machine."""


async def run_simulation(simulation: Simulation, console: Console) -> SimulationReport:
    """Hold the calls and judge them.

    Raises ScenarioError, SandboxServerError, and SettingsError where a URL is given and no account is set.
    """
    scenario = find_scenario(simulation.scenario)
    rendering = await prepare(scenario)
    async with _target(simulation, scenario, console) as target:
        verdicts = await asyncio.gather(*(_call(rendering, target) for _ in range(simulation.calls)))
    return SimulationReport(
        scenario=scenario.name, has_passed=all(verdict.has_passed for verdict in verdicts), calls=tuple(verdicts)
    )


async def _call(rendering: Rendering, target: Target) -> Verdict:
    async def find_transcript(call_sid: str) -> Transcript | None:
        ended_s = time.monotonic()
        files = call_files(target.data_dir, call_sid)
        while (transcript := read_transcript(files)) is None or not transcript.is_complete:
            longest_s = TRANSCRIPT_S if files.folder.is_dir() else FOLDER_S
            if time.monotonic() > ended_s + longest_s:
                return transcript
            await asyncio.sleep(0.05)
        return transcript

    return await run_scenario(rendering, target.carrier, target.voice_url, find_transcript=find_transcript)


@asynccontextmanager
async def _target(simulation: Simulation, scenario: Scenario, console: Console) -> AsyncIterator[Target]:
    if simulation.url:
        settings = load_settings()
        async with _carrier_at(carrier_settings(settings, simulation.url)) as carrier:
            console.print(f"The carrier's REST interface is at {carrier.base_url}; calling {simulation.url}")
            if carrier.base_url != settings.twilio.base_url:
                console.print(
                    f"TWILIO_BASE_URL is {settings.twilio.base_url}: hang-ups and transfers do not reach this carrier."
                )
            yield Target(carrier, signed_url(settings, simulation.url), settings.server.data_dir)
        return
    if scenario.language != LOCAL_LANGUAGE:
        raise ScenarioError(
            f"{simulation.scenario}: its caller speaks {scenario.language!r} and the local speech recognition knows "
            f"{LOCAL_LANGUAGE!r} only: call a server that has a provider's key with --url"
        )
    async with Carrier() as carrier, local_server(simulation.data_dir, carrier) as server:
        console.print(f"A server of its own listens at {server.base_url}")
        yield Target(carrier, server.voice_url, server.data_dir)


@asynccontextmanager
async def _carrier_at(settings: CarrierSettings) -> AsyncIterator[Carrier]:
    carrier = Carrier(settings)
    try:
        await carrier.start()
    except OSError as error:
        await carrier.stop()
        place = f"{settings.host}:{settings.port}"
        raise SettingsError(f"TWILIO_BASE_URL: the carrier cannot listen on {place}: {error.strerror}") from error
    try:
        yield carrier
    finally:
        await carrier.stop()


def carrier_settings(settings: Settings, url: str) -> CarrierSettings:
    """Return a carrier that the server behind `url` takes for its own. Raises SettingsError without an account.

    It listens where TWILIO_BASE_URL points to, if that is on this machine: there the server asks for hang-ups and
    transfers. Where the server has a public address, what is signed is that one and what is called is `url`.
    """
    if not settings.twilio.account_sid:
        raise SettingsError(
            "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are needed: the server's own, whose calls it takes"
        )
    rest = urlsplit(settings.twilio.base_url)
    is_local = is_loopback(rest.hostname or "")
    public = settings.server.public_base_url
    return CarrierSettings(
        account_sid=settings.twilio.account_sid,
        auth_token=settings.twilio.auth_token.get_secret_value(),
        host=(rest.hostname or "127.0.0.1") if is_local else "127.0.0.1",
        port=(rest.port or 0) if is_local else 0,
        routes={public: _origin(url)} if public else {},
    )


def signed_url(settings: Settings, url: str) -> str:
    """Return `url` as the server knows it: under its public address, where it has one."""
    public = settings.server.public_base_url
    return public + url.removeprefix(_origin(url)) if public else url


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
