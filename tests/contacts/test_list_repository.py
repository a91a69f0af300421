from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from tests.contacts.list_world import ListWorld, list_world, numbers
from tests.contacts.stored_contacts import a_draft, store_contacts
from tests.contacts.test_list_filling import ACME
from voice_agent.contacts import list_repository as repository
from voice_agent.contacts.filters import read_filter
from voice_agent.storage.database import Database

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ListWorld]:
    async with list_world(database, tmp_path) as world:
        yield world


async def test_members_and_those_who_fit_are_counted_in_windows(world: ListWorld) -> None:
    drafts = [a_draft(number, company="ACME" if index % 2 else "") for index, number in enumerate(numbers(7))]
    rows = await store_contacts(world.database, world.org_id, *drafts)
    list_id = UUID(await world.a_list())
    await world.told("POST", f"/lists/{list_id}/members", {"contacts": [str(row.id) for row in rows]})

    async with world.database.read() as session:
        seen, after = [], None
        while True:
            count, after = await repository.count_members(session, world.org_id, list_id, after=after, window=3)
            seen.append(count)
            if after is None:
                break
        fitting, place = [], None
        while True:
            count, place = await repository.count_fitting(
                session, world.org_id, read_filter(ACME), NOW, after=place, window=3
            )
            fitting.append(count)
            if place is None:
                break

    assert seen == [3, 3, 1]
    assert (len(fitting), sum(fitting)) == (3, 3)


async def test_members_come_in_pages_newest_first(world: ListWorld) -> None:
    rows = await store_contacts(world.database, world.org_id, *[a_draft(number) for number in numbers(5)])
    list_id = UUID(await world.a_list())
    await world.told("POST", f"/lists/{list_id}/members", {"contacts": [str(row.id) for row in rows]})

    async with world.database.read() as session:
        first = await repository.members(session, world.org_id, list_id, before=None, limit=3)
        second = await repository.members(session, world.org_id, list_id, before=first[-1].id, limit=3)

    assert [row.id for row in [*first, *second]] == sorted((row.id for row in rows), reverse=True)


async def test_lists_come_in_pages_by_kind(world: ListWorld) -> None:
    names = ["one", "two", "three"]
    for name in names:
        await world.a_list(name)
    await world.a_list("ACME", filter=ACME)

    async with world.database.read() as session:
        every = await repository.page(session, world.org_id, before=None, limit=10)
        static = await repository.page(session, world.org_id, kind="static", before=None, limit=2)
        place = (static[-1].created_at, static[-1].id)
        rest = await repository.page(session, world.org_id, kind="static", before=place, limit=2)
        assert await repository.count_lists(session, world.org_id) == 4

    assert {row.name for row in every} == {*names, "ACME"}
    assert [row.name for row in [*static, *rest]] == ["three", "two", "one"]
