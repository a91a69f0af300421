"""An import by the command line, in this process; as a process of its own: tests/test_contact_commands."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.contacts.import_world import ImportWorld, csv_of
from voice_agent.contacts import import_command
from voice_agent.contacts.import_command import Wanted, dry_run, import_file, progress_line
from voice_agent.contacts.reading.model import MappedColumn, Mapping
from voice_agent.errors import FileNotStored, InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ContactListRow, ImportRow


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImportWorld:
    monkeypatch.setattr(import_command, "LOOK_S", 0.05)
    return await ImportWorld(sqlite, tmp_path).open()


def a_file(world: ImportWorld, content: bytes, name: str = "people.csv") -> Path:
    path = world.folder / name
    path.write_bytes(content)
    return path


async def imports(world: ImportWorld) -> list[ImportRow]:
    async with world.database.read() as session:
        return list(await session.scalars(select(ImportRow).order_by(ImportRow.created_at)))


async def test_a_file_is_imported_into_a_list_that_is_made(world: ImportWorld) -> None:
    told: list[str] = []
    wanted = Wanted(file=a_file(world, csv_of(3)), list_name="Fair")
    outcome = await import_file(world.database, world.imports, wanted, told.append)
    assert (outcome.state, outcome.rows, outcome.counts.created, outcome.is_good) == ("done", 3, 3, True)
    again = await import_file(world.database, world.imports, wanted, told.append)
    assert (again.counts.unchanged, again.counts.listed) == (3, 0)
    assert await world.jobs() == []
    assert told


async def test_a_template_says_where_columns_go(world: ImportWorld) -> None:
    mapping = Mapping(columns=(MappedColumn(header="dato", target="phone"),))
    async with world.database.write() as session:
        await world.imports.templates.save(session, world.principal, "CRM", mapping, {"country": "ES"})
    wanted = Wanted(file=a_file(world, b"dato,x\n612345678,1\n"), template="CRM")
    assert (await import_file(world.database, world.imports, wanted, lambda _: None)).counts.created == 1


async def test_a_dry_run_leaves_nothing_but_a_cancelled_import(world: ImportWorld) -> None:
    preview = await dry_run(world.database, world.imports, Wanted(file=a_file(world, csv_of(2)), is_dry_run=True))
    assert preview.taken == 2
    assert await world.contacts() == {}
    assert [row.state for row in await imports(world)] == ["cancelled"]


async def test_what_cannot_be_read_is_refused_and_its_import_over(world: ImportWorld) -> None:
    for path in (a_file(world, b"%PDF-1.7\n" + bytes(50)), world.folder / "none.csv"):
        with pytest.raises(InvalidRequest):
            await import_file(world.database, world.imports, Wanted(file=path), lambda _: None)
    assert {row.state for row in await imports(world)} == {"cancelled"}


async def test_nobody_joins_a_segment(world: ImportWorld) -> None:
    now = datetime.now(UTC)
    async with world.database.write() as session:
        session.add(
            ContactListRow(id=new_id(), org_id=world.org_id, name="All", kind="dynamic", created_at=now, updated_at=now)
        )
    with pytest.raises(InvalidRequest, match="'All' is a segment"):
        await import_file(
            world.database, world.imports, Wanted(file=a_file(world, csv_of(1)), list_name="All"), lambda _: None
        )


async def test_an_import_that_fails_says_why(world: ImportWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object) -> None:
        raise FileNotStored("there is no such file")

    monkeypatch.setattr(world.run, "work", gone)
    outcome = await import_file(world.database, world.imports, Wanted(file=a_file(world, csv_of(1))), lambda _: None)
    assert (outcome.state, outcome.error, outcome.is_good) == ("failed", "there is no such file", False)


async def test_progress_is_a_line(world: ImportWorld) -> None:
    row = await world.uploaded(csv_of(1))
    async with world.database.write() as session:
        values = {"cursor": 500, "rows_total": 1_500, "rows_per_s": 100.0, "counts": {"refused": 2}}
        await session.execute(update(ImportRow).values(values))
    row = await world.reread(row)
    assert progress_line(row) == "500 of about 1,500 rows, 100 rows/s, 10 s left, 2 refused"
    row.rows_total = row.rows_per_s = None
    assert progress_line(row) == "500 rows, 2 refused"
    row.state = "queued"
    assert progress_line(row) == "waits until another import has ended"
