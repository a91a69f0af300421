"""Pushed rows: a batch that comes twice is one; batches follow one another by number."""

from pathlib import Path
from typing import Any

import pytest

from tests.contacts.import_world import ImportWorld
from voice_agent.contacts.import_batches import batch_lines, push
from voice_agent.contacts.import_model import BATCHES, ROWS_OF_A_BATCH, ImportSource
from voice_agent.errors import Conflict, InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ImportRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> ImportWorld:
    return await ImportWorld(database, tmp_path).open()


async def pushed(world: ImportWorld, row: ImportRow, number: int, rows: list[dict[str, Any]]) -> None:
    async with world.database.write() as session:
        await push(session, await world.importer.locked(session, world.org_id, row.id), number, rows)


async def lines(world: ImportWorld, row: ImportRow, **options: int) -> bytes:
    return b"".join([piece async for piece in batch_lines(world.database, world.org_id, row.id, **options)])


async def test_batches_become_lines_in_the_order_of_their_numbers(world: ImportWorld) -> None:
    row = await world.created(ImportSource.PUSH)
    await pushed(world, row, 10, [{"phone": "3"}])
    await pushed(world, row, 2, [{"phone": "1"}, {"phone": "2", "more": {"a": [1, None]}}])
    await pushed(world, row, 2, [{"phone": "1"}, {"phone": "2", "more": {"a": [1, None]}}])
    assert await lines(world, row) == b'{"phone":"1"}\n{"phone":"2","more":{"a":[1,null]}}\n{"phone":"3"}\n'
    assert await lines(world, row, most=1) == b'{"phone":"1"}\n{"phone":"2","more":{"a":[1,null]}}\n'


async def test_a_number_has_one_batch(world: ImportWorld) -> None:
    row = await world.created(ImportSource.PUSH)
    await pushed(world, row, 1, [{"phone": "1"}])
    with pytest.raises(Conflict, match="batch 1 is there already"):
        await pushed(world, row, 1, [{"phone": "2"}])


@pytest.mark.parametrize(("number", "rows"), [(0, 1), (BATCHES + 1, 1), (1, 0), (1, ROWS_OF_A_BATCH + 1)])
async def test_a_batch_has_bounds(world: ImportWorld, number: int, rows: int) -> None:
    row = await world.created(ImportSource.PUSH)
    with pytest.raises(InvalidRequest, match="1 to 1000 rows"):
        await pushed(world, row, number, [{"phone": "1"}] * rows)


async def test_rows_of_a_file_and_rows_that_come_too_late_are_refused(world: ImportWorld) -> None:
    with pytest.raises(Conflict, match="come from a file"):
        await pushed(world, await world.created(ImportSource.UPLOAD), 1, [{"phone": "1"}])
    row = await world.created(ImportSource.PUSH)
    await pushed(world, row, 1, [{"phone": "1"}])
    await world.start(row)
    await pushed(world, row, 1, [{"phone": "1"}])
    with pytest.raises(Conflict, match="takes no more rows"):
        await pushed(world, row, 2, [{"phone": "1"}])
