"""Imports as people ask for them, where the routes' tests do not reach: what happens at the same time."""

from pathlib import Path
from typing import Any

import pytest

from tests.contacts.import_world import CONTEXT, ImportWorld, csv_of, pieces_of
from voice_agent.contacts import importer
from voice_agent.contacts.import_model import ImportSource
from voice_agent.contacts.importer import ImportEdit, is_key
from voice_agent.contacts.reading.model import FileFormat, FileRefused
from voice_agent.contacts.reading.process import inspect_file
from voice_agent.errors import Conflict, FileNotStored, PreconditionFailed
from voice_agent.storage.database import Database


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> ImportWorld:
    return await ImportWorld(sqlite, tmp_path).open()


def any_revision(_: int) -> None:
    """Check nothing."""


async def test_another_file_takes_the_place_of_the_first(world: ImportWorld) -> None:
    first = await world.uploaded(csv_of(1))
    second = await world.importer.receive(world.org_id, first.id, pieces_of(csv_of(2)))
    assert (second.rows_total, second.revision) == (2, first.revision + 1)
    with pytest.raises(FileNotStored):
        await world.content(first.storage_key or "")
    same = await world.importer.receive(world.org_id, first.id, pieces_of(csv_of(2)))
    assert await world.content(same.storage_key or "") == csv_of(2)


async def test_a_file_that_cannot_be_read_leaves_the_import_waiting(world: ImportWorld) -> None:
    row = await world.created(ImportSource.UPLOAD)
    with pytest.raises(FileRefused):
        await world.importer.receive(world.org_id, row.id, pieces_of(b"%PDF-1.7\n" + bytes(100)))
    row = await world.reread(row)
    assert (row.state, row.storage_key) == ("waiting", None)


async def test_an_import_that_starts_while_its_file_arrives_keeps_the_file_that_it_has(
    world: ImportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await world.uploaded(csv_of(1))
    inspect = inspect_file

    async def start_meanwhile(*arguments: Any) -> Any:
        await world.start(row)
        return await inspect(*arguments)

    monkeypatch.setattr(importer, "inspect_file", start_meanwhile)
    with pytest.raises(Conflict, match="its file cannot be changed any more"):
        await world.importer.receive(world.org_id, row.id, pieces_of(csv_of(2)))
    assert (await world.reread(row)).storage_key == row.storage_key


async def test_a_correction_of_what_was_corrected_meanwhile_is_refused(
    world: ImportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await world.uploaded(csv_of(1))
    inspect = inspect_file

    async def edit_meanwhile(*arguments: Any) -> Any:
        await world.importer.edit(world.principal, row.id, ImportEdit(name="other"), any_revision)
        return await inspect(*arguments)

    monkeypatch.setattr(importer, "inspect_file", edit_meanwhile)
    edit = ImportEdit(name="mine", format=FileFormat(has_header=False))
    with pytest.raises(PreconditionFailed):
        await world.importer.edit(world.principal, row.id, edit, any_revision)
    assert (await world.reread(row)).name == "other"


async def test_a_format_that_is_chosen_before_the_file_comes_holds_for_it(world: ImportWorld) -> None:
    row = await world.created(ImportSource.UPLOAD)
    edit = ImportEdit(format=FileFormat(delimiter="|"))
    await world.importer.edit(world.principal, row.id, edit, any_revision)
    row = await world.importer.receive(world.org_id, row.id, pieces_of(b"phone|name\n+34612345678|a,b\n"))
    assert row.format["delimiter"] == "|"


async def test_an_import_that_has_ended_can_neither_be_started_nor_undone_twice(world: ImportWorld) -> None:
    row = await world.imported(csv_of(2))
    async with world.database.write() as session:
        with pytest.raises(Conflict, match="cannot be started"):
            await world.importer.start(session, world.principal, row.id)
    await world.undone(row)
    await world.undone(row)
    assert (await world.contacts()) == {}
    assert (await world.change_set(row)).undone == 2
    await world.run.run(world.order(row), CONTEXT)
    assert (await world.contacts()) == {}


async def test_one_that_waits_for_a_place_and_is_cancelled_never_runs(world: ImportWorld) -> None:
    rows = [await world.uploaded(csv_of(1)) for _ in range(4)]
    for row in rows:
        await world.start(row)
    async with world.database.write() as session:
        await world.importer.cancel(session, world.principal, rows[3].id)
    assert (await world.change_set(rows[3])).state == "cancelled"
    await world.run.run(world.order(rows[0]), CONTEXT)
    assert (await world.reread(rows[3])).state == "cancelled"


def test_keys_of_the_storage_are_told_from_what_climbs_out_of_it() -> None:
    assert is_key("imports/a/b.csv")
    assert not is_key("imports/../secrets")
    assert not is_key("Imports/a b")
