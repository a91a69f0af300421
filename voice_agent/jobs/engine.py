"""DBOS, embedded: the one module that knows it. https://docs.dbos.dev, version 3.4.

It is given runs of jobs, ids alone, keeps them in a queue of its own database, gives each to one process and knows it
as running until that process says that it has ended. What a job is, and when it is tried again, is ours (`jobs.model`).

How it works
------------
DBOS is synchronous inside: it lives in threads and an event loop of its own, and every call to it is made in a thread.
Its one workflow comes back to our event loop with the ids, and waits there. Stopped, it breaks off what runs and leaves
it as running: the same slot, or one that recovers it, gets it again.

Its traps (campaigns.md, 4.5) and what is done about them:

- On SQLite it sets no write-ahead log: the engine is ours. Its file is another one than the database's, so that neither
  waits for the other's writes.
- Its own recovery only knows the executor's own id: `recover` is called for others, by its internal function.
- Runs are bound to an application version: it is pinned, and a workflow that takes ids alone never needs another.
- Its history grows: `purge`. It keeps values by pickle: ours is JSON.
- LISTEN/NOTIFY fixes how its tables are made, and we wait for nothing by it: off.
- It tries a lost connection again without end, up to a minute apart, in threads that outlive everything. Ours fail
  instead, and whoever asked (`jobs.runner`) knows what to do.
- One to a process: it keeps itself in globals.
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from dbos import DBOS, DBOSConfig, EnqueueOptions, Serializer, WorkflowStatus
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from voice_agent.errors import DatabaseUnavailable, SettingsError
from voice_agent.jobs.engine_log import EngineLog
from voice_agent.jobs.model import EngineState, Run, run_of
from voice_agent.storage.database import CONNECT_S, SQLITE_BUSY_MS, TRANSACTION_POOLER_PORT

APPLICATION = "voice-agent"
APPLICATION_VERSION = "1"
"""Of the workflow below. Runs that another version has begun are not taken over, so it stays as it is."""

WORKFLOW = "job"
QUEUE = "jobs"
STATEMENT_MS = 30_000
"""Migrations of its tables are statements, too."""

POOL_SIZE = 5
PURGE_BATCH = 500

CLAIMING_THREAD = "queue-worker-"
"""What names of the engine's threads that claim runs begin with."""

CLAIM_S = 5.0
"""The longest a claim under way is waited for."""

_STATES = {
    "DELAYED": EngineState.WAITING,
    "ENQUEUED": EngineState.WAITING,
    "PENDING": EngineState.RUNNING,
    "SUCCESS": EngineState.DONE,
    "ERROR": EngineState.BROKEN,
    "CANCELLED": EngineState.BROKEN,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": EngineState.DEADLY,
}
_ENDED = [name for name, state in _STATES.items() if state not in {EngineState.WAITING, EngineState.RUNNING}]

_Result = TypeVar("_Result")

Perform = Callable[[Run], Coroutine[Any, Any, None]]


def engine_url(url: URL) -> URL:
    """Return where the engine keeps its tables, given our database.

    Raises SettingsError behind a transaction pooler, where no session holds.
    """
    if url.get_backend_name() == "sqlite":
        return URL.create("sqlite", database=f"{str(url.database).removesuffix('.db')}-jobs.db")
    if url.port == TRANSACTION_POOLER_PORT:
        raise SettingsError(
            "jobs need a direct or session connection: DATABASE_URL with port 5432, not the transaction pooler's 6543"
        )
    # asyncpg's word for it is `ssl`, libpq's `sslmode`; the other words of the one mean nothing to the other.
    mode = url.query.get("sslmode") or url.query.get("ssl")
    return url.set(drivername="postgresql+psycopg", query={"sslmode": mode} if mode else {})


class JobEngine:
    """The engine in this process. `start` it in the event loop that runs the jobs, `stop` it there."""

    _is_taken = False

    def __init__(self, url: URL, perform: Perform, *, slot: str, at_once: int, poll_s: float, recoveries: int) -> None:
        """`perform` does a run, and must not raise; `slot` is the executor id, the same after a restart."""
        self._url = engine_url(url)
        self._perform = perform
        self._slot = slot
        self._at_once = at_once
        self._poll_s = poll_s
        self._recoveries = recoveries
        self._log = EngineLog(time.monotonic)
        self._tables: Engine | None = None
        self._dbos: DBOS | None = None

    # --- life -------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Run what waits. Raises DatabaseUnavailable."""
        if JobEngine._is_taken:
            raise RuntimeError("the engine of jobs runs in this process already")
        JobEngine._is_taken = True
        self._log.open()
        loop = asyncio.get_running_loop()
        try:
            await _in_thread(lambda: self._launch(loop), on_cancel=self._fail_fast)
        except BaseException:
            await self.stop()
            raise

    def _launch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tables = _tables(self._url)
        config: DBOSConfig = {
            "name": APPLICATION,
            "application_version": APPLICATION_VERSION,
            "executor_id": self._slot,
            # A name for its log; the connections are those of our own engine.
            "system_database_url": self._url.set(password=None).render_as_string(),
            "system_database_engine": self._tables,
            "serializer": JsonSerializer(),
            "use_listen_notify": False,
            # It looks whether it is to end so often; we wait for no notification and have no schedule.
            "notification_listener_polling_interval_sec": 0.5,
            "scheduler_polling_interval_sec": 3_600.0,
            "log_level": "WARNING",
            "enable_otlp": False,
        }
        self._dbos = DBOS(config=config)
        perform = self._perform

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=self._recoveries)
        async def job(job_id: str, number: int) -> None:
            run = Run(job_id, number)
            await asyncio.wrap_future(_without_context(lambda: asyncio.run_coroutine_threadsafe(perform(run), loop)))

        DBOS.launch()
        self._fail_fast()
        DBOS.register_queue(QUEUE, worker_concurrency=self._at_once, polling_interval_sec=self._poll_s)

    def _fail_fast(self) -> None:
        """Have what needs the database fail, instead of waiting for it without end."""
        if self._dbos is not None and self._dbos._sys_db_field is not None:
            self._dbos._sys_db_field._retry_connection_errors = False

    async def stop(self) -> None:
        """Break off what runs, and leave no thread."""
        try:
            await _in_thread(self._destroy)
        finally:  # also where the database was lost meanwhile, or whoever stops is stopped: it has ended all the same
            self._log.close()
            JobEngine._is_taken = False

    def _destroy(self) -> None:
        self._fail_fast()
        try:
            if self._dbos is not None:
                _end_claims(self._dbos)
            DBOS.destroy(destroy_registry=True)
        finally:
            self._dbos = None
            if self._tables is not None:
                self._tables.dispose()
                self._tables = None

    # --- runs -------------------------------------------------------------------------------------------------
    async def enqueue(self, runs: Sequence[Run]) -> None:
        """Have runs done by any process. One that it knows already stays as it is. Raises DatabaseUnavailable."""
        await _in_thread(lambda: _enqueue(runs))

    async def states(self, runs: Sequence[Run]) -> dict[Run, EngineState]:
        """Return where these runs are; without those that it does not know."""
        ids = [run.workflow_id for run in runs]
        found = await _in_thread(lambda: _list(workflow_ids=ids))
        return {run: _STATES[each.status] for each in found if (run := run_of(each.workflow_id))}

    async def running(self, *, slot: str | None = None) -> dict[Run, str]:
        """Return what runs, by its slot: everywhere, or in one of them."""
        found = await _in_thread(lambda: _list(status="PENDING", executor_id=slot))
        return {run: each.executor_id or "" for each in found if (run := run_of(each.workflow_id))}

    async def recover(self, slot: str) -> None:
        """Have what ran in a slot, whose process is dead, done by others."""
        await _in_thread(lambda: DBOS._recover_pending_workflows([slot]))

    async def resume(self, run: Run) -> None:
        """Have a run done once more that it believes to be running, and is not."""
        await _in_thread(lambda: DBOS.resume_workflow(run.workflow_id, queue_name=QUEUE))

    async def purge(self, before: datetime) -> int:
        """Forget what ended before a moment; return how many that were."""
        return await _in_thread(lambda: _purge(before))


class JsonSerializer(Serializer):
    """Values in the engine's tables as JSON: they can be read, and reading them runs no code."""

    def serialize(self, data: Any) -> str:
        """Return its text; what is no JSON, an exception, by its words."""
        return msgspec.json.encode(data, enc_hook=repr).decode()

    def deserialize(self, serialized_data: str) -> Any:
        """Return the value of a text."""
        return msgspec.json.decode(serialized_data)

    def name(self) -> str:
        """Return what its rows say that they were written with."""
        return "voice_agent_json"


def _enqueue(runs: Sequence[Run]) -> None:
    for run in runs:
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": run.workflow_id,
            "app_version": APPLICATION_VERSION,
        }
        DBOS.enqueue_workflow_with_options(options, run.job_id, run.number)


def _list(**filters: Any) -> list[WorkflowStatus]:
    return DBOS.list_workflows(name=WORKFLOW, load_input=False, load_output=False, **filters)


def _purge(before: datetime) -> int:
    purged = 0
    while found := _list(status=_ENDED, completed_before=before.isoformat(), limit=PURGE_BATCH):
        DBOS.delete_workflows([each.workflow_id for each in found])
        purged += len(found)
    return purged


def _end_claims(dbos: DBOS) -> None:
    """Wait for the threads that claim runs: one that is about to start a run would wait for a stopped loop forever."""
    for stop in dbos.background_thread_stop_events:
        stop.set()
    deadline = time.monotonic() + CLAIM_S
    for thread in threading.enumerate():
        if thread.name.startswith(CLAIMING_THREAD):
            thread.join(max(0.0, deadline - time.monotonic()))


def _tables(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        tables = create_engine(url)
        event.listen(tables, "connect", _prepare_sqlite)
        return tables
    options = f"-c statement_timeout={STATEMENT_MS} -c idle_in_transaction_session_timeout={STATEMENT_MS}"
    arguments = {"connect_timeout": round(CONNECT_S), "options": options, "application_name": APPLICATION}
    return create_engine(
        url, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, pool_timeout=STATEMENT_MS / 1_000, pool_pre_ping=True,
        connect_args=arguments,
    )  # fmt: skip


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", f"busy_timeout={SQLITE_BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _without_context(call: Callable[[], _Result]) -> _Result:
    """Call so that what it starts has no context variable of the engine's."""
    return contextvars.Context().run(call)


async def _in_thread(call: Callable[[], _Result], *, on_cancel: Callable[[], None] = lambda: None) -> _Result:
    """Call in a thread; cancelled, wait for its end all the same: half a start could not be stopped."""
    running = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        on_cancel()
        await asyncio.wait([running])
        raise
    except (DBAPIError, PoolTimeoutError) as error:
        raise DatabaseUnavailable(f"the engine of jobs has lost its database: {type(error).__name__}") from error
