"""Filters as SQL: which rows of `contact` they mean, on SQLite and Postgres alike.

Every condition is true or false, never NULL, so that `not` is its opposite; every subquery is bound to the
organisation. Where the databases say things differently there is an expression for each. On Postgres words and exact
values of custom fields are found by their indexes (`ix_contact_search_words`, `ix_contact_custom`).

A suppression is found by its number. Where only the digest of a number is kept (the person was erased, or a list of
digests was given) a filter does not see it: that decides `compliance.rules.may_call` before each call.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    String,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB, TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from voice_agent.contacts import filters
from voice_agent.contacts.fields import FieldType
from voice_agent.contacts.filters import Comparison, ContactField, Direction, Filter, MomentField
from voice_agent.contacts.words import query_words
from voice_agent.errors import InvalidRequest
from voice_agent.storage.tables import (
    CallRow,
    ContactListRow,
    ContactPhoneRow,
    ContactRow,
    ContactTagRow,
    CustomFieldRow,
    ImportRow,
    ListMemberRow,
    SuppressionRow,
    TagRow,
)

Clause = ColumnElement[bool]
_Found = Select[UUID, datetime, str | None]

_COLUMNS: dict[ContactField, ColumnElement[str]] = {
    ContactField.NUMBER: ContactRow.e164.expression,
    ContactField.COUNTRY: ContactRow.country.expression,
    ContactField.LINE_TYPE: ContactRow.line_type.expression,
    ContactField.REGION: ContactRow.region.expression,
    ContactField.NAME: ContactRow.name.expression,
    ContactField.GIVEN_NAME: ContactRow.given_name.expression,
    ContactField.FAMILY_NAME: ContactRow.family_name.expression,
    ContactField.COMPANY: ContactRow.company.expression,
    ContactField.EMAIL: ContactRow.email.expression,
    ContactField.EXTERNAL_ID: func.coalesce(ContactRow.external_id, ""),
    ContactField.LOCALE: ContactRow.locale.expression,
    ContactField.SOURCE: ContactRow.source.expression,
}
_MOMENTS: dict[MomentField, ColumnElement[datetime]] = {
    MomentField.CREATED: ContactRow.created_at.expression,
    MomentField.UPDATED: ContactRow.updated_at.expression,
}
_EXACT: dict[ContactField, ColumnElement[Any]] = {
    ContactField.NUMBER: ContactRow.e164.expression,
    ContactField.EXTERNAL_ID: ContactRow.external_id.expression,
}
"""As they stand in an index."""

_UPPER = {ord(capital): capital.lower() for capital in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


# --- what the databases say differently ------------------------------------------------------------------------------
class _Either(FunctionElement[Any]):
    """Two expressions of the same meaning: for SQLite and for Postgres."""

    inherit_cache = True


@compiles(_Either, "sqlite")
def _for_sqlite(element: _Either, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(list(element.clauses)[0], **options)})"


@compiles(_Either, "postgresql")
def _for_postgres(element: _Either, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(list(element.clauses)[1], **options)})"


def _either(sqlite: ColumnElement[Any], postgres: ColumnElement[Any]) -> ColumnElement[Any]:
    return type_coerce(_Either(sqlite, postgres), sqlite.type)


def _lower(text: ColumnElement[str]) -> ColumnElement[str]:
    """Return a text with A to Z in small letters and every other letter as it is, which is all that SQLite can."""
    return _either(func.lower(text), func.lower(text.collate("C")))


def ascii_lower(text: str) -> str:
    """Return what `_lower` makes of a text."""
    return text.translate(_UPPER)


def has_words(words: Sequence[str]) -> Clause:
    """Return the condition that each of these is the beginning of one of a contact's words (`words.query_words`)."""
    spaced = literal(" ").concat(ContactRow.search_words)
    # As it stands in the index: with a parameter in it the index is not used.
    vector: ColumnElement[Any] = literal_column("array_to_tsvector(string_to_array(contact.search_words, ' '))")
    lexemes = " & ".join("'" + word.replace("\\", "\\\\").replace("'", "''") + "':*" for word in words)
    return _either(
        and_(true(), *(spaced.contains(f" {word}", autoescape=True) for word in words)),
        vector.op("@@")(cast(literal(lexemes), TSQUERY)) if words else true(),
    )


class _Custom:
    """A custom field of a contact."""

    def __init__(self, key: str) -> None:
        self._key = key
        column, path, name = ContactRow.custom, literal("$." + key), literal(key, String)
        self._type = func.json_type(column, path)
        """SQLite's."""

        self._sqlite = func.json_extract(column, path)
        self._document = type_coerce(column, JSONB)
        self._postgres_type = func.jsonb_typeof(self._document[name])
        self._postgres = self._document[name].astext

    @property
    def text(self) -> ColumnElement[str]:
        """The text that it is, NULL where it is none."""
        sqlite = case((self._type == "text", type_coerce(self._sqlite, String)))
        return _either(sqlite, case((self._postgres_type == "string", self._postgres)))

    @property
    def number(self) -> ColumnElement[float]:
        """The number that it is, NULL where it is none."""
        sqlite = case((self._type.in_(("integer", "real")), cast(self._sqlite, Double)))
        return _either(sqlite, case((self._postgres_type == "number", cast(self._postgres, Double))))

    def is_set(self) -> Clause:
        return _either(
            func.coalesce(self._type, "null") != "null", func.coalesce(self._postgres_type, "null") != "null"
        )

    def is_one_of(self, values: Sequence[str | bool | int | float]) -> Clause:
        texts = [value for value in values if isinstance(value, str)]
        truths = ["true" if value else "false" for value in values if isinstance(value, bool)]
        numbers = [value for value in values if not isinstance(value, str | bool)]
        type_ = func.coalesce(self._type, "null")
        sqlite = or_(
            and_(type_ == "text", type_coerce(self._sqlite, String).in_(texts)),
            type_.in_(truths),
            and_(type_.in_(("integer", "real")), type_coerce(self._sqlite, Double).in_(numbers)),
        )
        return _either(sqlite, or_(*(self._document.contains({self._key: value}) for value in values)))


# --- conditions ------------------------------------------------------------------------------------------------------
class _Segment:
    """Makes SQL of one filter."""

    def __init__(self, org_id: UUID, now: datetime) -> None:
        self._org_id = org_id
        self._now = now

    def clause(self, part: Filter) -> Clause:
        """Return the condition of a part of the filter."""
        match part:
            case filters.All(of=parts):
                return and_(*map(self.clause, parts))
            case filters.Any_(of=parts):
                return or_(*map(self.clause, parts))
            case filters.Not(of=each):
                return not_(self.clause(each))
            case _:
                return _CLAUSES[type(part)](self, part)

    def field(self, part: filters.FieldIs) -> Clause:
        text = _COLUMNS[part.field]
        if part.test is Comparison.IS_SET:
            return text != ""
        if part.test is Comparison.IS and (key := _EXACT.get(part.field)) is not None:
            return text.in_(part.values) if "" in part.values else and_(key.is_not(None), key.in_(part.values))
        return _compares(_lower(text), part.test, part.values)

    def words(self, part: filters.Words) -> Clause:
        return has_words(query_words(part.query))

    def zone(self, part: filters.Zone) -> Clause:
        zones = func.json_each(ContactRow.zone_candidates).table_valued("value")
        found = exists(select(1).select_from(zones).where(zones.c.value.in_(part.values)).correlate(ContactRow))
        candidates = type_coerce(ContactRow.zone_candidates, JSONB)
        return _either(found, or_(*(candidates.contains([zone]) for zone in part.values)))

    def moment(self, part: filters.At) -> Clause:
        column, bounds = _MOMENTS[part.field], []
        if part.since is not None:
            bounds.append(column >= filters.in_utc(part.since))
        if part.until is not None:
            bounds.append(column < filters.in_utc(part.until))
        if part.within_days is not None:
            bounds.append(column >= self._days_ago(part.within_days))
        return and_(*bounds)

    def tagged(self, part: filters.Tagged) -> Clause:
        return exists(
            select(1)
            .where(
                ContactTagRow.contact_id == ContactRow.id,
                ContactTagRow.org_id == self._org_id,
                ContactTagRow.tag_id.in_(part.values),
            )
            .correlate(ContactRow)
        )

    def listed(self, part: filters.Listed) -> Clause:
        return exists(
            select(1)
            .where(
                ListMemberRow.contact_id == ContactRow.id,
                ListMemberRow.org_id == self._org_id,
                ListMemberRow.list_id.in_(part.values),
            )
            .correlate(ContactRow)
        )

    def imported(self, part: filters.Imported) -> Clause:
        return and_(ContactRow.created_in.is_not(None), ContactRow.created_in.in_(part.values))

    def suppressed(self, _: filters.Suppressed) -> Clause:
        # Not correlated: there is no index by number, so the numbers are gathered once.
        numbers = select(SuppressionRow.e164).where(
            SuppressionRow.scope.in_(("global", f"organisation:{self._org_id}")),
            or_(SuppressionRow.org_id.is_(None), SuppressionRow.org_id == self._org_id),
            SuppressionRow.lifted_at.is_(None),
            SuppressionRow.e164.is_not(None),
            or_(SuppressionRow.until.is_(None), SuppressionRow.until > self._now),
        )
        return ContactRow.e164.in_(numbers)

    # --- custom fields ----------------------------------------------------------------------------------------
    def custom_is(self, part: filters.CustomIs) -> Clause:
        return _Custom(part.key).is_one_of(part.values)

    def custom_contains(self, part: filters.CustomContains) -> Clause:
        text = func.coalesce(_Custom(part.key).text, "")
        return _compares(_lower(text), Comparison.CONTAINS, part.values)

    def custom_number(self, part: filters.CustomNumber) -> Clause:
        number, bounds = _Custom(part.key).number, []
        if part.at_least is not None:
            bounds.append(number >= part.at_least)
        if part.at_most is not None:
            bounds.append(number <= part.at_most)
        if part.more_than is not None:
            bounds.append(number > part.more_than)
        if part.less_than is not None:
            bounds.append(number < part.less_than)
        return func.coalesce(and_(*bounds), false())

    def custom_date(self, part: filters.CustomDate) -> Clause:
        text = _Custom(part.key).text
        day, bounds = _either(text, text.collate("C")), []
        if part.since is not None:
            bounds.append(day >= _iso(part.since))
        if part.until is not None:
            bounds.append(day < _iso(part.until))
        return func.coalesce(and_(*bounds), false())

    def custom_set(self, part: filters.CustomSet) -> Clause:
        return _Custom(part.key).is_set()

    # --- calls ------------------------------------------------------------------------------------------------
    def calls(self, part: filters.Calls) -> Clause:
        wanted = [] if part.within_days is None else [CallRow.created_at >= self._days_ago(part.within_days)]
        if part.outcomes:
            wanted.append(CallRow.outcome.in_(part.outcomes))
        each = self._calls(part.direction, wanted)
        if (part.least, part.at_most) == (1, None):
            return or_(*(exists(calls) for calls in each))
        counts = [select(func.count()).select_from(calls.subquery()).scalar_subquery() for calls in each]
        total = sum(counts[1:], counts[0])
        return and_(total >= part.least, true() if part.at_most is None else total <= part.at_most)

    def last_call(self, part: filters.LastCall) -> Clause:
        ended = union_all(*self._calls(part.direction, [CallRow.outcome.is_not(None)])).subquery()
        newest = select(ended.c.outcome).order_by(ended.c.created_at.desc(), ended.c.id.desc()).limit(1)
        return func.coalesce(newest.scalar_subquery().in_(part.outcomes), false())

    def _calls(self, direction: Direction, wanted: Sequence[Clause]) -> list[_Found]:
        """Return the calls with a contact's numbers, as queries that have none twice and use `call`'s indexes."""
        ends = {Direction.OUTBOUND: CallRow.to_number, Direction.INBOUND: CallRow.from_number}
        found: list[_Found] = []
        for way, number in ends.items():
            if direction not in (way, Direction.ANY):
                continue
            calls: _Found = select(CallRow.id, CallRow.created_at, CallRow.outcome).where(
                CallRow.org_id == self._org_id, CallRow.direction == way.value, *wanted
            )
            further = (
                ContactPhoneRow.contact_id == ContactRow.id,
                ContactPhoneRow.org_id == self._org_id,
                ContactPhoneRow.e164 != ContactRow.e164,
                ContactPhoneRow.e164 == number,
            )
            found.append(calls.where(number == ContactRow.e164).correlate(ContactRow))
            found.append(calls.where(*further).correlate(ContactRow))
        return found

    def _days_ago(self, days: int) -> datetime:
        return self._now - timedelta(days=days)


_CLAUSES: dict[type[Filter], Callable[[_Segment, Any], Clause]] = {
    filters.FieldIs: _Segment.field,
    filters.Words: _Segment.words,
    filters.Zone: _Segment.zone,
    filters.At: _Segment.moment,
    filters.Tagged: _Segment.tagged,
    filters.Listed: _Segment.listed,
    filters.Imported: _Segment.imported,
    filters.Suppressed: _Segment.suppressed,
    filters.CustomIs: _Segment.custom_is,
    filters.CustomContains: _Segment.custom_contains,
    filters.CustomNumber: _Segment.custom_number,
    filters.CustomDate: _Segment.custom_date,
    filters.CustomSet: _Segment.custom_set,
    filters.Calls: _Segment.calls,
    filters.LastCall: _Segment.last_call,
}


def _compares(text: ColumnElement[str], test: Comparison, values: Sequence[str]) -> Clause:
    """Return how a text in small letters compares with the values."""
    wanted = [ascii_lower(value) for value in values]
    if test is Comparison.IS:
        return text.in_(wanted)
    if test is Comparison.BEGINS_WITH:
        return or_(*(text.startswith(value, autoescape=True) for value in wanted))
    return or_(*(text.contains(value, autoescape=True) for value in wanted))


def _iso(day: date) -> str:
    return day.isoformat()


# --- for whoever asks ------------------------------------------------------------------------------------------------
def condition(chosen: Filter, org_id: UUID, now: datetime) -> Clause:
    """Return what a filter says of `ContactRow`, without the organisation and what is deleted; see `fitting`."""
    return _Segment(org_id, now).clause(chosen)


def is_there(org_id: UUID) -> Clause:
    """Return the condition of an organisation's contacts that are not deleted."""
    return and_(ContactRow.org_id == org_id, ContactRow.deleted_at.is_(None))


def fitting(chosen: Filter | None, org_id: UUID, now: datetime) -> Clause:
    """Return the condition of the organisation's contacts that fit a filter; without one, of all that are there."""
    return is_there(org_id) if chosen is None else and_(is_there(org_id), condition(chosen, org_id, now))


async def check_references(session: AsyncSession, org_id: UUID, chosen: Filter) -> None:
    """Raise InvalidRequest where a filter names a tag, list, import or custom field that the organisation has not."""
    named: dict[type[Filter], set[UUID]] = {filters.Tagged: set(), filters.Listed: set(), filters.Imported: set()}
    custom: list[filters.Condition] = []
    for part in filters.conditions(chosen):
        if isinstance(part, filters.Tagged | filters.Listed | filters.Imported):
            named[type(part)].update(part.values)
        elif type(part) in filters.CUSTOM_TYPES:
            custom.append(part)
    static = and_(ContactListRow.kind == "static", ContactListRow.org_id == org_id)
    for kind, key, whose, words in (
        (filters.Tagged, TagRow.id, TagRow.org_id == org_id, "tag"),
        (filters.Listed, ContactListRow.id, static, "static list"),
        (filters.Imported, ImportRow.id, ImportRow.org_id == org_id, "import"),
    ):
        if wanted := named[kind]:
            known = set((await session.scalars(select(key).where(whose, key.in_(wanted)))).all())
            if missing := wanted - known:
                raise InvalidRequest(f"filter: there is no {words} {min(missing)}")
    if custom:
        await _check_custom(session, org_id, custom)


async def _check_custom(session: AsyncSession, org_id: UUID, asked: Sequence[filters.Condition]) -> None:
    query = select(CustomFieldRow.key, CustomFieldRow.type).where(CustomFieldRow.org_id == org_id)
    types = {key: FieldType(type_) for key, type_ in (await session.execute(query)).all()}
    for part in asked:
        key: str = getattr(part, "key", "")
        if key not in types:
            raise InvalidRequest(f"filter: there is no custom field {key}")
        if types[key] not in filters.CUSTOM_TYPES[type(part)]:
            raise InvalidRequest(f"filter: the custom field {key} is a {types[key]} and cannot be asked so")
