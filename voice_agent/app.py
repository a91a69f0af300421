"""The composition root: builds the server from its settings, starts and stops its parts.

`serve` runs it until SIGTERM or SIGINT. `create_app` alone gives the FastAPI application, for other ASGI servers; the
media stream is then served by the portable Starlette route.
"""

import asyncio
import gc
import logging
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from voice_agent import __version__
from voice_agent.agents.files import Agent, load_agent
from voice_agent.api.errors import install_error_handlers
from voice_agent.api.health import health_router
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.session import CallPlan
from voice_agent.calls.spool import Spool
from voice_agent.integrations.twilio.service import TwilioCallControl, TwilioService
from voice_agent.integrations.twilio.signature import WebhookSignature
from voice_agent.integrations.twilio.webhooks import AFTER_DIAL_PATH, MEDIA_PATH, TwilioWebhooks
from voice_agent.media_stream.connection import PlayoutClock
from voice_agent.media_stream.protocol import MAX_FRAME_BYTES
from voice_agent.media_stream.server import MediaStreamEndpoint, hybrid_protocol, websocket_route
from voice_agent.media_stream.tickets import TicketOffice
from voice_agent.providers import Providers
from voice_agent.settings import Settings

log = structlog.get_logger(__name__)


GC_THRESHOLDS = (20_000, 50, 100)
"""Python's own (700, 10, 10) collects dozens of times a second at 80 calls; hardly any object of a call is cyclic."""


class Server:
    """One process: what its calls share, its routes, its media endpoint."""

    def __init__(self, settings: Settings, agent: Agent, base_url: str) -> None:
        """`base_url` is the public address, without a slash at the end."""
        self._base_url = base_url
        self._language = agent.definition.language
        self._gc_thresholds_before = gc.get_threshold()
        self._providers = Providers(settings, agent)
        self._spool = Spool()
        self._twilio = TwilioService(settings.twilio)
        secret = settings.server.secret_key.get_secret_value().encode() or secrets.token_bytes(32)
        self.calls = LiveCalls(
            tickets=TicketOffice(secret, secrets.token_bytes),
            plan=self._plan,
            spool=self._spool,
            data_dir=settings.server.data_dir,
            agent=agent.definition.name,
            max_calls=settings.server.max_calls,
        )
        self.endpoint = MediaStreamEndpoint(MEDIA_PATH, self.calls.admit, clock=PlayoutClock())
        signature = WebhookSignature(settings.twilio.auth_token.get_secret_value(), base_url)
        self.webhooks = TwilioWebhooks(self.calls, signature, public_base_url=base_url, language=self._language)

    def _plan(self, call_sid: str) -> CallPlan:
        control = TwilioCallControl(
            self._twilio, call_sid, dial_action_url=self._base_url + AFTER_DIAL_PATH, language=self._language
        )
        return CallPlan(
            settings=self._providers.turn_settings,
            speech=self._providers.speech,
            mind=self._providers.mind(),
            control=control,
        )

    async def open(self) -> None:
        """Load and connect everything, then freeze the heap: a full collection would stop all calls for 250 ms."""
        await self._providers.open()
        await self._twilio.open()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def close(self) -> None:
        """Finish the files of the calls that have just ended, and release everything."""
        await self.calls.close()
        await self._twilio.close()
        await self._providers.close()
        await asyncio.to_thread(self._spool.close)
        gc.set_threshold(*self._gc_thresholds_before)
        gc.unfreeze()


def create_app(settings: Settings, base_url: str) -> FastAPI:
    """Return the application; `app.state.server` is its `Server`. Raises SettingsError and AgentDefinitionError."""
    agent = load_agent(settings.server.agent_file)
    server = Server(settings, agent, base_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await server.open()
            yield
        finally:
            await server.close()

    app = FastAPI(title="voice_agent", version=__version__, lifespan=lifespan)
    app.state.server = server
    install_error_handlers(app)
    app.include_router(health_router({"calls": server.calls.why_not_ready}))
    app.include_router(server.webhooks.router)
    app.router.routes.append(websocket_route(server.endpoint))
    return app


def serve(settings: Settings, *, on_listening: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. `on_listening` is told the address once the server is ready."""
    _configure_logging(settings.server.log_level)
    listener = socket.create_server((settings.server.host, settings.server.port), backlog=1_024)
    host, port = listener.getsockname()[:2]
    base_url = settings.server.public_base_url or f"http://{host}:{port}"
    app = create_app(settings, base_url)
    endpoint: MediaStreamEndpoint = app.state.server.endpoint
    config = uvicorn.Config(
        app,
        ws=hybrid_protocol(endpoint),
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
        # Longer than proxies keep theirs: a connection closed under a webhook on its way loses the call.
        timeout_keep_alive=75,
    )
    server = _Uvicorn(config, lambda: on_listening(base_url) if on_listening else None)
    server.run(sockets=[listener])


class _Uvicorn(uvicorn.Server):
    """uvicorn that says when it is ready."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _configure_logging(level: str) -> None:
    """JSON lines on standard error, for our own log and the libraries' warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
