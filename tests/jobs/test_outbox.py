"""The SQL of jobs, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.jobs.world import Note
from tests.servers.postgres import PostgresServer
from voice_agent.jobs.model import Run
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.jobs.workers import Worker, WorkerRegister
from voice_agent.storage.database import Database
from voice_agent.storage.tables import JobRow

outbox = JobOutbox()

FAR_S = 3_600.0


async def living(database: Database, slot: str) -> str:
    """Have a worker live; return its id."""
    worker = Worker(id=f"{slot}-1", slot=slot, host="here", version="1")
    assert await WorkerRegister(database, dead_after_s=FAR_S).take(worker) == ""
    return worker.id


async def leave(database: Database, slot: str) -> None:
    worker = Worker(id=f"{slot}-1", slot=slot, host="here", version="1")
    await WorkerRegister(database, dead_after_s=FAR_S).leave(worker)


async def begin(database: Database, run: Run, *, by: str) -> JobRow | None:
    async with database.write() as session:
        return await outbox.begin(session, run, by=by)


def now(later_s: float = 1.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=later_s)


async def ask(database: Database, job_id: str = "a", *, delay_s: float = 0.0, name: str = "") -> None:
    async with database.write() as session:
        await outbox.request(session, "note", Note(name), job_id=job_id, delay_s=delay_s)


async def hand_over(database: Database, *, limit: int = 10, at: datetime | None = None) -> list[Run]:
    async with database.write() as session:
        return await outbox.hand_over(session, at or now(), limit=limit)


async def counts(database: Database) -> tuple[int, int]:
    async with database.read() as session:
        return await outbox.count(session)


async def test_a_transaction_that_is_rolled_back_leaves_no_job(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as session:
            await outbox.request(session, "note", Note(), job_id="a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await counts(database) == (0, 0)


async def test_asked_for_twice_it_is_one_and_the_first(database: Database) -> None:
    await ask(database, name="first")
    await ask(database, name="second")

    (run,) = await hand_over(database)
    row = await begin(database, run, by="w")
    assert row is not None
    assert row.payload == {"name": "first"}


@pytest.mark.parametrize("job_id", ["", "a#b", "x" * 201])
async def test_an_id_that_cannot_be_one_is_refused(sqlite: Database, job_id: str) -> None:
    async with sqlite.write() as session:
        with pytest.raises(ValueError, match="a job's id"):
            await outbox.request(session, "note", Note(), job_id=job_id)


async def test_what_is_due_is_handed_over_once_the_oldest_first(database: Database) -> None:
    await ask(database, "later", delay_s=3_600)
    for name in ("a", "b", "c"):
        await ask(database, name)

    async with database.read() as session:
        assert await outbox.has_due(session, now())
    assert set(await hand_over(database, limit=2)) == {Run("a", 1), Run("b", 1)}
    assert await hand_over(database) == [Run("c", 1)]
    assert await hand_over(database) == []
    async with database.read() as session:
        assert not await outbox.has_due(session, now())
    assert await hand_over(database, at=now(3_601)) == [Run("later", 1)]


async def test_taken_back_it_is_another_run_and_the_old_one_changes_nothing(database: Database) -> None:
    await ask(database)
    (old,) = await hand_over(database)
    async with database.write() as session:
        await outbox.take_back(session, [old])
    (new,) = await hand_over(database)
    assert new == Run("a", 2)

    assert await begin(database, old, by="w") is None
    async with database.write() as session:
        await outbox.finish(session, old, by=None)
        await outbox.fail(session, old, now(), by=None, error="late")
        await outbox.put_off(session, old, by="w", due_at=now(), error="late")
    assert await counts(database) == (1, 0)
    assert await begin(database, new, by="w") is not None

    async with database.write() as session:
        await outbox.finish(session, new, by="w")
    assert await counts(database) == (0, 0)


async def test_a_run_is_one_living_workers_and_only_that_one_ends_it(postgres: PostgresServer) -> None:
    database = Database(postgres.fresh_database())
    await ask(database)
    (run,) = await hand_over(database)
    first, second = await living(database, "one"), await living(database, "two")
    assert await begin(database, run, by=first) is not None

    assert await begin(database, run, by=second) is None
    assert await begin(database, run, by=first) is None
    async with database.write() as session:
        await outbox.finish(session, run, by=second)
        await outbox.finish(session, run, by=None)
        await outbox.take_back(session, [run])
        await outbox.put_off(session, run, by=second, due_at=now(), error="not mine")
        assert await outbox.handed_before(session, now(FAR_S), limit=9) == []
    assert await counts(database) == (1, 0)
    assert await hand_over(database) == []

    await leave(database, "one")
    async with database.read() as session:
        assert await outbox.handed_before(session, now(FAR_S), limit=9) == [(run, True)]
    assert await begin(database, run, by=second) is not None
    async with database.write() as session:
        await outbox.finish(session, run, by=first)
    assert await counts(database) == (1, 0)
    await database.close()


async def test_put_off_it_waits_and_counts_its_tries(database: Database) -> None:
    await ask(database)
    (run,) = await hand_over(database)
    assert await begin(database, run, by="w")
    async with database.write() as session:
        await outbox.put_off(session, run, by="w", due_at=now(100), error="x" * 1_000)

    assert await hand_over(database) == []
    (again,) = await hand_over(database, at=now(101))
    row = await begin(database, again, by="w")
    assert row is not None
    assert (row.tries, len(row.error)) == (1, 500)


async def test_a_failed_job_is_shown_and_can_be_retried(database: Database) -> None:
    await ask(database, name="n")
    (run,) = await hand_over(database)
    async with database.write() as session:
        await outbox.fail(session, run, now(), by=None, error="no")
    assert await begin(database, run, by="w") is None
    assert await counts(database) == (0, 1)
    assert await hand_over(database) == []

    async with database.write() as session:
        (failed,) = await outbox.failed(session, limit=10)
        assert (failed.id, failed.kind, failed.payload, failed.tries, failed.error) == (
            "a", "note", {"name": "n"}, 1, "no",
        )  # fmt: skip
        assert await outbox.retry(session, "a", now())
        assert not await outbox.retry(session, "a", now())
        assert not await outbox.retry(session, "none", now())
    assert await hand_over(database, at=now(2)) == [Run("a", 2)]


async def test_what_was_handed_over_long_ago_is_found(database: Database) -> None:
    for name in ("a", "b"):
        await ask(database, name)
    await hand_over(database, limit=1, at=now(1))

    async with database.read() as session:
        assert await outbox.handed_before(session, now(0), limit=9) == []
        assert await outbox.handed_before(session, now(10), limit=9) == [(Run("a", 1), False)]
