"""Lists are filled and emptied in chunks, by whatever they are made of, on SQLite and on Postgres."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.api.world import FEW as WINDOW
from tests.api.world import now
from tests.contacts.contact_world import a_context
from tests.contacts.list_world import ListWorld, list_world, numbers
from tests.contacts.stored_contacts import a_draft, store_contacts
from voice_agent.contacts.filters import Listed
from voice_agent.contacts.list_filling import Filling, FillOrder, ListFilling, ListToFill, Source, parameters_of
from voice_agent.errors import InvalidRequest
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ChangeSetRow, JobRow

EVERYBODY = {"type": "field", "field": "number", "test": "is_set"}


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ListWorld]:
    async with list_world(database, tmp_path) as world:
        yield world


@pytest.fixture
async def small(sqlite: Database, tmp_path: Path) -> AsyncIterator[ListWorld]:
    async with list_world(sqlite, tmp_path) as world:
        yield world


class Killed(Exception):
    """The process is gone."""


def dying_clock(*, after: int) -> Callable[[], datetime]:
    """Return a clock that can be read so many times."""
    left = iter(range(after))

    def read() -> datetime:
        if next(left, None) is None:
            raise Killed
        return now()

    return read


async def populate(world: ListWorld, count: int) -> list[str]:
    """Store contacts, every second one of ACME's."""
    known = numbers(count)
    drafts = [a_draft(number, company="ACME" if index % 2 else "Harbour") for index, number in enumerate(known)]
    await store_contacts(world.database, world.org_id, *drafts)
    return known


def of_acme(known: list[str]) -> set[str]:
    return set(known[1::2])


ACME: dict[str, Any] = {"type": "field", "field": "company", "values": ["acme"]}


@pytest.mark.parametrize("count", [0, WINDOW, WINDOW + 1])
async def test_whoever_fits_a_filter_is_put_on_a_list_and_taken_off(small: ListWorld, count: int) -> None:
    known = await populate(small, count)
    list_id = await small.a_list()

    added = await small.told("POST", f"/lists/{list_id}/members", {"filter": EVERYBODY})
    is_done = count < WINDOW
    assert (added["change_set"]["state"], added["changed"]) == (
        "done" if is_done else "running",
        min(count, WINDOW),
    )
    assert await small.fill() == (0 if is_done else 1)
    assert await small.members(list_id) == set(known)

    removed = await small.told("POST", f"/lists/{list_id}/members/remove", {"filter": ACME})
    await small.fill()
    assert await small.members(list_id) == set(known) - of_acme(known)
    undone = await small.ask("POST", f"/change-sets/{removed['change_set']['id']}/undo")
    assert undone.status_code == 409


async def test_lists_and_segments_are_united_cut_and_taken_from_each_other(world: ListWorld) -> None:
    known = await populate(world, 10)
    segment = await world.a_list("ACME", filter=ACME)
    first, second = await world.a_list("First"), await world.a_list("Second")
    for list_id, some in ((first, known[:7]), (second, known[5:])):
        chosen = {"type": "field", "field": "number", "values": some}
        await world.told("POST", f"/lists/{list_id}/members", {"filter": chosen})
    await world.fill()

    async def combined(how: str, *lists: str) -> set[str]:
        body = {"name": f"{how} {lists}", "how": how, "lists": lists}
        made = await world.told("POST", "/lists/combine", body)
        await world.fill()
        change = await world.change_set(made["change"]["change_set"]["id"])
        members = await world.members(made["id"])
        assert (change["state"], change["changed"]) == ("done", len(members))
        return members

    assert await combined("union", first, second) == set(known)
    assert await combined("union", first, segment) == {*known[:7], *of_acme(known)}
    assert await combined("intersection", first, second) == set(known[5:7])
    assert await combined("intersection", segment, first, second) == of_acme(known) & set(known[5:7])
    assert await combined("difference", first, second) == set(known[:5])
    assert await combined("difference", segment, first) == of_acme(known) - set(known[:7])


async def test_segments_freeze_and_lists_are_cloned(small: ListWorld) -> None:
    known = await populate(small, 8)
    segment = await small.a_list("ACME", filter=ACME, description="Customers")

    frozen = await small.told("POST", f"/lists/{segment}/freeze", {"name": "ACME then"})
    await small.fill()
    copy = await small.told("POST", f"/lists/{frozen['id']}/clone", {"name": "ACME copied"})
    await small.fill()
    same = await small.told("POST", f"/lists/{segment}/clone", {"name": "ACME too"})
    assert same["change"] == {"changed": 0, "change_set": None}
    await store_contacts(small.database, small.org_id, a_draft("+34699999999", company="Acme"))

    assert (frozen["kind"], frozen["description"]) == ("static", "Customers")
    assert await small.members(frozen["id"]) == await small.members(copy["id"]) == of_acme(known)
    assert await small.members(same["id"]) == {*of_acme(known), "+34699999999"}
    refused = await small.ask("POST", f"/lists/{frozen['id']}/freeze", {"name": "again"})
    assert refused.status_code == 409


async def test_what_a_filling_added_is_taken_back_and_what_was_there_stays(world: ListWorld) -> None:
    known = await populate(world, 8)
    list_id = await world.a_list()
    by_hand = {"type": "field", "field": "number", "values": known[:1]}
    first = await world.told("POST", f"/lists/{list_id}/members", {"filter": by_hand})
    await world.fill()
    second = await world.told("POST", f"/lists/{list_id}/members", {"filter": EVERYBODY})
    await world.fill()
    assert (await world.change_set(second["change_set"]["id"]))["changed"] == 7
    assert (await world.change_set(first["change_set"]["id"]))["changed"] == 1

    await world.undo(second["change_set"]["id"])

    assert await world.members(list_id) == {known[0]}


async def test_a_filling_that_is_killed_goes_on_and_adds_nobody_twice(small: ListWorld) -> None:
    known = await populate(small, 10)
    list_id = await small.a_list()
    added = await small.told("POST", f"/lists/{list_id}/members", {"filter": EVERYBODY})
    work = ListToFill(change_set_id=UUID(added["change_set"]["id"]))
    doomed = ListFilling(small.database, JobOutbox(), dying_clock(after=2), window=WINDOW)
    with pytest.raises(Killed):
        await doomed.work(work, a_context())
    assert await small.rows(list_id) == 3 * WINDOW
    await small.filling.work(work, a_context())
    await small.filling.work(work, a_context())

    assert await small.members(list_id) == set(known)
    change = await small.change_set(added["change_set"]["id"])
    assert (change["state"], change["changed"]) == ("done", 10)


async def test_a_filling_that_fails_for_good_says_so(small: ListWorld) -> None:
    await populate(small, 10)
    list_id = await small.a_list()
    added = await small.told("POST", f"/lists/{list_id}/members", {"filter": EVERYBODY})
    async with small.database.write() as session:
        row = await session.get_one(ChangeSetRow, UUID(added["change_set"]["id"]))
        row.parameters = row.parameters | {"sources": [{"filter": {"type": "of another version"}}]}

    with pytest.raises(InvalidRequest, match="of another version") as error:
        await small.filling.work(ListToFill(change_set_id=row.id), a_context())
    await small.filling.give_up(ListToFill(change_set_id=row.id), error.value)

    change = await small.change_set(str(row.id))
    assert (change["state"], change["error"]) == ("failed", "InvalidRequest")


async def test_an_archived_list_is_filled_no_further(small: ListWorld) -> None:
    await populate(small, 10)
    list_id = await small.a_list()
    added = await small.told("POST", f"/lists/{list_id}/members", {"filter": EVERYBODY})
    await small.told("DELETE", f"/lists/{list_id}")
    await small.fill()

    assert (await small.change_set(added["change_set"]["id"]))["state"] == "cancelled"
    assert await small.rows(list_id) == WINDOW


async def test_an_organisation_that_is_gone_has_nothing_to_fill(small: ListWorld) -> None:
    await small.filling.work(ListToFill(change_set_id=new_id()), a_context())

    async with small.database.read() as session:
        assert (await session.scalars(select(JobRow))).all() == []


def test_an_order_is_a_document_without_anything_that_is_not_said() -> None:
    list_id = new_id()
    order = FillOrder(action=Filling.ADD, list_id=list_id, sources=(Source(list_id=list_id), Source(filter=EVERYBODY)))

    assert parameters_of(order) == {
        "action": "list_add", "list_id": str(list_id), "also_in": [], "not_in": [],
        "sources": [{"list_id": str(list_id)}, {"filter": EVERYBODY}],
    }  # fmt: skip
    assert order.sources[0].chosen == Listed(values=(list_id,))
