"""Imports of contacts, as people ask for them: a file, what it is taken for, a look at it, start, cancel, undo.

The work itself is `import_run`'s, in a job. How many run at a time is decided here, by state: whoever starts an import,
and whoever ends one, gives places to those that wait, in the same transaction and under the organisation's lock.

What needs a file, its arrival and a look into it, is done outside of any transaction and written down in one of its
own afterwards, where nothing has been changed meanwhile. Everything else works in the caller's.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.contacts import import_repository as repository
from voice_agent.contacts.changes import ContactChanges
from voice_agent.contacts.fetching import Fetcher, check_url
from voice_agent.contacts.import_batches import batch_lines
from voice_agent.contacts.import_files import ImportFiles, ReceivedFile, file_key, prefix_of
from voice_agent.contacts.import_model import (
    AT_ONCE,
    EDITABLE,
    FINAL,
    Event,
    ImportOptions,
    ImportSource,
    ImportState,
    moved,
    options_of,
)
from voice_agent.contacts.import_orders import NOTHING, ImportOrders, format_of, mapping_of, plain
from voice_agent.contacts.ports import JobRequests
from voice_agent.contacts.reading.model import FileFormat, Inspection, Mapping, Preview
from voice_agent.contacts.reading.process import inspect_file, preview_file
from voice_agent.errors import Conflict, InvalidRequest, NotFound, PreconditionFailed, StorageError
from voice_agent.storage.database import Database
from voice_agent.storage.files import checked_key
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ImportRow

RUN_IMPORT = "contacts.import"
"""The job that settles the rows of an `ImportToRun`."""

FETCH_IMPORT = "contacts.import_fetch"
"""The job that brings an import's file here."""

PREVIEWED_BATCHES = 20
"""Of pushed rows that are looked at before they are a file: 20,000 rows."""


class ImportToRun(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of both jobs."""

    org_id: UUID
    import_id: UUID


class NewImport(msgspec.Struct, frozen=True, kw_only=True):
    """An import that somebody wants."""

    source: ImportSource
    name: str
    source_ref: str = ""
    """The address, or the key in the storage."""

    options: dict[str, Any] = {}
    mapping: Mapping = NOTHING
    """As far as it is known before the file is here."""

    format: FileFormat = FileFormat()
    retry_of: UUID | None = None


class ImportEdit(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody corrects; None stays as it is."""

    name: str | None = None
    format: FileFormat | None = None
    mapping: Mapping | None = None
    options: dict[str, Any] | None = None


class ContactImporter:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        files: ImportFiles,
        fetcher: Fetcher,
        orders: ImportOrders,
        changes: ContactChanges,
        jobs: JobRequests,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """`clock` returns the present in UTC."""
        self.database = database
        self.files = files
        self.fetcher = fetcher
        self.orders = orders
        self.changes = changes
        self._jobs = jobs
        self.clock = clock

    async def find(self, session: AsyncSession, org_id: UUID, import_id: UUID) -> ImportRow:
        """Return an import. Raises NotFound."""
        return _there(await repository.of_organisation(session, org_id, import_id))

    async def locked(self, session: AsyncSession, org_id: UUID, import_id: UUID) -> ImportRow:
        """Return an import that nobody else changes until the transaction ends. Raises NotFound."""
        return _there(await repository.locked(session, org_id, import_id))

    # --- making -----------------------------------------------------------------------------------------------
    async def create(self, session: AsyncSession, principal: Principal, new: NewImport) -> ImportRow:
        """Make an import; one from an address or the storage is fetched. Raises InvalidRequest."""
        self._check_origin(principal.org_id, new)
        options = await self._checked_options(session, principal.org_id, new.options)
        is_fetched = new.source in (ImportSource.URL, ImportSource.STORAGE)
        row = ImportRow(
            id=new_id(),
            org_id=principal.org_id,
            name=new.name,
            source=new.source.value,
            source_ref=new.source_ref,
            state=(ImportState.FETCHING if is_fetched else ImportState.WAITING).value,
            format=plain(new.format),
            columns=[],
            mapping=plain(new.mapping),
            options=plain(options),
            counts={},
            cursor=0,
            retry_of=new.retry_of,
            created_by=principal.name,
            created_at=self.clock(),
        )
        session.add(row)
        await session.flush()
        if is_fetched:
            await self.request(session, FETCH_IMPORT, row)
        await self._audit(session, principal, "import.create", row)
        return row

    def _check_origin(self, org_id: UUID, new: NewImport) -> None:
        if new.source is ImportSource.URL:
            check_url(new.source_ref, self.fetcher.rules)
        if new.source is ImportSource.STORAGE and not new.source_ref.startswith(prefix_of(org_id)):
            raise InvalidRequest(f"key: the organisation's files are below {prefix_of(org_id)}")
        if new.source is ImportSource.STORAGE and not is_key(new.source_ref):
            raise InvalidRequest("key: this is no key of a stored file")

    async def retry(self, session: AsyncSession, principal: Principal, import_id: UUID) -> ImportRow:
        """Make an import for the corrected bad rows of another one, to be treated alike. Raises NotFound, Conflict."""
        row = await self.find(session, principal.org_id, import_id)
        if row.rejected_key is None:
            raise Conflict("this import has no bad rows, or none yet")
        new = NewImport(
            source=ImportSource.UPLOAD,
            name=row.name,
            options=row.options,
            mapping=mapping_of(row),
            retry_of=row.id,
        )
        return await self.create(session, principal, new)

    # --- files ------------------------------------------------------------------------------------------------
    async def receive(self, org_id: UUID, import_id: UUID, pieces: AsyncIterator[bytes]) -> ImportRow:
        """Take an import's file, keep it and look into it.

        Raises NotFound, Conflict (it has started, or comes from elsewhere), ContentTooLarge, StorageError or
        InvalidRequest (FileRefused: it cannot be read; then the import waits for another one).
        """
        async with self.database.read() as session:
            row = await self.find(session, org_id, import_id)
        if row.source not in (ImportSource.UPLOAD, ImportSource.PASTE):
            raise Conflict("the file of this import comes from elsewhere")
        moved(ImportState(row.state), Event.FILE)
        async with self.files.received(pieces) as file:
            return await self.take(row, file)

    async def take(self, row: ImportRow, file: ReceivedFile) -> ImportRow:
        """Look into a file that is here, keep it, and have its import ready. Raises as `receive` does."""
        async with self.database.read() as session:
            options = await self.orders.read_options(session, row)
        inspection = await inspect_file(file.path, format_of(row), options)
        key = file_key(row.org_id, row.id, file.sha256)
        await self.files.keep(key, file.path)
        async with self.database.write() as session:
            now = await self.locked(session, row.org_id, row.id)
            now.state = moved(ImportState(now.state), Event.FILE).value
            before, now.storage_key = now.storage_key, key
            now.size_bytes, now.sha256 = file.size_bytes, file.sha256
            self.orders.note(now, inspection, mapping_of(now))
            now.revision += 1
        if before != key:
            await self.files.drop(before)
        return now

    # --- correcting -------------------------------------------------------------------------------------------
    async def edit(
        self, principal: Principal, import_id: UUID, edit: ImportEdit, check: Callable[[int], None]
    ) -> ImportRow:
        """Correct what a file is, where its columns go and what becomes of rows; a new format looks into it again.

        `check` is told the revision that is changed. Raises NotFound, Conflict, PreconditionFailed, InvalidRequest.
        """
        async with self.database.read() as session:
            row = await self.find(session, principal.org_id, import_id)
        check(row.revision)
        _check_editable(row)
        inspection = None if edit.format is None else await self._inspected(row, edit.format)
        async with self.database.write() as session:
            now = await self.locked(session, principal.org_id, import_id)
            if now.revision != row.revision:
                raise PreconditionFailed("it has been changed meanwhile: read it again")
            await self._apply(session, now, edit, inspection)
            now.revision += 1
            await self._audit(session, principal, "import.edit", now)
        return now

    async def _inspected(self, row: ImportRow, chosen: FileFormat) -> Inspection | None:
        """Look into a file again; None where it is not here yet."""
        if row.storage_key is None:
            return None
        async with self.database.read() as session:
            options = await self.orders.read_options(session, row)
        async with self.files.stored(row.storage_key) as file:
            return await inspect_file(file.path, chosen, options)

    async def _apply(
        self, session: AsyncSession, row: ImportRow, edit: ImportEdit, inspection: Inspection | None
    ) -> None:
        if edit.name is not None:
            row.name = edit.name
        if edit.options is not None:
            row.options = plain(await self._checked_options(session, row.org_id, edit.options))
        if inspection is not None:
            self.orders.note(row, inspection, NOTHING)
        elif edit.format is not None:
            row.format = plain(edit.format)
        if edit.mapping is not None:
            await self.orders.choose_mapping(session, row, edit.mapping)

    async def _checked_options(self, session: AsyncSession, org_id: UUID, given: dict[str, Any]) -> ImportOptions:
        options = options_of(given)
        if options.list_id is not None and await repository.static_list(session, org_id, options.list_id) is None:
            raise InvalidRequest("options.list_id: there is no such static list")
        return options

    async def preview(self, org_id: UUID, import_id: UUID) -> Preview:
        """Return what an import would do with the first rows and with the worst.

        Raises NotFound, Conflict (there is no file, or it has started) or InvalidRequest (the mapping, the file).
        """
        async with self.database.read() as session:
            row = await self.find(session, org_id, import_id)
            options = await self.orders.read_options(session, row)
        _check_editable(row)
        async with self._file(row) as path:
            if not row.columns:  # of pushed rows; this copy of the row is not kept
                self.orders.note(row, await inspect_file(path, format_of(row), options), mapping_of(row))
            async with self.database.read() as session:
                order = await self.orders.order_of(session, row)
            return await preview_file(path, order)

    @asynccontextmanager
    async def _file(self, row: ImportRow) -> AsyncIterator[Path]:
        if row.storage_key is not None:
            async with self.files.stored(row.storage_key) as file:
                yield file.path
            return
        lines = batch_lines(self.database, row.org_id, row.id, most=PREVIEWED_BATCHES)
        async with aclosing(lines), self.files.received(lines) as file:
            if not file.size_bytes:
                raise Conflict("there are no rows yet")
            yield file.path

    # --- starting and ending ----------------------------------------------------------------------------------
    async def start(self, session: AsyncSession, principal: Principal, import_id: UUID) -> ImportRow:
        """Have an import run as soon as there is a place. Raises NotFound, Conflict, InvalidRequest (its mapping)."""
        await repository.lock_places(session, principal.org_id)
        row = await self.locked(session, principal.org_id, import_id)
        await self.begin(session, principal, row)
        row.revision += 1
        await self._audit(session, principal, "import.start", row)
        return row

    async def begin(self, session: AsyncSession, principal: Principal, row: ImportRow) -> None:
        """Start a locked import, under the lock of places; pushed rows become a file first."""
        is_waiting = row.state == ImportState.WAITING
        if is_waiting and (row.source != ImportSource.PUSH or not await repository.count_batches(session, row.id)):
            raise Conflict("there is nothing to import yet")
        row.state = moved(ImportState(row.state), Event.START).value
        if is_waiting:
            await self.request(session, FETCH_IMPORT, row)
            return
        await self._checked_options(session, row.org_id, row.options)
        await self.orders.order_of(session, row)
        await self.orders.make_fields(session, principal, row)
        changes = self.changes.new_set(principal, "import", {"name": row.name})
        changes.id, row.started_at = row.id, self.clock()
        session.add(changes)
        await session.flush()
        await self.give_places(session, row.org_id)

    async def give_places(self, session: AsyncSession, org_id: UUID) -> None:
        """Let imports that wait run, as many as there are places for; under the lock of places."""
        free = AT_ONCE - await repository.count_at_work(session, org_id)
        for row in await repository.queued(session, org_id, limit=max(0, free)):
            row.state = moved(ImportState(row.state), Event.PLACE).value
            row.beat_at = self.clock()
            await self.request(session, RUN_IMPORT, row)
        await session.flush()

    async def request(self, session: AsyncSession, kind: str, row: ImportRow, *, again: str = "") -> None:
        """Have a job of an import done; `again` tells it from an earlier one that was lost."""
        payload = ImportToRun(org_id=row.org_id, import_id=row.id)
        await self._jobs.request(session, kind, payload, job_id=f"{kind}-{row.id}{again}")

    async def cancel(self, session: AsyncSession, principal: Principal, import_id: UUID) -> ImportRow:
        """End an import where it is; what has landed stays. Raises NotFound, or Conflict where it is over."""
        row = await self.locked(session, principal.org_id, import_id)
        row.state = moved(ImportState(row.state), Event.CANCEL).value
        if ImportState(row.state) in FINAL:
            await self.note_end(session, row)
        row.revision += 1
        await self._audit(session, principal, "import.cancel", row)
        return row

    async def note_end(self, session: AsyncSession, row: ImportRow) -> None:
        """Write down that a locked import is over, with its change set where it has one."""
        row.finished_at, row.rows_per_s = self.clock(), None
        await repository.forget_batches(session, row.id)
        if row.started_at is not None:
            changes = await self.changes.locked(session, row.org_id, row.id)
            changes.state, changes.finished_at, changes.error = row.state, row.finished_at, row.error
            changes.changed = row.counts.get("created", 0) + row.counts.get("updated", 0)

    async def undo(self, session: AsyncSession, principal: Principal, import_id: UUID) -> ImportRow:
        """Take back what an import has changed. Raises NotFound, or Conflict where it has not run, or still runs."""
        row = await self.locked(session, principal.org_id, import_id)
        if ImportState(row.state) not in FINAL or row.started_at is None:
            raise Conflict(f"the import is {row.state}: there is nothing to take back, or not yet")
        await self.changes.undo(session, principal, import_id)
        row.revision += 1
        return row

    async def _audit(self, session: AsyncSession, principal: Principal, action: str, row: ImportRow) -> None:
        after = {"name": row.name, "source": row.source, "state": row.state, "options": row.options}
        await audit.record(session, principal, action, target_kind="import", target_id=str(row.id), after=after)


def is_key(key: str) -> bool:
    """Tell whether a text has the form of a storage's keys."""
    try:
        return checked_key(key) == key
    except StorageError:
        return False


def _there(row: ImportRow | None) -> ImportRow:
    if row is None:
        raise NotFound("there is no such import")
    return row


def _check_editable(row: ImportRow) -> None:
    if ImportState(row.state) not in EDITABLE:
        raise Conflict(f"the import is {row.state}: it cannot be changed any more")
