"""The REST interface of agents, their versions and the numbers they answer."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.agents import repository
from voice_agent.agents.documents import agent_of, definition_of, difference, from_yaml, to_yaml
from voice_agent.agents.numbers import NumberService
from voice_agent.agents.schemas import (
    LARGEST_DOCUMENT,
    AgentContent,
    AgentDetail,
    AgentOut,
    FieldChange,
    NewAgent,
    NewNumber,
    NumberBinding,
    NumberOut,
    Rollback,
    TemplateOut,
    VersionName,
    VersionOut,
)
from voice_agent.agents.service import AgentService
from voice_agent.agents.templates import templates
from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.errors import InvalidRequest
from voice_agent.rest.etags import IfMatch, check_if_match, etag
from voice_agent.rest.inputs import Ordinal
from voice_agent.rest.pages import DEFAULT_LIMIT, CursorText, Limit, Page, place
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions
from voice_agent.storage.tables import PhoneNumberRow

YAML_TYPE = "application/yaml"

YamlBody = Annotated[bytes, Body(media_type=YAML_TYPE, max_length=LARGEST_DOCUMENT)]


def agents_router(agents: AgentService, numbers: NumberService, gate: Gate, transactions: Transactions) -> APIRouter:
    """Return the routes under /api/v1/agents, /api/v1/agent-templates and /api/v1/phone-numbers."""
    router = APIRouter(prefix="/api/v1")
    router.include_router(_looking_router(agents, gate, transactions))
    router.include_router(_editing_router(agents, gate, transactions))
    router.include_router(_numbers_router(numbers, gate, transactions))
    return router


def _looking_router(agents: AgentService, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(tags=["agents"])
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.AGENTS_READ))]

    @router.get("/agent-templates")
    async def list_agent_templates(principal: Reader) -> list[TemplateOut]:  # noqa: ARG001 - whoever may read agents
        """List the agents that one can begin from, in English and Spanish."""
        return [TemplateOut(**template) for template in templates()]

    @router.get("/agents")
    async def list_agents(
        principal: Reader, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
    ) -> Page[AgentOut]:
        """List the agents, newest first."""
        rows = await repository.page(session, principal.org_id, before=place(cursor), limit=limit + 1)
        return Page[AgentOut].of(rows, limit, AgentOut.of)

    @router.get("/agents/{agent_id}")
    async def get_agent(principal: Reader, agent_id: UUID, session: Reading, response: Response) -> AgentDetail:
        """Return an agent and the list of its versions."""
        row = await agents.find(session, principal.org_id, agent_id)
        response.headers["ETag"] = etag(row.revision)
        found = [VersionName.of(version) for version in await repository.versions(session, agent_id)]
        return AgentDetail(**AgentOut.of(row).model_dump(), versions=found)

    @router.get("/agents/{agent_id}/versions/{number}")
    async def get_agent_version(principal: Reader, agent_id: UUID, number: Ordinal, session: Reading) -> VersionOut:
        """Return a version with its content."""
        return VersionOut.of(await agents.find_version(session, principal.org_id, agent_id, number))

    @router.get("/agents/{agent_id}/versions/{number}/difference/{other}")
    async def compare_agent_versions(
        principal: Reader, agent_id: UUID, number: Ordinal, other: Ordinal, session: Reading
    ) -> list[FieldChange]:
        """Return what differs between a version and another one."""
        old = await agents.find_version(session, principal.org_id, agent_id, number)
        new = await agents.find_version(session, principal.org_id, agent_id, other)
        changes = difference(definition_of(old), definition_of(new))
        if old.dialogue != new.dialogue:
            changes["dialogue"] = (old.dialogue, new.dialogue)
        return [FieldChange(field=field, old=before, new=after) for field, (before, after) in changes.items()]

    @router.get("/agents/{agent_id}/versions/{number}/yaml", response_class=Response)
    async def export_agent(principal: Reader, agent_id: UUID, number: Ordinal, session: Reading) -> Response:
        """Return a version as a YAML document, which `import_agent` takes."""
        version = await agents.find_version(session, principal.org_id, agent_id, number)
        return Response(to_yaml(agent_of(version)), media_type=YAML_TYPE)

    return router


def _editing_router(agents: AgentService, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(tags=["agents"])
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.AGENTS_WRITE))]

    @router.post("/agents", status_code=status.HTTP_201_CREATED, responses=refusals(409))
    async def create_agent(principal: Writer, body: NewAgent, session: Writing) -> AgentDetail:
        """Make an agent; it is a draft until it is published."""
        row, draft = await agents.create(session, principal, body.name, body.agent(), note=body.note)
        return AgentDetail(**AgentOut.of(row).model_dump(), versions=[VersionName.of(draft)])

    @router.post("/agents/import", status_code=status.HTTP_201_CREATED, responses=refusals(409))
    async def import_agent(principal: Writer, body: YamlBody, session: Writing) -> AgentDetail:
        """Make an agent from a YAML document, as `export_agent` or the library's files have it."""
        agent = from_yaml(body)
        row, draft = await agents.create(session, principal, agent.definition.name, agent, note="imported")
        return AgentDetail(**AgentOut.of(row).model_dump(), versions=[VersionName.of(draft)])

    @router.put("/agents/{agent_id}/draft")
    async def edit_agent_draft(
        principal: Writer,
        agent_id: UUID,
        body: AgentContent,
        session: Writing,
        response: Response,
        if_match: IfMatch = None,
    ) -> VersionOut:
        """Replace the draft; a published agent gets one by it."""
        row = await agents.locked(session, principal.org_id, agent_id)
        check_if_match(if_match, row.revision)
        draft = await agents.edit(session, principal, agent_id, body.agent(), note=body.note)
        response.headers["ETag"] = etag(row.revision)
        return VersionOut.of(draft)

    @router.delete("/agents/{agent_id}/draft", status_code=status.HTTP_204_NO_CONTENT, responses=refusals(409))
    async def discard_agent_draft(principal: Writer, agent_id: UUID, session: Writing) -> None:
        """Delete the draft."""
        await agents.discard(session, principal, agent_id)

    @router.post("/agents/{agent_id}/publish", responses=refusals(409))
    async def publish_agent(principal: Writer, agent_id: UUID, session: Writing) -> VersionName:
        """Let calls run under the draft from now on."""
        return VersionName.of(await agents.publish(session, principal, agent_id))

    @router.post("/agents/{agent_id}/roll-back", responses=refusals(409))
    async def roll_agent_back(principal: Writer, agent_id: UUID, body: Rollback, session: Writing) -> VersionName:
        """Publish an old version's content again."""
        return VersionName.of(await agents.roll_back(session, principal, agent_id, body.number))

    @router.delete("/agents/{agent_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def archive_agent(principal: Writer, agent_id: UUID, session: Writing) -> None:
        """Take an agent out of use; its calls keep pointing at it."""
        await agents.archive(session, principal, agent_id)

    return router


def _numbers_router(numbers: NumberService, gate: Gate, transactions: Transactions) -> APIRouter:
    router = APIRouter(prefix="/phone-numbers", tags=["phone-numbers"])
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.NUMBERS_READ))]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.NUMBERS_WRITE))]

    @router.get("")
    async def list_phone_numbers(principal: Reader, session: Reading) -> list[NumberOut]:
        """List the organisation's numbers; calls show the first one where none is named."""
        return [NumberOut.of(row) for row in await repository.phone_numbers(session, principal.org_id)]

    @router.post("", status_code=status.HTTP_201_CREATED, responses=refusals(409))
    async def add_phone_number(principal: Writer, body: NewNumber, session: Writing) -> NumberOut:
        """Make a number the organisation's. In Twilio its voice webhook has to be this server's."""
        country = numbers.country_of(body.e164)
        if not country:
            raise InvalidRequest("e164: this is no telephone number that can exist")
        row = PhoneNumberRow(e164=body.e164, label=body.label, agent_id=body.agent_id, country=country)
        return NumberOut.of(await numbers.add(session, principal, row))

    @router.patch("/{number_id}")
    async def bind_phone_number(principal: Writer, number_id: UUID, body: NumberBinding, session: Writing) -> NumberOut:
        """Say who answers a number."""
        row = await numbers.bind(session, principal, number_id, agent_id=body.agent_id, label=body.label)
        return NumberOut.of(row)

    @router.delete("/{number_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def remove_phone_number(principal: Writer, number_id: UUID, session: Writing) -> None:
        """Give a number up."""
        await numbers.remove(session, principal, number_id)

    return router
