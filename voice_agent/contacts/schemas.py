"""What the REST interface of contacts, their tags, custom fields and changes takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from voice_agent.contacts.fields import CustomField, FieldType
from voice_agent.contacts.model import MAX_PHONES, MAX_TAGS, ContactDraft, FurtherNumber
from voice_agent.contacts.service import ContactDetails
from voice_agent.contacts.values import read_email, read_locale, read_region, read_zone
from voice_agent.errors import InvalidRequest
from voice_agent.phone_numbers import LONGEST, NumberRefused, PhoneNumber, read_number
from voice_agent.rest.inputs import Name, RequestBody
from voice_agent.storage.tables import ChangeSetRow, ContactPhoneRow, ContactRow, CustomFieldRow, TagRow

MOST_AT_ONCE = 1_000
"""Contacts that a request may name."""

Text = Annotated[str, Field(max_length=200)]
RawNumber = Annotated[str, Field(max_length=LONGEST, examples=["+34 612 345 678"])]
Country = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2})?$")]
Value = str | float | int | bool | None
Id = Annotated[UUID, Field(strict=False)]

_READ = {"email": read_email, "locale": read_locale, "region": read_region, "zone": read_zone}
_SAID = ("name", "given_name", "family_name", "company", "email", "external_id", "locale", "region", "zone")


class NumberBody(RequestBody):
    """A further number."""

    number: RawNumber
    label: str = Field("", max_length=40, description="What it is for people, such as home.")


class ContactBody(RequestBody):
    """What is said about a contact. What is absent is not said; an empty text, or null, is nothing."""

    default_country: Country = Field("", description="ISO 3166 country of numbers that have no country's code.")
    further: list[NumberBody] = Field([], max_length=MAX_PHONES - 1, description="Numbers to try after the first.")
    name: Text | None = Field(None, description="What people see; made of the two parts where it is not said.")
    given_name: Text | None = None
    family_name: Text | None = None
    company: Text | None = None
    email: str | None = Field(None, max_length=320)
    external_id: Text | None = Field(None, description="Its key in your own system, of one contact only.")
    locale: str | None = Field(None, max_length=10, examples=["es-MX"])
    region: str | None = Field(None, max_length=10, description="ISO 3166-2 region of the address, such as US-FL.")
    zone: str | None = Field(None, max_length=64, description="IANA time zone, where it is known for certain.")
    custom: dict[str, Value] = Field({}, description="Custom fields; of a change: those that change, null for none.")
    tags: list[Text] = Field([], max_length=MAX_TAGS, description="Names; those that are not there are made.")

    def draft_with(self, number: PhoneNumber, raw_number: str) -> ContactDraft:
        """Return it as a draft, custom fields unchecked. Raises InvalidRequest naming the field."""
        said: dict[str, str] = {}
        for name in _SAID:
            if name in self.model_fields_set:
                text = (getattr(self, name) or "").strip()
                said[name] = _READ[name](text) if name in _READ else text
        return ContactDraft(
            number=number,
            raw_number=raw_number,
            further=self.further_numbers(),
            custom=dict(self.custom),
            tags=tuple(self.tags),
            **said,
        )

    def further_numbers(self) -> tuple[FurtherNumber, ...]:
        """Return its further numbers. Raises InvalidRequest naming the one that is none."""
        return tuple(
            FurtherNumber(
                number=_number(f"further.{index}.number", each.number, self.default_country),
                raw=each.number.strip(),
                label=each.label.strip(),
            )
            for index, each in enumerate(self.further)
        )


class NewContact(ContactBody):
    """A contact to make."""

    number: RawNumber

    def draft(self) -> ContactDraft:
        """Return it as a draft. Raises InvalidRequest naming the field."""
        return self.draft_with(_number("number", self.number, self.default_country), self.number.strip())


class ContactEdit(ContactBody):
    """What changes in a contact; what is absent stays. `further` and `tags` replace what was there."""

    number: RawNumber | None = None

    def draft_of(self, contact: ContactRow) -> ContactDraft:
        """Return what is said of a contact that there is. Raises InvalidRequest naming the field."""
        if self.number is None:
            return self.draft_with(read_number(contact.e164), contact.raw_number)
        return self.draft_with(_number("number", self.number, self.default_country), self.number.strip())


class NumberOut(BaseModel):
    """A further number of a contact."""

    e164: str
    label: str
    raw_number: str

    @classmethod
    def of(cls, row: ContactPhoneRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class TagOut(BaseModel):
    """A tag."""

    id: UUID
    name: str

    @classmethod
    def of(cls, row: TagRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class ContactOut(BaseModel):
    """A contact."""

    id: UUID
    e164: str
    raw_number: str
    country: str
    line_type: str
    further: list[NumberOut]
    name: str
    given_name: str
    family_name: str
    company: str
    email: str
    external_id: str | None
    locale: str
    region: str
    zone: str
    zone_origin: Literal["explicit", "address", "number", "none"]
    zone_candidates: list[str] = Field(description="Every zone that it may be in; calls are allowed where all agree.")
    custom: dict[str, Any]
    tags: list[TagOut]
    source: str
    created_in: UUID | None = Field(description="The import that made it.")
    merged_into: UUID | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    @classmethod
    def of(cls, details: ContactDetails) -> Self:
        """Return what the interface shows of a contact."""
        row = {name: getattr(details.contact, name) for name in cls.model_fields if name not in ("further", "tags")}
        return cls(
            **row,
            further=[NumberOut.of(each) for each in details.further],
            tags=[TagOut.of(each) for each in details.tags],
        )


class ContactPage(BaseModel):
    """A part of the contacts that were asked for, newest first."""

    items: list[ContactOut]
    next_cursor: str | None
    """For the page after it; null where this is the last one."""

    total: int | None
    """How many there are in all, on the first page; with `is_total_capped` there are more."""

    is_total_capped: bool


class NewTag(RequestBody):
    """A tag to make, or its new name."""

    name: Name


class FieldBody(RequestBody):
    """A custom field."""

    label: Name
    type: FieldType = Field(FieldType.TEXT, strict=False)
    choices: list[Name] = Field([], max_length=200, description="Of a choice: what may be chosen.")

    def field(self, key: str) -> CustomField:
        """Return it with its key."""
        return CustomField(key=key, label=self.label, type=self.type, choices=tuple(dict.fromkeys(self.choices)))


class NewField(FieldBody):
    """A custom field to make."""

    key: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = Field(
        description="Its name in contacts and in an agent's variables."
    )


class FieldOut(BaseModel):
    """A custom field."""

    id: UUID
    key: str
    label: str
    type: FieldType
    choices: list[str]
    created_at: datetime

    @classmethod
    def of(cls, row: CustomFieldRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class BulkChange(RequestBody):
    """What to do with many contacts: those that are named, that fit a filter, or that are on a list."""

    action: Literal["tag", "untag", "delete"]
    tag: Name | None = Field(None, description="Of tag and untag: its name.")
    contacts: list[Id] | None = Field(None, min_length=1, max_length=MOST_AT_ONCE)
    filter: dict[str, Any] | None = None
    list_id: Id | None = None


class Merge(RequestBody):
    """Which contacts are the same as this one, and whose value a field has where they differ."""

    others: list[Id] = Field(min_length=1, max_length=20)
    choose: dict[str, Id] = Field({}, description="Field, or custom.KEY, to the contact whose value is kept.")


class ChangeSetOut(BaseModel):
    """A change of many contacts."""

    id: UUID
    kind: str
    state: Literal["running", "done", "cancelled", "failed", "undoing", "undone"]
    parameters: dict[str, Any] = Field(description="What was asked for.")
    changed: int = Field(description="Contacts changed so far.")
    undone: int = Field(description="Contacts that are as before again.")
    kept: int = Field(description="Contacts that the undo left as they are.")
    kept_because: dict[str, int] = Field(description="Of those: changed since, or their number has been taken since.")
    error: str
    created_by: str
    created_at: datetime
    finished_at: datetime | None
    undone_at: datetime | None

    @classmethod
    def of(cls, row: ChangeSetRow) -> Self:
        """Return what the interface shows of a row."""
        asked = {
            name: row.parameters[name]
            for name in ("action", "tag", "filter", "list_id", "contact", "others")
            if name in row.parameters
        }
        named = (
            "id",
            "kind",
            "state",
            "changed",
            "undone",
            "kept",
            "error",
            "created_by",
            "created_at",
            "finished_at",
            "undone_at",
        )
        shown = {name: getattr(row, name) for name in named}
        return cls(**shown, parameters=asked, kept_because=row.parameters.get("kept_because", {}))


class DuplicatesOut(BaseModel):
    """Contacts that may be the same person."""

    reason: Literal["email", "name_and_number"]
    contacts: list[ContactOut]


class TimelineEntryOut(BaseModel):
    """Something that happened with a contact."""

    kind: Literal["call", "consent", "suppression", "change", "import"]
    id: UUID
    at: datetime
    details: dict[str, Any]


class TimelinePage(BaseModel):
    """A part of a contact's timeline, newest first."""

    items: list[TimelineEntryOut]
    next_cursor: str | None


def _number(field: str, raw: str, default_country: str) -> PhoneNumber:
    try:
        return read_number(raw, default_country)
    except NumberRefused as error:
        raise InvalidRequest(f"{field}: {error}") from None
