"""The database: one engine for a process, transactions that are opened at the edge, the schema brought up to date.

Services and repositories are handed a session and never commit; a request, a webhook or a job opens `write` or `read`,
and what it did is committed whole or not at all. SQLite and Postgres run the same statements. SQLite takes its write
lock when a `write` begins, so that two writers wait for each other instead of failing in the middle. On Postgres no
statement runs longer than `STATEMENT_S` (F42), and in Supabase's transaction mode (port 6543) nothing is prepared:
https://supabase.com/docs/guides/database/connecting-to-postgres.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, NullPool, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from voice_agent.errors import DatabaseUnavailable, SettingsError
from voice_agent.settings import Settings

log = structlog.get_logger(__name__)

STATEMENT_S = 5.0
"""The longest a statement may take; a screen's query takes 0.3 s at the most (campaigns.md, section 6)."""

CONNECT_S = 3.0
"""The longest a connection may take to open, and a request may wait for one of the pool."""

POOL_SIZE = 10
SQLITE_BUSY_MS = 10_000
"""How long a writer waits for the one before it."""

MIGRATION_LOCK = 7_266_001
"""Key of the advisory lock under which one process at a time brings the schema up to date; any number will do."""

TRANSACTION_POOLER_PORT = 6543

_MIGRATIONS = Path(__file__).parent / "migrations"
_IS_WRITE = {"is_write": True}
_RETRIED_STATES = frozenset({"40001", "40P01", "55P03"})
"""Serialisation failure, deadlock, lock not available."""

_AWAY_STATES = frozenset({"57P01", "57P02", "57P03", "53300"})
"""It is being stopped, has crashed, is starting, or has no connection left."""

_LOST_CLASS = "08"
"""The class of states that say that the connection broke, also while it was opened."""

_Result = TypeVar("_Result")


def database_url(settings: Settings) -> URL:
    """Return where the database is, with the driver that we use. Raises SettingsError."""
    given = settings.storage.database_url.get_secret_value()
    if not given:
        return URL.create("sqlite+aiosqlite", database=str(settings.server.data_dir / "voice_agent.db"))
    try:
        url = make_url(given)
    except ArgumentError:
        raise SettingsError("DATABASE_URL is no database address: postgresql://… or sqlite:///…") from None
    match url.get_backend_name():
        case "postgresql" | "postgres":
            return url.set(drivername="postgresql+asyncpg")
        case "sqlite" if url.database and url.database != ":memory:":
            return url.set(drivername="sqlite+aiosqlite")
        case _:
            raise SettingsError("DATABASE_URL must begin with postgresql:// or sqlite:/// and name a database")


class Database:
    """The process's connections. Make it in the event loop that uses it; `close` it at the end."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.is_pooled_by_transaction = not self.is_sqlite and url.port == TRANSACTION_POOLER_PORT
        self._turn_to_write: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
        if self.is_sqlite:
            # SQLite's writers wait in long naps, each with a connection that a reader could have: here they queue.
            turn = asyncio.Lock()
            self._turn_to_write = lambda: turn
        self.engine = self._sqlite_engine() if self.is_sqlite else self._postgres_engine()
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    def _sqlite_engine(self) -> AsyncEngine:
        if self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(self.url, pool_size=POOL_SIZE, pool_timeout=CONNECT_S, max_overflow=0)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        event.listen(engine.sync_engine, "invalidate", _roll_back_sqlite)
        return engine

    def _postgres_engine(self) -> AsyncEngine:
        arguments: dict[str, Any] = {"timeout": CONNECT_S, "command_timeout": STATEMENT_S}
        if self.is_pooled_by_transaction:
            arguments |= {
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__",
            }
            return create_async_engine(self.url, poolclass=NullPool, connect_args=arguments)
        return create_async_engine(
            self.url, pool_size=POOL_SIZE, pool_timeout=CONNECT_S, pool_pre_ping=True, connect_args=arguments
        )

    async def close(self) -> None:
        """Close every connection. Safe to call twice."""
        await self.engine.dispose()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that may change rows; committed at the end, rolled back where the body raises.

        Raises DatabaseUnavailable where the database cannot be reached or does not answer in time.
        """
        async with self._turn_to_write(), self._open() as session:
            if self.is_sqlite:
                await session.connection(execution_options=_IS_WRITE)
            yield session
            await session.commit()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that only reads: one state of the database throughout on SQLite."""
        async with self._open() as session:
            yield session

    async def transact(self, work: Callable[[AsyncSession], Awaitable[_Result]], *, tries: int = 3) -> _Result:
        """Run `work` in a `write`, again from its beginning where another transaction got in its way."""
        for attempt in range(1, tries):
            try:
                async with self.write() as session:
                    return await work(session)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _RETRIED_STATES:
                    raise
                log.info("transaction_repeated", attempt=attempt)
                await asyncio.sleep(0.02 * attempt)
        async with self.write() as session:
            return await work(session)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[AsyncSession]:
        try:
            async with self._sessions() as session:
                yield session
        except (OSError, InterfaceError, PoolTimeoutError, TimeoutError) as error:
            raise DatabaseUnavailable(f"the database cannot be reached: {type(error).__name__}") from error
        except OperationalError as error:
            raise DatabaseUnavailable(f"the database does not answer: {type(error.orig).__name__}") from error
        except DBAPIError as error:
            if not error.connection_invalidated and not _is_away(error):
                raise
            raise DatabaseUnavailable("the connection to the database was lost") from error

    # --- the schema -------------------------------------------------------------------------------------------
    async def migrate(self) -> None:
        """Bring the schema up to date; safe when several processes do it at once.

        Raises SettingsError through the transaction pooler, where a migration may not run.
        """
        if self.is_pooled_by_transaction:
            raise SettingsError("migrations need a direct or session connection: port 5432, not 6543")
        async with self.engine.connect() as connection:
            # First without a lock: a process that is started again must not hold up the calls of the others.
            if await connection.run_sync(_is_up_to_date):
                return
        async with self.engine.connect() as connection:
            if self.is_sqlite:
                connection = await connection.execution_options(**_IS_WRITE)
            async with connection.begin():
                if not self.is_sqlite:
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                await connection.run_sync(_upgrade)


def _is_away(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    return state in _AWAY_STATES or state.startswith(_LOST_CLASS)


def _is_up_to_date(connection: Connection) -> bool:
    newest = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == newest


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _prepare_sqlite(connection: Any, _: object) -> None:
    # The driver's own BEGIN would come too late: `_begin_sqlite` sends it.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={SQLITE_BUSY_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _roll_back_sqlite(connection: Any, _: object, __: object) -> None:
    """End the transaction of a connection that is about to be closed because its task was cancelled.

    Closing does not: a cursor that the task has left keeps SQLite's connection, and its write lock with it.
    """
    driver = connection.driver_connection
    if driver._connection is not None:
        # The queue of the driver's thread: after the statement under way, before the close.
        driver._tx.put_nowait((None, driver._connection.rollback))


def _begin_sqlite(connection: Connection) -> None:
    is_write = connection.get_execution_options().get("is_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")
