"""Many contacts changed at once, and taken back, on SQLite and on Postgres."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tests.api.world import now
from tests.contacts.contact_world import ContactWorld, a_context, contact_world
from tests.contacts.stored_contacts import BEN, EVA
from voice_agent.contacts import changes as contact_changes
from voice_agent.contacts import repository, undoing
from voice_agent.contacts.changes import ChangeSetWork
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ContactListRow, ContactRow, ListMemberRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    async with contact_world(database, tmp_path) as world:
        yield world


@pytest.fixture
async def small(sqlite: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    async with contact_world(sqlite, tmp_path) as world:
        yield world


@pytest.fixture
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two contacts are a chunk."""
    for module, name in ((contact_changes, "CHUNK"), (contact_changes, "WINDOW"), (undoing, "CHUNK")):
        monkeypatch.setattr(module, name, 2)


async def people(world: ContactWorld, count: int = 5) -> list[str]:
    return [(await world.create(f"+3461234567{n}", name=f"Ana {n}"))["id"] for n in range(count)]


async def names_of_tags(world: ContactWorld, contact_id: str) -> list[str]:
    return [tag["name"] for tag in (await world.told("GET", f"/contacts/{contact_id}"))["tags"]]


async def present(world: ContactWorld) -> list[str]:
    return sorted(item["id"] for item in (await world.told("GET", "/contacts?limit=200"))["items"])


@pytest.mark.usefixtures("_short_chunks")
async def test_contacts_are_tagged_and_untagged_again(world: ContactWorld) -> None:
    ids = await people(world)
    await world.told("PATCH", f"/contacts/{ids[0]}", {"tags": ["VIP"]})

    done = await world.bulk("tag", tag="vip", contacts=ids)
    assert (done["state"], done["changed"], done["parameters"]["tag"]) == ("done", 4, "vip")
    assert [await names_of_tags(world, each) for each in ids] == [["VIP"]] * 5

    undone = await world.undo(done["id"])
    assert (undone["state"], undone["undone"], undone["kept"]) == ("undone", 4, 0)
    assert [await names_of_tags(world, each) for each in ids] == [["VIP"], [], [], [], []]
    assert (await world.undo(done["id"]))["undone"] == 4


@pytest.mark.usefixtures("_short_chunks")
async def test_a_tag_that_was_taken_comes_back_but_not_to_who_has_changed_since(world: ContactWorld) -> None:
    ids = await people(world, 3)
    await world.bulk("tag", tag="VIP", contacts=ids)
    done = await world.bulk("untag", tag="VIP", contacts=ids)
    await world.told("PATCH", f"/contacts/{ids[0]}", {"name": "Anna"})

    undone = await world.undo(done["id"])
    assert (done["changed"], undone["undone"], undone["kept"]) == (3, 2, 1)
    assert undone["kept_because"] == {"changed_since": 1}
    assert [await names_of_tags(world, each) for each in ids] == [[], ["VIP"], ["VIP"]]


@pytest.mark.usefixtures("_short_chunks")
async def test_contacts_that_fit_a_filter_are_deleted_and_come_back(world: ContactWorld) -> None:
    ids = await people(world)
    ben = await world.create(BEN, name="Ben")
    spanish = {"type": "field", "field": "country", "values": ["ES"]}

    done = await world.bulk("delete", filter=spanish)
    assert (done["state"], done["changed"]) == ("done", 5)
    assert await present(world) == [ben["id"]]

    await world.create("+34612345670")  # whose number it was
    undone = await world.undo(done["id"])
    assert (undone["undone"], undone["kept"], undone["kept_because"]) == (4, 1, {"number_taken": 1})
    assert set(ids[1:]) <= set(await present(world))
    assert ids[0] not in await present(world)


async def a_list(world: ContactWorld, contact_ids: Sequence[str], **columns: Any) -> str:
    async with world.database.write() as session:
        row = ContactListRow(
            org_id=world.org_id, created_at=now(), updated_at=now(), **({"kind": "static", "name": "List"} | columns)
        )
        session.add(row)
        await session.flush()
        for each in contact_ids:
            session.add(ListMemberRow(list_id=row.id, contact_id=UUID(each), org_id=world.org_id, added_at=now()))
    return str(row.id)


@pytest.mark.usefixtures("_short_chunks")
async def test_members_of_a_list_and_whoever_fits_a_segment_are_meant(world: ContactWorld) -> None:
    ids = await people(world)
    static = await a_list(world, ids[:3])
    segment = await a_list(
        world, [], name="Segment", kind="dynamic", filter={"type": "field", "field": "name", "values": ["Ana 4"]}
    )

    assert (await world.bulk("tag", tag="listed", list_id=static))["changed"] == 3
    assert (await world.bulk("tag", tag="fits", list_id=segment))["changed"] == 1
    assert await names_of_tags(world, ids[2]) == ["listed"]
    assert await names_of_tags(world, ids[4]) == ["fits"]


async def test_the_last_change_undone_first_leaves_nothing_behind(world: ContactWorld) -> None:
    ids = await people(world, 2)
    first = await world.bulk("tag", tag="VIP", contacts=ids)
    second = await world.bulk("untag", tag="VIP", contacts=ids)
    third = await world.bulk("delete", contacts=ids)

    for change in (third, second, first):
        undone = await world.undo(change["id"])
        assert (undone["undone"], undone["kept"]) == (2, 0)
    assert await present(world) == sorted(ids)
    assert await names_of_tags(world, ids[0]) == []


class Killed(Exception):
    """The process ends here."""


@pytest.mark.usefixtures("_short_chunks")
@pytest.mark.parametrize("action", ["tag", "delete"])
async def test_work_that_is_broken_off_anywhere_goes_on_where_it_was(
    world: ContactWorld, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    ids = await people(world)
    order = {"action": action, "contacts": ids} | ({"tag": "VIP"} if action == "tag" else {})
    asked = await world.told("POST", "/contacts/bulk", order)
    work = ChangeSetWork(change_set_id=UUID(asked["id"]))
    touch = repository.touch_many
    calls = 0

    async def fragile(*arguments: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        await touch(*arguments, **named)
        if calls % 2:
            raise Killed

    async def until_done() -> None:
        for _ in range(20):
            try:
                await world.services.changes.work(work, a_context())
            except Killed:
                continue
            return
        raise AssertionError("it never ends")

    monkeypatch.setattr(repository, "touch_many", fragile)
    await until_done()
    done = await world.change_set(asked["id"])
    assert (done["state"], done["changed"]) == ("done", 5)

    await world.told("POST", f"/change-sets/{asked['id']}/undo")
    await until_done()
    undone = await world.change_set(asked["id"])
    assert (undone["state"], undone["undone"], undone["kept"]) == ("undone", 5, 0)
    assert await present(world) == sorted(ids)


async def test_who_comes_later_is_not_meant(world: ContactWorld) -> None:
    await people(world, 1)
    asked = await world.told(
        "POST", "/contacts/bulk", {"action": "tag", "tag": "x", "filter": {"type": "words", "query": "ana"}}
    )
    await world.create(EVA, name="Ana Late")
    await world.work()

    assert (await world.change_set(asked["id"]))["changed"] == 1


async def test_a_change_that_is_cancelled_stops_and_one_that_runs_is_not_undone(small: ContactWorld) -> None:
    ids = await people(small, 1)
    asked = await small.told("POST", "/contacts/bulk", {"action": "delete", "contacts": ids})
    path = f"/change-sets/{asked['id']}"

    assert (await small.ask("POST", f"{path}/undo")).status_code == 409
    assert (await small.told("POST", f"{path}/cancel"))["state"] == "cancelled"
    await small.work()
    assert await present(small) == ids
    assert (await small.undo(asked["id"]))["state"] == "undone"
    assert [each["id"] for each in (await small.told("GET", "/change-sets"))["items"]] == [asked["id"]]


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"action": "delete"}, 422),
        ({"action": "delete", "contacts": [str(uuid4())], "filter": {"type": "suppressed"}}, 422),
        ({"action": "delete", "filter": {"type": "nonsense"}}, 422),
        ({"action": "delete", "list_id": str(uuid4())}, 404),
        ({"action": "untag", "tag": "nobody has it", "filter": {"type": "suppressed"}}, 404),
        ({"action": "tag", "filter": {"type": "suppressed"}}, 422),
    ],
)
async def test_what_cannot_be_done_is_refused(small: ContactWorld, order: dict[str, Any], status: int) -> None:
    assert (await small.ask("POST", "/contacts/bulk", order)).status_code == status


async def test_what_fails_for_the_last_time_is_marked_so_and_can_be_undone(
    small: ContactWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await people(small, 1)
    asked = await small.told("POST", "/contacts/bulk", {"action": "tag", "tag": "x", "contacts": ids})

    async def broken(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(repository, "touch_many", broken)
    work = ChangeSetWork(change_set_id=UUID(asked["id"]))
    with pytest.raises(Killed) as error:
        await small.services.changes.work(work, a_context())
    await small.services.changes.give_up(work, error.value)
    failed = await small.change_set(asked["id"])
    assert (failed["state"], failed["error"]) == ("failed", "Killed")
    monkeypatch.undo()
    assert (await small.undo(asked["id"]))["state"] == "undone"


async def test_a_change_set_that_is_gone_is_no_work(small: ContactWorld) -> None:
    await small.services.changes.work(ChangeSetWork(change_set_id=uuid4()), a_context())
    assert (await small.ask("GET", f"/change-sets/{uuid4()}")).status_code == 404


async def test_a_tag_that_was_deleted_meanwhile_is_given_to_nobody(small: ContactWorld) -> None:
    ids = await people(small, 1)
    asked = await small.told("POST", "/contacts/bulk", {"action": "tag", "tag": "x", "contacts": ids})
    (tag,) = await small.told("GET", "/tags")
    await small.told("DELETE", f"/tags/{tag['id']}")
    await small.work()

    assert (await small.change_set(asked["id"]))["changed"] == 0


async def test_deleted_contacts_go_for_good_after_thirty_days(world: ContactWorld) -> None:
    old, new, kept = await people(world, 3)
    for each in (old, new):
        await world.told("DELETE", f"/contacts/{each}")

    async def age(session: AsyncSession) -> None:
        long_ago = now() - timedelta(days=31)
        await session.execute(update(ContactRow).where(ContactRow.id == UUID(old)).values(deleted_at=long_ago))

    await world.database.transact(age)
    await world.services.changes.purge()
    async with world.database.read() as session:
        assert {str(each) for each in await session.scalars(select(ContactRow.id))} == {new, kept}
