"""The doubles of all providers on one real port."""

from types import TracebackType
from typing import Self

from aiohttp import web

from voice_agent.sandbox.providers import (
    accounts,
    control,
    elevenlabs_http,
    elevenlabs_stt,
    elevenlabs_tts,
    gemini,
    openai_chat,
    openai_realtime,
    openai_responses,
    sound,
)
from voice_agent.sandbox.providers.config import DoublesConfig
from voice_agent.sandbox.providers.dialogue import Answer, Dialogue
from voice_agent.sandbox.providers.faults import Fault, FaultPlan
from voice_agent.sandbox.providers.journal import Journal, Service
from voice_agent.sandbox.providers.phrases import PhraseBook
from voice_agent.sandbox.providers.world import World

KEY = "sandbox-key"
"""What `environment` gives as every provider's key where the configuration names none."""

_DOUBLES = (
    elevenlabs_stt,
    elevenlabs_tts,
    elevenlabs_http,
    openai_chat,
    openai_responses,
    openai_realtime,
    gemini,
    accounts,
    control,
)


class ProviderDoubles:
    """A running server of doubles: `async with await ProviderDoubles.start() as doubles`."""

    def __init__(self, world: World, runner: web.AppRunner, url: str) -> None:
        self._world = world
        self._runner = runner
        self.url = url
        """Address of the server; also the base URL of ElevenLabs and of Gemini."""

    @classmethod
    async def start(cls, config: DoublesConfig | None = None, *, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Start listening; port 0 takes a free one."""
        sound.warm_up()
        world = World(config or DoublesConfig())
        app = web.Application(client_max_size=32 * 1024 * 1024)
        for double in _DOUBLES:
            app.add_routes(double.routes(world))
        app.on_shutdown.append(world.hang_up)
        # With handler_cancellation a client that leaves ends its request at once, as at the providers.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0]
        return cls(world, runner, f"http://{host}:{bound[1]}")

    async def close(self) -> None:
        """End every connection and stop listening."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def elevenlabs_base_url(self) -> str:
        """What ELEVENLABS_BASE_URL has to be."""
        return self.url

    @property
    def openai_base_url(self) -> str:
        """What OPENAI_BASE_URL has to be."""
        return f"{self.url}/v1"

    @property
    def google_base_url(self) -> str:
        """What GOOGLE_BASE_URL has to be."""
        return self.url

    def environment(self) -> dict[str, str]:
        """Return the variables that point a server at these doubles, keys included."""
        key = self._world.config.api_key or KEY
        return {
            "ELEVENLABS_BASE_URL": self.elevenlabs_base_url,
            "ELEVENLABS_API_KEY": key,
            "OPENAI_BASE_URL": self.openai_base_url,
            "OPENAI_API_KEY": key,
            "GOOGLE_BASE_URL": self.google_base_url,
            "GOOGLE_API_KEY": key,
        }

    @property
    def phrases(self) -> PhraseBook:
        """What speech recognition understands."""
        return self._world.phrases

    @property
    def journal(self) -> Journal:
        """What has happened."""
        return self._world.journal

    async def quiet(self) -> None:
        """Wait until every connection has ended and every request has been answered or abandoned."""
        await self._world.quiet.wait()

    def converse(self, dialogue: Dialogue | Answer) -> None:
        """Answer language model requests by a dialogue, or by a function of the request."""
        self._world.answer = dialogue.answer if isinstance(dialogue, Dialogue) else dialogue

    def plan_faults(self, service: Service, *faults: Fault | None) -> None:
        """Give the next connections of a service these faults, one each; None is a healthy one."""
        self._world.faults.plan(service, FaultPlan(faults))

    def plan(self, service: Service, plan: FaultPlan) -> None:
        """Replace the fault plan of a service."""
        self._world.faults.plan(service, plan)
