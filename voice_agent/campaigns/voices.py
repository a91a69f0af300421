"""Who speaks in a campaign's calls: the agent's version behind each variant of the plan, and what it has to be told."""

from collections.abc import Mapping
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.agents import repository as agents
from voice_agent.agents.documents import definition_of
from voice_agent.agents.model import AgentDefinition, values_for
from voice_agent.calls.service import TIME_LIMIT_MARGIN_S
from voice_agent.campaigns.plan import Plan, Variant
from voice_agent.errors import AgentDefinitionError


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a campaign speaks."""

    variant: Variant
    agent_id: UUID
    version_id: UUID
    definition: AgentDefinition

    @property
    def time_limit_s(self) -> int:
        """After how long the carrier ends a call, in seconds: what may be reserved for it depends on that."""
        return int(self.definition.limits.duration_s) + TIME_LIMIT_MARGIN_S

    def told(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return what the agent is told of a contact: what it asks for, of what is known.

        Raises InvalidRequest where something that it needs is missing.
        """
        known = {**variables, **self.variant.variables}
        told = {name: value for name, value in known.items() if name in self.definition.variables}
        values_for(self.definition, told)
        return told


async def voices_of(session: AsyncSession, org_id: UUID, plan: Plan) -> dict[str, Voice]:
    """Return the variants by their keys, without those whose agent cannot be put to work now."""
    found: dict[str, Voice] = {}
    for variant in plan.variants:
        if (voice := await _voice(session, org_id, variant)) is not None:
            found[variant.key] = voice
    return found


async def _voice(session: AsyncSession, org_id: UUID, variant: Variant) -> Voice | None:
    agent = await agents.agent(session, org_id, variant.agent_id)
    number = variant.agent_version
    if agent is not None and number is None:
        number = agent.published_version
    if agent is None or agent.archived_at is not None or number is None:
        return None
    version = await agents.numbered(session, agent.id, number)
    if version is None or version.state == "draft":
        return None
    try:
        definition = definition_of(version)
    except AgentDefinitionError:
        return None
    return Voice(variant=variant, agent_id=agent.id, version_id=version.id, definition=definition)
