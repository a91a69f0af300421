"""What the REST interface of lists and segments takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from voice_agent.contacts.lists import Combination, ListChange, MemberCount, NewList
from voice_agent.contacts.schemas import MOST_AT_ONCE, ChangeSetOut
from voice_agent.errors import InvalidRequest
from voice_agent.rest.inputs import Name, RequestBody
from voice_agent.storage.tables import ContactListRow

MOST_COMBINED = 10

Id = Annotated[UUID, Field(strict=False)]
Description = Annotated[str, Field(max_length=1_000)]
FilterBody = Annotated[dict[str, Any], Field(description="Who is meant: docs/contacts.md names every condition.")]


class ListBody(RequestBody):
    """A list to make."""

    name: Name
    description: Description = ""
    filter: FilterBody | None = Field(None, description="Of a segment; null: a static list, without members at first.")

    def new(self) -> NewList:
        """Return it for the service."""
        return NewList(name=self.name, description=self.description, filter=self.filter)


class ListEdit(RequestBody):
    """What changes in a list; what is absent or null stays."""

    name: Name | None = None
    description: Description | None = None
    filter: FilterBody | None = Field(None, description="Of a segment.")


class NewName(RequestBody):
    """What a copy is called."""

    name: Name


class ListCombination(RequestBody):
    """Lists and segments to make a static list of."""

    name: Name
    how: Combination = Field(strict=False, description="difference: on the first one and on none of the others.")
    lists: list[Id] = Field(min_length=2, max_length=MOST_COMBINED)


class Members(RequestBody):
    """Contacts, by their keys or by a filter: one of the two."""

    contacts: list[Id] | None = Field(None, min_length=1, max_length=MOST_AT_ONCE)
    filter: FilterBody | None = None

    def check(self) -> None:
        """Raise InvalidRequest where both or neither are there."""
        if (self.contacts is None) == (self.filter is None):
            raise InvalidRequest("contacts: say who is meant by contacts or by filter, by one of the two")


class ListOut(BaseModel):
    """A list or a segment."""

    id: UUID
    name: str
    description: str
    kind: Literal["static", "dynamic"]
    filter: dict[str, Any] | None
    members: int | None = Field(description="How many there were at counted_at; null where nobody has counted.")
    counted_at: datetime | None
    created_by: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: ContactListRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class ListChangeOut(BaseModel):
    """A change of a list's members."""

    changed: int = Field(description="Members that were added or removed so far.")
    change_set: ChangeSetOut | None = Field(description="Follow it where it is still running; null: all is done.")

    @classmethod
    def of(cls, change: ListChange) -> Self:
        """Return what the interface shows of a change."""
        change_set = None if change.change_set is None else ChangeSetOut.of(change.change_set)
        return cls(changed=change.changed, change_set=change_set)


class NewListOut(ListOut):
    """A list that was made of others."""

    change: ListChangeOut

    @classmethod
    def made(cls, row: ContactListRow, change: ListChange) -> Self:
        """Return what the interface shows of a list and of what fills it."""
        return cls(**ListOut.of(row).model_dump(), change=ListChangeOut.of(change))


class CountOut(BaseModel):
    """How many contacts a list has."""

    members: int
    is_complete: bool = Field(description="Whether these are all; else there are more, and counting takes too long.")
    counted_at: datetime

    @classmethod
    def of(cls, count: MemberCount) -> Self:
        """Return what the interface shows of a count."""
        return cls.model_validate(count, from_attributes=True)
