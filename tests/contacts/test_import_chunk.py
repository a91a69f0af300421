"""Pieces of a file; what a chunk writes is seen in test_import_run."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from tests.contacts.import_world import ImportWorld
from voice_agent.contacts import repository
from voice_agent.contacts.import_chunk import ROWS_AT_A_TIME, ChunkContext, Overtaken, Piece, _in_turns
from voice_agent.contacts.import_model import ImportOptions
from voice_agent.contacts.model import ContactDraft
from voice_agent.contacts.reading.model import RowRefusal, TakenRow
from voice_agent.phone_numbers import read_number
from voice_agent.storage.database import Database


def taken(row: int, number: str = "+34612345678") -> TakenRow:
    return TakenRow(row=row, draft=ContactDraft(number=read_number(number), raw_number=number))


def test_halves_have_every_row_once() -> None:
    refusal = RowRefusal(row=4, column="", code="missing", reason="", cells=())
    piece = Piece(first=2, last=6, taken=[taken(3), taken(5)], refused=[refusal], blank=1)
    one, other = piece.halves()
    assert ([each.row for each in one.taken], [each.row for each in one.refused], one.blank) == ([3], [4], 0)
    assert ([each.row for each in other.taken], [each.row for each in other.refused], other.blank) == ([5], [], 1)
    assert (one.first, one.last, other.first, other.last) == (2, 4, 4, 6)


async def test_others_have_their_turn_between_rows() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert [each async for each in _in_turns(range(3 * ROWS_AT_A_TIME))] == list(range(3 * ROWS_AT_A_TIME))
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)
    assert turns == 3


async def test_a_number_that_was_taken_meanwhile_has_the_chunk_decided_anew(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await ImportWorld(sqlite, tmp_path).open()
    context = ChunkContext(
        org_id=world.org_id, import_id=uuid4(), options=ImportOptions(), columns=(), created_by="Ana"
    )

    async def nothing(*_: object) -> set[object]:
        return set()

    monkeypatch.setattr(repository, "insert_many", nothing)
    async with sqlite.write() as session:
        with pytest.raises(Overtaken):
            await world.run._chunks.write(
                session, context, Piece(first=0, last=1, taken=[taken(1)], refused=[], blank=0)
            )
