"""Imports over a database and a folder: files as people have them, and what is there afterwards."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.principal import Principal, system
from voice_agent.compliance.model import ConsentEntry
from voice_agent.contacts.changes import ChangeSetWork
from voice_agent.contacts.fetching import FetchRules
from voice_agent.contacts.import_model import ImportSource
from voice_agent.contacts.importer import RUN_IMPORT, ImportToRun, NewImport
from voice_agent.contacts.imports import ImportPorts, Imports
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.files import LinkOffice, LocalStorage
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import insert_rows
from voice_agent.storage.tables import (
    ChangeSetRow,
    ConsentRow,
    ContactListRow,
    ContactRow,
    ImportRow,
    ImportRowErrorRow,
    JobRow,
    ListMemberRow,
    OrganisationRow,
    SuppressionRow,
)

CONTEXT = JobContext(job_id="1", kind=RUN_IMPORT, tries=1, is_last=False)
LAST = JobContext(job_id="1", kind=RUN_IMPORT, tries=8, is_last=True)


def now() -> datetime:
    """Return the present."""
    return datetime.now(UTC)


class PlainLedger:
    """An `ImportLedger` whose digests are the numbers themselves."""

    async def suppress_many(
        self, session: AsyncSession, org_id: UUID, numbers: Sequence[str], *, source: str, reason: str, created_by: str
    ) -> int:
        new = sorted(set(numbers) - await self.suppressed_among(session, org_id, numbers))
        session.add_all(
            SuppressionRow(
                id=new_id(), org_id=org_id, scope=f"organisation:{org_id}", digest=number, e164=number, source=source,
                reason=reason, created_by=created_by, created_at=now(),
            )
            for number in new
        )  # fmt: skip
        await session.flush()
        return len(new)

    async def consent_many(
        self, session: AsyncSession, org_id: UUID, entries: Sequence[ConsentEntry], *, created_by: str
    ) -> int:
        rows = [
            {
                "id": new_id(), "org_id": org_id, "digest": each.e164, "e164": each.e164, "purpose": each.purpose.value,
                "action": each.action.value, "basis": each.basis.value, "wording_version": each.wording_version,
                "proof": each.proof, "at": each.at or datetime(2000, 1, 1, tzinfo=UTC), "expires_at": each.expires_at,
                "created_by": created_by, "created_at": now(),
            }
            for each in entries
        ]  # fmt: skip
        return await insert_rows(session, ConsentRow, rows)

    async def suppressed_among(self, session: AsyncSession, org_id: UUID, numbers: Sequence[str]) -> set[str]:
        query = select(SuppressionRow.digest).where(
            SuppressionRow.org_id == org_id, SuppressionRow.digest.in_(numbers), SuppressionRow.lifted_at.is_(None)
        )
        return set(await session.scalars(query))


async def pieces_of(content: bytes, size: int = 1_000) -> AsyncIterator[bytes]:
    """Yield what a request brings."""
    for place in range(0, len(content), size):
        yield content[place : place + size]


def csv_of(rows: int, *, first: int = 0, header: str = "phone,name") -> bytes:
    """Return a file of so many different people."""
    lines = [
        header,
        *(f"+346{number:08d},Person {number}" for number in range(10_000_000 + first, 10_000_000 + first + rows)),
    ]
    return "\n".join(lines).encode() + b"\n"


class ImportWorld:
    """An organisation that imports."""

    def __init__(self, database: Database, folder: Path, rules: FetchRules | None = None) -> None:
        self.database = database
        self.folder = folder
        self.storage = LocalStorage(folder / "files", LinkOffice(b"k" * 32, "http://files.test"))
        ports = ImportPorts(
            database=database,
            storage=self.storage,
            jobs=JobOutbox(),
            ledger=PlainLedger(),
            zones_of_region=lambda _: (),
        )
        self.imports = Imports(ports, data_dir=folder / "data", rules=rules or FetchRules(), clock=now)
        self.importer = self.imports.importer
        self.files = self.importer.files
        self.run = self.imports.run
        self.upkeep = self.imports.upkeep
        self.org_id = UUID(int=0)

    @property
    def principal(self) -> Principal:
        """Somebody who may do everything."""
        return system(self.org_id, "Ana")

    async def open(self) -> "ImportWorld":
        """Make the organisation."""
        self.org_id = new_id()
        async with self.database.write() as session:
            session.add(OrganisationRow(id=self.org_id, name="Harbour", settings={}, created_at=now()))
        return self

    async def uploaded(self, content: bytes, *, name: str = "people.csv", **new: Any) -> ImportRow:
        """Make an import and give it its file."""
        row = await self.created(ImportSource.UPLOAD, name=name, **new)
        return await self.importer.receive(self.org_id, row.id, pieces_of(content))

    async def created(self, source: ImportSource, *, name: str = "people", **new: Any) -> ImportRow:
        """Make an import."""
        async with self.database.write() as session:
            return await self.importer.create(session, self.principal, NewImport(source=source, name=name, **new))

    async def start(self, row: ImportRow) -> ImportToRun:
        """Start it; return the payload of its job."""
        async with self.database.write() as session:
            await self.importer.start(session, self.principal, row.id)
        return self.order(row)

    def order(self, row: ImportRow) -> ImportToRun:
        """Return the payload of an import's jobs."""
        return ImportToRun(org_id=self.org_id, import_id=row.id)

    async def imported(self, content: bytes, **new: Any) -> ImportRow:
        """Import a file to its end."""
        row = await self.uploaded(content, **new)
        await self.run.run(await self.start(row), CONTEXT)
        return await self.reread(row)

    async def reread(self, row: ImportRow) -> ImportRow:
        """Return an import as it stands."""
        async with self.database.read() as session:
            return await self.importer.find(session, self.org_id, row.id)

    async def a_list(self, name: str = "Fair") -> UUID:
        """Make a static list."""
        list_id = new_id()
        async with self.database.write() as session:
            session.add(
                ContactListRow(
                    id=list_id, org_id=self.org_id, name=name, kind="static", created_at=now(), updated_at=now()
                )
            )
        return list_id

    async def contacts(self) -> dict[str, ContactRow]:
        """Return the contacts that are there, by number."""
        async with self.database.read() as session:
            query = select(ContactRow).where(ContactRow.org_id == self.org_id, ContactRow.deleted_at.is_(None))
            return {row.e164: row for row in await session.scalars(query)}

    async def members(self, list_id: UUID) -> set[UUID]:
        """Return who is on a list."""
        async with self.database.read() as session:
            return set(await session.scalars(select(ListMemberRow.contact_id).where(ListMemberRow.list_id == list_id)))

    async def refused(self, row: ImportRow) -> list[ImportRowErrorRow]:
        """Return the bad rows of an import, in their order."""
        async with self.database.read() as session:
            query = select(ImportRowErrorRow).where(ImportRowErrorRow.import_id == row.id)
            return list(await session.scalars(query.order_by(ImportRowErrorRow.row)))

    async def change_set(self, row: ImportRow) -> ChangeSetRow:
        """Return the change set of an import."""
        async with self.database.read() as session:
            return await session.get_one(ChangeSetRow, row.id)

    async def content(self, key: str) -> bytes:
        """Return a stored file."""
        return b"".join([piece async for piece in self.storage.read(key)])

    async def undone(self, row: ImportRow) -> None:
        """Take an import back."""
        async with self.database.write() as session:
            await self.importer.undo(session, self.principal, row.id)
        await self.importer.changes.work(ChangeSetWork(change_set_id=row.id), CONTEXT)

    async def suppressed(self) -> set[str]:
        """Return the numbers that are not to be called."""
        async with self.database.read() as session:
            return set(await session.scalars(select(SuppressionRow.digest)))

    async def consents(self) -> list[ConsentRow]:
        """Return the ledger."""
        async with self.database.read() as session:
            return list(await session.scalars(select(ConsentRow)))

    async def jobs(self) -> list[str]:
        """Return the keys of jobs that run imports."""
        async with self.database.read() as session:
            return list(await session.scalars(select(JobRow.id).where(JobRow.kind == RUN_IMPORT)))
