"""What becomes of the rows of a chunk: who is new, who is changed, and who is left alone. Pure.

How it works
------------
A contact that is there, in the database or from an earlier row, is a draft in which everything is said. A row is one
in which some things are. `combined` gives the draft that holds after the row; where it is what was there before,
nothing is written. Rows are taken in the order of the file, each against what those before it have left, so that a
chunk of five hundred rows ends as five hundred chunks of one would.

A row's contact is found by its external id, else by its number. Where the one is somebody's and the other somebody
else's, nobody can tell who is meant: the row is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from voice_agent.contacts.import_model import FIELDS, Counts, ImportOptions, Treatment
from voice_agent.contacts.model import MAX_PHONES, ContactDraft, FurtherNumber, ZoneOrigin
from voice_agent.phone_numbers import LineType, PhoneNumber, read_number

CONFLICT = "conflict"
"""The code of rows whose external id and number are of two contacts."""

CONFLICT_WORDS = "the external id is one contact's and the number another's"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the file that can be taken."""

    number: int
    """Counted from 1 after the header."""

    draft: ContactDraft
    cells: tuple[str, ...] = ()
    """As they stand there, where that is known."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A contact that is there before the chunk."""

    id: UUID
    draft: ContactDraft
    """Everything that is kept of it; its tags are not asked for."""

    is_of_this_import: bool = False
    """Whether an earlier row has made or changed it."""

    is_listed: bool = False


class Contact(msgspec.Struct, kw_only=True):
    """A contact while the rows of a chunk go over it."""

    id: UUID
    before: ContactDraft | None
    """None for one that the chunk makes."""

    draft: ContactDraft
    is_of_this_import: bool
    is_listed: bool
    joins: bool = False
    """Whether it is to be on the list, and is not yet."""

    tags: dict[str, None] = msgspec.field(default_factory=dict)
    """In the order in which they came."""

    @property
    def is_new(self) -> bool:
        """Whether the chunk makes it."""
        return self.before is None

    @property
    def is_changed(self) -> bool:
        """Whether it is another one than before."""
        return self.before is not None and self.draft != self.before


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A row that could be read and cannot be taken."""

    row: Row
    column: str
    code: str
    reason: str


class Plan:
    """Takes rows one by one; afterwards says what is to be written."""

    def __init__(self, known: Iterable[Known], options: ImportOptions, ids: Iterable[UUID]) -> None:
        """`ids` yields the keys of new contacts, one for each row at the most."""
        self._options = options
        self._ids = iter(ids)
        self._contacts: dict[UUID, Contact] = {}
        self._by_number: dict[str, Contact] = {}
        self._by_external_id: dict[str, Contact] = {}
        self.refused: list[Refused] = []
        self.counts: dict[str, int] = {}
        self.landed: list[str] = []
        """The number of every row that was not refused."""

        for each in known:
            self._keep(
                Contact(
                    id=each.id,
                    before=each.draft,
                    draft=each.draft,
                    is_of_this_import=each.is_of_this_import,
                    is_listed=each.is_listed,
                )
            )

    @property
    def contacts(self) -> Sequence[Contact]:
        """Every contact that the rows met, the known ones first."""
        return list(self._contacts.values())

    @property
    def outcomes(self) -> Counts:
        """How many rows became what."""
        return Counts(**self.counts)

    def take(self, row: Row) -> None:
        """Have a row do what it does."""
        found = self._find(row)
        if isinstance(found, Refused):
            self.refused.append(found)
            self._count("refused")
            return
        self.landed.append(row.draft.number.e164)
        if found is None:
            self._add(row.draft)
            self._count("created")
        else:
            self._count(self._apply(found, row.draft))

    def _find(self, row: Row) -> Contact | Refused | None:
        by_number = self._by_number.get(row.draft.number.e164)
        by_external_id = self._by_external_id.get(row.draft.external_id or "")
        if by_number is not None and by_external_id is not None and by_number is not by_external_id:
            return Refused(row=row, column="external_id", code=CONFLICT, reason=CONFLICT_WORDS)
        return by_external_id or by_number

    def _add(self, draft: ContactDraft) -> None:
        contact = Contact(
            id=next(self._ids), before=None, draft=draft, is_of_this_import=True, is_listed=False, joins=self._has_list
        )
        self._tag(contact, draft)
        self._keep(contact)

    def _apply(self, contact: Contact, draft: ContactDraft) -> str:
        treatment = self._treatment(contact)
        contact.joins = contact.joins or (self._has_list and not contact.is_listed)
        if treatment is Treatment.SKIP:
            return "repeated" if contact.is_of_this_import else "skipped"
        self._tag(contact, draft)
        after = combined(contact.draft, draft, treatment, self._options)
        if after == contact.draft:
            return "unchanged"
        self._forget(contact)
        contact.draft = after
        contact.is_of_this_import = True
        self._keep(contact)
        return "updated"

    def _treatment(self, contact: Contact) -> Treatment:
        if contact.is_of_this_import:
            return self._options.repeated
        if contact.is_listed and self._options.listed is not None:
            return self._options.listed
        return self._options.existing

    @property
    def _has_list(self) -> bool:
        return self._options.list_id is not None

    def _tag(self, contact: Contact, draft: ContactDraft) -> None:
        contact.tags.update(dict.fromkeys((*self._options.tags, *draft.tags)))

    def _keep(self, contact: Contact) -> None:
        self._contacts[contact.id] = contact
        self._by_number[contact.draft.number.e164] = contact
        if contact.draft.external_id:
            self._by_external_id[contact.draft.external_id] = contact

    def _forget(self, contact: Contact) -> None:
        del self._by_number[contact.draft.number.e164]
        self._by_external_id.pop(contact.draft.external_id or "", None)

    def _count(self, outcome: str) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + 1


def draft_of(columns: Mapping[str, Any], further: Iterable[tuple[str, str, str]]) -> ContactDraft:
    """Return a contact that is there as a draft, in which everything is said.

    `columns` are those of its row (`contacts.columns.EDITABLE`), `further` its further numbers: E.164, as it was
    given, label. A name that follows from its parts is not said, so that it follows from them again.
    """
    parts = " ".join(part for part in (columns["given_name"], columns["family_name"]) if part)[:200]
    is_derived = columns["name"] == parts
    return ContactDraft(
        number=_number_of(columns),
        raw_number=columns["raw_number"],
        further=tuple(FurtherNumber(number=read_number(e164), raw=raw, label=label) for e164, raw, label in further),
        **{field: columns[field] for field in FIELDS if field != "name"},
        name=None if is_derived else columns["name"],
        custom=columns["custom"],
    )


def _number_of(columns: Mapping[str, Any]) -> PhoneNumber:
    if columns["zone_origin"] not in (ZoneOrigin.NUMBER, ZoneOrigin.NONE):
        return read_number(columns["e164"])  # its zones are in no column
    return PhoneNumber(
        e164=columns["e164"],
        country=columns["country"],
        line_type=LineType(columns["line_type"]),
        zones=tuple(columns["zone_candidates"]),
    )


def combined(old: ContactDraft, new: ContactDraft, treatment: Treatment, options: ImportOptions) -> ContactDraft:
    """Return what holds of a contact after a row. Tags are not looked at: they are only ever added."""
    changes: dict[str, Any] = {}
    for field in FIELDS:
        said = getattr(new, field)
        if said is not None and _holds(getattr(old, field), options.treatment_of(field, treatment)):
            changes[field] = said
    if custom := _custom(old.custom, new.custom, treatment, options):
        changes["custom"] = {**old.custom, **custom}
    changes |= _numbers(old, new, treatment, options)
    if "name" in changes and _is_derived(old) and options.treatment_of("name", treatment) is Treatment.MERGE:
        del changes["name"]  # it has one, of its parts
    return msgspec.structs.replace(old, **changes) if changes else old


def _holds(old: object, treatment: Treatment) -> bool:
    """Tell whether what a row says of a field holds from now on."""
    return treatment is Treatment.UPDATE or (treatment is Treatment.MERGE and old in (None, ""))


def _is_derived(draft: ContactDraft) -> bool:
    return not draft.name and bool(draft.display_name)


def _custom(old: dict[str, Any], new: dict[str, Any], treatment: Treatment, options: ImportOptions) -> dict[str, Any]:
    return {
        key: value
        for key, value in new.items()
        if _holds(old.get(key), options.treatment_of(f"custom.{key}", treatment))
    }


def _numbers(old: ContactDraft, new: ContactDraft, treatment: Treatment, options: ImportOptions) -> dict[str, Any]:
    """Return the number and the further ones, as far as they change."""
    changes: dict[str, Any] = {}
    further = list(new.further)
    number = old.number
    if new.number.e164 != old.number.e164:
        wanted = options.treatment_of("number", treatment)
        if wanted is Treatment.UPDATE:
            number = new.number
            changes |= {"number": number, "raw_number": new.raw_number}
        elif wanted is Treatment.MERGE:
            further.insert(0, FurtherNumber(number=new.number, raw=new.raw_number))
    if further and (wanted := options.treatment_of("further", treatment)) is not Treatment.SKIP:
        kept = old.further if wanted is Treatment.MERGE else ()
        changes["further"] = _further(number.e164, (*kept, *further))
    elif "number" in changes:
        changes["further"] = _further(number.e164, old.further)
    if _e164s(changes.get("further", old.further)) == _e164s(old.further):
        changes.pop("further", None)
    return changes


def _further(first: str, numbers: Iterable[FurtherNumber]) -> tuple[FurtherNumber, ...]:
    """Return numbers without those that come twice, as many as a contact may have beside its first."""
    found: dict[str, FurtherNumber] = {}
    for each in numbers:
        if each.number.e164 != first:
            found.setdefault(each.number.e164, each)
    return tuple(found.values())[: MAX_PHONES - 1]


def _e164s(numbers: Iterable[FurtherNumber]) -> list[str]:
    return [each.number.e164 for each in numbers]
