"""The SQL of imports, on both databases."""

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from tests.contacts.import_world import ImportWorld, csv_of, now
from voice_agent.contacts import import_repository as repository
from voice_agent.contacts.import_model import Counts, ImportSource
from voice_agent.contacts.reading.model import RowRefusal
from voice_agent.storage.database import Database


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> ImportWorld:
    return await ImportWorld(database, tmp_path).open()


async def test_the_cursor_moves_from_where_it_was_and_only_while_the_import_runs(world: ImportWorld) -> None:
    row = await world.uploaded(csv_of(3))

    async def advance(old: int, new: int, org_id: object = world.org_id) -> Counts | None:
        async with world.database.write() as session:
            return await repository.advance(session, org_id, row.id, old=old, new=new, now=now())  # type: ignore[arg-type]

    assert await advance(0, 1) is None
    await world.start(row)
    assert await advance(0, 2, uuid4()) is None
    assert await advance(0, 2) == Counts()
    assert await advance(0, 2) is None
    assert await advance(1, 2) is None
    assert (await world.reread(row)).cursor == 2
    async with world.database.write() as session:
        await world.importer.cancel(session, world.principal, row.id)
    assert await advance(2, 3) is None


async def test_what_is_written_twice_is_there_once(world: ImportWorld) -> None:
    row = await world.imported(csv_of(2))
    list_id = await world.a_list()
    (first, *_) = (await world.contacts()).values()
    refusal = RowRefusal(row=7, column="phone" * 100, code="missing", reason="x" * 600, cells=("", "Ana"))
    for expected in (1, 0):
        async with world.database.write() as session:
            joined = await repository.join_list(session, world.org_id, list_id, [first.id], added_in=row.id, now=now())
            await repository.refuse(session, world.org_id, row.id, [refusal])
            assert joined == expected
    (refused,) = await world.refused(row)
    assert (refused.row, len(refused.column), len(refused.reason), refused.cells) == (7, 200, 500, ["", "Ana"])
    async with world.database.write() as session:
        assert await repository.listed(session, list_id, [first.id, uuid4()]) == {first.id}
        assert await repository.changed_by(session, row.id, [first.id]) == set()
        assert [each.row for each in await repository.refused(session, world.org_id, row.id, after=6)] == [7]
        assert not await repository.refused(session, world.org_id, row.id, after=7)
        assert not await repository.refused(session, uuid4(), row.id, after=0)
        await repository.forget_refused(session, row.id)
    assert await world.refused(row) == []


async def test_imports_are_listed_newest_first_and_by_organisation(world: ImportWorld) -> None:
    rows = [await world.created(ImportSource.UPLOAD, name=str(number)) for number in range(3)]
    async with world.database.read() as session:
        page = await repository.page(session, world.org_id, before=None, limit=2)
        assert [row.name for row in page] == ["2", "1"]
        rest = await repository.page(session, world.org_id, before=(page[-1].created_at, page[-1].id), limit=2)
        assert [row.name for row in rest] == ["0"]
        assert not await repository.page(session, uuid4(), before=None, limit=2)
        assert await repository.of_organisation(session, uuid4(), rows[0].id) is None
        assert await repository.locked(session, uuid4(), rows[0].id) is None


async def test_places_are_counted_and_given_to_the_oldest(world: ImportWorld) -> None:
    rows = [await world.uploaded(csv_of(1)) for _ in range(5)]
    for row in rows:
        await world.start(row)
    async with world.database.write() as session:
        await repository.lock_places(session, world.org_id)
        assert await repository.count_at_work(session, world.org_id) == 3
        assert [row.id for row in await repository.queued(session, world.org_id, limit=1)] == [rows[3].id]
        assert await repository.organisations_that_wait(session) == [world.org_id]
        assert {row.id for row in await repository.unheard_of(session, now())} == {row.id for row in rows[:3]}
        assert not await repository.unheard_of(session, now() - timedelta(hours=1))
        assert [job.id for job in await repository.jobs_of(session, f"contacts.import-{rows[0].id}")] == [
            f"contacts.import-{rows[0].id}"
        ]


async def test_lists_that_nobody_joins_are_not_found(world: ImportWorld) -> None:
    list_id = await world.a_list()
    async with world.database.read() as session:
        assert await repository.static_list(session, world.org_id, list_id) is not None
        assert await repository.static_list(session, uuid4(), list_id) is None
        assert await repository.static_list(session, world.org_id, uuid4()) is None


async def test_files_are_old_some_time_after_the_end(world: ImportWorld) -> None:
    row = await world.imported(csv_of(1))
    await world.created(ImportSource.UPLOAD)
    async with world.database.read() as session:
        old = await repository.with_old_files(session, now(), limit=10)
        assert [each.id for each in old] == [row.id]
        assert not await repository.with_old_files(session, now() - timedelta(hours=1), limit=10)
