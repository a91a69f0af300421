"""What is done in the background, by whom it may be: the kinds of jobs and the periodic work of this installation.

Joins slices and storage to `jobs`; a server and a `voice-agent worker` register the same.
"""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy import select

from voice_agent.calls.carrier_recordings import (
    FETCH_RECORDING,
    FETCH_S,
    CarrierRecordings,
    RecordingToFetch,
)
from voice_agent.calls.erasure import ErasedFiles
from voice_agent.calls.record import call_files
from voice_agent.calls.service import DELETE_FILES, ERASED_AT_ONCE, CallService
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.rest import idempotency
from voice_agent.storage.database import Database
from voice_agent.storage.files import StorageService
from voice_agent.storage.tables import OrganisationRow

log = structlog.get_logger(__name__)

HOUR_S = 3_600.0


class Background:
    """The handlers. `register` puts them where they are run."""

    def __init__(
        self,
        database: Database,
        calls: CallService,
        storage: StorageService,
        recordings: CarrierRecordings,
        data_dir: Path,
    ) -> None:
        self._database = database
        self._recordings = recordings
        self._calls = calls
        self._storage = storage
        self._data_dir = data_dir

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do. Before `Jobs.open`."""
        jobs.register(DELETE_FILES, ErasedFiles, self.delete_files)
        jobs.register(
            FETCH_RECORDING,
            RecordingToFetch,
            self._recordings.fetch,
            timeout_s=FETCH_S,
            give_up=self._recordings.give_up,
        )
        jobs.every("carrier_recordings", HOUR_S, self._recordings.check)
        jobs.every("retention", HOUR_S, self.erase_old_calls)
        jobs.every("idempotency", HOUR_S, self.forget_old_keys)

    async def delete_files(self, files: ErasedFiles, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """Delete what a call left outside of the database, at the carrier too; what is gone already is no error.

        The folder on a worker's disk is deleted where this process shares that disk; elsewhere `calls.filing` of the
        machine that has it deletes it, because the call is marked erased.
        """
        for key in files.keys:
            await self._storage.delete(key)
        if files.call_sid:
            folder = call_files(self._data_dir, files.call_sid).folder
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if files.carrier_sids or files.is_carrier_recorded:
            await self._recordings.delete_copies(files.call_sid, files.carrier_sids)

    async def erase_old_calls(self) -> None:
        """Erase the calls that their organisation does not keep any longer, some at a time."""
        async with self._database.read() as session:
            organisations = (await session.scalars(select(OrganisationRow.id))).all()
        for org_id in organisations:
            erased = ERASED_AT_ONCE
            while erased == ERASED_AT_ONCE:
                async with self._database.write() as session:
                    erased = await self._calls.erase_past_their_time(session, org_id)
                if erased:
                    log.info("calls_erased", org_id=str(org_id), calls=erased)

    async def forget_old_keys(self) -> None:
        """Forget the idempotency keys that are not kept any more."""
        async with self._database.write() as session:
            await idempotency.purge(session, datetime.now(UTC))
