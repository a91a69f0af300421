"""Rows that are pushed over the interface, a batch at a time, until they are a file like any other: JSON lines.

A batch has a number, given by whoever pushes it, and batches follow one another by number. One that comes twice is one,
so that whoever got no answer may push it again.
"""

from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts import import_repository as repository
from voice_agent.contacts.import_model import BATCHES, ROWS_OF_A_BATCH, ImportSource, ImportState
from voice_agent.errors import Conflict, InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ImportRow


async def push(session: AsyncSession, row: ImportRow, number: int, rows: list[dict[str, Any]]) -> None:
    """Keep a batch of a locked import. Raises Conflict where it has another one of this number, or has started."""
    if row.source != ImportSource.PUSH:
        raise Conflict("the rows of this import come from a file")
    if not 1 <= number <= BATCHES or not 0 < len(rows) <= ROWS_OF_A_BATCH:
        raise InvalidRequest(f"a batch has 1 to {ROWS_OF_A_BATCH} rows, and its number is 1 to {BATCHES}")
    # As texts: a database's documents forget in which order an object's members came, and so would the columns.
    lines = [msgspec.json.encode(each).decode() for each in rows]
    known = await repository.batch(session, row.org_id, row.id, number)
    if known is not None and known.rows == lines:
        return
    if known is not None:
        raise Conflict(f"batch {number} is there already, with other rows")
    if row.state != ImportState.WAITING:
        raise Conflict(f"the import is {row.state}: it takes no more rows")
    await repository.add_batch(session, row.org_id, row.id, number, lines)


async def batch_lines(
    database: Database, org_id: UUID, import_id: UUID, *, most: int = BATCHES
) -> AsyncGenerator[bytes]:
    """Yield an import's batches, the first `most` of them, as the lines of a file."""
    number = 0
    for _ in range(most):
        async with database.read() as session:
            batch = await repository.next_batch(session, org_id, import_id, after=number)
        if batch is None:
            return
        number = batch.number
        yield "".join(f"{line}\n" for line in batch.rows).encode()
