"""A process that runs jobs: what it registers, and that it refuses what it cannot do. tests/jobs has its life."""

from pathlib import Path

import pytest

from voice_agent.jobs.service import Jobs
from voice_agent.settings import JobsSettings, ServerSettings, Settings
from voice_agent.storage.database import Database
from voice_agent.worker import handlers


async def test_a_worker_does_the_same_work_as_a_server(sqlite: Database, tmp_path: Path) -> None:
    jobs = Jobs(sqlite, JobsSettings())
    settings = Settings(server=ServerSettings(data_dir=tmp_path))
    async with handlers(settings)(jobs, sqlite):
        with pytest.raises(ValueError, match="there already"):
            jobs.every("retention", 1.0, _nothing)


async def _nothing() -> None:
    raise AssertionError
