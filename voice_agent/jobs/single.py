"""One process alone runs jobs on a SQLite database: a lock beside its file."""

import fcntl
import os
from pathlib import Path

from voice_agent.errors import SettingsError


class SingleProcess:
    """A lock that the operating system ends with the process, however that ends: nothing is ever stale."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock. Raises SettingsError, with the process that has it, where another one runs jobs."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise SettingsError(
                f"process {owner} runs the jobs of this SQLite database already, and only one may: set "
                "JOBS_IN_SERVER=false for the others, or DATABASE_URL to a Postgres"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back. Safe to call twice. The file stays: removing it would let two processes lock two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
