"""`voice-agent contacts import`: a file of this machine, imported by this process into the configured database.

Whoever can run it can read the database, so nobody is asked who they are; the contacts are the oldest organisation's.
No server is needed. Killed, the import is left where it was, and a server that runs jobs goes on with it.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import repository as organisations
from voice_agent.auth.principal import Principal, system
from voice_agent.contacts import list_repository
from voice_agent.contacts.import_model import FINAL, Counts, ImportSource, ImportState, seconds_left
from voice_agent.contacts.import_orders import NOTHING
from voice_agent.contacts.import_run import is_final, said_of
from voice_agent.contacts.import_templates import kept_mapping
from voice_agent.contacts.importer import ImportToRun, NewImport
from voice_agent.contacts.imports import Imports
from voice_agent.contacts.reading.model import Preview
from voice_agent.errors import InvalidRequest, NotFound
from voice_agent.jobs.persistence import persistently
from voice_agent.storage.database import Database
from voice_agent.storage.files import PIECE_BYTES
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ContactListRow, ImportRow

WHO = "command line"
LOOK_S = 0.5
"""Between two lines of progress."""

Tell = Callable[[str], None]
"""Shows a line to whoever waits."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    file: Path
    list_name: str = ""
    country: str = ""
    template: str = ""
    is_dry_run: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; also what `--json` writes."""

    import_id: UUID
    state: str
    rows: int
    counts: Counts
    seconds: float
    error: str = ""
    rejected: Path | None = None
    """Where the bad rows are on this machine."""

    @property
    def is_good(self) -> bool:
        """Whether every row has landed."""
        return self.state == ImportState.DONE and not self.counts.refused


async def dry_run(database: Database, imports: Imports, wanted: Wanted) -> Preview:
    """Return what an import would do with a file, without doing it. Raises InvalidRequest, NotFound."""
    importer = imports.importer
    async with _uploaded(database, imports, wanted) as (principal, row):
        preview = await importer.preview(row.org_id, row.id)
        async with database.write() as session:
            await importer.cancel(session, principal, row.id)
        return preview


async def import_file(database: Database, imports: Imports, wanted: Wanted, tell: Tell) -> Outcome:
    """Import a file to its end. Raises InvalidRequest where it cannot be read, NotFound without an organisation."""
    began = asyncio.get_running_loop().time()
    async with _uploaded(database, imports, wanted) as (principal, row):
        async with database.write() as session:
            await imports.importer.start(session, principal, row.id)
        work = asyncio.create_task(_work(database, imports, row), name="import")
        try:
            while not work.done():
                await asyncio.wait([work], timeout=LOOK_S)
                tell(progress_line(await _reread(database, imports, row)))
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        row = await _reread(database, imports, row)
        return Outcome(
            import_id=row.id,
            state=row.state,
            rows=row.cursor,
            counts=Counts(**row.counts),
            seconds=round(asyncio.get_running_loop().time() - began, 1),
            error=row.error,
            rejected=None if row.rejected_key is None else await _bring_rejected(imports, row, wanted.file),
        )


async def _work(database: Database, imports: Imports, row: ImportRow) -> None:
    """Do it here; where three others run, a server that ends one of them has it done by its jobs."""
    while ImportState((await _reread(database, imports, row)).state) not in FINAL:
        try:
            await imports.run.work(ImportToRun(org_id=row.org_id, import_id=row.id))
        except Exception as error:
            await imports.run.fail(ImportToRun(org_id=row.org_id, import_id=row.id), said_of(error))
            if not is_final(error):
                raise
        await asyncio.sleep(LOOK_S)


async def _reread(database: Database, imports: Imports, row: ImportRow) -> ImportRow:
    async def read() -> ImportRow:
        async with database.read() as session:
            return await imports.importer.find(session, row.org_id, row.id)

    return await persistently(read)


def progress_line(row: ImportRow) -> str:
    """Return how far an import is, in one line."""
    if row.state == ImportState.QUEUED:
        return "waits until another import has ended"
    parts = [f"{row.cursor:,} of about {row.rows_total:,} rows" if row.rows_total else f"{row.cursor:,} rows"]
    if row.rows_per_s:
        parts.append(f"{row.rows_per_s:,.0f} rows/s")
    if left := seconds_left(row.rows_total, row.cursor, row.rows_per_s):
        parts.append(f"{left:,.0f} s left")
    if refused := row.counts.get("refused"):
        parts.append(f"{refused:,} refused")
    return ", ".join(parts)


@asynccontextmanager
async def _uploaded(database: Database, imports: Imports, wanted: Wanted) -> AsyncIterator[tuple[Principal, ImportRow]]:
    """Make an import of the file, for the oldest organisation."""
    async with database.write() as session:
        organisation = await organisations.oldest_organisation(session)
        if organisation is None:
            raise NotFound("there is no organisation yet: create an owner first")
        principal = system(organisation.id, WHO)
        row = await imports.importer.create(session, principal, await _new(session, imports, organisation.id, wanted))
    imports.ours.add(row.id)
    try:
        yield principal, await imports.importer.receive(row.org_id, row.id, _pieces(wanted.file))
    except InvalidRequest:
        async with database.write() as session:
            await imports.importer.cancel(session, principal, row.id)
        raise


async def _new(session: AsyncSession, imports: Imports, org_id: UUID, wanted: Wanted) -> NewImport:
    options, mapping = {}, NOTHING
    if wanted.template:
        template = await imports.templates.named(session, org_id, wanted.template)
        options, mapping = dict(template.options), kept_mapping(template)
    if wanted.country:
        options["country"] = wanted.country.upper()
    if wanted.list_name and not wanted.is_dry_run:
        options["list_id"] = str(await _list_named(session, org_id, wanted.list_name))
    name = wanted.file.name[:200]
    return NewImport(source=ImportSource.UPLOAD, name=name, options=options, mapping=mapping)


async def _list_named(session: AsyncSession, org_id: UUID, name: str) -> UUID:
    """Return the static list of a name; one that is not there is made. Raises InvalidRequest."""
    row = await list_repository.named(session, org_id, name)
    if row is not None and row.kind != "static":
        raise InvalidRequest(f"list: {name!r} is a segment, which nobody joins")
    if row is None:
        now = datetime.now(UTC)
        row = ContactListRow(
            id=new_id(), org_id=org_id, name=name, kind="static", created_by=WHO, created_at=now, updated_at=now
        )
        session.add(row)
        await session.flush()
    return row.id


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}") from None
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece


async def _bring_rejected(imports: Imports, row: ImportRow, beside: Path) -> Path:
    """Write the file of the bad rows beside the one that was imported; return where it is."""
    target = beside.with_name(f"{beside.stem}.rejected.csv")
    async with imports.importer.files.stored(row.rejected_key or "") as file:
        await asyncio.to_thread(shutil.copyfile, file.path, target)
    return target
