"""The database, on SQLite and on Postgres."""

import asyncio
import gc
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Connection, Index, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from tests.servers.postgres import PostgresServer
from voice_agent.errors import DatabaseUnavailable, SettingsError
from voice_agent.settings import ServerSettings, Settings, StorageSettings
from voice_agent.storage.database import Database, database_url
from voice_agent.storage.tables import OrganisationRow, Row

NOW = datetime(2026, 11, 25, 12, 0, 0, 123_456, tzinfo=UTC)


def organisation(name: str = "Harbour") -> OrganisationRow:
    return OrganisationRow(name=name, created_at=NOW)


async def names(database: Database) -> list[str]:
    async with database.read() as session:
        return list((await session.scalars(select(OrganisationRow.name).order_by(OrganisationRow.name))).all())


async def test_what_was_written_is_read(database: Database) -> None:
    async with database.write() as session:
        session.add(organisation())

    async with database.read() as session:
        row = (await session.scalars(select(OrganisationRow))).one()
    assert (row.name, row.settings, row.created_at) == ("Harbour", {}, NOW)
    assert row.created_at.tzinfo is UTC
    assert row.id.version == 7


async def test_what_failed_has_left_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as session:
            session.add(organisation())
            await session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await names(database) == []


async def test_a_task_that_is_cancelled_in_a_transaction_holds_up_nobody(database: Database) -> None:
    """However far it had come; a lock that is left is one until the next collection of garbage, so there is none."""
    began, cancelled_with_lock = asyncio.Event(), 0

    async def write() -> None:
        async with database.write() as session:
            session.add(organisation("Lost"))
            await session.flush()
            began.set()
            for _ in range(20):
                (await session.scalars(select(OrganisationRow))).all()
            session.add(organisation("Kept"))

    gc.disable()
    try:
        for attempt in range(40):
            began.clear()
            task = asyncio.create_task(write())
            await began.wait()
            await asyncio.sleep(attempt * 0.0004)
            cancelled_with_lock += task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            async with asyncio.timeout(5), database.write() as session:
                session.add(organisation(f"Next {attempt}"))
    finally:
        gc.enable()
    assert cancelled_with_lock > 10
    found = await names(database)
    assert sum(name.startswith("Next") for name in found) == 40
    assert found.count("Lost") == found.count("Kept")


async def test_a_moment_of_another_zone_is_stored_as_utc_and_one_without_is_refused(database: Database) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-6)))
    async with database.write() as session:
        session.add(OrganisationRow(name="Far", created_at=elsewhere))
    async with database.read() as session:
        assert (await session.scalars(select(OrganisationRow.created_at))).one() == NOW

    with pytest.raises(StatementError, match="zone"):
        async with database.write() as session:
            session.add(OrganisationRow(name="Nowhere", created_at=NOW.replace(tzinfo=None)))


async def test_writers_at_once_all_get_through(database: Database) -> None:
    async def rename(number: int) -> None:
        async with database.write() as session:
            row = (await session.scalars(select(OrganisationRow).with_for_update())).one()
            row.name = f"{row.name}{number}"

    async with database.write() as session:
        session.add(organisation(""))
    await asyncio.gather(*(rename(number) for number in range(8)))

    assert sorted((await names(database))[0]) == list("01234567")


async def test_a_transaction_that_got_in_the_way_is_repeated(database: Database) -> None:
    tries = 0

    async def work(_: object) -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise _Deadlock
        return tries

    assert await database.transact(work) == 2


class _Deadlocked(Exception):
    sqlstate = "40P01"


_Deadlock = IntegrityError("SELECT 1", {}, _Deadlocked())


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
async def test_the_migrations_make_the_tables_that_the_code_has(database: Database) -> None:
    def is_of_this_kind(item: object, *_: object) -> bool:
        """Tell whether this kind of database has it: an index may be for Postgres alone."""
        return not (database.is_sqlite and isinstance(item, Index) and item._ddl_if is not None)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"include_object": is_of_this_kind})
        return list(compare_metadata(context, Row.metadata))

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_twice_and_at_once_is_migrating(postgres: PostgresServer) -> None:
    url = postgres.fresh_database(migrated=False)
    databases = [Database(url) for _ in range(3)]
    try:
        await asyncio.gather(*(each.migrate() for each in databases))
        await databases[0].migrate()

        assert await names(databases[0]) == []
    finally:
        for each in databases:
            await each.close()


async def test_on_postgres_no_table_is_open_to_supabases_own_interface(postgres: PostgresServer) -> None:
    database = Database(postgres.fresh_database())
    try:
        async with database.read() as session:
            rows = await session.execute(
                text(
                    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
                    "AND NOT relrowsecurity AND relname <> 'alembic_version'"
                )
            )
            assert rows.scalars().all() == []
    finally:
        await database.close()


async def test_sqlite_keeps_a_write_ahead_log_and_foreign_keys(sqlite: Database) -> None:
    async with sqlite.read() as session:
        assert (await session.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await session.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1


async def test_a_database_that_is_not_there_is_said_to_be_unavailable(unused_tcp_port: int) -> None:
    database = Database(URL.create("postgresql+asyncpg", "x", host="127.0.0.1", port=unused_tcp_port, database="x"))
    try:
        with pytest.raises(DatabaseUnavailable):
            async with database.read() as session:
                await session.execute(text("SELECT 1"))
    finally:
        await database.close()


async def test_f40_a_connection_that_breaks_is_said_to_be_unavailable_and_the_next_one_works() -> None:
    server = PostgresServer()
    server.start()
    database = Database(server.url())

    async def lose_the_server() -> None:
        async with database.read() as session:
            await session.execute(text("SELECT 1"))
            await asyncio.to_thread(server.stop)
            await session.execute(text("SELECT 1"))

    try:
        with pytest.raises(DatabaseUnavailable):
            await lose_the_server()

        await asyncio.to_thread(server.start)
        async with database.read() as session:
            assert (await session.execute(text("SELECT 1"))).scalar_one() == 1
    finally:
        await database.close()
        server.remove()


def test_the_settings_name_the_database(tmp_path: Path) -> None:
    def chosen(url: str) -> URL:
        storage = StorageSettings.model_validate({"database_url": url})
        return database_url(Settings(server=ServerSettings(data_dir=tmp_path), storage=storage))

    assert chosen("").database == str(tmp_path / "voice_agent.db")
    assert chosen("postgresql://u:p@h/d").drivername == "postgresql+asyncpg"
    assert chosen("postgres://u:p@h/d").drivername == "postgresql+asyncpg"
    assert chosen("sqlite:///x.db").drivername == "sqlite+aiosqlite"
    for refused in ("mysql://h/d", "sqlite://", "nonsense"):
        with pytest.raises(SettingsError):
            chosen(refused)


async def test_f43_through_the_transaction_pooler_nothing_is_prepared_and_nothing_is_migrated() -> None:
    database = Database(URL.create("postgresql+asyncpg", "u", host="pooler.test", port=6543, database="d"))

    assert database.is_pooled_by_transaction
    with pytest.raises(SettingsError, match="5432"):
        await database.migrate()
    await database.close()


async def test_f40_a_database_that_hangs_up_while_a_connection_is_opened_is_away() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"N")  # no TLS
        await reader.read(8)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        database = Database(URL.create("postgresql+asyncpg", "ann", "secret", "127.0.0.1", port, "calls"))
        with pytest.raises(DatabaseUnavailable, match="lost"):
            await names(database)
        await database.close()
