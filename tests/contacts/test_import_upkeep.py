"""Files are fetched, lost imports found again, old files deleted."""

from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import delete, update

from tests.contacts.import_world import CONTEXT, LAST, ImportWorld, csv_of, now
from tests.contacts.test_fetching import Names, serving
from voice_agent.contacts.fetching import FetchRules, networks
from voice_agent.contacts.import_batches import push
from voice_agent.contacts.import_model import ImportSource
from voice_agent.contacts.import_upkeep import FILES_KEPT
from voice_agent.errors import FileNotStored, StorageError
from voice_agent.jobs.service import Jobs
from voice_agent.settings import JobsSettings
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ImportRow, JobRow

LOOPBACK = FetchRules(allows_http=True, allowed=networks("127.0.0.0/8"))


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> ImportWorld:
    world = await ImportWorld(sqlite, tmp_path, LOOPBACK).open()
    world.importer.fetcher._resolver = Names(["127.0.0.1"])
    return world


def test_there_is_something_to_do_for_imports(sqlite: Database, tmp_path: Path) -> None:
    jobs = Jobs(sqlite, JobsSettings())
    ImportWorld(sqlite, tmp_path).upkeep.register(jobs)
    assert sorted(jobs._kinds) == ["contacts.import", "contacts.import_fetch"]
    assert sorted(jobs._periodic) == ["imports"]


async def test_a_file_is_fetched_and_its_address_kept_without_keys(world: ImportWorld) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=csv_of(3))

    async with serving(answer) as url:
        row = await world.created(ImportSource.URL, source_ref=f"{url}/people.csv?key=hush")
        await world.upkeep.fetch(world.order(row), CONTEXT)
    row = await world.reread(row)
    assert (row.state, row.source_ref, row.rows_total) == ("ready", f"{url}/people.csv", 3)
    await world.upkeep.fetch(world.order(row), CONTEXT)
    assert (await world.reread(row)).state == "ready"


async def test_what_is_refused_there_fails_at_once_and_what_may_come_later_is_tried_again(world: ImportWorld) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=int(request.path[1:]))

    async with serving(answer) as url:
        gone = await world.created(ImportSource.URL, source_ref=f"{url}/404")
        await world.upkeep.fetch(world.order(gone), CONTEXT)
        assert (await world.reread(gone)).error == "url: the server there answers 404"
        busy = await world.created(ImportSource.URL, source_ref=f"{url}/503")
        for context, state in ((CONTEXT, "fetching"), (LAST, "failed")):
            with pytest.raises(Exception, match="answers 503"):
                await world.upkeep.fetch(world.order(busy), context)
            assert (await world.reread(busy)).state == state


async def test_a_file_that_is_not_in_the_storage_fails_at_once(world: ImportWorld) -> None:
    row = await world.created(ImportSource.STORAGE, source_ref=f"imports/{world.org_id}/none.csv")
    await world.upkeep.fetch(world.order(row), CONTEXT)
    row = await world.reread(row)
    assert (row.state, row.error) == ("failed", "there is no such file")


async def test_an_import_that_was_cancelled_is_not_fetched(world: ImportWorld) -> None:
    row = await world.created(ImportSource.STORAGE, source_ref=f"imports/{world.org_id}/none.csv")
    async with world.database.write() as session:
        await world.importer.cancel(session, world.principal, row.id)
    await world.upkeep.fetch(world.order(row), CONTEXT)
    assert (await world.reread(row)).state == "cancelled"


async def test_pushed_rows_that_cannot_start_are_ready_and_say_why(world: ImportWorld) -> None:
    row = await world.created(ImportSource.PUSH)
    async with world.database.write() as session:
        await push(session, await world.importer.locked(session, world.org_id, row.id), 1, [{"nombre": "Ana"}])
    await world.start(row)
    await world.upkeep.fetch(world.order(row), CONTEXT)
    row = await world.reread(row)
    assert row.state == "ready"
    assert "must be telephone numbers" in row.error


async def unheard(world: ImportWorld, row: ImportRow) -> None:
    async with world.database.write() as session:
        await session.execute(
            update(ImportRow).where(ImportRow.id == row.id).values(beat_at=now() - timedelta(minutes=5))
        )


async def test_an_import_whose_process_is_gone_gets_a_job_again(world: ImportWorld) -> None:
    row = await world.uploaded(csv_of(2))
    await world.start(row)
    await unheard(world, row)
    await world.upkeep.tend()
    assert await world.jobs() == [f"contacts.import-{row.id}"]

    async with world.database.write() as session:
        await session.execute(delete(JobRow))
    await world.upkeep.tend()
    (job,) = await world.jobs()
    assert job.startswith(f"contacts.import-{row.id}-")


async def test_an_import_whose_job_has_failed_has_failed_and_gives_its_place_away(world: ImportWorld) -> None:
    rows = [await world.uploaded(csv_of(1)) for _ in range(4)]
    for row in rows:
        await world.start(row)
    await unheard(world, rows[0])
    async with world.database.write() as session:
        failed = update(JobRow).where(JobRow.id == f"contacts.import-{rows[0].id}")
        await session.execute(failed.values(failed_at=now(), error="it killed twenty processes"))
    await world.upkeep.tend()
    row = await world.reread(rows[0])
    assert (row.state, row.error) == ("failed", "it killed twenty processes")
    assert (await world.reread(rows[3])).state == "running"


async def test_a_place_that_nobody_has_given_away_is(world: ImportWorld) -> None:
    row = await world.uploaded(csv_of(1))
    await world.start(row)
    async with world.database.write() as session:
        await session.execute(update(ImportRow).values(state="queued"))
    await world.upkeep.tend()
    assert (await world.reread(row)).state == "running"


async def test_files_go_after_a_month_and_imports_that_nobody_started_end(world: ImportWorld) -> None:
    done = await world.imported(csv_of(2) + b"12,Bad\n")
    ready = await world.uploaded(csv_of(3))
    young = await world.uploaded(csv_of(4))
    long_ago = now() - FILES_KEPT - timedelta(days=1)
    async with world.database.write() as session:
        old = update(ImportRow).where(ImportRow.id.in_([done.id, ready.id]))
        await session.execute(old.values(created_at=long_ago, finished_at=None))
    await world.upkeep.tend()
    for key in (done.storage_key, done.rejected_key, ready.storage_key):
        with pytest.raises(FileNotStored):
            await world.content(key or "")
    done, ready = await world.reread(done), await world.reread(ready)
    assert (done.state, done.storage_key, done.rejected_key) == ("done", None, None)
    assert (ready.state, ready.storage_key) == ("cancelled", None)
    assert await world.refused(done) == []
    assert await world.content(young.storage_key or "") == csv_of(4)
    assert issubclass(FileNotStored, StorageError)
