"""What the REST interface of agents and numbers takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from pydantic import BaseModel, Field, StringConstraints

from voice_agent.agents.documents import dialogue_from
from voice_agent.agents.files import Agent
from voice_agent.agents.model import AgentDefinition
from voice_agent.errors import InvalidRequest
from voice_agent.rest.inputs import LARGEST, WHOLE, Name, RequestBody
from voice_agent.storage.tables import AgentRow, AgentVersionRow, PhoneNumberRow

LARGEST_DOCUMENT = 200_000
"""Characters of a definition or a dialogue."""


class AgentContent(RequestBody):
    """What an agent says and does."""

    definition: dict[str, Any] = Field(description="Prompt, lines, voice, tools, limits: docs/agents.md names all.")
    dialogue: str | None = Field(
        None, max_length=LARGEST_DOCUMENT, description="Scripted dialogue for use without a language model, as YAML."
    )
    note: str = Field("", max_length=1_000, description="What this version changes.")

    def agent(self) -> Agent:
        """Return it as an agent. Raises InvalidRequest naming the field."""
        try:
            definition = msgspec.convert(self.definition, AgentDefinition)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"definition: {error}") from None
        return Agent(definition, None if self.dialogue is None else dialogue_from(self.dialogue))


class NewAgent(AgentContent):
    """An agent to make."""

    name: Name


class AgentOut(BaseModel):
    """An agent."""

    id: UUID
    name: str
    published_version: int | None = Field(description="Number of the version that calls run under.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: AgentRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class VersionName(BaseModel):
    """A version, without its content."""

    id: UUID
    number: int
    state: Literal["draft", "published", "retired"]
    note: str
    created_at: datetime
    published_at: datetime | None

    @classmethod
    def of(cls, row: AgentVersionRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class VersionOut(VersionName):
    """A version."""

    definition: dict[str, Any]
    dialogue: str | None


class AgentDetail(AgentOut):
    """An agent and its versions, newest first."""

    versions: list[VersionName]


class Rollback(RequestBody):
    """Which version to publish again."""

    number: Annotated[int, Field(ge=1, le=LARGEST), WHOLE]


class FieldChange(BaseModel):
    """A field that differs between two versions."""

    field: str
    old: Any
    new: Any


class NewNumber(RequestBody):
    """A number of the organisation's."""

    e164: Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{5,18}$")] = Field(examples=["+34910000000"])
    label: str = Field("", max_length=200)
    agent_id: UUID | None = Field(None, strict=False, description="Who answers; null: the oldest published agent.")


class NumberBinding(RequestBody):
    """Who answers a number."""

    label: str = Field("", max_length=200)
    agent_id: UUID | None = Field(strict=False, description="Who answers; null: the oldest published agent.")


class NumberOut(BaseModel):
    """A number of the organisation's."""

    id: UUID
    e164: str
    label: str
    country: str
    agent_id: UUID | None
    created_at: datetime

    @classmethod
    def of(cls, row: PhoneNumberRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class TemplateOut(BaseModel):
    """An agent to begin from."""

    key: str = Field(description="Such as reminder.es.")
    name: str
    language: str
    definition: dict[str, Any]
