"""Running an import: every row of the file once, whatever happens meanwhile."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from tests.contacts.import_world import CONTEXT, LAST, ImportWorld, csv_of
from tests.servers.postgres import PostgresServer
from voice_agent.contacts import import_repository, import_run
from voice_agent.contacts.import_chunk import ChunkContext, Overtaken, Piece
from voice_agent.contacts.import_model import Counts
from voice_agent.contacts.import_run import is_final, said_of
from voice_agent.contacts.reading import process
from voice_agent.contacts.reading.model import FileProblem, FileRefused
from voice_agent.errors import DatabaseUnavailable, FileNotStored, InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ContactRow, ImportRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> ImportWorld:
    return await ImportWorld(database, tmp_path).open()


@pytest.fixture
async def here(sqlite: Database, tmp_path: Path) -> ImportWorld:
    return await ImportWorld(sqlite, tmp_path).open()


def counts_of(row: ImportRow) -> Counts:
    return Counts(**row.counts)


async def test_every_row_of_a_file_becomes_what_it_is(world: ImportWorld) -> None:
    list_id = await world.a_list()
    content = (
        b"phone,first name,last name,email,plan,tags,do not call\n"
        b"612 34 56 78,Ana,Gil,ana@x.test,gold,vip;fair,\n"
        b"+34612345679,Eva,Mar,eva@x.test,basic,,yes\n"
        b"12,Leo,Paz,leo@x.test,basic,,\n"
        b"\n"
        b"612345678,Ana,Otra,,,,\n"
    )
    row = await world.imported(content, options={"country": "ES", "list_id": str(list_id), "tags": ["2026"]})

    assert (row.state, row.error) == ("done", "")
    counts = counts_of(row)
    assert (counts.created, counts.refused, counts.repeated, counts.blank) == (2, 1, 1, 1)
    assert counts.settled == row.cursor == row.rows_total == 5
    assert (counts.listed, counts.suppressions, counts.suppressed) == (2, 1, 1)
    contacts = await world.contacts()
    assert {number: each.name for number, each in contacts.items()} == {
        "+34612345678": "Ana Gil",
        "+34612345679": "Eva Mar",
    }
    ana = contacts["+34612345678"]
    assert (ana.custom, ana.source, ana.created_in) == ({"plan": "gold"}, "import", row.id)
    assert await world.members(list_id) == {each.id for each in contacts.values()}
    (refused,) = await world.refused(row)
    assert (refused.row, refused.cells[:3]) == (3, ["12", "Leo", "Paz"])
    assert row.rejected_key is not None
    assert b"12,Leo,Paz,leo@x.test,basic,,,3,phone," in await world.content(row.rejected_key)
    assert (await world.change_set(row)).changed == 2


async def test_contacts_that_are_there_are_filled_in_and_can_be_given_back(world: ImportWorld) -> None:
    await world.imported(b"phone,name,company\n+34612345678,Ana,\n+34612345679,Eva,Sea\n")
    before = await world.contacts()
    row = await world.imported(
        b"phone,name,company,tags\n+34612345678,Anita,Harbour,vip\n+34612345679,Eva,Sea,\n+34612345670,Leo,,vip\n"
    )
    counts = counts_of(row)
    assert (counts.updated, counts.unchanged, counts.created) == (1, 1, 1)
    after = await world.contacts()
    assert {each.name: each.company for each in after.values()} == {"Ana": "Harbour", "Eva": "Sea", "Leo": ""}
    assert after["+34612345679"].revision == before["+34612345679"].revision

    await world.undone(row)
    assert {number: (each.name, each.company) for number, each in (await world.contacts()).items()} == {
        number: (each.name, each.company) for number, each in before.items()
    }
    changes = await world.change_set(row)
    assert (changes.state, changes.undone, changes.kept) == ("undone", 2, 0)


async def test_an_undo_leaves_alone_what_somebody_has_changed_since(world: ImportWorld) -> None:
    row = await world.imported(csv_of(3))
    number, ana = next(iter((await world.contacts()).items()))
    async with world.database.write() as session:
        await session.execute(update(ContactRow).where(ContactRow.id == ana.id).values(name="Ana", revision=2))

    await world.undone(row)
    assert list(await world.contacts()) == [number]
    changes = await world.change_set(row)
    assert (changes.undone, changes.kept) == (2, 1)


async def test_a_number_that_is_suppressed_stays_so_and_is_told(world: ImportWorld) -> None:
    await world.imported(b"phone,do not call\n+34612345678,yes\n")
    row = await world.imported(b"phone,do not call\n+34612345678,no\n+34612345679,no\n")
    assert (counts_of(row).suppressed, counts_of(row).suppressions) == (1, 0)
    assert await world.suppressed() == {"+34612345678"}


async def test_consents_go_into_the_ledger_once(here: ImportWorld) -> None:
    content = b"phone,consent date,consent purpose\n+34612345678,2026-03-04,marketing\n+34612345679,,\n"
    row = await here.imported(content, options={"consent_basis": "express"})
    assert counts_of(row).consents == 1
    (consent,) = await here.consents()
    assert (consent.e164, consent.purpose, consent.basis, f"{consent.at:%Y-%m-%d}") == (
        "+34612345678",
        "marketing",
        "express",
        "2026-03-04",
    )
    assert consent.proof == {"import": str(row.id), "row": 1}
    assert counts_of(await here.imported(content, options={"consent_basis": "express"})).consents == 0


async def test_a_row_of_two_contacts_is_refused_with_its_cells(here: ImportWorld) -> None:
    await here.imported(b"phone,customer id\n+34612345678,1\n+34612345679,2\n")
    row = await here.imported(b"phone,customer id,plan\n+34612345679,1,gold\n")
    (refused,) = await here.refused(row)
    assert (refused.code, refused.column, refused.cells) == ("conflict", "customer id", ["+34612345679", "1", "gold"])


async def test_the_file_of_bad_rows_can_be_corrected_and_uploaded_as_it_is(here: ImportWorld) -> None:
    row = await here.imported(b"dato;phone\nAna;612345678x1\nEva;12\n", options={"country": "ES", "tags": ["fair"]})
    assert row.rejected_key is not None
    content = await here.content(row.rejected_key)
    async with here.database.write() as session:
        again = await here.importer.retry(session, here.principal, row.id)
    again = await here.importer.receive(here.org_id, again.id, _pieces(content.replace(b"12,2,", b"612345679,2,")))
    await here.run.run(await here.start(again), CONTEXT)
    again = await here.reread(again)
    assert (again.state, again.retry_of, counts_of(again).created) == ("done", row.id, 1)
    eva = (await here.contacts())["+34612345679"]
    assert eva.custom == {"dato": "Eva"}


async def _pieces(content: bytes) -> Any:
    yield content


async def test_a_second_run_of_an_import_that_is_done_does_nothing(here: ImportWorld) -> None:
    row = await here.imported(csv_of(3))
    await here.run.run(here.order(row), CONTEXT)
    assert (await here.reread(row)).counts == row.counts
    assert len(await here.contacts()) == 3


# --- faults -----------------------------------------------------------------------------------------------------
class Stops:
    """Stands in for the writing of chunks; does it, and whatever a test wants before and after."""

    def __init__(self, world: ImportWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: dict[int, Any] = {}
        self.pieces: list[tuple[int, int]] = []
        write = world.run._chunks.write

        async def stopping(session: AsyncSession, context: ChunkContext, piece: Piece) -> Counts:
            self.pieces.append((piece.first, piece.last))
            if (act := self.before.pop(len(self.pieces), None)) is not None:
                await act()
            return await write(session, context, piece)

        monkeypatch.setattr(world.run._chunks, "write", stopping)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have rows come in chunks of ten: the child's are cut where they arrive."""
    read = process.read_chunks

    async def cut(path: Path, order: Any) -> Any:
        async for chunk in read(path, order):
            rows = sorted(chunk.taken, key=lambda each: each.row)
            for place in range(0, len(rows), 10):
                some = tuple(rows[place : place + 10])
                yield msgspec.structs.replace(chunk, taken=some, refused=(), last_row=some[-1].row, is_last=False)
            if chunk.is_last:
                yield chunk

    monkeypatch.setattr(import_run, "read_chunks", cut)


@pytest.mark.usefixtures("small_chunks")
async def test_what_breaks_in_a_chunk_leaves_nothing_of_it_and_the_next_try_goes_on(
    world: ImportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = Stops(world, monkeypatch)

    async def break_down() -> None:
        raise RuntimeError("out of order")

    stops.before[3] = break_down
    row = await world.uploaded(csv_of(35))
    order = await world.start(row)
    with pytest.raises(RuntimeError, match="out of order"):
        await world.run.run(order, CONTEXT)
    half = await world.reread(row)
    assert (half.state, half.cursor, counts_of(half).created) == ("running", 20, 20)
    assert len(await world.contacts()) == 20

    await world.run.run(order, CONTEXT)
    row = await world.reread(row)
    assert (row.state, row.cursor, counts_of(row).created) == ("done", 35, 35)
    assert len(await world.contacts()) == 35
    assert stops.pieces[3][0] == 20


@pytest.mark.usefixtures("small_chunks")
async def test_two_processes_at_one_import_write_every_row_once(world: ImportWorld) -> None:
    row = await world.uploaded(csv_of(60))
    order = await world.start(row)
    other = ImportWorld(Database(world.database.url), world.folder)
    try:
        await asyncio.gather(world.run.run(order, CONTEXT), other.run.run(order, CONTEXT))
    finally:
        await other.database.close()
    row = await world.reread(row)
    assert len(await world.contacts()) == 60
    assert counts_of(row).created == row.cursor
    if row.state == "running":  # each stopped for the other, at the end: the job's next try finishes
        await world.run.run(order, CONTEXT)
    assert (await world.reread(row)).counts["created"] == 60


@pytest.mark.usefixtures("small_chunks")
async def test_an_import_that_is_cancelled_ends_behind_the_chunk_and_what_landed_stays(
    world: ImportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()
    write = world.run._write

    async def noting(*arguments: Any) -> None:
        await write(*arguments)
        reached.set()

    monkeypatch.setattr(world.run, "_write", noting)
    row = await world.uploaded(csv_of(400))
    running = asyncio.create_task(world.run.run(await world.start(row), CONTEXT))
    await reached.wait()
    async with world.database.write() as session:
        await world.importer.cancel(session, world.principal, row.id)
    await running
    row = await world.reread(row)
    assert row.state == "cancelled"
    assert 0 < row.cursor < 400
    assert len(await world.contacts()) == row.cursor == counts_of(row).created
    assert (await world.change_set(row)).state == "cancelled"


async def test_a_database_that_is_away_for_a_while_is_waited_for(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_run, "PAUSE_S", 0.05)
    database = Database(postgres.fresh_database())
    world = await ImportWorld(database, tmp_path).open()
    stops = Stops(world, monkeypatch)
    stopped = asyncio.Event()

    async def stop() -> None:
        await asyncio.to_thread(postgres.stop)
        stopped.set()

    stops.before[2] = stop
    row = await world.uploaded(csv_of(1_200))
    running = asyncio.create_task(world.run.run(await world.start(row), CONTEXT))
    await stopped.wait()
    try:
        await asyncio.sleep(0.5)
        assert not running.done()
    finally:
        await asyncio.to_thread(postgres.start)
    await running
    row = await world.reread(row)
    assert (row.state, row.cursor, counts_of(row).created) == ("done", 1_200, 1_200)
    assert len(await world.contacts()) == 1_200
    await database.close()


async def test_a_commit_whose_answer_was_lost_is_not_done_twice(
    here: ImportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_run, "PAUSE_S", 0.0)
    transact = here.database.transact
    lost = [True]

    async def losing(work: Any, **options: Any) -> Any:
        done = await transact(work, **options)
        if lost:
            lost.clear()
            raise DatabaseUnavailable("the answer was lost")
        return done

    monkeypatch.setattr(here.database, "transact", losing)
    row = await here.imported(csv_of(5))
    assert (row.state, counts_of(row).created, len(await here.contacts())) == ("done", 5, 5)


async def test_a_number_that_others_take_meanwhile_has_the_chunk_decided_anew(
    here: ImportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tried = here.run._chunks.write, []

    async def overtaken(session: AsyncSession, context: ChunkContext, piece: Piece) -> Counts:
        tried.append((piece.first, piece.last))
        if piece.last - piece.first > 2:
            raise Overtaken
        return await write(session, context, piece)

    monkeypatch.setattr(here.run._chunks, "write", overtaken)
    monkeypatch.setattr(import_run, "TRIES", 1)
    row = await here.imported(b"phone\n+34612345671\n12\n\n+34612345672\n+34612345673\n")
    assert (row.state, row.cursor, len(await here.contacts())) == ("done", 5, 3)
    assert counts_of(row) == Counts(created=3, refused=1, blank=1)
    assert tried == [(0, 5), (0, 2), (2, 5), (2, 3), (3, 5), (5, 5)]


async def test_rows_that_others_always_overtake_are_given_up_by_this_try(
    here: ImportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overtaken(*_: object) -> Counts:
        raise Overtaken

    monkeypatch.setattr(here.run._chunks, "write", overtaken)
    monkeypatch.setattr(import_run, "LAST_TRIES", 2)
    row = await here.uploaded(csv_of(1))
    with pytest.raises(Overtaken):
        await here.run.run(await here.start(row), CONTEXT)
    assert (await here.reread(row)).cursor == 0


async def test_a_child_that_is_killed_is_tried_again(here: ImportWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = Stops(here, monkeypatch)
    spawn = asyncio.create_subprocess_exec
    children: list[int] = []

    async def noting(*arguments: Any, **options: Any) -> Any:
        process = await spawn(*arguments, **options)
        children.append(process.pid)
        return process

    async def kill() -> None:
        os.kill(children[-1], signal.SIGKILL)

    row = await here.uploaded(csv_of(4_000))
    monkeypatch.setattr(asyncio, "create_subprocess_exec", noting)
    stops.before[1] = kill
    order = await here.start(row)
    with pytest.raises(FileRefused):
        await here.run.run(order, CONTEXT)
    cursor = (await here.reread(row)).cursor
    assert 0 < cursor < 4_000
    assert (await here.reread(row)).state == "running"
    await here.run.run(order, CONTEXT)
    assert counts_of(await here.reread(row)).created == 4_000
    assert len(await here.contacts()) == 4_000


async def test_a_file_that_is_gone_fails_the_import_at_once_and_what_landed_stays(world: ImportWorld) -> None:
    row = await world.uploaded(csv_of(3))
    order = await world.start(row)
    await world.storage.delete(row.storage_key or "")
    await world.run.run(order, CONTEXT)
    row = await world.reread(row)
    assert (row.state, row.error) == ("failed", "there is no such file")
    changes = await world.change_set(row)
    assert (changes.state, changes.error) == ("failed", "there is no such file")


async def test_what_always_breaks_fails_the_import_with_the_last_try(
    here: ImportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(*_: object) -> Counts:
        raise RuntimeError("hush: +34612345678")

    monkeypatch.setattr(here.run._chunks, "write", break_down)
    row = await here.uploaded(csv_of(3))
    order = await here.start(row)
    with pytest.raises(RuntimeError):
        await here.run.run(order, LAST)
    row = await here.reread(row)
    assert (row.state, row.error) == ("failed", "an unexpected error (RuntimeError)")
    await here.run.fail(order, "too late")
    assert (await here.reread(row)).error == row.error


def test_what_would_end_alike_is_told_from_what_may_go_better() -> None:
    assert is_final(FileRefused(FileProblem.BOMB, "a bomb"))
    assert is_final(FileNotStored("gone"))
    assert is_final(InvalidRequest("mapping"))
    assert not is_final(FileRefused(FileProblem.FAILED, "it ended"))
    assert not is_final(FileRefused(FileProblem.LIMITS, "it was killed"))
    assert not is_final(RuntimeError("x"))
    assert said_of(FileNotStored("gone")) == "gone"


async def test_the_next_one_gets_the_place_of_whoever_ends(world: ImportWorld) -> None:
    rows = [await world.uploaded(csv_of(1, first=number)) for number in range(5)]
    orders = [await world.start(row) for row in rows]
    assert [(await world.reread(row)).state for row in rows] == ["running"] * 3 + ["queued"] * 2
    assert len(await world.jobs()) == 3
    await world.run.run(orders[0], CONTEXT)
    assert [(await world.reread(row)).state for row in rows] == ["done"] + ["running"] * 3 + ["queued"]
    await world.run.fail(orders[1], "broken")
    assert (await world.reread(rows[4])).state == "running"
    assert len(await world.jobs()) == 5


async def test_progress_is_told_while_it_runs(here: ImportWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    note = import_repository.note

    async def noting(session: AsyncSession, import_id: Any, values: dict[str, Any]) -> None:
        seen.append(values)
        await note(session, import_id, values)

    monkeypatch.setattr(import_repository, "note", noting)
    await here.imported(csv_of(1_100))
    assert all(values["rows_per_s"] > 0 for values in seen)
    assert seen[-1]["rows_total"] == 1_100
