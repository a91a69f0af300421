"""Filters find the same contacts on SQLite and Postgres, those that plain Python finds (`filter_oracle`)."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, ClauseElement, Executable, Select, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from tests.calls.stored_calls import an_organisation
from tests.contacts.filter_oracle import KEYS, NOW, Person, fits, leaves, people, trees
from voice_agent.contacts import filters
from voice_agent.contacts.filters import ContactField, Filter, document_of, read_filter
from voice_agent.contacts.segments import ascii_lower, check_references, condition, fitting, has_words
from voice_agent.errors import InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import (
    CallRow,
    ContactListRow,
    ContactPhoneRow,
    ContactRow,
    ContactTagRow,
    CustomFieldRow,
    ImportRow,
    ListMemberRow,
    Row,
    SuppressionRow,
    TagRow,
)


class Explained(Executable, ClauseElement):
    """A query's plan in place of its rows, on Postgres."""

    inherit_cache = False

    def __init__(self, query: Select[Any]) -> None:
        self.query = query


@compiles(Explained)
def _explained(element: Explained, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN {compiler.process(element.query, **options)}"


def key_of(org_id: UUID, key: UUID) -> UUID:
    """Return the organisation's own key for one of the oracle's: keys are unlike in the whole database."""
    return UUID(int=org_id.int ^ (key.int << 64))


def translated(part: Filter, org_id: UUID) -> Filter:
    """Return a filter with the organisation's own keys."""

    def replace(value: Any) -> Any:
        if isinstance(value, dict):
            is_keyed = value.get("type") in ("tag", "list", "import")
            values = [str(key_of(org_id, UUID(each))) for each in value["values"]] if is_keyed else None
            return {name: replace(each) for name, each in value.items()} | ({"values": values} if values else {})
        return [replace(each) for each in value] if isinstance(value, list) else value

    return read_filter(replace(document_of(part)))


def a_contact(org_id: UUID, e164: str = "+34612345678", **changes: Any) -> ContactRow:
    given_: dict[str, Any] = {
        "id": new_id(), "org_id": org_id, "e164": e164, "raw_number": e164, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return ContactRow(**given_ | changes)


def rows_of(org_id: UUID, drawn: list[Person]) -> tuple[list[Row], list[Row]]:
    """Return the contacts and what hangs on them."""
    contacts: list[Row] = []
    others: list[Row] = []
    for person in drawn:
        texts: dict[str, Any] = {name.value: value for name, value in person.texts.items()}
        texts["external_id"] = texts["external_id"] or None
        row = a_contact(
            org_id, person.number, **texts, zone_candidates=person.zones, custom=person.custom,
            search_words=person.search_words,
            created_in=person.import_id and key_of(org_id, person.import_id),
        )  # fmt: skip
        row.created_at, row.updated_at = person.created, person.updated
        contacts.append(row)
        others += [
            ContactPhoneRow(contact_id=row.id, e164=number, org_id=org_id, rank=rank, raw_number=number)
            for rank, number in enumerate(person.further, 1)
        ]
        others += [ContactTagRow(tag_id=key_of(org_id, k), contact_id=row.id, org_id=org_id) for k in person.tags]
        others += [
            ListMemberRow(list_id=key_of(org_id, k), contact_id=row.id, org_id=org_id, added_at=NOW)
            for k in person.lists
        ]
        if person.is_suppressed:
            others.append(a_suppression(org_id, person.number))
    for call in drawn[0].calls:
        ends = ("+34910000000", call.number) if call.direction == "outbound" else (call.number, "+34910000000")
        others.append(
            CallRow(
                org_id=org_id,
                direction=call.direction,
                state="ended",
                outcome=call.outcome,
                from_number=ends[0],
                to_number=ends[1],
                created_at=call.created_at,
            )  # fmt: skip
        )
    return contacts, others


def a_suppression(org_id: UUID | None, number: str, **changes: Any) -> SuppressionRow:
    scope = "global" if org_id is None else f"organisation:{org_id}"
    given_: dict[str, Any] = {
        "org_id": org_id, "scope": scope, "digest": number, "e164": number, "source": "api", "created_at": NOW,
    }  # fmt: skip
    return SuppressionRow(**given_ | changes)


async def an_organisation_of(database: Database, drawn: list[Person]) -> UUID:
    org_id = await an_organisation(database)
    contacts, others = rows_of(org_id, drawn)
    async with database.write() as session:
        session.add_all(
            [
                row
                for key in KEYS
                for row in (
                    TagRow(id=key_of(org_id, key), org_id=org_id, name=str(key), key=str(key), created_at=NOW),
                    ContactListRow(
                        id=key_of(org_id, key), org_id=org_id, name=str(key), kind="static", created_at=NOW,
                        updated_at=NOW,
                    ),
                )
            ]
        )  # fmt: skip
        session.add_all(contacts)
        await session.flush()
        session.add_all(others)
    return org_id


async def found(database: Database, org_id: UUID, part: Filter) -> set[str]:
    async with database.read() as session:
        numbers = await session.scalars(select(ContactRow.e164).where(fitting(part, org_id, NOW)))
        return set(numbers.all())


def test_the_databases_find_what_plain_python_finds(database_url: URL) -> None:
    with asyncio.Runner() as runner:
        database = runner.run(_opened(database_url))

        async def compare(drawn: list[Person], asked: list[Filter]) -> None:
            org_id = await an_organisation_of(database, drawn)
            for part in asked:
                expected = {person.number for person in drawn if fits(part, person)}
                assert await found(database, org_id, translated(part, org_id)) == expected, document_of(part)

        @settings(max_examples=40, phases=[Phase.explicit, Phase.generate])  # making one smaller takes minutes
        @given(people(), st.lists(leaves | trees, min_size=8, max_size=14))
        def agrees(drawn: list[Person], asked: list[Filter]) -> None:
            runner.run(compare(drawn, asked))

        try:
            agrees()
        finally:
            runner.run(database.close())


async def _opened(url: URL) -> Database:
    return Database(url)


ALL_OF_THEM: list[Any] = [
    {"type": "field", "field": "company", "values": ["acme"]},
    {"type": "field", "field": "number", "values": ["+34612345678"]},
    {"type": "field", "field": "external_id", "values": ["K-1"]},
    {"type": "field", "field": "name", "test": "begins_with", "values": ["ana g"]},
    {"type": "field", "field": "email", "test": "contains", "values": ["@EXAMPLE."]},
    {"type": "field", "field": "locale", "test": "is_set"},
    {"type": "words", "query": "garcia AN"},
    {"type": "zone", "values": ["Atlantic/Canary"]},
    {"type": "moment", "field": "created", "within_days": 1},
    {"type": "custom_is", "key": "city", "values": ["Vigo"]},
    {"type": "custom_is", "key": "is_new", "values": [True]},
    {"type": "custom_contains", "key": "city", "values": ["vIg"]},
    {"type": "custom_number", "key": "balance", "more_than": 9.5, "at_most": 10},
    {"type": "custom_date", "key": "due", "since": "2026-11-25", "until": "2026-11-26"},
    {"type": "custom_set", "key": "due"},
]


@pytest.mark.parametrize("document", ALL_OF_THEM, ids=lambda document: str(list(document.values())[:3]))
async def test_each_condition_finds_whom_it_means_and_its_opposite_the_others(sqlite: Database, document: Any) -> None:
    org_id = await an_organisation(sqlite)
    async with sqlite.write() as session:
        session.add(
            a_contact(
                org_id,
                name="Ana García",
                company="ACME",
                email="ana@example.org",
                external_id="K-1",
                locale="es",
                search_words="ana garcia",
                zone_candidates=["Europe/Madrid", "Atlantic/Canary"],
                custom={"city": "Vigo", "is_new": True, "balance": 10, "due": "2026-11-25"},
            )  # fmt: skip
        )
        old = NOW - timedelta(days=2)
        session.add(a_contact(org_id, "+34612345679", search_words="ana", created_at=old, custom={"city": 1}))

    assert await found(sqlite, org_id, read_filter(document)) == {"+34612345678"}
    assert await found(sqlite, org_id, read_filter({"type": "not", "of": document})) == {"+34612345679"}


async def test_what_is_deleted_or_somebody_elses_is_never_found(database: Database) -> None:
    mine, other = await an_organisation(database), await an_organisation(database, "Other")
    shared = new_id()
    async with database.write() as session:
        session.add_all(
            [
                a_contact(mine),
                a_contact(mine, "+34612345679", deleted_at=NOW),
                a_contact(other, "+34612345670", created_in=shared),
                CallRow(
                    org_id=other,
                    direction="outbound",
                    state="ended",
                    from_number="+34910000000",
                    to_number="+34612345678",
                    created_at=NOW,
                ),
                a_suppression(other, "+34612345678"),
            ]  # fmt: skip
        )
    everybody = filters.FieldIs(field=ContactField.NUMBER, test=filters.Comparison.IS_SET)

    assert await found(database, mine, everybody) == {"+34612345678"}
    assert await found(database, mine, filters.Imported(values=(shared,))) == set()
    assert await found(database, mine, filters.Calls()) == set()
    assert await found(database, mine, filters.Suppressed()) == set()


async def test_suppressions_count_everywhere_or_in_the_organisation_while_they_are_in_force(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    numbers = [f"+3461234560{index}" for index in range(6)]
    async with sqlite.write() as session:
        session.add_all([a_contact(org_id, number) for number in numbers])
        session.add_all(
            [
                a_suppression(None, numbers[0]),
                a_suppression(org_id, numbers[1]),
                a_suppression(org_id, numbers[2], lifted_at=NOW),
                a_suppression(org_id, numbers[3], until=NOW),
                a_suppression(org_id, numbers[4], scope=f"campaign:{new_id()}"),
                a_suppression(org_id, "digest of 5", e164=None),
            ]
        )

    assert await found(sqlite, org_id, filters.Suppressed()) == set(numbers[:2])


async def test_words_and_values_of_custom_fields_are_found_by_their_indexes(database: Database) -> None:
    if database.is_sqlite:
        async with database.read() as session:
            words = await session.scalars(select(ContactRow.id).where(has_words(["ana"])))
            assert words.all() == []
        return
    org_id = await an_organisation(database)
    asked: dict[str, Filter] = {
        "ix_contact_search_words": filters.Words(query="ana"),
        "ix_contact_custom": filters.CustomIs(key="city", values=("Vigo",)),
    }
    async with database.write() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SET LOCAL enable_indexscan = off"))
        for index, part in asked.items():
            query = select(ContactRow.id).where(condition(part, org_id, NOW))
            plan = (await session.execute(Explained(query))).scalars().all()
            assert index in "\n".join(plan)


async def test_what_a_filter_names_has_to_be_the_organisations(sqlite: Database) -> None:
    org_id, other = await an_organisation(sqlite), await an_organisation(sqlite, "Other")
    tag, static, import_id, segment = new_id(), new_id(), new_id(), new_id()
    times = {"created_at": NOW, "updated_at": NOW}
    async with sqlite.write() as session:
        session.add_all(
            [
                TagRow(id=tag, org_id=org_id, name="vip", key="vip", created_at=NOW),
                ContactListRow(id=static, org_id=org_id, name="a", kind="static", **times),
                ContactListRow(id=segment, org_id=org_id, name="b", kind="dynamic", **times),
                ImportRow(id=import_id, org_id=org_id, name="f", source="upload", state="done", created_at=NOW),
                CustomFieldRow(org_id=org_id, key="city", label="City", type="text", created_at=NOW),
            ]
        )

    async def refusal(whose: UUID, document: Any) -> str:
        async with sqlite.read() as session:
            try:
                await check_references(session, whose, read_filter(document))
            except InvalidRequest as refused:
                return str(refused)
        return ""

    for kind, key in (("tag", tag), ("list", static), ("import", import_id)):
        document = {"type": kind, "values": [str(key)]}
        assert await refusal(org_id, document) == ""
        assert str(key) in await refusal(other, document)
    assert "no static list" in await refusal(org_id, {"type": "list", "values": [str(segment)]})
    assert (
        await refusal(org_id, {"type": "not", "of": {"type": "custom_contains", "key": "city", "values": ["a"]}}) == ""
    )
    assert "is a text" in await refusal(org_id, {"type": "custom_number", "key": "city", "at_least": 1})
    assert "no custom field town" in await refusal(org_id, {"type": "custom_set", "key": "town"})


def test_small_letters_are_those_of_ascii() -> None:
    assert ascii_lower("ÅNA Ünal") == "Åna Ünal"
