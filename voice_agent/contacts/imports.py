"""The parts of imports put together, alike for a server, a worker, the command line and tests."""

from collections.abc import Callable, Set
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts.changes import ContactChanges
from voice_agent.contacts.columns import ZonesOfRegion
from voice_agent.contacts.custom_fields import CustomFieldService
from voice_agent.contacts.fetching import Fetcher, FetchRules, networks
from voice_agent.contacts.import_chunk import ChunkWriter
from voice_agent.contacts.import_files import ImportFiles
from voice_agent.contacts.import_model import LARGEST_FILE
from voice_agent.contacts.import_orders import ImportOrders
from voice_agent.contacts.import_run import ImportRun
from voice_agent.contacts.import_templates import ImportTemplates
from voice_agent.contacts.import_upkeep import ImportUpkeep
from voice_agent.contacts.importer import ContactImporter, ImportToRun
from voice_agent.contacts.ports import ImportLedger, JobRequests
from voice_agent.settings import ImportSettings
from voice_agent.storage.database import Database
from voice_agent.storage.files import StorageService


class ImportPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What imports need of the rest of the system."""

    database: Database
    storage: StorageService
    jobs: JobRequests
    ledger: ImportLedger
    zones_of_region: ZonesOfRegion


class Imports:
    """Everything about imports, of one process."""

    def __init__(self, ports: ImportPorts, *, data_dir: Path, rules: FetchRules, clock: Callable[[], datetime]) -> None:
        """`data_dir` is where files lie while they are read; `clock` returns the present in UTC."""
        self.ours: set[UUID] = set()
        """Imports that this process runs without a job: those of the command line."""

        jobs = _OtherJobs(ports.jobs, self.ours)
        self.importer = ContactImporter(
            ports.database,
            ImportFiles(ports.storage, data_dir),
            Fetcher(rules),
            ImportOrders(CustomFieldService(ports.database, jobs, clock)),
            ContactChanges(ports.database, jobs, clock),
            jobs,
            clock=clock,
        )
        self.templates = ImportTemplates(clock)
        chunks = ChunkWriter(ports.ledger, zones_of_region=ports.zones_of_region, clock=clock)
        self.run = ImportRun(self.importer, chunks)
        self.upkeep = ImportUpkeep(self.importer, self.run)


class _OtherJobs:
    """Asks for jobs, but for those of imports that this process runs itself. Implements `JobRequests`."""

    def __init__(self, jobs: JobRequests, ours: Set[UUID]) -> None:
        self._jobs = jobs
        self._ours = ours

    async def request(
        self, session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str, delay_s: float = 0.0
    ) -> None:
        if not (isinstance(payload, ImportToRun) and payload.import_id in self._ours):
            await self._jobs.request(session, kind, payload, job_id=job_id, delay_s=delay_s)


def fetch_rules(settings: ImportSettings) -> FetchRules:
    """Return what may be fetched."""
    return FetchRules(
        allows_http=settings.allow_http, allowed=networks(settings.allowed_networks), largest_bytes=LARGEST_FILE
    )
