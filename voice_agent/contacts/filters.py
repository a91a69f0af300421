"""Filters: which contacts are meant, as a document that people, programs and segments write. Pure.

A filter is JSON: conditions, each an object with a `type`, joined by `all`, `any` and `not`.

    {"type": "all", "of": [
        {"type": "field", "field": "country", "values": ["ES", "MX"]},
        {"type": "custom_number", "key": "balance", "at_least": 100},
        {"type": "not", "of": {"type": "calls", "outcomes": ["human"], "within_days": 30}}]}

Of several `values` one is enough. A condition is true or false of every contact, never unknown: what a contact does not
say is no value, and `not` is its opposite. Texts are compared without regard to the case of A to Z, and of no other
letter: that is what both databases do alike. Keys of tags, lists and imports are used rather than names, because a name
that is changed later must not change who is called.

`contacts.segments` makes SQL of it; that the keys and custom fields exist is asked there, too.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import msgspec

from voice_agent.contacts import fields
from voice_agent.contacts.fields import FieldType
from voice_agent.contacts.words import query_words
from voice_agent.errors import InvalidRequest
from voice_agent.storage.storable import why_not_storable

MAX_DEPTH = 6
"""Of `all`, `any` and `not` within each other, the conditions in them included."""

MAX_CONDITIONS = 50
MAX_VALUES = 1_000
"""Of all conditions together."""

LARGEST_NUMBER = 2.0**53
"""Beyond it not every whole number has a value of its own in JSON as most programs read it."""

FIRST_YEAR, LAST_YEAR = 1900, 9000
"""Moments outside are mistakes, and in another zone they might be on no day at all."""

_DEEPEST_DOCUMENT = 2 * MAX_DEPTH + 2
_PLACE = re.compile(r"(?P<reason>.*?)(?: - at `\$(?P<place>.*)`)?", re.DOTALL)

Days: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=2_000)]
Key: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^{fields.KEY.pattern}$")]
Number: TypeAlias = Annotated[float, msgspec.Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
WholeNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=-int(LARGEST_NUMBER), le=int(LARGEST_NUMBER))]
Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]


class ContactField(StrEnum):
    """A text that every contact has; empty where nothing is known."""

    NUMBER = "number"
    """E.164, of the number that is called first."""

    COUNTRY = "country"
    LINE_TYPE = "line_type"
    REGION = "region"
    NAME = "name"
    GIVEN_NAME = "given_name"
    FAMILY_NAME = "family_name"
    COMPANY = "company"
    EMAIL = "email"
    EXTERNAL_ID = "external_id"
    LOCALE = "locale"
    SOURCE = "source"


class Comparison(StrEnum):
    """What is asked of a text."""

    IS = "is"
    """Exactly so for `number` and `external_id`, else without regard to the case of A to Z."""

    BEGINS_WITH = "begins_with"
    CONTAINS = "contains"
    IS_SET = "is_set"
    """There is one; takes no values."""


class MomentField(StrEnum):
    """A moment that every contact has."""

    CREATED = "created"
    UPDATED = "updated"


class Direction(StrEnum):
    """Who called whom."""

    ANY = "any"
    OUTBOUND = "outbound"
    INBOUND = "inbound"


class CallOutcome(StrEnum):
    """How a call came out; `calls.model.Outcome` has the same."""

    HUMAN = "human"
    VOICEMAIL = "voicemail"
    FAX = "fax"
    SILENT = "silent"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    INVALID_NUMBER = "invalid_number"
    CARRIER_FAILED = "carrier_failed"
    CANCELLED = "cancelled"
    NOT_PLACED = "not_placed"
    BLOCKED = "blocked"


class _Part(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True, omit_defaults=True
):
    """A part of a filter: what it takes is written in its fields."""


# --- joining ---------------------------------------------------------------------------------------------------------
class All(_Part, frozen=True, tag="all"):
    """Every one of them holds."""

    of: "tuple[Filter, ...]"


class Any_(_Part, frozen=True, tag="any"):
    """At least one of them holds."""

    of: "tuple[Filter, ...]"


class Not(_Part, frozen=True, tag="not"):
    """It does not hold."""

    of: "Filter"


# --- what a contact is -----------------------------------------------------------------------------------------------
class FieldIs(_Part, frozen=True, tag="field"):
    """A field of the contact is one of the values, begins with one, contains one, or is set."""

    field: ContactField
    test: Comparison = Comparison.IS
    values: tuple[Text, ...] = ()


class Words(_Part, frozen=True, tag="words"):
    """It is found by a search for these words (`contacts.words`)."""

    query: Text


class Zone(_Part, frozen=True, tag="zone"):
    """It may be in one of these IANA time zones: each of its candidates counts."""

    values: tuple[Text, ...]


class At(_Part, frozen=True, tag="moment"):
    """It was made or changed at `since` or later, before `until`, within the last days; all that is named holds."""

    field: MomentField
    since: Moment | None = None
    until: Moment | None = None
    within_days: Days | None = None


class Tagged(_Part, frozen=True, tag="tag"):
    """It has one of these tags (`TagRow.id`)."""

    values: tuple[UUID, ...]


class Listed(_Part, frozen=True, tag="list"):
    """It is on one of these static lists (`ContactListRow.id`)."""

    values: tuple[UUID, ...]


class Imported(_Part, frozen=True, tag="import"):
    """One of these imports made it (`ImportRow.id`). A contact that an import only changed is not meant."""

    values: tuple[UUID, ...]


class Suppressed(_Part, frozen=True, tag="suppressed"):
    """Its first number is suppressed everywhere or in the organisation. Where only a digest is kept is not seen."""


# --- custom fields ---------------------------------------------------------------------------------------------------
class CustomIs(_Part, frozen=True, tag="custom_is"):
    """A custom field has exactly one of the values, of the same type: 1 is not "1", 1.0 is 1."""

    key: Key
    values: tuple[Text | bool | WholeNumber | Number, ...]


class CustomContains(_Part, frozen=True, tag="custom_contains"):
    """A custom field is a text that contains one of the values."""

    key: Key
    values: tuple[Text, ...]


class CustomNumber(_Part, frozen=True, tag="custom_number"):
    """A custom field is a number within these bounds; all that is named holds."""

    key: Key
    at_least: Number | None = None
    at_most: Number | None = None
    more_than: Number | None = None
    less_than: Number | None = None


class CustomDate(_Part, frozen=True, tag="custom_date"):
    """A custom field is a date within these bounds: at `since` or later, before `until`."""

    key: Key
    since: date | None = None
    until: date | None = None


class CustomSet(_Part, frozen=True, tag="custom_set"):
    """A custom field has a value."""

    key: Key


# --- calls -----------------------------------------------------------------------------------------------------------
class Calls(_Part, frozen=True, tag="calls"):
    """So many calls with any of its numbers, counted from when each was asked for. By default: at least one."""

    direction: Direction = Direction.ANY
    outcomes: tuple[CallOutcome, ...] = ()
    """Empty: whatever came of them, and those that have not ended too."""

    within_days: Days | None = None
    at_least: Count | None = None
    at_most: Count | None = None

    @property
    def least(self) -> int:
        """How many there must be: one, where nothing is said."""
        return 1 if self.at_least is None and self.at_most is None else self.at_least or 0


class LastCall(_Part, frozen=True, tag="last_call"):
    """The last call with any of its numbers that came to an end came out so."""

    outcomes: tuple[CallOutcome, ...]
    direction: Direction = Direction.ANY


Joint: TypeAlias = All | Any_ | Not
Condition: TypeAlias = (
    FieldIs
    | Words
    | Zone
    | At
    | Tagged
    | Listed
    | Imported
    | Suppressed
    | CustomIs
    | CustomContains
    | CustomNumber
    | CustomDate
    | CustomSet
    | Calls
    | LastCall
)
Filter: TypeAlias = (
    All
    | Any_
    | Not
    | FieldIs
    | Words
    | Zone
    | At
    | Tagged
    | Listed
    | Imported
    | Suppressed
    | CustomIs
    | CustomContains
    | CustomNumber
    | CustomDate
    | CustomSet
    | Calls
    | LastCall
)

CUSTOM_TYPES: dict[type[Condition], frozenset[FieldType]] = {
    CustomIs: frozenset(FieldType),
    CustomContains: frozenset({FieldType.TEXT, FieldType.CHOICE}),
    CustomNumber: frozenset({FieldType.NUMBER}),
    CustomDate: frozenset({FieldType.DATE}),
    CustomSet: frozenset(FieldType),
}
"""Of which types a field may be to be asked so."""


# --- reading ---------------------------------------------------------------------------------------------------------
def read_filter(document: object) -> Filter:
    """Return the filter that a JSON value is. Raises InvalidRequest, which names the place: `filter.of[1].values`."""
    if _is_too_deep(document):
        raise InvalidRequest(f"filter: is nested more than {MAX_DEPTH} deep")
    if reason := why_not_storable(document):
        raise InvalidRequest(f"filter: {reason}")
    try:
        read: Filter = msgspec.convert(document, Filter)
    except msgspec.ValidationError as error:
        match = _PLACE.fullmatch(str(error))
        place, reason = (match["place"] or "", match["reason"]) if match else ("", str(error))
        raise InvalidRequest(f"filter{place}: {reason}") from None
    _check(read)
    return read


def document_of(chosen: Filter) -> dict[str, Any]:
    """Return a filter as the JSON value that `read_filter` takes."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(chosen))
    return document


def conditions(chosen: Filter) -> Iterator[Condition]:
    """Yield the conditions of a filter, without what joins them."""
    for _, part in _parts(chosen, "filter", 1):
        if not isinstance(part, Joint):
            yield part


def _is_too_deep(document: object) -> bool:
    """Tell whether it is nested deeper than any filter, without recursion: it comes from outside."""
    waiting = [(document, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST_DOCUMENT:
            return True
        members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        waiting += [(member, depth + 1) for member in members]
    return False


def _parts(part: Filter, place: str, depth: int) -> Iterator[tuple[str, Filter]]:
    """Yield every part with its place. Raises InvalidRequest where they are nested too deep."""
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"{place}: is nested more than {MAX_DEPTH} deep")
    yield place, part
    match part:
        case All(of=parts) | Any_(of=parts):
            for index, each in enumerate(parts):
                yield from _parts(each, f"{place}.of[{index}]", depth + 1)
        case Not(of=each):
            yield from _parts(each, f"{place}.of", depth + 1)
        case _:
            pass


def _check(chosen: Filter) -> None:
    count = values = 0
    for place, part in _parts(chosen, "filter", 1):
        if reason := _why_not(part):
            raise InvalidRequest(f"{place}: {reason}")
        if not isinstance(part, Joint):
            count += 1
            values += len(_values(part))
    if count > MAX_CONDITIONS:
        raise InvalidRequest(f"filter: has {count} conditions, {MAX_CONDITIONS} are allowed")
    if values > MAX_VALUES:
        raise InvalidRequest(f"filter: has {values} values, {MAX_VALUES} are allowed")


def _values(part: Condition) -> tuple[object, ...]:
    return getattr(part, "values", ()) or getattr(part, "outcomes", ())


def _why_not(part: Filter) -> str:
    """Return what is wrong with a part beyond its form, "" where nothing is."""
    match part:
        case All(of=()) | Any_(of=()):
            return "there is nothing in it"
        case FieldIs():
            return _why_not_text(part)
        case Words() if not query_words(part.query):
            return "there is no word in it"
        case CustomContains(values=texts) if "" in texts:
            return "every text contains the empty one"
        case Zone(values=()) | Tagged(values=()) | Listed(values=()) | Imported(values=()):
            return "needs values"
        case CustomIs(values=()) | CustomContains(values=()) | LastCall(outcomes=()):
            return "needs values"
        case At() | CustomDate():
            return _why_not_bounds(part)
        case CustomNumber(at_least=None, at_most=None, more_than=None, less_than=None):
            return "needs a bound"
        case _:
            return ""


def _why_not_text(part: FieldIs) -> str:
    if part.test is Comparison.IS_SET:
        return "is_set takes no values" if part.values else ""
    if not part.values:
        return "needs values"
    return "every text has the empty one" if part.test is not Comparison.IS and "" in part.values else ""


def _why_not_bounds(part: At | CustomDate) -> str:
    bounds = [bound for bound in (part.since, part.until) if bound is not None]
    if not bounds and not (isinstance(part, At) and part.within_days):
        return "needs a bound"
    if not all(FIRST_YEAR <= bound.year <= LAST_YEAR for bound in bounds):
        return f"is not between {FIRST_YEAR} and {LAST_YEAR}"
    return ""


def in_utc(moment: datetime) -> datetime:
    """Return a moment of a filter in UTC."""
    return moment.astimezone(UTC)
