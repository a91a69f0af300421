"""An import taken back: what it made, what it changed, what it tagged and put on lists; on SQLite and on Postgres."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from tests.api.world import now
from tests.calls.stored_calls import NOW
from tests.contacts.contact_world import ContactWorld, contact_world
from tests.contacts.stored_contacts import ANA, BEN, EVA, a_draft, reread, store_contacts
from voice_agent.contacts import repository, undoing
from voice_agent.contacts.repository import ContactUpdate
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ChangeSetRow, ContactListRow, ContactTagRow, ListMemberRow


@pytest.fixture
async def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ContactWorld]:
    monkeypatch.setattr(undoing, "CHUNK", 2)
    async with contact_world(database, tmp_path) as world:
        yield world


async def an_import(world: ContactWorld) -> UUID:
    async with world.database.write() as session:
        row = ChangeSetRow(org_id=world.org_id, kind="import", state="done", parameters={}, created_at=now())
        session.add(row)
    return row.id


async def change(world: ContactWorld, number: str, change_set: UUID | None, **changes: Any) -> None:
    """Change a contact as an import does, or with None as somebody does."""
    further = changes.pop("further", None)
    async with world.database.write() as session:
        (row,) = (await repository.find_many(session, world.org_id, [number], [])).by_number.values()
        numbers = None if further is None else a_draft(further=further).further
        update = ContactUpdate(contact=row, changes=changes, further=numbers)
        await repository.update_many(session, world.org_id, [update], NOW, change_set_id=change_set)


async def test_what_an_import_made_goes_unless_somebody_has_changed_it(world: ContactWorld) -> None:
    imported = await an_import(world)
    drafts = [a_draft(f"+3461234567{n}") for n in range(5)]
    rows = await store_contacts(world.database, world.org_id, *drafts, created_in=imported)
    await change(world, rows[0].e164, imported, name="Ana")  # a second line of the file
    await change(world, rows[1].e164, None, name="Anna")  # somebody

    undone = await world.undo(str(imported))
    assert (undone["state"], undone["undone"], undone["kept"]) == ("undone", 4, 1)
    assert undone["kept_because"] == {"changed_since": 1}
    left = [(await reread(world.database, row.id)).deleted_at is None for row in rows]
    assert left == [False, True, False, False, False]


async def test_what_an_import_changed_is_as_before_with_its_numbers(world: ContactWorld) -> None:
    (ana,) = await store_contacts(world.database, world.org_id, a_draft(ANA, name="Ana", further=[EVA]))
    imported = await an_import(world)
    await change(world, ANA, imported, name="Anna", external_id="A-1", custom={"a": 1}, further=[BEN])
    await change(world, ANA, imported, company="Harbour")

    assert (await world.undo(str(imported)))["undone"] == 1
    shown = await world.told("GET", f"/contacts/{ana.id}")
    assert (shown["name"], shown["external_id"], shown["custom"], shown["company"]) == ("Ana", None, {}, "")
    assert [phone["e164"] for phone in shown["further"]] == [EVA]


async def test_its_tags_and_memberships_go_and_those_of_others_stay(world: ContactWorld) -> None:
    people = [a_draft(f"+3461234567{n}", tags=("old",)) for n in range(3)]
    rows = await store_contacts(world.database, world.org_id, *people)
    imported = await an_import(world)
    async with world.database.write() as session:
        tags = await repository.ensure_tags(session, world.org_id, ["old", "new"], NOW)
        pairs = [(row.id, tag) for row in rows for tag in tags.values()]
        assert len(await repository.tag_many(session, world.org_id, pairs, added_in=imported)) == 3
        touched = [row.id for row in rows[:2]]  # the third one is as an import makes new contacts
        await repository.touch_many(session, world.org_id, touched, NOW, change_set_id=imported)
        listing = ContactListRow(org_id=world.org_id, name="L", kind="static", created_at=NOW, updated_at=NOW)
        session.add(listing)
        await session.flush()
        for row, added_in in zip(rows, (imported, imported, None), strict=True):
            member = ListMemberRow(
                list_id=listing.id, contact_id=row.id, org_id=world.org_id, added_in=added_in, added_at=NOW
            )
            session.add(member)

    undone = await world.undo(str(imported))
    assert (undone["undone"], undone["kept"]) == (2, 0)
    async with world.database.read() as session:
        assert (await session.execute(select(func.count()).select_from(ContactTagRow))).scalar_one() == 3
        assert (await session.scalars(select(ListMemberRow.contact_id))).all() == [rows[2].id]
    assert (await reread(world.database, rows[2].id)).revision == 2


async def test_a_number_that_another_contact_has_by_now_is_not_taken_from_it(world: ContactWorld) -> None:
    (ana,) = await store_contacts(world.database, world.org_id, a_draft(ANA, name="Ana"))
    imported = await an_import(world)
    await change(world, ANA, imported, e164=BEN)
    await world.create(ANA)

    undone = await world.undo(str(imported))
    assert (undone["undone"], undone["kept"], undone["kept_because"]) == (0, 1, {"number_taken": 1})
    assert (await reread(world.database, ana.id)).e164 == BEN


async def test_what_was_tagged_after_an_import_can_be_undone_in_turn(world: ContactWorld) -> None:
    imported = await an_import(world)
    (ana,) = await store_contacts(world.database, world.org_id, a_draft(ANA), created_in=imported)
    tagged = await world.bulk("tag", tag="VIP", contacts=[str(ana.id)])

    assert (await world.undo(tagged["id"]))["undone"] == 1
    assert (await world.undo(str(imported)))["undone"] == 1
    assert (await reread(world.database, ana.id)).deleted_at is not None
