"""What many contacts are written and found by, on SQLite and on Postgres."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from tests.calls.stored_calls import NOW, an_organisation
from tests.contacts.stored_contacts import ANA, BEN, EVA, a_draft, reread, store_contacts, zones_of_region
from voice_agent.contacts import repository
from voice_agent.contacts.columns import columns_of
from voice_agent.contacts.repository import ContactUpdate
from voice_agent.errors import InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ChangeSetRow, ContactChangeRow, ContactPhoneRow, ContactTagRow


async def a_change_set(database: Database, org_id: UUID) -> UUID:
    async with database.write() as session:
        row = ChangeSetRow(id=new_id(), org_id=org_id, kind="import", state="running", created_at=NOW)
        session.add(row)
    return row.id


async def changes(database: Database, change_set_id: UUID) -> dict[UUID, tuple[dict[str, Any] | None, int]]:
    async with database.read() as session:
        query = select(ContactChangeRow).where(ContactChangeRow.change_set_id == change_set_id)
        return {row.contact_id: (row.before, row.revision) for row in await session.scalars(query)}


async def test_contacts_are_found_by_their_numbers_and_their_keys(database: Database) -> None:
    org_id, other_id = await an_organisation(database), await an_organisation(database, "Other")
    ana, ben = await store_contacts(
        database, org_id, a_draft(ANA, external_id="A-1"), a_draft(BEN, further=[EVA], external_id="B-1")
    )
    await store_contacts(database, other_id, a_draft(ANA, external_id="A-1"))

    async with database.write() as session:
        found = await repository.find_many(session, org_id, [ANA, EVA], ["B-1", "nobody"])
        nothing = await repository.find_many(session, org_id, [], [])
    assert {number: row.id for number, row in found.by_number.items()} == {ANA: ana.id}
    assert {number: row.id for number, row in found.by_further_number.items()} == {EVA: ben.id}
    assert {key: found.by_external_id[key].id for key in found.by_external_id} == {"A-1": ana.id, "B-1": ben.id}
    assert (nothing.by_number, nothing.by_external_id, nothing.by_further_number) == ({}, {}, {})


async def test_of_two_with_the_same_number_the_second_does_not_land(database: Database) -> None:
    org_id = await an_organisation(database)
    rows = [columns_of(a_draft(number), org_id, NOW, zones_of_region=zones_of_region) for number in (ANA, BEN, ANA)]

    async with database.write() as session:
        landed = await repository.insert_many(session, rows)
        again = await repository.insert_many(session, rows[:2])
        assert await repository.insert_many(session, []) == set()
    assert landed == again == {rows[0]["id"], rows[1]["id"]}


async def test_a_change_is_recorded_with_what_was_before(database: Database) -> None:
    org_id = await an_organisation(database)
    change_set = await a_change_set(database, org_id)
    (ana,) = await store_contacts(database, org_id, a_draft(ANA, name="Ana", custom={"level": 3}, further=[EVA]))

    async with database.write() as session:
        (row,) = (await repository.find_many(session, org_id, [ANA], [])).by_number.values()
        changed = ContactUpdate(
            contact=row,
            changes={"name": "Anna", "external_id": "A-1", "custom": {"level": 4, "big": True}},
            further=a_draft(further=[BEN]).further,
        )
        await repository.update_many(session, org_id, [changed], NOW, change_set_id=change_set)
        await repository.update_many(session, org_id, [], NOW, change_set_id=change_set)

    stored = await reread(database, ana.id)
    assert (stored.name, stored.external_id, stored.custom) == ("Anna", "A-1", {"level": 4, "big": True})
    assert (stored.revision, stored.e164, stored.zone_candidates) == (2, ANA, ana.zone_candidates)
    async with database.read() as session:
        phones = (await session.scalars(select(ContactPhoneRow.e164))).all()
    assert phones == [BEN]
    phone = {"e164": EVA, "rank": 1, "label": "home", "raw_number": EVA}
    before = {"name": "Ana", "external_id": None, "custom": {"level": 3}, "phones": [phone]}
    assert await changes(database, change_set) == {ana.id: (before, 2)}


async def test_of_a_contact_changed_twice_the_first_state_is_kept(database: Database) -> None:
    org_id = await an_organisation(database)
    change_set = await a_change_set(database, org_id)
    (ana,) = await store_contacts(database, org_id, a_draft(ANA, name="Ana"))

    for new in ({"name": "Anna"}, {"name": "Annette", "company": "Harbour"}):
        async with database.write() as session:
            (row,) = (await repository.find_many(session, org_id, [ANA], [])).by_number.values()
            update = ContactUpdate(contact=row, changes=new)
            await repository.update_many(session, org_id, [update], NOW, change_set_id=change_set)
    assert await changes(database, change_set) == {ana.id: ({"name": "Ana", "company": ""}, 3)}

    async with database.write() as session:  # somebody else
        await repository.touch_many(session, org_id, [ana.id], NOW, change_set_id=None)
    async with database.write() as session:
        await repository.touch_many(session, org_id, [ana.id], NOW, change_set_id=change_set)
    assert (await changes(database, change_set))[ana.id][1] == 3
    assert (await reread(database, ana.id)).revision == 5


async def test_tags_are_made_once_and_given_once(database: Database) -> None:
    org_id = await an_organisation(database)
    ana, ben = await store_contacts(database, org_id, a_draft(ANA), a_draft(BEN))
    change_set = await a_change_set(database, org_id)

    async with database.write() as session:
        first = await repository.ensure_tags(session, org_id, ["VIP", " vip "], NOW)
        tags = await repository.ensure_tags(session, org_id, ["Vip", "new"], NOW)
        assert await repository.ensure_tags(session, org_id, [], NOW) == {}
        one = await repository.tag_many(session, org_id, [(ana.id, tags["Vip"])], added_in=None)
        pairs = [(each.id, tag) for each in (ana, ben) for tag in tags.values()]
        both = await repository.tag_many(session, org_id, pairs, added_in=change_set)
        none = await repository.tag_many(session, org_id, pairs, added_in=change_set)
        assert await repository.tag_many(session, org_id, [], added_in=None) == set()
        await repository.touch_many(session, org_id, [], NOW, change_set_id=None)
    assert len(set(first.values())) == 1
    assert first["VIP"] == tags["Vip"] != tags["new"]
    assert (one, both, none) == ({ana.id}, {ana.id, ben.id}, set())
    async with database.read() as session:
        given = (await session.scalars(select(ContactTagRow.added_in))).all()
    assert sorted(given, key=str) == sorted([None, change_set, change_set, change_set], key=str)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "ß" * 150])
def test_what_is_no_tag_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="a tag has 1 to 200 characters"):
        repository.tag_key(name)


async def test_nobody_has_no_further_numbers(sqlite: Database) -> None:
    async with sqlite.read() as session:
        assert await repository.phones_by_contact(session, uuid4(), []) == {}
