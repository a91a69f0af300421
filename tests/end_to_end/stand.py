"""The whole system in one process, on real sockets: the product under uvicorn, the sandbox carrier, provider doubles.

simulated caller -- carrier ==webhooks, media socket==> the product ==sockets, HTTP==> provider doubles
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree

import aiohttp
import msgspec
import uvicorn
from pydantic import SecretStr

from tests.contracts.eventually import eventually
from voice_agent.app import Server, create_app
from voice_agent.calls.event_log import EventLog, read_event_log
from voice_agent.calls.record import CallFiles, call_files
from voice_agent.calls.transcript import AgentSaid, CallerSaid, Transcript
from voice_agent.integrations.twilio.addresses import MEDIA_PATH, VOICE_PATH
from voice_agent.media_stream.protocol import MAX_FRAME_BYTES
from voice_agent.media_stream.server import hybrid_protocol
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.sandbox.callers import Scenario, prepare
from voice_agent.sandbox.callers.run import hold_call
from voice_agent.sandbox.callers.scenario import Step
from voice_agent.sandbox.callers.timeline import Timeline
from voice_agent.sandbox.carrier import Carrier
from voice_agent.sandbox.carrier.journal import AnyEntry, Entry
from voice_agent.sandbox.carrier.webhooks import signature
from voice_agent.sandbox.providers import Dialogue, DoublesConfig, ProviderDoubles, Reply, Rule, Timings, ToolRequest
from voice_agent.settings import (
    ElevenLabsSettings,
    OpenAISettings,
    PipelineSettings,
    ServerSettings,
    Settings,
    TwilioSettings,
)

PATIENCE_S = 30.0
"""The longest that anything here is waited for."""

AGENT = """
name: Stand
language: en
prompt: You are the receptionist of a dental practice.
voice: stand-voice
fallback_voice: stand-fallback-voice
model: openai:stand-model
tools: [end_call]
lines:
  greeting: Hello.
  idle_prompts: [Hello?]
  goodbye: Goodbye.
  filler: One moment.
  not_understood: Pardon?
  apology: I am sorry, once more please.
  failure: We have a problem, goodbye.
limits: {idle_s: 3, duration_s: 60}
"""

DIALOGUE = Dialogue(
    rules=(
        Rule(Reply("It costs fifty euros."), contains="cost"),
        Rule(Reply("On Friday at three."), contains="when"),
        Rule(
            Reply("We are open from nine in the morning until six in the evening, every day of the week but Sunday."),
            contains="open",
        ),
        Rule(Reply("Goodbye then.", (ToolRequest("end_call"),)), contains="bye"),
        Rule(
            Reply("Goodbye then."),
            tool="end_call",
        ),
    ),
    replies=(Reply("Certainly."),),
)


class Held(msgspec.Struct, frozen=True):
    """A call that is over, as its files tell it."""

    call_sid: str
    timeline: Timeline
    log: EventLog
    transcript: Transcript

    @property
    def caller_said(self) -> list[str]:
        return [entry.text for entry in self.transcript.entries if isinstance(entry, CallerSaid)]

    @property
    def agent_said(self) -> list[str]:
        return [entry.text for entry in self.transcript.entries if isinstance(entry, AgentSaid)]

    def actions(self, kind: type[act.Action]) -> list[act.AnyAction]:
        return [action for entry in self.log.entries for action in entry.actions if isinstance(action, kind)]

    def events(self, kind: type[ev.Event]) -> list[ev.AnyEvent]:
        return [entry.event for entry in self.log.entries if isinstance(entry.event, kind)]


class Stand:
    """Made by `standing`."""

    def __init__(self, carrier: Carrier, doubles: ProviderDoubles, server: uvicorn.Server, product: Server) -> None:
        self.carrier = carrier
        self.doubles = doubles
        self.product = product
        self.data_dir = Path()
        self.url = ""
        self._server = server
        self._is_stopped = False

    @property
    def media_url(self) -> str:
        return self.url.replace("http", "ws", 1) + MEDIA_PATH

    async def stop(self) -> None:
        """Stop the product as SIGTERM does; twice is once."""
        if not self._is_stopped:
            self._is_stopped = True
            async with asyncio.timeout(PATIENCE_S):
                await self._server.shutdown()

    # --- calls ------------------------------------------------------------------------------------------------
    async def call(self, *steps: Step) -> Held:
        """Have a simulated caller follow `steps` to the end of the call."""
        rendering = await prepare(Scenario(name="call", steps=steps, limit_s=PATIENCE_S))
        for clip in rendering.clips.values():
            if clip.kind != "noise":
                self.doubles.phrases.add(clip.mulaw, clip.label)
        async with asyncio.timeout(2 * PATIENCE_S):
            call_sid, timeline = await hold_call(rendering, self.carrier, self.url + VOICE_PATH)
            files = call_files(self.data_dir, call_sid)
            await eventually(lambda: _is_complete(files))
        transcript = msgspec.json.decode(files.transcript.read_bytes(), type=Transcript)
        return Held(call_sid, timeline, read_event_log(files.event_log), transcript)

    def journal(self, call_sid: str, kind: type[Entry]) -> list[AnyEntry]:
        """Return what the carrier wrote down of a call, of one kind."""
        return [entry for entry in self.carrier.journal.of_call(call_sid) if isinstance(entry, kind)]

    def provider_connections(self) -> int:
        """Return how many connections and requests the providers' doubles have seen since `forget`."""
        return len(self.doubles.journal.exchanges())

    # --- the carrier's requests, made by hand -----------------------------------------------------------------
    async def post(self, path: str, form: Mapping[str, str], *, token: str | None = None) -> tuple[int, str]:
        """Post a webhook, signed with the account's token or another; return status and body."""
        signed_with = self.carrier.settings.auth_token if token is None else token
        headers = {"X-Twilio-Signature": signature(signed_with, self.url + path, form)} if signed_with else {}
        async with (
            aiohttp.ClientSession() as client,
            client.post(self.url + path, data=dict(form), headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    async def ticket(self, call_sid: str) -> str:
        """Return the ticket in the document that answers an incoming call."""
        _, document = await self.post(VOICE_PATH, {"CallSid": call_sid, "From": "+15005550001"})
        parameter = ElementTree.fromstring(document).find(".//Parameter")
        assert parameter is not None
        return parameter.attrib["value"]

    def upgrade_headers(self) -> dict[str, str]:
        """Return the signature with which Twilio opens a media socket."""
        return {"X-Twilio-Signature": signature(self.carrier.settings.auth_token, self.media_url, {})}


def _is_complete(files: CallFiles) -> bool:
    """Tell whether the call's files are finished: the latency report is written last but for the log's end."""
    try:
        is_complete = msgspec.json.decode(files.transcript.read_bytes(), type=Transcript).is_complete
    except OSError:
        return False
    return is_complete and files.latency.exists() and read_event_log(files.event_log).is_complete


@asynccontextmanager
async def standing(folder: Path, *, agent: str = AGENT, max_calls: int = 10) -> AsyncIterator[Stand]:
    """Put everything up; all of it is down again, and nothing left, when this returns."""
    (folder / "agent.yaml").write_text(agent, "utf-8")
    config = DoublesConfig(timings=Timings.instant())
    async with Carrier() as carrier, await ProviderDoubles.start(config) as doubles:
        doubles.converse(DIALOGUE)
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(_settings(folder, carrier, doubles, max_calls), url)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                ws=hybrid_protocol(app.state.server.endpoint),
                ws_max_size=MAX_FRAME_BYTES,
                ws_per_message_deflate=False,
                log_config=None,
                timeout_graceful_shutdown=5,
            )
        )
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[listener])
        stand = Stand(carrier, doubles, server, app.state.server)
        stand.url, stand.data_dir = url, folder / "data"
        doubles.journal.clear()  # of the fixed lines that were made ahead
        try:
            yield stand
        finally:
            await stand.stop()


def _settings(folder: Path, carrier: Carrier, doubles: ProviderDoubles, max_calls: int) -> Settings:
    environment = doubles.environment()
    return Settings(
        server=ServerSettings(data_dir=folder / "data", agent_file=folder / "agent.yaml", max_calls=max_calls),
        twilio=TwilioSettings(
            account_sid=carrier.settings.account_sid,
            auth_token=SecretStr(carrier.settings.auth_token),
            base_url=carrier.base_url,
        ),
        openai=OpenAISettings(
            api_key=SecretStr(environment["OPENAI_API_KEY"]), base_url=environment["OPENAI_BASE_URL"]
        ),
        elevenlabs=ElevenLabsSettings(
            api_key=SecretStr(environment["ELEVENLABS_API_KEY"]), base_url=environment["ELEVENLABS_BASE_URL"]
        ),
        pipeline=PipelineSettings(voice_activity="webrtc"),
    )
