from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.calls.stored_calls import an_organisation
from tests.contacts.list_world import ListWorld, list_world, numbers
from tests.contacts.stored_contacts import a_draft, store_contacts
from tests.contacts.test_list_filling import ACME, EVERYBODY
from voice_agent.contacts import lists as lists_module
from voice_agent.contacts.filters import Listed, read_filter
from voice_agent.contacts.lists import ContactListService, NewList, filter_of
from voice_agent.errors import Conflict, NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import AuditRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ListWorld]:
    async with list_world(database, tmp_path) as world:
        yield world


@pytest.fixture
async def small(sqlite: Database, tmp_path: Path) -> AsyncIterator[ListWorld]:
    async with list_world(sqlite, tmp_path) as world:
        yield world


async def test_lists_and_segments_are_counted_without_those_that_are_deleted(world: ListWorld) -> None:
    rows = await store_contacts(
        world.database, world.org_id, *[a_draft(number, company="ACME") for number in numbers(8)]
    )
    static, segment = await world.a_list(), await world.a_list("ACME", filter=ACME)
    await world.told("POST", f"/lists/{static}/members", {"contacts": [str(row.id) for row in rows]})
    await world.told("DELETE", f"/contacts/{rows[0].id}")

    for list_id in (static, segment):
        count = await world.lists.count(world.org_id, UUID(list_id))
        assert (count.members, count.is_complete) == (7, True)
        shown = await world.told("GET", f"/lists/{list_id}")
        assert (shown["members"], shown["counted_at"] is not None) == (7, True)


async def test_a_count_that_takes_too_long_is_given_as_it_is(small: ListWorld) -> None:
    await store_contacts(small.database, small.org_id, *[a_draft(number) for number in numbers(8)])
    segment = await small.a_list("All", filter=EVERYBODY)
    hasty = ContactListService(small.database, small.filling, small.lists._clock, counted_at_once=3, counting_s=0.0)

    count = await hasty.count(small.org_id, UUID(segment))

    assert (count.members, count.is_complete) == (3, False)
    assert (await small.told("GET", f"/lists/{segment}"))["members"] is None


async def test_a_contact_is_on_lists_and_in_segments(small: ListWorld) -> None:
    ana, ben = await store_contacts(
        small.database,
        small.org_id,
        *[a_draft(number, company=name) for number, name in zip(numbers(2), ("ACME", ""), strict=True)],
    )
    static, _, gone = await small.a_list("Static"), await small.a_list("ACME", filter=ACME), await small.a_list("Gone")
    for list_id in (static, gone):
        await small.told("POST", f"/lists/{list_id}/members", {"contacts": [str(ana.id), str(ben.id)]})
    await small.told("DELETE", f"/lists/{gone}")

    async def names(contact_id: UUID) -> list[str]:
        return [each["name"] for each in await small.told("GET", f"/contacts/{contact_id}/lists")]

    assert await names(ana.id) == ["Static", "ACME"]
    assert await names(ben.id) == ["Static"]


async def test_names_are_unlike_among_lists_in_use(world: ListWorld) -> None:
    first = await world.a_list()
    other = await world.a_list("Summer")
    assert (await world.ask("POST", "/lists", {"name": "Spring"})).status_code == 409
    assert (await world.ask("PATCH", f"/lists/{other}", {"name": "Spring"})).status_code == 409
    await world.told("DELETE", f"/lists/{first}")

    await world.told("PATCH", f"/lists/{other}", {"name": "Spring"})

    assert (await world.ask("GET", f"/lists/{first}")).status_code == 404


async def test_an_organisation_has_no_more_lists_than_a_screen_can_hold(
    small: ListWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_module, "MAX_LISTS", 1)
    await small.a_list()

    async with small.database.write() as session:
        with pytest.raises(Conflict, match="archive some"):
            await small.lists.create(session, small.owner, NewList(name="Summer"))


async def test_a_list_means_its_members_and_a_segment_its_filter(small: ListWorld) -> None:
    static, segment = await small.a_list(), await small.a_list("ACME", filter=ACME)

    async with small.database.read() as session:
        rows = [await small.lists.find(session, small.org_id, UUID(list_id)) for list_id in (static, segment)]

    assert [filter_of(row) for row in rows] == [Listed(values=(UUID(static),)), read_filter(ACME)]


async def test_what_is_done_to_lists_is_in_the_audit_log(small: ListWorld) -> None:
    (row,) = await store_contacts(small.database, small.org_id, a_draft())
    list_id = await small.a_list()
    contacts = {"contacts": [str(row.id)]}
    await small.told("POST", f"/lists/{list_id}/members", contacts)
    await small.told("POST", f"/lists/{list_id}/members/remove", contacts)
    await small.told("POST", f"/lists/{list_id}/members", {"filter": EVERYBODY})
    await small.told("PATCH", f"/lists/{list_id}", {"description": "x"})
    await small.told("DELETE", f"/lists/{list_id}")

    async with small.database.read() as session:
        query = select(AuditRow.action).where(AuditRow.target_kind == "list").order_by(AuditRow.created_at)
        actions = (await session.scalars(query)).all()
    assert actions == ["list.create", "list.add", "list.remove", "list.add", "list.edit", "list.archive"]


async def test_lists_of_others_are_not_there(small: ListWorld) -> None:
    list_id = await small.a_list()
    other = await an_organisation(small.database, "Other")

    async with small.database.read() as session:
        with pytest.raises(NotFound):
            await small.lists.find(session, other, UUID(list_id))
        with pytest.raises(NotFound):
            await small.lists.locked(session, small.org_id, new_id())
    with pytest.raises(NotFound):
        await small.lists.count(other, UUID(list_id))
