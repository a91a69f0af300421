"""Agents and their versions: drafted, published, rolled back; and which of them holds a call.

A version that was published never changes again, because calls point at it. There is one draft at the most; editing a
published agent begins one from what is published. Rolling back publishes an old version's content as a new version, so
that the numbers tell the order in which callers met them. Works in the caller's transaction.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.agents import repository
from voice_agent.agents.documents import agent_of, definition_of, fill
from voice_agent.agents.files import Agent
from voice_agent.agents.model import AgentDefinition, values_for
from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.errors import Conflict, NotFound
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import AgentRow, AgentVersionRow


class AgentService:
    """One for the process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._clock = clock

    # --- versions ---------------------------------------------------------------------------------------------
    async def create(
        self, session: AsyncSession, principal: Principal, name: str, agent: Agent, *, note: str = ""
    ) -> tuple[AgentRow, AgentVersionRow]:
        """Return a new agent with its first draft. Raises AgentDefinitionError, or Conflict for a name in use."""
        now = self._clock()
        row = AgentRow(id=new_id(), org_id=principal.org_id, name=name, created_at=now, updated_at=now)
        session.add(row)
        try:
            await session.flush()
        except IntegrityError:
            raise Conflict("there is an agent of this name already") from None
        draft = await self._add_version(session, principal, row, agent, note=note)
        await self._audit(session, principal, "agent.create", row)
        return row, draft

    async def edit(
        self, session: AsyncSession, principal: Principal, agent_id: UUID, agent: Agent, *, note: str = ""
    ) -> AgentVersionRow:
        """Replace the draft's content; a published agent gets a new draft. Raises NotFound or AgentDefinitionError."""
        row = await self.locked(session, principal.org_id, agent_id)
        draft = await repository.draft(session, agent_id)
        if draft is None:
            draft = await self._add_version(session, principal, row, agent, note=note)
        else:
            fill(draft, agent)
            draft.note = note
        self._touch(row)
        await self._audit(session, principal, "agent.edit", row, number=draft.number)
        return draft

    async def publish(self, session: AsyncSession, principal: Principal, agent_id: UUID) -> AgentVersionRow:
        """Make the draft what calls run under from now on. Raises NotFound, or Conflict without a draft."""
        row = await self.locked(session, principal.org_id, agent_id)
        draft = await repository.draft(session, agent_id)
        if draft is None:
            raise Conflict("there is no draft to publish")
        await self._publish(session, row, draft)
        await self._audit(session, principal, "agent.publish", row, number=draft.number)
        return draft

    async def roll_back(
        self, session: AsyncSession, principal: Principal, agent_id: UUID, number: int
    ) -> AgentVersionRow:
        """Publish an old version's content again, as a new version. Raises NotFound, or Conflict over a draft."""
        row = await self.locked(session, principal.org_id, agent_id)
        old = await repository.numbered(session, agent_id, number)
        if old is None or old.state == "draft":
            raise NotFound("there is no such published version")
        if await repository.draft(session, agent_id) is not None:
            raise Conflict("there is a draft: publish or discard it first")
        again = await self._add_version(session, principal, row, agent_of(old), note=f"as version {number}")
        await self._publish(session, row, again)
        await self._audit(session, principal, "agent.roll_back", row, number=again.number)
        return again

    async def discard(self, session: AsyncSession, principal: Principal, agent_id: UUID) -> None:
        """Delete the draft. Raises NotFound, or Conflict where the agent would have no version left."""
        row = await self.locked(session, principal.org_id, agent_id)
        draft = await repository.draft(session, agent_id)
        if draft is None:
            raise NotFound("there is no draft")
        if row.published_version is None:
            raise Conflict("an agent that was never published has nothing but its draft: archive it")
        await session.delete(draft)
        self._touch(row)
        await self._audit(session, principal, "agent.discard", row, number=draft.number)

    async def archive(self, session: AsyncSession, principal: Principal, agent_id: UUID) -> None:
        """Take an agent out of use; its versions stay, because calls point at them. Raises NotFound."""
        row = await self.locked(session, principal.org_id, agent_id)
        row.archived_at = self._clock()
        for number in await repository.phone_numbers(session, principal.org_id):
            if number.agent_id == agent_id:
                number.agent_id = None
        await self._audit(session, principal, "agent.archive", row)

    async def _add_version(
        self, session: AsyncSession, principal: Principal, row: AgentRow, agent: Agent, *, note: str
    ) -> AgentVersionRow:
        version = AgentVersionRow(
            id=new_id(),
            org_id=row.org_id,
            agent_id=row.id,
            number=await repository.highest_number(session, row.id) + 1,
            state="draft",
            note=note,
            created_by=principal.id,
            created_at=self._clock(),
        )
        fill(version, agent)
        session.add(version)
        await session.flush()
        return version

    async def _publish(self, session: AsyncSession, row: AgentRow, version: AgentVersionRow) -> None:
        if row.published_version is not None:
            before = await repository.numbered(session, row.id, row.published_version)
            if before is not None:
                before.state = "retired"
        version.state = "published"
        version.published_at = self._clock()
        row.published_version = version.number
        self._touch(row)

    def _touch(self, row: AgentRow) -> None:
        row.updated_at = self._clock()
        row.revision += 1

    async def _audit(
        self, session: AsyncSession, principal: Principal, action: str, row: AgentRow, *, number: int | None = None
    ) -> None:
        after: dict[str, Any] = {"name": row.name} | ({} if number is None else {"version": number})
        await audit.record(session, principal, action, target_kind="agent", target_id=str(row.id), after=after)

    # --- looking ----------------------------------------------------------------------------------------------
    async def find(self, session: AsyncSession, org_id: UUID, agent_id: UUID) -> AgentRow:
        """Return an agent that is in use. Raises NotFound."""
        row = await repository.agent(session, org_id, agent_id)
        if row is None or row.archived_at is not None:
            raise NotFound("there is no such agent")
        return row

    async def locked(self, session: AsyncSession, org_id: UUID, agent_id: UUID) -> AgentRow:
        """Return an agent that is in use, for a change. Raises NotFound."""
        row = await repository.locked(session, org_id, agent_id)
        if row is None or row.archived_at is not None:
            raise NotFound("there is no such agent")
        return row

    async def find_version(self, session: AsyncSession, org_id: UUID, agent_id: UUID, number: int) -> AgentVersionRow:
        """Return a version of an agent. Raises NotFound."""
        await self.find(session, org_id, agent_id)
        version = await repository.numbered(session, agent_id, number)
        if version is None:
            raise NotFound("there is no such version")
        return version

    # --- who holds a call -------------------------------------------------------------------------------------
    async def for_call(
        self, session: AsyncSession, org_id: UUID, agent_id: UUID | None, variables: Mapping[str, str]
    ) -> tuple[AgentVersionRow, AgentDefinition]:
        """Return the published version that is to place a call, and check its variables.

        Raises NotFound where no agent is published, InvalidRequest for variables that do not fit.
        """
        if agent_id is None:
            row = await repository.oldest_published(session, org_id)
            if row is None:
                raise NotFound("agent_id: no agent is published yet")
        else:
            row = await self.find(session, org_id, agent_id)
        version = await self._published(session, row)
        if version is None:
            raise NotFound("agent_id: this agent is not published yet")
        definition = definition_of(version)
        values_for(definition, variables)
        return version, definition

    async def for_number(self, session: AsyncSession, e164: str) -> tuple[UUID, AgentVersionRow | None]:
        """Return whose number was called, and the version that answers it.

        A number that is nobody's belongs to the first organisation; None where that has published no agent. Raises
        NotFound where there is no organisation at all.
        """
        number = await repository.phone_number(session, e164)
        org_id = await repository.oldest_organisation_id(session) if number is None else number.org_id
        if org_id is None:
            raise NotFound("there is no organisation")
        bound = None if number is None or number.agent_id is None else number.agent_id
        row = None if bound is None else await repository.agent(session, org_id, bound)
        version = None if row is None else await self._published(session, row)
        if version is None:
            row = await repository.oldest_published(session, org_id)
            version = None if row is None else await self._published(session, row)
        return org_id, version

    async def _published(self, session: AsyncSession, row: AgentRow) -> AgentVersionRow | None:
        if row.published_version is None or row.archived_at is not None:
            return None
        return await repository.numbered(session, row.id, row.published_version)
