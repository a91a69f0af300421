"""What calls ask of agents and numbers: joins the two slices, which do not know each other; and the first start."""

from collections.abc import Callable, Mapping
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.agents import repository as agents_repository
from voice_agent.agents.documents import definition_of
from voice_agent.agents.files import Agent
from voice_agent.agents.model import filled, values_for
from voice_agent.agents.numbers import NumberService
from voice_agent.agents.service import AgentService
from voice_agent.auth.commands import FIRST_ORGANISATION
from voice_agent.auth.principal import system
from voice_agent.auth.service import IdentityService
from voice_agent.calls.processor import Answering
from voice_agent.calls.service import ChosenAgent
from voice_agent.storage.tables import AgentVersionRow, CallRow


class CallDirectory:
    """Implements `calls.service.AgentDirectory` and `calls.processor.Switchboard`."""

    def __init__(
        self,
        agents: AgentService,
        numbers: NumberService,
        default: Agent,
        *,
        expect: Callable[[AgentVersionRow, Mapping[str, str]], None] = lambda _, __: None,
    ) -> None:
        """`default` answers numbers for which nobody has published an agent; `expect` is told of calls to come."""
        self._agents = agents
        self._numbers = numbers
        self._default = default.definition
        self._expect = expect

    async def choose(
        self, session: AsyncSession, org_id: UUID, agent_id: UUID | None, variables: Mapping[str, str]
    ) -> ChosenAgent:
        """Return who is to place a call. Raises NotFound or InvalidRequest."""
        version, definition = await self._agents.for_call(session, org_id, agent_id, variables)
        self._expect(version, variables)
        return ChosenAgent(
            version_id=version.id,
            name=definition.name,
            language=definition.language,
            duration_s=definition.limits.duration_s,
        )

    async def caller_number(self, session: AsyncSession, org_id: UUID, wanted: str) -> str:
        """Return the number to show. Raises InvalidRequest."""
        return await self._numbers.caller_number(session, org_id, wanted)

    async def connecting_line(self, session: AsyncSession, call: CallRow) -> str:
        """Return what a call's agent says before it hands the caller over, filled in for the call."""
        version = None
        if call.agent_version_id is not None:
            version = await agents_repository.version(session, call.org_id, call.agent_version_id)
        definition = self._default if version is None else definition_of(version)
        use = filled(definition, values_for(definition, call.variables, is_outbound=False))
        return use.lines.completed(call.language or use.language).connecting

    async def answering(self, session: AsyncSession, number: str) -> Answering:
        """Return who answers calls to a number. Raises NotFound where there is no organisation at all."""
        org_id, version = await self._agents.for_number(session, number)
        if version is not None:
            self._expect(version, {})
        definition = self._default if version is None else definition_of(version)
        return Answering(
            org_id=org_id,
            version_id=None if version is None else version.id,
            agent_name=definition.name,
            language=definition.language,
        )


async def found(session: AsyncSession, identity: IdentityService, agents: AgentService, agent: Agent) -> None:
    """Have an organisation, and in the first one an agent that can hold calls: at the beginning that of AGENT_FILE."""
    org_id = await agents_repository.oldest_organisation_id(session)
    if org_id is None:
        org_id = (await identity.create_organisation(session, FIRST_ORGANISATION)).id
    if await agents_repository.has_any(session, org_id):
        return
    principal = system(org_id, "first start")
    row, _ = await agents.create(session, principal, agent.definition.name, agent)
    await agents.publish(session, principal, row.id)
