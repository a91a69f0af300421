"""The same search finds the same contacts on SQLite and on Postgres, with what is common and with what is rare."""

from uuid import UUID

import pytest

from tests.calls.stored_calls import NOW, an_organisation
from tests.contacts.stored_contacts import ANA, BEN, EVA, a_draft, store_contacts
from voice_agent.contacts import repository, search
from voice_agent.contacts.filters import All, CustomIs, Filter, Tagged
from voice_agent.contacts.search import Search
from voice_agent.storage.database import Database

PEOPLE = (
    a_draft(ANA, name="Ana García-López", company="Harbour", custom={"city": "Cádiz", "level": 1}, tags=("VIP",)),
    a_draft(BEN, name="Ben O'Brien", email="ben.o@port.example", custom={"city": "Leeds"}, tags=("VIP", "new")),
    a_draft(EVA, name="Eva 100%_sure", external_id="C-77", further=["+34612999888"]),
)


async def found(database: Database, org_id: UUID, wanted: Search, *, limit: int = 10) -> list[str]:
    """Return the names of what is found, by pages of a few."""
    names: list[str] = []
    before = None
    while True:
        async with database.read() as session:
            rows = await search.page(session, org_id, wanted, before=before, limit=limit, now=NOW)
            counted = await search.count(session, org_id, wanted, now=NOW)
        names += [row.name for row in rows]
        if len(rows) < limit:
            assert counted.total == len(names)
            return names
        before = rows[-1].created_at, rows[-1].id


@pytest.mark.parametrize("walked", [1, 5_000])
async def test_words_and_digits_find_the_same_everywhere(
    database: Database, monkeypatch: pytest.MonkeyPatch, walked: int
) -> None:
    monkeypatch.setattr(search, "WALKED", walked)
    monkeypatch.setattr(search, "WALKED_ON", 2 * walked)
    org_id = await an_organisation(database)
    await store_contacts(database, await an_organisation(database, "Other"), *PEOPLE)
    await store_contacts(database, org_id, *PEOPLE)
    ana, ben, eva = (draft.display_name for draft in PEOPLE)

    for query, expected in (
        ("", [eva, ben, ana]),
        ("garc", [ana]),
        ("GARCÍA ana", [ana]),
        ("lopez", [ana]),
        ("opez", []),
        ("o'brien", [ben]),
        ("ben.o@port.example", [ben]),
        ("port", [ben]),
        ("c-77", [eva]),
        ("100", [eva]),
        ("100%_sure", [eva]),
        ("harbour", [ana]),
        ("612 345 678", [ana]),
        ("+34 612", [eva, ana]),
        ("5678", [ana]),
        ("07400123456", [ben]),
        ("999888", [eva]),
        ("nobody", []),
        ("%", [eva, ben, ana]),
        ("ana ben", []),
    ):
        assert await found(database, org_id, Search(query=query)) == expected, query


@pytest.mark.parametrize("walked", [1, 5_000])
async def test_tags_and_custom_fields_go_with_words_and_pages_follow_each_other(
    database: Database, monkeypatch: pytest.MonkeyPatch, walked: int
) -> None:
    monkeypatch.setattr(search, "WALKED", walked)
    monkeypatch.setattr(search, "WALKED_ON", 2 * walked)
    org_id = await an_organisation(database)
    await store_contacts(database, org_id, *PEOPLE)
    async with database.write() as session:
        tags = await repository.ensure_tags(session, org_id, ["vip", "new"], NOW)
    ana, ben, eva = (draft.display_name for draft in PEOPLE)
    vip, new, cadiz = (
        Tagged(values=(tags["vip"],)),
        Tagged(values=(tags["new"],)),
        CustomIs(key="city", values=("Cádiz",)),
    )

    cases: list[tuple[str, Filter, list[str]]] = [
        ("", vip, [ben, ana]),
        ("", All(of=(vip, new)), [ben]),
        ("ana", vip, [ana]),
        ("ana", new, []),
        ("", cadiz, [ana]),
        ("har", All(of=(cadiz, vip)), [ana]),
        ("ben", cadiz, []),
    ]
    for query, chosen, expected in cases:
        assert await found(database, org_id, Search(query=query, chosen=chosen), limit=1) == expected
    assert await found(database, org_id, Search(), limit=1) == [eva, ben, ana]
    assert await found(database, org_id, Search(is_deleted=True)) == []


async def test_what_is_deleted_is_found_where_it_is_asked_for(database: Database) -> None:
    org_id = await an_organisation(database)
    await store_contacts(database, org_id, PEOPLE[0], deleted_at=NOW)
    await store_contacts(database, org_id, a_draft(ANA, name="Ana Nueva"))

    assert await found(database, org_id, Search(query="ana")) == ["Ana Nueva"]
    assert await found(database, org_id, Search(query="ana", is_deleted=True)) == ["Ana García-López"]


async def test_many_are_counted_as_far_as_is_told(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "COUNTED", 2)
    org_id = await an_organisation(sqlite)
    await store_contacts(sqlite, org_id, *PEOPLE)

    async with sqlite.read() as session:
        counted = await search.count(session, org_id, Search(), now=NOW)
    assert (counted.total, counted.is_capped) == (2, True)
