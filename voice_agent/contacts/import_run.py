"""Running an import: the job that settles the rows of its file, whatever dies meanwhile.

How it works
------------
The file is brought to this machine and read by a child process from the cursor on (`contacts.reading`). Each chunk is
one transaction: the cursor is raised from where it was, which holds the import's lock, and everything that the rows do
is written with it. Killed anywhere, the job runs again and begins at the cursor: nothing is done twice and nothing is
left out. Two processes at the same import are harmless: the cursor moves for one of them, and the other one stops.

- The database is away: the chunk waits until it is back. Whether a commit whose answer was lost took place is told by
  the cursor.
- Another transaction takes a number that the chunk is about to add: the chunk is decided anew; where that does not
  help, in halves, down to single rows.
- Cancelled: the next chunk finds the import not running. What has landed stays.
- The file cannot be read, or is not there any more: the import has failed, and says why; what has landed stays.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts import import_repository as repository
from voice_agent.contacts.import_chunk import ChunkContext, ChunkWriter, Overtaken, Piece
from voice_agent.contacts.import_files import rejected_key
from voice_agent.contacts.import_model import (
    AT_WORK,
    FINAL,
    Counts,
    Event,
    ImportState,
    Speedometer,
    moved,
)
from voice_agent.contacts.import_orders import chosen_options, columns_of, mapping_of, plain
from voice_agent.contacts.importer import ContactImporter, ImportToRun
from voice_agent.contacts.reading.model import Chunk, FileProblem, FileRefused, Order
from voice_agent.contacts.reading.process import read_chunks
from voice_agent.contacts.rejected import BadRow, RejectedFile
from voice_agent.errors import DatabaseUnavailable, FileNotStored, InvalidRequest, VoiceAgentError
from voice_agent.jobs.model import JobContext, Retry
from voice_agent.jobs.persistence import persistently
from voice_agent.storage.tables import ImportRow, ImportRowErrorRow

log = structlog.get_logger(__name__)

RUN_S = 6 * 3_600.0
"""The longest that one try may take: a million rows take minutes."""

RETRY = Retry(tries=8, first_s=1.0, longest_s=300.0)
"""Of what may go better: the storage does not answer, the child process was killed. Ten minutes in all."""

PAUSE_S = 0.5
"""Between two tries to reach the database."""

TRIES = 3
"""Of a chunk whose contacts others take meanwhile, before it is cut in halves."""

LAST_TRIES = 20
"""Of a single row."""


class Fenced(Exception):
    """The import is not where this process has left it: somebody else runs it, or it was cancelled."""

    def __init__(self, cursor: int) -> None:
        super().__init__("the import was moved on by somebody else, or was cancelled")
        self.cursor = cursor


class ImportRun:
    """Runs imports, for the process."""

    def __init__(self, importer: ContactImporter, chunks: ChunkWriter) -> None:
        self._importer = importer
        self._chunks = chunks
        self._database = importer.database

    async def run(self, order: ImportToRun, context: JobContext) -> None:
        """Settle what is left of an import's rows, and end it: the handler of its job."""
        try:
            await self.work(order)
        except Exception as error:
            if not (context.is_last or is_final(error)):
                raise
            await persistently(partial(self.fail, order, said_of(error)))
            if not is_final(error):
                raise

    async def work(self, order: ImportToRun) -> None:
        """Do it, without a job. Raises what went wrong; then the import is as it was left."""
        row = await persistently(partial(self._read, order))
        if row.state == ImportState.RUNNING and not await self._settle_all(row):
            row = await persistently(partial(self._read, order))
            if row.state != ImportState.CANCELLING:
                log.info("import_fenced", import_id=str(order.import_id), state=row.state)
                return
        if ImportState(row.state) in AT_WORK:
            await self._finish(order)

    async def _read(self, order: ImportToRun) -> ImportRow:
        async with self._database.read() as session:
            return await self._importer.find(session, order.org_id, order.import_id)

    # --- rows -------------------------------------------------------------------------------------------------
    async def _settle_all(self, row: ImportRow) -> bool:
        """Settle all rows from the cursor on; False where somebody else has moved the import on, or ended it."""
        order, context = await persistently(partial(self._order, row))
        speed = Speedometer(time.monotonic())
        cursor = row.cursor
        async with (
            self._importer.files.stored(row.storage_key or "") as file,
            aclosing(read_chunks(file.path, order)) as chunks,
        ):
            async for chunk in chunks:
                piece = _piece(chunk, cursor)
                rate = speed.add(piece.last - piece.first, time.monotonic())
                if not await self._settle(context, piece, _progress(chunk, rate)):
                    return False
                cursor = piece.last
        return True

    async def _order(self, row: ImportRow) -> tuple[Order, ChunkContext]:
        async with self._database.read() as session:
            order = await self._importer.orders.order_of(session, row)
        context = ChunkContext(
            org_id=row.org_id,
            import_id=row.id,
            options=chosen_options(row),
            columns=mapping_of(row).columns,
            created_by=row.created_by,
        )
        return order, context

    async def _settle(self, context: ChunkContext, piece: Piece, progress: dict[str, float | int]) -> bool:
        """Settle rows, however often others get in the way; False where the import is somebody else's, or ended."""
        is_unclear, tries = False, 0
        while True:
            try:
                await self._database.transact(partial(self._write, context, piece, progress))
                return True
            except DatabaseUnavailable as error:
                if not is_unclear:
                    log.warning("import_waits_for_the_database", import_id=str(context.import_id), error=str(error))
                is_unclear = True
                await asyncio.sleep(PAUSE_S)
            except Fenced as fenced:
                # The commit whose answer was lost has taken place.
                return is_unclear and fenced.cursor == piece.last
            except (IntegrityError, Overtaken):
                tries += 1
                if tries == TRIES and piece.last - piece.first > 1:
                    first, second = piece.halves()
                    return await self._settle(context, first, {}) and await self._settle(context, second, progress)
                if tries == LAST_TRIES:
                    raise
                await asyncio.sleep(0.05 * tries)

    async def _write(
        self, context: ChunkContext, piece: Piece, progress: dict[str, float | int], session: AsyncSession
    ) -> None:
        before = await repository.advance(
            session,
            context.org_id,
            context.import_id,
            old=piece.first,
            new=piece.last,
            now=self._importer.clock(),
        )
        if before is None:
            row = await self._importer.find(session, context.org_id, context.import_id)
            raise Fenced(row.cursor if row.state == ImportState.RUNNING else -1)
        counts = await self._chunks.write(session, context, piece)
        await repository.note(session, context.import_id, {"counts": plain(before.plus(counts)), **progress})

    # --- the end ----------------------------------------------------------------------------------------------
    async def _finish(self, order: ImportToRun) -> None:
        key = await self._write_rejected(order)
        await persistently(partial(self._end, order, Event.END, rejected=key, error=""))

    async def fail(self, order: ImportToRun, reason: str) -> None:
        """End an import that cannot go on; what has landed stays. One that is over stays as it is."""
        log.error("import_failed", import_id=str(order.import_id), reason=reason)
        await self._end(order, Event.FAIL, rejected=None, error=reason[:500])

    async def _end(self, order: ImportToRun, event: Event, *, rejected: str | None, error: str) -> None:
        async with self._database.write() as session:
            await repository.lock_places(session, order.org_id)
            row = await self._importer.locked(session, order.org_id, order.import_id)
            if ImportState(row.state) in FINAL:
                return
            row.state = moved(ImportState(row.state), event).value
            row.rejected_key, row.error = rejected, error
            row.revision += 1
            await self._importer.note_end(session, row)
            await session.flush()
            await self._importer.give_places(session, order.org_id)
            log.info("import_ended", import_id=str(row.id), state=row.state, **row.counts)

    async def _write_rejected(self, order: ImportToRun) -> str | None:
        """Keep the file of the bad rows; return its key, None where there are none."""
        row = await persistently(partial(self._read, order))
        if not Counts(**row.counts).refused:
            return None
        key = rejected_key(order.org_id, order.import_id)
        lines = self._rejected_lines(order, RejectedFile([column.header for column in columns_of(row)]))
        async with aclosing(lines), self._importer.files.received(lines) as file:
            await self._importer.files.keep(key, file.path, content_type="text/csv")
        return key

    async def _rejected_lines(self, order: ImportToRun, file: RejectedFile) -> AsyncGenerator[bytes]:
        yield file.beginning().encode()
        after = 0
        while rows := await persistently(partial(self._refused, order, after)):
            yield file.rows([BadRow(each.row, each.column, each.reason, each.cells) for each in rows]).encode()
            after = rows[-1].row

    async def _refused(self, order: ImportToRun, after: int) -> Sequence[ImportRowErrorRow]:
        async with self._database.read() as session:
            return await repository.refused(session, order.org_id, order.import_id, after=after)


def is_final(error: Exception) -> bool:
    """Tell whether an import that ended so would end so again."""
    if isinstance(error, FileRefused):
        return error.problem not in (FileProblem.FAILED, FileProblem.LIMITS)
    return isinstance(error, FileNotStored | InvalidRequest)


def said_of(error: Exception) -> str:
    """Return what people are told of an error: what was raised on purpose has words for them."""
    return str(error) if isinstance(error, VoiceAgentError) else f"an unexpected error ({type(error).__name__})"


def _piece(chunk: Chunk, cursor: int) -> Piece:
    return Piece(first=cursor, last=chunk.last_row, taken=chunk.taken, refused=chunk.refused, blank=chunk.blank)


def _progress(chunk: Chunk, rows_per_s: float) -> dict[str, float | int]:
    """Return what is written down of an import beside its cursor and its counts."""
    progress: dict[str, float | int] = {"rows_per_s": round(rows_per_s, 1)}
    if chunk.is_last:
        progress["rows_total"] = chunk.last_row
    elif chunk.bytes_read:
        progress["rows_total"] = max(chunk.last_row, round(chunk.last_row * chunk.size_bytes / chunk.bytes_read))
    return progress
