"""The servers and databases that tests ask for by name: `postgres`, `redis_url`, `sqlite`, `database`.

`database` runs a test twice, on SQLite and on Postgres; both have every migration.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from voice_agent.storage.database import Database


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The run's Postgres. A test that stops it must start it again."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the run's Redis."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"

    async def migrate() -> None:
        database = Database(URL.create("sqlite+aiosqlite", database=str(path)))
        await database.migrate()
        await database.close()

    asyncio.run(migrate())
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, _migrated_sqlite: Path) -> URL:
    """The address of a fresh SQLite database."""
    path = tmp_path / "test.db"
    shutil.copy(_migrated_sqlite, path)
    return URL.create("sqlite+aiosqlite", database=str(path))


@pytest.fixture
async def sqlite(sqlite_url: URL) -> AsyncIterator[Database]:
    """A fresh SQLite database."""
    database = Database(sqlite_url)
    yield database
    await database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> URL:
    """The address of a fresh database of each kind."""
    if request.param == "sqlite":
        url: URL = request.getfixturevalue("sqlite_url")
        return url
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.fresh_database()


@pytest.fixture
async def database(database_url: URL) -> AsyncIterator[Database]:
    """A fresh database of each kind."""
    opened = Database(database_url)
    yield opened
    await opened.close()
