"""What a filter means, said once more in plain Python: the tests compare what the databases find with it.

Also draws filters and contacts that have something to do with each other.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from voice_agent.contacts import filters
from voice_agent.contacts.filters import Comparison, ContactField, Direction, Filter
from voice_agent.contacts.words import query_words, search_words
from voice_agent.errors import InvalidRequest

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEYS = [UUID(int=number) for number in (1, 2, 3)]
NUMBERS = ["+34612345678", "+34612345679", "+525512345678", "+12025550123", "+4915112345678"]
TEXTS = ["", "Ana", "ANA", "Ångström", "ÅNGSTRÖM", "José", "50%_off", "O'Neill \\", "a b", "ana@example.org", "ß"]
PIECES = ["A", "an", "å", "Å", "%", "_", "\\", "'", " ", "é", "ss", "+34", "+346", "@"]
ZONES = ["Europe/Madrid", "Atlantic/Canary", "America/New_York"]
VALUES: list[Any] = [
    "",
    "Ana",
    "ana",
    "1",
    "true",
    1,
    1.0,
    0,
    -2.5,
    0.1,
    2**53,
    True,
    False,
    "2026-11-25",
    "2027-01-01",
]
MOMENTS = [NOW - timedelta(days=days, hours=hours) for days in (0, 1, 7, 400) for hours in (0, 1)]
DAYS = [date(2026, 11, 24), date(2026, 11, 25), date(2026, 11, 26), date(2027, 6, 1)]


@dataclass(kw_only=True)
class Call:
    """A call of a contact's number."""

    direction: str
    number: str
    outcome: str | None
    created_at: datetime


@dataclass(kw_only=True)
class Person:
    """A contact and all that is known of it."""

    number: str
    further: list[str]
    texts: dict[ContactField, str]
    zones: list[str]
    created: datetime
    updated: datetime
    custom: dict[str, Any]
    tags: set[UUID]
    lists: set[UUID]
    import_id: UUID | None
    is_suppressed: bool
    calls: list[Call] = field(default_factory=list)

    @property
    def search_words(self) -> str:
        """As it is stored."""
        return search_words([self.number], [self.texts[ContactField.NAME], self.texts[ContactField.COMPANY]])


def lowered(text: str) -> str:
    """Return a text with A to Z in small letters."""
    return "".join(sign.lower() if sign.isascii() else sign for sign in text)


def fits(part: Filter, person: Person) -> bool:
    """Tell whether a person is meant."""
    match part:
        case filters.All(of=parts):
            return all(fits(each, person) for each in parts)
        case filters.Any_(of=parts):
            return any(fits(each, person) for each in parts)
        case filters.Not(of=each):
            return not fits(each, person)
        case filters.FieldIs():
            return _field(part, person)
        case filters.Words(query=query):
            words = person.search_words.split(" ")
            return all(any(word.startswith(wanted) for word in words) for wanted in query_words(query))
        case filters.At():
            moment = person.created if part.field == "created" else person.updated
            within = part.within_days is None or moment >= NOW - timedelta(days=part.within_days)
            return within and (part.since or moment) <= moment and (part.until is None or moment < part.until)
        case filters.Zone() | filters.Tagged() | filters.Listed() | filters.Imported() | filters.Suppressed():
            return _mark(part, person)
        case filters.Calls() | filters.LastCall():
            return _calls(part, person)
        case _:
            return _custom(part, person.custom.get(part.key))


def _mark(part: Filter, person: Person) -> bool:
    match part:
        case filters.Zone(values=zones):
            return bool(set(zones) & set(person.zones))
        case filters.Tagged(values=keys):
            return bool(person.tags & set(keys))
        case filters.Listed(values=keys):
            return bool(person.lists & set(keys))
        case filters.Imported(values=keys):
            return person.import_id in keys
        case _:
            return person.is_suppressed


def _field(part: filters.FieldIs, person: Person) -> bool:
    text = person.number if part.field is ContactField.NUMBER else person.texts[part.field]
    if part.test is Comparison.IS_SET:
        return text != ""
    if part.test is Comparison.IS and part.field in (ContactField.NUMBER, ContactField.EXTERNAL_ID):
        return text in part.values
    return _compares(text, part.test, part.values)


def _compares(text: str, test: Comparison, values: tuple[str, ...]) -> bool:
    there, wanted = lowered(text), [lowered(value) for value in values]
    match test:
        case Comparison.IS:
            return there in wanted
        case Comparison.BEGINS_WITH:
            return any(there.startswith(value) for value in wanted)
        case Comparison.CONTAINS:
            return any(value in there for value in wanted)
        case Comparison.IS_SET:
            return bool(text)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _custom(part: Any, value: Any) -> bool:
    match part:
        case filters.CustomSet():
            return value is not None
        case filters.CustomIs(values=values):
            same = [each for each in values if each == value]
            return any(type(each) is type(value) or (_is_number(each) and _is_number(value)) for each in same)
        case filters.CustomContains(values=values):
            return isinstance(value, str) and _compares(value, Comparison.CONTAINS, values)
        case filters.CustomNumber():
            return _is_number(value) and all(
                (
                    part.at_least is None or value >= part.at_least,
                    part.at_most is None or value <= part.at_most,
                    part.more_than is None or value > part.more_than,
                    part.less_than is None or value < part.less_than,
                )
            )
        case filters.CustomDate(since=since, until=until):
            if not isinstance(value, str):
                return False
            return (since is None or value >= since.isoformat()) and (until is None or value < until.isoformat())
        case _:
            raise AssertionError(part)


def _calls(part: filters.Calls | filters.LastCall, person: Person) -> bool:
    ways = [part.direction] if part.direction is not Direction.ANY else [Direction.OUTBOUND, Direction.INBOUND]
    calls = [
        call for call in person.calls if call.direction in ways and call.number in (person.number, *person.further)
    ]
    if isinstance(part, filters.LastCall):
        ended = sorted((call for call in calls if call.outcome), key=lambda call: call.created_at)
        return bool(ended) and ended[-1].outcome in part.outcomes
    if part.within_days is not None:
        calls = [call for call in calls if call.created_at >= NOW - timedelta(days=part.within_days)]
    if part.outcomes:
        calls = [call for call in calls if call.outcome in part.outcomes]
    least = 1 if part.at_least is None and part.at_most is None else part.at_least or 0
    return least <= len(calls) and (part.at_most is None or len(calls) <= part.at_most)


# --- drawing -------------------------------------------------------------------------------------------------------
def _some(values: list[Any], *, least: int = 1) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), min_size=least, max_size=3).map(tuple)


def _maybe(values: list[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


_PLAIN = [each for each in ContactField if each is not ContactField.NUMBER]
_CUSTOM_KEYS = st.sampled_from(["a", "b_2"])
_OUTCOMES = [filters.CallOutcome.HUMAN, filters.CallOutcome.BUSY, filters.CallOutcome.NO_ANSWER]
_NUMBERS = [0, 1, 0.1, -2.5, 2**53]

_fields = st.one_of(
    st.builds(filters.FieldIs, field=st.sampled_from(ContactField), values=_some([*TEXTS, *NUMBERS])),
    st.builds(
        filters.FieldIs,
        field=st.sampled_from(ContactField),
        test=st.sampled_from([Comparison.BEGINS_WITH, Comparison.CONTAINS]),
        values=_some(PIECES),
    ),
    st.builds(filters.FieldIs, field=st.sampled_from(ContactField), test=st.just(Comparison.IS_SET)),
    st.builds(
        filters.Words, query=st.sampled_from([text for text in [*TEXTS, "jose", "6123456", "678"] if query_words(text)])
    ),
    st.builds(filters.Zone, values=_some(ZONES)),
    st.builds(
        filters.At,
        field=st.sampled_from(filters.MomentField),
        since=_maybe(MOMENTS),
        until=_maybe(MOMENTS),
        within_days=_maybe([1, 7]),
    ),
)
_marks = st.one_of(
    st.builds(filters.Tagged, values=_some(KEYS)),
    st.builds(filters.Listed, values=_some(KEYS)),
    st.builds(filters.Imported, values=_some(KEYS)),
    st.just(filters.Suppressed()),
)
_customs = st.one_of(
    st.builds(filters.CustomIs, key=_CUSTOM_KEYS, values=_some(VALUES)),
    st.builds(filters.CustomContains, key=_CUSTOM_KEYS, values=_some(["a", "A", "1", "%", "rue"])),
    st.builds(
        filters.CustomNumber,
        key=_CUSTOM_KEYS,
        at_least=_maybe(_NUMBERS),
        at_most=_maybe(_NUMBERS),
        more_than=_maybe(_NUMBERS),
        less_than=_maybe(_NUMBERS),
    ),
    st.builds(filters.CustomDate, key=_CUSTOM_KEYS, since=_maybe(DAYS), until=_maybe(DAYS)),
    st.builds(filters.CustomSet, key=_CUSTOM_KEYS),
)
_histories = st.one_of(
    st.builds(
        filters.Calls,
        direction=st.sampled_from(Direction),
        outcomes=_some(_OUTCOMES, least=0),
        within_days=_maybe([1, 7]),
        at_least=_maybe([0, 1, 2]),
        at_most=_maybe([0, 1, 2]),
    ),
    st.builds(filters.LastCall, outcomes=_some(_OUTCOMES), direction=st.sampled_from(Direction)),
)


def _is_readable(part: Filter) -> bool:
    try:
        filters.read_filter(filters.document_of(part))
    except InvalidRequest:
        return False
    return True


leaves = (_fields | _marks | _customs | _histories).filter(_is_readable)
trees: st.SearchStrategy[Filter] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(filters.All, of=st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(filters.Any_, of=st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(filters.Not, of=inner),
    ),
    max_leaves=6,
).filter(_is_readable)

_calls_drawn = st.builds(
    Call,
    direction=st.sampled_from(["outbound", "inbound"]),
    number=st.sampled_from(NUMBERS),
    outcome=_maybe(["human", "busy", "no_answer"]),
    created_at=st.sampled_from(MOMENTS),
)


@st.composite
def people(draw: st.DrawFn) -> list[Person]:
    """Draw contacts of one organisation, and its calls: those of a number are everybody's who has it."""
    numbers = draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=4, unique=True))
    calls = draw(st.lists(_calls_drawn, max_size=6, unique_by=lambda call: call.created_at))
    drawn = []
    for index, number in enumerate(numbers):
        texts: dict[ContactField, str] = {each: draw(st.sampled_from(TEXTS)) for each in _PLAIN}
        external_id = texts[ContactField.EXTERNAL_ID]
        texts[ContactField.EXTERNAL_ID] = external_id and f"{external_id}{index}"[:200]
        for short in (ContactField.COUNTRY, ContactField.REGION, ContactField.LOCALE):
            texts[short] = texts[short][:2]
        drawn.append(
            Person(
                number=number,
                further=draw(st.lists(st.sampled_from(NUMBERS), max_size=2, unique=True)),
                texts=texts,
                zones=draw(st.lists(st.sampled_from(ZONES), max_size=2, unique=True)),
                created=draw(st.sampled_from(MOMENTS)),
                updated=draw(st.sampled_from(MOMENTS)),
                custom=draw(st.dictionaries(_CUSTOM_KEYS, st.sampled_from(VALUES), max_size=2)),
                tags=set(draw(_some(KEYS, least=0))),
                lists=set(draw(_some(KEYS, least=0))),
                import_id=draw(_maybe(KEYS)),
                is_suppressed=draw(st.booleans()),
                calls=calls,
            )
        )
    return drawn
