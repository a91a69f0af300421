"""Contacts that are one person: found, made one, and several again; on SQLite and on Postgres."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.calls.stored_calls import NOW
from tests.contacts.contact_world import ContactWorld, contact_world
from tests.contacts.stored_contacts import ANA, BEN, EVA, reread
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ContactListRow, ListMemberRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    async with contact_world(database, tmp_path) as world:
        yield world


@pytest.fixture
async def small(sqlite: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    async with contact_world(sqlite, tmp_path) as world:
        yield world


async def test_the_same_address_or_the_same_name_and_number_are_found(world: ContactWorld) -> None:
    ana = await world.create(ANA, name="Ana", email="Ana@x.example")
    again = await world.create(EVA, name="ANA", email="ana@X.example", further=[{"number": ANA}])
    await world.create(BEN, name="Ben", further=[{"number": ANA}])
    gone = await world.create("+34612345679", email="ana@x.example")
    await world.told("DELETE", f"/contacts/{gone['id']}")

    groups = await world.told("GET", "/contacts/duplicates")
    assert [(group["reason"], {each["id"] for each in group["contacts"]}) for group in groups] == [
        ("email", {ana["id"], again["id"]}),
        ("name_and_number", {ana["id"], again["id"]}),
    ]


async def test_a_merge_joins_everything_and_its_undo_parts_it(world: ContactWorld) -> None:
    ana = await world.create(ANA, name="Ana", tags=["VIP"])
    other = await world.create(BEN, name="Anna", company="Harbour", external_id="A-1", tags=["new"])
    async with world.database.write() as session:
        listing = ContactListRow(org_id=world.org_id, name="L", kind="static", created_at=NOW, updated_at=NOW)
        session.add(listing)
        await session.flush()
        member = ListMemberRow(list_id=listing.id, contact_id=UUID(other["id"]), org_id=world.org_id, added_at=NOW)
        session.add(member)

    body = {"others": [other["id"]], "choose": {"number": other["id"], "name": other["id"]}}
    merged = await world.told("POST", f"/contacts/{ana['id']}/merge", body)
    shown = await world.told("GET", f"/contacts/{ana['id']}")
    assert (merged["kind"], merged["state"], merged["changed"]) == ("merge", "done", 2)
    assert (shown["e164"], [phone["e164"] for phone in shown["further"]]) == (BEN, [ANA])
    assert (shown["name"], shown["company"], shown["external_id"]) == ("Anna", "Harbour", "A-1")
    assert {tag["name"] for tag in shown["tags"]} == {"VIP", "new"}
    async with world.database.read() as session:
        assert await session.get(ListMemberRow, (listing.id, UUID(ana["id"]))) is not None
    gone = await world.told("GET", f"/contacts/{other['id']}")
    assert (gone["merged_into"], gone["deleted_at"] is None) == (ana["id"], False)
    assert (await world.ask("POST", f"/contacts/{other['id']}/restore")).status_code == 409

    undone = await world.undo(merged["id"])
    assert (undone["undone"], undone["kept"]) == (2, 0)
    for before in (ana, other):
        shown = await world.told("GET", f"/contacts/{before['id']}")
        assert shown | {"updated_at": ""} == before | {"updated_at": ""}
    async with world.database.read() as session:
        assert await session.get(ListMemberRow, (listing.id, UUID(ana["id"]))) is None


async def test_a_merge_that_only_brings_tags_is_a_change_too(small: ContactWorld) -> None:
    ana = await small.create(ANA, further=[{"number": BEN}])
    other = await small.create(BEN, tags=["new"])
    merged = await small.told("POST", f"/contacts/{ana['id']}/merge", {"others": [other["id"]]})

    assert [tag["name"] for tag in (await small.told("GET", f"/contacts/{ana['id']}"))["tags"]] == ["new"]
    assert (await reread(small.database, UUID(ana["id"]))).revision == 2
    assert (await small.undo(merged["id"]))["undone"] == 2
    assert (await small.told("GET", f"/contacts/{ana['id']}"))["tags"] == []


async def test_what_cannot_be_merged_is_refused(small: ContactWorld) -> None:
    ana = await small.create(ANA)
    path = f"/contacts/{ana['id']}/merge"

    assert (await small.ask("POST", path, {"others": [ana["id"]]})).status_code == 422
    assert (await small.ask("POST", path, {"others": [str(uuid4())]})).status_code == 404
    assert (await small.ask("POST", path, {"others": []})).status_code == 422
