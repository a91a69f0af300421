"""What a call needs before it begins: which agent holds it, with which values, and that agent's providers.

The row of the call says which version of which agent; the providers of a version are built once and kept. A call that
the database does not know, or cannot tell of in time, is held by the default agent: a caller is never left waiting for
a database (F40).
"""

import asyncio
from collections import OrderedDict
from uuid import UUID

import msgspec
import structlog

from voice_agent.agents import repository as agents_repository
from voice_agent.agents.documents import agent_of
from voice_agent.agents.files import Agent
from voice_agent.agents.model import filled, values_for
from voice_agent.calls import repository as calls_repository
from voice_agent.calls.session import CallPlan
from voice_agent.errors import DatabaseUnavailable
from voice_agent.integrations.twilio.addresses import AFTER_DIAL_PATH, TwilioAddresses
from voice_agent.integrations.twilio.service import TwilioCallControl, TwilioService
from voice_agent.media_stream.protocol import StreamStarted
from voice_agent.providers import Providers
from voice_agent.settings import Settings
from voice_agent.storage.cache import CacheService
from voice_agent.storage.database import Database

log = structlog.get_logger(__name__)

PATIENCE_S = 1.0
"""How long a caller who is connected already may wait for the database."""

KEPT_AGENTS = 32
"""Versions whose providers are kept; beyond, the ones that were not used for the longest are released."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a call, and with which values."""

    version_id: UUID | None
    """None: the default agent."""

    agent: Agent
    variables: dict[str, str]
    is_outbound: bool = False


class CallPlanner:
    """One for the process. `plan` is what `LiveCalls` asks."""

    def __init__(
        self,
        settings: Settings,
        default: Agent,
        database: Database,
        twilio: TwilioService,
        addresses: TwilioAddresses,
        cache: CacheService,
    ) -> None:
        """Raises SettingsError or AgentDefinitionError for a choice that the default agent cannot be run with."""
        self._settings = settings
        self._default = default
        self._database = database
        self._twilio = twilio
        self._dial_action_url = addresses.of(AFTER_DIAL_PATH)
        self._cache = cache
        self._default_providers = Providers(settings, default, cache)
        self._providers: OrderedDict[UUID, Providers] = OrderedDict()
        self._building = asyncio.Lock()

    async def open(self) -> None:
        """Load and connect what the default agent's calls need; the others' are built at their first call."""
        await self._default_providers.open()

    async def close(self) -> None:
        """Release everything. Safe to call twice."""
        while self._providers:
            _, providers = self._providers.popitem()
            await providers.close()
        await self._default_providers.close()

    async def plan(self, started: StreamStarted) -> CallPlan:
        """Return what the call of a stream needs. Raises VoiceAgentError where its agent cannot be run."""
        assignment = await self._assignment(started.call_sid)
        providers = await self._providers_of(assignment)
        definition = assignment.agent.definition
        values = values_for(definition, assignment.variables, is_outbound=assignment.is_outbound)
        use = filled(definition, values)
        await providers.prepare(use)
        control = TwilioCallControl(
            self._twilio, started.call_sid, dial_action_url=self._dial_action_url, language=use.language
        )
        return CallPlan(
            settings=providers.turn_settings(use),
            speech=providers.speech,
            mind=providers.mind(use),
            control=control,
            agent=use.name,
        )

    async def warm_up(self, version_id: UUID, agent: Agent) -> None:
        """Build a version's providers before its first call needs them."""
        await self._providers_of(Assignment(version_id=version_id, agent=agent, variables={}))

    async def _assignment(self, call_sid: str) -> Assignment:
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self._stored(call_sid)
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("call_held_by_default_agent", call_sid=call_sid, error=type(error).__name__)
            found = None
        return found or Assignment(version_id=None, agent=self._default, variables={})

    async def _stored(self, call_sid: str) -> Assignment | None:
        async with self._database.read() as session:
            call = await calls_repository.by_sid(session, call_sid)
            if call is None or call.agent_version_id is None:
                return None
            version = await agents_repository.version(session, call.org_id, call.agent_version_id)
            if version is None:
                return None
            return Assignment(
                version_id=version.id,
                agent=agent_of(version),
                variables=call.variables,
                is_outbound=call.direction == "outbound",
            )

    async def _providers_of(self, assignment: Assignment) -> Providers:
        """Return a version's providers, built where they are not yet. The default agent's own version has them open."""
        version_id = assignment.version_id
        if version_id is None or assignment.agent == self._default:
            return self._default_providers
        async with self._building:
            known = self._providers.get(version_id)
            if known is None:
                known = Providers(self._settings, assignment.agent, self._cache)
                try:
                    await known.open()
                except BaseException:
                    await known.close()
                    raise
                self._providers[version_id] = known
            self._providers.move_to_end(version_id)
            return known
