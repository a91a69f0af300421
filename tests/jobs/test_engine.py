"""The engine, and what we rely on in it: parts of it are internal to DBOS, so these tests are the contract."""

import asyncio
import inspect
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from dbos import DBOS
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import OperationalError

from tests.jobs.world import until
from voice_agent.errors import DatabaseUnavailable, SettingsError
from voice_agent.jobs.engine import CLAIMING_THREAD, JobEngine, JsonSerializer, engine_url
from voice_agent.jobs.model import EngineState, Run
from voice_agent.storage.database import Database


class Work:
    """What runs do, and have done."""

    def __init__(self) -> None:
        self.done: list[Run] = []
        self.threads: set[str] = set()
        self.may_end = asyncio.Event()

    async def __call__(self, run: Run) -> None:
        self.threads.add(threading.current_thread().name)
        if run.job_id == "held":
            await self.may_end.wait()
        if run.job_id == "broken":
            raise RuntimeError("not JSON")
        self.done.append(run)


@asynccontextmanager
async def engine(url: URL, work: Work, *, slot: str = "0", recoveries: int = 5) -> AsyncIterator[JobEngine]:
    opened = JobEngine(url, work, slot=slot, at_once=5, poll_s=0.03, recoveries=recoveries)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.stop()


async def state(opened: JobEngine, run: Run) -> EngineState | None:
    return (await opened.states([run])).get(run)


async def until_state(opened: JobEngine, run: Run, wanted: EngineState) -> None:
    async def is_there() -> bool:
        return await state(opened, run) is wanted

    await until(is_there)


async def test_a_run_is_done_once_in_our_own_loop(database_url: URL) -> None:
    work, run = Work(), Run("a", 1)
    async with engine(database_url, work) as opened:
        assert await state(opened, run) is None
        await opened.enqueue([run, run])
        await until_state(opened, run, EngineState.DONE)
        await opened.enqueue([run])
        await opened.enqueue([Run("a", 2)])
        await until_state(opened, Run("a", 2), EngineState.DONE)

    assert work.done == [run, Run("a", 2)]
    assert work.threads == {threading.main_thread().name}


async def test_broken_off_it_is_done_when_the_slot_is_back(database_url: URL) -> None:
    work, run = Work(), Run("held", 1)
    async with engine(database_url, work) as opened:
        await opened.enqueue([run])
        await until_state(opened, run, EngineState.RUNNING)
        assert await opened.running() == {run: "0"}
        assert await opened.running(slot="1") == {}

    work.may_end.set()
    async with engine(database_url, work) as opened:
        await until_state(opened, run, EngineState.DONE)
    assert work.done == [run]


async def test_what_ran_in_a_dead_slot_is_done_by_another_once_it_is_recovered(database_url: URL) -> None:
    """Campaigns 4.5, trap 5: it is not by itself. Recovering it twice is recovering it once."""
    work, run = Work(), Run("held", 1)
    async with engine(database_url, work, slot="dead") as opened:
        await opened.enqueue([run])
        await until_state(opened, run, EngineState.RUNNING)

    work.may_end.set()
    async with engine(database_url, work, slot="alive") as opened:
        await opened.enqueue([Run("other", 1)])
        await until_state(opened, Run("other", 1), EngineState.DONE)
        assert await opened.running() == {run: "dead"}

        await opened.recover("dead")
        await opened.recover("dead")
        await until_state(opened, run, EngineState.DONE)
    assert work.done == [Run("other", 1), run]


async def test_what_it_wrongly_believes_to_run_is_resumed(database_url: URL) -> None:
    """Trap 6, #716: a restart of the database strands work."""
    work, run = Work(), Run("a", 1)
    async with engine(database_url, work) as opened:
        await opened.enqueue([run])
        await until_state(opened, run, EngineState.DONE)
        await _strand(opened, run)
        assert await opened.running(slot="0") == {run: "0"}

        await opened.resume(run)
        await until_state(opened, run, EngineState.DONE)
    assert work.done == [run, run]


async def _strand(opened: JobEngine, run: Run) -> None:
    def update() -> None:
        assert opened._tables is not None
        schema = "" if opened._tables.dialect.name == "sqlite" else "dbos."
        with opened._tables.begin() as connection:
            connection.execute(
                text(f"UPDATE {schema}workflow_status SET status = 'PENDING' WHERE workflow_uuid = :id"),  # noqa: S608
                {"id": run.workflow_id},
            )

    await asyncio.to_thread(update)


async def test_a_run_that_kills_its_processes_is_not_given_to_another_one(database_url: URL) -> None:
    work, run = Work(), Run("held", 1)
    for wanted in (EngineState.RUNNING, EngineState.DEADLY):
        async with engine(database_url, work, recoveries=0) as opened:
            await opened.enqueue([run])
            await until_state(opened, run, wanted)
    assert work.done == []


async def test_an_error_of_our_own_is_kept_without_pickle(database_url: URL) -> None:
    work, run = Work(), Run("broken", 1)
    async with engine(database_url, work) as opened:
        await opened.enqueue([run])
        await until_state(opened, run, EngineState.BROKEN)


async def test_what_ended_long_ago_is_forgotten_and_what_did_not_is_not(database_url: URL) -> None:
    work = Work()
    old, held = [Run(f"a{number}", 1) for number in range(3)], Run("held", 1)
    async with engine(database_url, work) as opened:
        await opened.enqueue([*old, held])
        for run in old:
            await until_state(opened, run, EngineState.DONE)
        await until_state(opened, held, EngineState.RUNNING)

        assert await opened.purge(datetime.now(UTC) - timedelta(minutes=1)) == 0
        assert await opened.purge(datetime.now(UTC) + timedelta(minutes=1)) == 3
        assert await opened.states([*old, held]) == {held: EngineState.RUNNING}
        work.may_end.set()


async def test_stopping_leaves_no_thread_and_another_can_start(sqlite_url: URL) -> None:
    before = set(threading.enumerate())
    async with engine(sqlite_url, Work()) as opened:
        await opened.enqueue([Run("a", 1)])
        await until_state(opened, Run("a", 1), EngineState.DONE)
        started = set(threading.enumerate()) - before
        assert any(thread.name.startswith(CLAIMING_THREAD) for thread in started)
        with pytest.raises(RuntimeError, match="already"):
            await JobEngine(sqlite_url, Work(), slot="1", at_once=1, poll_s=0.1, recoveries=1).start()
        assert opened._dbos is not None

    left = [t.name for t in set(threading.enumerate()) - before if not t.name.startswith("asyncio")]
    assert left == []


async def test_another_can_start_where_whoever_stopped_it_was_cancelled(sqlite_url: URL) -> None:
    opened = JobEngine(sqlite_url, Work(), slot="0", at_once=1, poll_s=0.03, recoveries=5)
    await opened.start()
    stopping = asyncio.create_task(opened.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    async with engine(sqlite_url, Work()) as another:
        assert await another.running() == {}


async def test_f40_another_can_start_where_it_stopped_without_its_database(
    sqlite_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    destroy = DBOS.destroy

    def fail(**options: bool) -> None:
        destroy(**options)
        raise OperationalError("", {}, ConnectionError("away"))

    opened = JobEngine(sqlite_url, Work(), slot="0", at_once=1, poll_s=0.03, recoveries=5)
    await opened.start()
    with monkeypatch.context() as patch:
        patch.setattr(DBOS, "destroy", fail)
        with pytest.raises(DatabaseUnavailable):
            await opened.stop()
    async with engine(sqlite_url, Work()) as another:
        assert await another.running() == {}


async def test_a_start_that_fails_leaves_nothing(unused_tcp_port: int) -> None:
    nowhere = URL.create("postgresql+asyncpg", "x", host="127.0.0.1", port=unused_tcp_port, database="x")
    opened = JobEngine(nowhere, Work(), slot="0", at_once=1, poll_s=0.1, recoveries=1)
    starting = asyncio.create_task(opened.start())
    done, _ = await asyncio.wait([starting], timeout=1.0)
    starting.cancel()
    result = (await asyncio.gather(starting, return_exceptions=True))[0]

    assert isinstance(result, BaseException)
    assert not JobEngine._is_taken


async def test_sqlite_has_a_file_of_its_own_with_a_write_ahead_log(sqlite: Database) -> None:
    async with engine(sqlite.url, Work()) as opened:
        assert opened._tables is not None
        with opened._tables.connect() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
            assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 1

    path = str(sqlite.url.database).removesuffix(".db") + "-jobs.db"
    opened_file = sqlite3.connect(path)
    assert opened_file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'workflow_status'").fetchone() == (1,)
    opened_file.close()


def test_f43_a_transaction_pooler_is_refused_with_the_port_that_works() -> None:
    with pytest.raises(SettingsError, match="5432"):
        engine_url(make_url("postgresql+asyncpg://u:p@pooler.test:6543/d"))


def test_its_address_is_ours_in_its_drivers_words() -> None:
    def of(url: str) -> str:
        return engine_url(make_url(url)).render_as_string(hide_password=False)

    assert of("sqlite+aiosqlite:////x/voice_agent.db") == "sqlite:////x/voice_agent-jobs.db"
    assert of("postgresql+asyncpg://u:p@h:5432/d?ssl=require") == "postgresql+psycopg://u:p@h:5432/d?sslmode=require"
    assert of("postgresql+asyncpg://u:p@h/d?prepared_statement_cache_size=0") == "postgresql+psycopg://u:p@h/d"


def test_values_are_json() -> None:
    serializer = JsonSerializer()

    assert serializer.deserialize(serializer.serialize({"args": ("a", 1), "kwargs": {}})) == {
        "args": ["a", 1],
        "kwargs": {},
    }
    assert "RuntimeError" in serializer.serialize(RuntimeError("x"))
    assert serializer.name() == "voice_agent_json"


def test_the_internal_parts_that_we_use_are_there() -> None:
    """DBOS may rename them in any version: pyproject pins it."""
    from dbos._sys_db import SystemDatabase

    assert list(inspect.signature(DBOS._recover_pending_workflows).parameters) == ["executor_ids"]
    assert "self._retry_connection_errors = " in inspect.getsource(SystemDatabase.__init__)
    assert "self._sys_db_field" in inspect.getsource(DBOS.__init__)
