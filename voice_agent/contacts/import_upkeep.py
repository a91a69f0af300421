"""What else is done for imports in the background: files are fetched, lost imports found again, old files deleted."""

from contextlib import aclosing
from datetime import timedelta
from functools import partial

import structlog

from voice_agent.auth.principal import system
from voice_agent.contacts import import_repository as repository
from voice_agent.contacts.fetching import without_secrets
from voice_agent.contacts.import_batches import batch_lines
from voice_agent.contacts.import_model import Event, ImportSource, ImportState, moved
from voice_agent.contacts.import_run import RETRY, RUN_S, ImportRun, is_final, said_of
from voice_agent.contacts.importer import FETCH_IMPORT, RUN_IMPORT, ContactImporter, ImportToRun
from voice_agent.errors import InvalidRequest, RequestError
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.persistence import persistently
from voice_agent.jobs.service import Jobs
from voice_agent.storage.tables import ImportRow

log = structlog.get_logger(__name__)

FETCH_S = 1_800.0
"""The longest that one try to bring a file may take."""

TEND_S = 60.0
UNHEARD_S = 120.0
"""Without a word for so long, and without a job, an import has lost its process: one of the command line, killed."""

FILES_KEPT = timedelta(days=30)
"""How long the file of an import that is over, and the file of its bad rows, are kept: they are lists of people."""

DELETED_AT_ONCE = 100


class ImportUpkeep:
    """One for the process."""

    def __init__(self, importer: ContactImporter, run: ImportRun) -> None:
        self._importer = importer
        self._run = run
        self._database = importer.database

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do for imports. Before `Jobs.open`."""
        jobs.register(RUN_IMPORT, ImportToRun, self._run.run, retry=RETRY, timeout_s=RUN_S)
        jobs.register(FETCH_IMPORT, ImportToRun, self.fetch, retry=RETRY, timeout_s=FETCH_S)
        jobs.every("imports", TEND_S, self.tend)

    # --- fetching ---------------------------------------------------------------------------------------------
    async def fetch(self, order: ImportToRun, context: JobContext) -> None:
        """Bring an import's file here and look into it; pushed rows become a file, and their import starts."""
        try:
            row = await self._read(order)
            if row.state == ImportState.FETCHING:
                row = await self._fetched(row)
            if row.source == ImportSource.PUSH and row.state == ImportState.READY:
                await self._begin(order)
        except Exception as error:
            is_over = isinstance(error, RequestError) or is_final(error)
            if not (is_over or context.is_last):
                raise
            await persistently(partial(self._run.fail, order, said_of(error)))
            if not is_over:
                raise

    async def _read(self, order: ImportToRun) -> ImportRow:
        async with self._database.read() as session:
            return await self._importer.find(session, order.org_id, order.import_id)

    async def _fetched(self, row: ImportRow) -> ImportRow:
        files = self._importer.files
        if row.source == ImportSource.PUSH:
            lines = batch_lines(self._database, row.org_id, row.id)
            async with aclosing(lines), files.received(lines) as file:
                return await self._importer.take(row, file)
        if row.source == ImportSource.STORAGE:
            async with files.stored(row.source_ref) as file:
                return await self._importer.take(row, file)
        async with self._importer.fetcher.opened(row.source_ref) as pieces, files.received(pieces) as file:
            taken = await self._importer.take(row, file)
        async with self._database.write() as session:
            (await self._importer.locked(session, row.org_id, row.id)).source_ref = without_secrets(row.source_ref)
        return taken

    async def _begin(self, order: ImportToRun) -> None:
        """Start an import whose rows were pushed; one that cannot start yet is ready, and says why not."""
        try:
            async with self._database.write() as session:
                await repository.lock_places(session, order.org_id)
                row = await self._importer.locked(session, order.org_id, order.import_id)
                await self._importer.begin(session, system(order.org_id, row.created_by), row)
                row.error = ""
        except InvalidRequest as error:
            async with self._database.write() as session:
                row = await self._importer.locked(session, order.org_id, order.import_id)
                row.error = str(error)[:500]

    # --- looking after ----------------------------------------------------------------------------------------
    async def tend(self) -> None:
        """Go on with what was lost, give free places away, and delete old files."""
        now = self._importer.clock()
        async with self._database.read() as session:
            unheard_of = await repository.unheard_of(session, now - timedelta(seconds=UNHEARD_S))
            waiting = await repository.organisations_that_wait(session)
            old = await repository.with_old_files(session, now - FILES_KEPT, limit=DELETED_AT_ONCE)
        for row in unheard_of:
            await self._find_again(row)
        for org_id in waiting:
            async with self._database.write() as session:
                await repository.lock_places(session, org_id)
                await self._importer.give_places(session, org_id)
        for row in old:
            await self._delete_files(row)

    async def _find_again(self, row: ImportRow) -> None:
        """Go on with an import whose process is gone; end one whose job has failed."""
        kind = FETCH_IMPORT if row.state == ImportState.FETCHING else RUN_IMPORT
        async with self._database.write() as session:
            jobs = await repository.jobs_of(session, f"{kind}-{row.id}")
            if not jobs:
                log.warning("import_found_again", import_id=str(row.id), state=row.state, cursor=row.cursor)
                await self._importer.request(session, kind, row, again=f"-{self._importer.clock():%Y%m%d%H%M%S}")
                return
        if all(job.failed_at is not None for job in jobs):
            await self._run.fail(ImportToRun(org_id=row.org_id, import_id=row.id), jobs[-1].error)

    async def _delete_files(self, row: ImportRow) -> None:
        files = self._importer.files
        await files.drop(row.storage_key)
        await files.drop(row.rejected_key)
        async with self._database.write() as session:
            now = await self._importer.locked(session, row.org_id, row.id)
            now.storage_key = now.rejected_key = None
            await repository.forget_refused(session, row.id)
            if ImportState(now.state) in (ImportState.WAITING, ImportState.READY):
                now.state = moved(ImportState(now.state), Event.CANCEL).value
                await self._importer.note_end(session, now)
