"""A process that runs jobs, for tests that kill it: `python -m tests.jobs.worker_process FOLDER`.

Its kinds: `note` writes its begin and its end; `hold` waits in between for a file of its name; `deadly` kills the
process. `tick` is its periodic work. Every line is one write to a file that is opened to append, so that lines of
processes do not mix.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.jobs.world import AT_ONCE, FAST, Note, until
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.jobs.worker import work
from voice_agent.settings import load_settings
from voice_agent.storage.database import Database


def main(folder: Path) -> None:
    journal = os.open(folder / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(what: str, name: str) -> None:
        os.write(journal, f"{what} {name} {os.getpid()}\n".encode())

    async def note(payload: Note, _: JobContext) -> None:
        write("begin", payload.name)
        await asyncio.sleep(0.01)
        write("end", payload.name)

    async def hold(payload: Note, _: JobContext) -> None:
        write("begin", payload.name)
        await until(lambda: asyncio.to_thread((folder / payload.name).exists))
        write("end", payload.name)

    async def deadly(payload: Note, _: JobContext) -> None:
        write("begin", payload.name)
        os.kill(os.getpid(), signal.SIGKILL)

    async def tick() -> None:
        write("tick", "-")
        await asyncio.sleep(0.1)
        write("tock", "-")

    @asynccontextmanager
    async def register(jobs: Jobs, _: Database) -> AsyncIterator[None]:
        for name, handler in (("note", note), ("hold", hold), ("deadly", deadly)):
            jobs.register(name, Note, handler, retry=AT_ONCE)
        jobs.every("tick", 0.05, tick)
        yield
        write("closed", "-")

    work(load_settings(), register, times=FAST)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
