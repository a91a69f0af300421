"""Running an import: every row of the file once, whatever happens meanwhile."""

from pathlib import Path

import pytest

from tests.contacts.import_world import CONTEXT, ImportWorld, csv_of
from voice_agent.contacts.import_model import Counts
from voice_agent.storage.database import Database


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> ImportWorld:
    return await ImportWorld(database, tmp_path).open()


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
    counts = Counts(**row.counts)
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


async def test_a_second_run_of_an_import_that_is_done_does_nothing(world: ImportWorld) -> None:
    row = await world.imported(csv_of(3))
    await world.run.run(world.order(row), CONTEXT)
    assert (await world.reread(row)).counts == row.counts
    assert len(await world.contacts()) == 3
