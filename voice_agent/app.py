"""The composition root: builds the server from its settings, starts and stops its parts.

`create_app` gives the FastAPI application; `serving` runs it. Other ASGI servers can, too: the media stream is then
served by the portable Starlette route.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast, get_args

import structlog
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent import __version__
from voice_agent.agents.files import Agent, load_agent
from voice_agent.agents.model import Language
from voice_agent.agents.numbers import NumberService
from voice_agent.agents.routes import agents_router
from voice_agent.agents.service import AgentService
from voice_agent.api.errors import install_error_handlers
from voice_agent.api.health import health_router
from voice_agent.api.live import live_router
from voice_agent.auth.gate import Gate
from voice_agent.auth.routes import identity_router, sign_in_router
from voice_agent.auth.service import IdentityService
from voice_agent.auth.sockets import SocketGate
from voice_agent.background import Background
from voice_agent.calls.call_tools import CallTools
from voice_agent.calls.carrier_recordings import CarrierRecordings
from voice_agent.calls.filing import CallFiling
from voice_agent.calls.holder import Answered, CallHolders, Command
from voice_agent.calls.inbox import Inbox
from voice_agent.calls.ledger import CallLedger
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.live_feed import LiveFeed
from voice_agent.calls.opt_outs import OptOuts
from voice_agent.calls.policy import MICROS, CallPolicy
from voice_agent.calls.processor import CallProcessor
from voice_agent.calls.reception import Reception
from voice_agent.calls.reconciler import Reconciler
from voice_agent.calls.routes import calls_router
from voice_agent.calls.service import CallPorts, CallService
from voice_agent.calls.spool import Spool
from voice_agent.campaigns.assembly import CampaignPorts, CampaignServices
from voice_agent.campaigns.callback_routes import callbacks_router
from voice_agent.campaigns.dialling_routes import dialling_router
from voice_agent.campaigns.life import CampaignLife
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.opt_outs import withdraw
from voice_agent.campaigns.routes import campaigns_router
from voice_agent.campaigns.scheduler import CampaignScheduler, SchedulerPorts
from voice_agent.campaigns.sweeping import Sweeper
from voice_agent.compliance.packs import load_packs
from voice_agent.compliance.routes import compliance_router
from voice_agent.compliance.service import ComplianceService
from voice_agent.contacts.export import ContactExport
from voice_agent.contacts.export_routes import export_router
from voice_agent.contacts.import_routes import imports_router
from voice_agent.contacts.imports import ImportPorts, Imports, fetch_rules
from voice_agent.contacts.list_filling import ListFilling
from voice_agent.contacts.list_routes import lists_router
from voice_agent.contacts.lists import ContactListService
from voice_agent.contacts.ports import JobRequests
from voice_agent.contacts.routes import ContactServices, contacts_router
from voice_agent.directory import CallDirectory, found
from voice_agent.errors import HolderUnreachable
from voice_agent.heap import Heap
from voice_agent.integrations.s3.storage import S3Storage
from voice_agent.integrations.supabase.client import SupabaseClient
from voice_agent.integrations.supabase.storage import SupabaseStorage
from voice_agent.integrations.twilio.addresses import AFTER_DIAL_PATH, MEDIA_PATH, TwilioAddresses
from voice_agent.integrations.twilio.service import TwilioCallControl, TwilioService
from voice_agent.integrations.twilio.signature import WebhookSignature
from voice_agent.integrations.twilio.webhooks import TwilioWebhooks
from voice_agent.jobs.service import Jobs
from voice_agent.media_stream.connection import PlayoutClock
from voice_agent.media_stream.server import MediaStreamEndpoint, websocket_route
from voice_agent.media_stream.tickets import TicketOffice
from voice_agent.planning import CallPlanner
from voice_agent.rest.file_links import PREFIX as FILES_PREFIX
from voice_agent.rest.file_links import files_router
from voice_agent.rest.transactions import Transactions
from voice_agent.settings import Settings
from voice_agent.storage.cache import open_cache
from voice_agent.storage.database import Database, database_url
from voice_agent.storage.files import LinkOffice, LocalStorage, StorageService
from voice_agent.storage.redis_bus import open_bus
from voice_agent.storage.secret_key import load_secret_key
from voice_agent.storage.tables import CallRow

log = structlog.get_logger(__name__)


class Server:
    """One process: what its calls share, its routes, its media endpoint."""

    def __init__(self, settings: Settings, agent: Agent, base_url: str) -> None:
        """`base_url` is the public address, without a slash at the end."""
        self._settings = settings
        self._agent = agent
        self._language = agent.definition.language
        self._heap = Heap()
        self._addresses = TwilioAddresses(base_url)
        secret = load_secret_key(settings.server)
        self._twilio = TwilioService(settings.twilio)
        self.database = Database(database_url(settings))
        self.cache = open_cache(settings.storage, clock=time.monotonic)
        self.bus = open_bus(settings.storage)
        feed = LiveFeed(self.bus)
        worker = new_worker_id(settings)
        self._ledger = CallLedger(self.database, settings.server.data_dir, worker=worker)
        packs = load_packs(settings.compliance.packs_dir)
        tools = CallTools(self.database, clock=_now, book=self._book_callback)
        self._planner = CallPlanner(settings, agent, self.database, self.cache, self._control, packs=packs, tools=tools)
        # After what refuses settings and agents: its thread has to be closed.
        self._spool = Spool()
        self.calls = LiveCalls(
            tickets=TicketOffice(secret.derive("stream tickets"), secrets.token_bytes),
            plan=self._planner.plan,
            spool=self._spool,
            data_dir=settings.server.data_dir,
            max_calls=settings.server.max_calls,
            ledger=self._ledger,
            feed=feed,
        )
        self._holders = CallHolders(self.bus, self._obey)
        self.endpoint = MediaStreamEndpoint(MEDIA_PATH, self.calls.admit, clock=PlayoutClock())
        self.identity = IdentityService(settings.auth, secret.derive("access tokens"), _now)
        self._supabase = SupabaseClient(settings.supabase) if settings.auth.provider == "supabase" else None
        self.gate = Gate(
            self.database,
            secret.derive("access tokens"),
            external=self._supabase,
            trusted_proxies=settings.auth.trusted_proxies,
            cache=self.cache,
        )
        self.agents = AgentService(_now)
        self.numbers = NumberService(self.agents, _now)
        self.storage, self.links = file_storage(settings, base_url)
        self._filing = CallFiling(
            self.database, self.storage, settings.server.data_dir, worker=worker, is_live=self.calls.is_at_work
        )
        self.calls.on_written = self._note_written
        self.jobs = Jobs(self.database, settings.jobs)
        self.compliance = ComplianceService(packs, clock=_now)
        self._opt_outs = OptOuts(
            self.database, self.compliance, settings.server.data_dir / "opt_outs", clock=_now, withdraw=withdraw
        )
        self.calls.opt_out = self._opt_outs.record
        self.contacts = ContactServices.over(
            self.database, self.jobs, self.compliance, zones_of_region=packs.zones_of_region, clock=_now
        )
        self.contacts.register(self.jobs)
        filling = ListFilling(self.database, self.jobs, _now)
        filling.register(self.jobs)
        self.lists = ContactListService(self.database, filling, _now)
        self.exports = ContactExport(self.database, self.contacts.contacts, _now)
        self.imports = contact_imports(settings, self.database, self.storage, self.jobs, self.compliance)
        self.imports.upkeep.register(self.jobs)
        policy = call_policy(settings)
        directory = CallDirectory(self.agents, self.numbers, agent, expect=self._planner.expect)
        recordings = carrier_recordings(settings, self.database, self._twilio, self.storage, self.jobs)
        self._processor = CallProcessor(
            self.database,
            self._twilio,
            directory,
            policy=policy,
            on_changed=feed.call_changed,
            on_recording=recordings.note,
        )
        self._processor.tell_holder = self._tell_holder
        self._reconciler = Reconciler(self.database, self._twilio, self._processor, clock=_now)
        self._inbox = Inbox(self._processor.take, settings.server.data_dir / "inbox")
        self._reception = Reception(self.database, self.calls, self._inbox, clock=_now)
        self.call_service = CallService(
            CallPorts(
                database=self.database,
                compliance=self.compliance,
                carrier=self._twilio,
                agents=directory,
                addresses=self._addresses,
                jobs=self.jobs,
                holders=self._holders,
            ),
            self._processor,
            default_policy=policy,
            clock=_now,
            calls_per_second=settings.twilio.calls_per_second,
        )
        self.campaigns = campaign_services(settings, self.database, self.jobs, self.compliance, self.call_service)
        self.campaigns.register(self.jobs)
        self._processor.follow = self.campaigns.settling.follow
        self._sweeper = campaign_sweeper(self.database, self._processor, self.campaigns)
        self._scheduler = campaign_scheduler(settings, self.call_service, self.compliance, self.campaigns.life, worker)
        background = Background(self.database, self.call_service, self.storage, recordings, settings.server.data_dir)
        background.register(self.jobs)
        signature = WebhookSignature(settings.twilio.auth_token.get_secret_value(), base_url)
        self.webhooks = TwilioWebhooks(
            self._reception,
            self._inbox,
            self.calls,
            signature,
            addresses=self._addresses,
            language=self._language,
        )

    def _note_written(self, call_sid: str) -> None:
        self._filing.note_end(call_sid)
        self._heap.note_end(is_idle=len(self.calls) == 0)

    def _obey(self, call_sid: str, command: Command) -> bool:
        if command in ("pause_recording", "resume_recording"):
            return self.calls.pause_recording(call_sid, is_paused=command == "pause_recording")
        return self.calls.note_answered_by(call_sid, command)

    async def _book_callback(self, session: AsyncSession, call: CallRow, wanted: datetime, now: datetime) -> datetime:
        return await self.campaigns.callbacks.book_in_call(session, call, wanted, now)

    async def _tell_holder(self, call_sid: str, answered_by: str) -> bool:
        if answered_by not in get_args(Answered):
            return False
        try:
            await self._holders.ask(call_sid, cast(Answered, answered_by))
        except HolderUnreachable:
            return False
        return True

    def _control(self, call_sid: str, language: Language) -> TwilioCallControl:
        after_dial = self._addresses.of(AFTER_DIAL_PATH)
        return TwilioCallControl(self._twilio, call_sid, dial_action_url=after_dial, language=language)

    async def open(self) -> None:
        """Load and connect everything, then freeze the heap: a full collection would stop all calls for 250 ms."""
        await self._open_database()
        await self._inbox.open()
        await self._ledger.open()
        await self.bus.open()
        await self._holders.open()
        await self._opt_outs.open()
        await self._planner.open()
        await self._twilio.open()
        await self._filing.open()
        await self.jobs.open(run=self._settings.jobs.in_server)
        await self._sweeper.open()
        if self._settings.twilio.has_token:
            await self._reconciler.open()
            if self._settings.jobs.in_server:
                await self._scheduler.open()
        self._heap.open()

    async def _open_database(self) -> None:
        """Bring the schema up to date, and have an organisation whose calls they are and an agent that holds them."""
        if not self.database.is_pooled_by_transaction:
            await self.database.migrate()
        async with self.database.write() as session:
            await found(session, self.identity, self.agents, self._agent)

    async def close(self) -> None:
        """Finish the files of the calls that have just ended, and release everything."""
        await self.calls.close()
        await self._scheduler.close()
        await self._sweeper.close()
        await self.jobs.close()
        await self._reconciler.close()
        await self._filing.close()
        await self.storage.close()
        await self._processor.close()
        await self._reception.close()
        await self._inbox.close()
        if self._supabase is not None:
            await self._supabase.close()
        await self._twilio.close()
        await self._planner.close()
        await self._opt_outs.close()
        await self._ledger.close()
        await self._holders.close()
        await self.bus.close()
        await self.cache.close()
        await self.database.close()
        await asyncio.to_thread(self._spool.close)
        self._heap.close()


def file_storage(settings: Settings, base_url: str) -> tuple[StorageService, LinkOffice]:
    """Return where recordings are kept, and who signs addresses of local ones. Raises SettingsError."""
    links = LinkOffice(load_secret_key(settings.server).derive("file links"), base_url + FILES_PREFIX)
    bucket = settings.storage.files_bucket
    stores: dict[str, Callable[[], StorageService]] = {
        "local": lambda: LocalStorage(settings.server.data_dir / "files", links),
        "s3": lambda: S3Storage(settings.s3, bucket),
        "supabase": lambda: SupabaseStorage(settings.supabase, bucket),
    }
    return stores[settings.storage.files](), links


def carrier_recordings(
    settings: Settings, database: Database, twilio: TwilioService, storage: StorageService, jobs: Jobs
) -> CarrierRecordings:
    """Return what fetches Twilio's own recordings."""
    return CarrierRecordings(
        database,
        twilio,
        storage,
        jobs,
        data_dir=settings.server.data_dir,
        keeps_copy=settings.calls.keep_carrier_recording,
        clock=_now,
    )


def contact_imports(
    settings: Settings, database: Database, storage: StorageService, jobs: JobRequests, compliance: ComplianceService
) -> Imports:
    """Return what imports contacts."""
    ports = ImportPorts(
        database=database,
        storage=storage,
        jobs=jobs,
        ledger=compliance,
        zones_of_region=compliance.packs.zones_of_region,
    )
    rules = fetch_rules(settings.imports)
    return Imports(ports, data_dir=settings.server.data_dir, rules=rules, clock=_now)


def campaign_services(
    settings: Settings, database: Database, jobs: Jobs, compliance: ComplianceService, calls: CallService
) -> CampaignServices:
    """Return what campaigns are served by."""
    ports = CampaignPorts(
        database=database,
        jobs=jobs,
        compliance=compliance,
        lists=ContactListService(database, ListFilling(database, jobs, _now), _now),
        calls=calls,
        policy=calls.policy,
        missing_settings=() if settings.twilio.has_token else ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"),
    )
    return CampaignServices.over(ports, _now)


def campaign_sweeper(database: Database, processor: CallProcessor, campaigns: CampaignServices) -> Sweeper:
    """Return what puts right what is left half done, and ends campaigns that are over."""
    return Sweeper(database, processor, campaigns.settling, campaigns.completion, clock=_now)


def campaign_limits(settings: Settings) -> Limits:
    """Return how many calls campaigns may have at a time, and how fast they begin."""
    chosen = settings.scheduler
    return Limits(
        max_calls=chosen.max_calls or settings.server.max_calls,
        inbound_share=chosen.inbound_share,
        organisation_calls=chosen.organisation_calls or None,
        agent_calls=chosen.agent_calls or None,
        calls_per_second=settings.twilio.calls_per_second,
    )


def campaign_scheduler(
    settings: Settings, calls: CallService, compliance: ComplianceService, life: CampaignLife, owner: str
) -> CampaignScheduler:
    """Return what decides whom campaigns dial; `owner` is this run of this process."""
    ports = SchedulerPorts(
        database=calls.database, compliance=compliance, calls=calls, life=life, policies=calls.policy
    )
    return CampaignScheduler(ports, owner=owner, limits=campaign_limits(settings), clock=_now)


def new_worker_id(settings: Settings) -> str:
    """Return the name of this run of this process, unlike any other."""
    return f"{settings.jobs.slot}-{secrets.token_hex(6)}"


def _now() -> datetime:
    return datetime.now(UTC)


def call_policy(settings: Settings) -> CallPolicy:
    """Return what a new organisation may do."""
    calls = settings.calls
    countries = frozenset(country.strip().upper() for country in calls.allowed_countries.split(",") if country.strip())
    return CallPolicy(
        allowed_countries=countries,
        daily_spend_cap=round(calls.daily_spend_cap * MICROS),
        cost_per_minute=round(calls.cost_per_minute * MICROS),
        retention_days=calls.retention_days,
    )


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

    app = FastAPI(
        title="voice_agent",
        version=__version__,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.server = server
    install_error_handlers(app)
    app.include_router(health_router({"calls": server.calls.why_not_ready}))
    app.include_router(server.webhooks.router)
    transactions = Transactions(server.database)
    if settings.auth.provider == "local":
        app.include_router(sign_in_router(server.identity, server.gate, transactions, server.cache))
    app.include_router(identity_router(server.identity, server.gate, transactions))
    app.include_router(agents_router(server.agents, server.numbers, server.gate, transactions))
    app.include_router(calls_router(server.call_service, server.storage, server.gate, transactions))
    app.include_router(export_router(server.exports, server.gate))
    app.include_router(contacts_router(server.contacts, server.gate, transactions))
    app.include_router(lists_router(server.lists, server.contacts.contacts, server.gate, transactions))
    app.include_router(imports_router(server.imports.importer, server.imports.templates, server.gate, transactions))
    app.include_router(campaigns_router(server.campaigns, server.gate, transactions))
    app.include_router(dialling_router(campaign_limits(settings), server.gate, transactions, clock=_now))
    app.include_router(callbacks_router(server.campaigns.callbacks, server.gate, transactions, clock=_now))
    app.include_router(compliance_router(server.compliance, server.gate, transactions, clock=_now))
    app.include_router(files_router(server.storage, server.links))
    app.include_router(live_router(SocketGate(server.gate), server.bus))
    app.router.routes.append(websocket_route(server.endpoint))
    return app
