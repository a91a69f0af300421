"""Doing one run of a job, on both databases."""

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from tests.contracts.eventually import eventually
from tests.jobs.test_outbox import hand_over, now, outbox
from tests.jobs.world import AT_ONCE, Note
from voice_agent.jobs.model import JobContext, JobKind, Retry, Run
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.jobs.performer import Performer
from voice_agent.storage.database import Database
from voice_agent.storage.tables import JobRow

ONCE = Retry(tries=1)


class Other(msgspec.Struct):
    """What it has no field for."""

    number: int


class World:
    """Jobs of one kind, whose handler does what `act` says."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: list[tuple[str, JobContext]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None

    async def handle(self, payload: Note, context: JobContext) -> None:
        self.seen.append((payload.name, context))
        await self.may_end.wait()
        if self.error is not None:
            raise self.error

    def performer(self, *, retry: Retry = AT_ONCE, timeout_s: float = 60.0, payload: type[Any] = Note) -> Performer:
        kind = JobKind(name="note", payload=payload, handler=self.handle, retry=retry, timeout_s=timeout_s)
        return Performer(self.database, JobOutbox(), {"note": kind})

    async def run(self, name: str = "n", *, kind: str = "note") -> Run:
        async with self.database.write() as session:
            await outbox.request(session, kind, Note(name), job_id="a")
        (run,) = await hand_over(self.database)
        return run

    async def left(self) -> tuple[int, int, str]:
        """Return how many are not done, how many have failed, and the error of the one that has."""
        async with self.database.read() as session:
            failed = await outbox.failed(session, limit=1)
            return *await outbox.count(session), failed[0].error if failed else ""


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def test_what_is_done_is_gone(world: World) -> None:
    performer = world.performer()
    await performer.perform(await world.run("n"))

    assert world.seen == [("n", JobContext(job_id="a", kind="note", tries=1, is_last=False))]
    assert await world.left() == (0, 0, "")
    assert performer.running == {}


async def test_a_run_that_was_done_or_given_up_is_left_alone(world: World) -> None:
    """F48: a workflow that comes back after its job was settled does nothing."""
    run = await world.run()
    await world.performer().perform(Run("a", run.number + 1))
    await world.performer().perform(Run("b", 1))
    assert world.seen == []

    await world.performer().perform(run)
    await world.performer().perform(run)
    assert len(world.seen) == 1


async def test_a_handler_that_raises_is_tried_again_and_then_has_failed(world: World) -> None:
    world.error = ValueError("no such file")
    performer = world.performer(retry=AT_ONCE)
    await performer.perform(await world.run())
    assert await world.left() == (1, 0, "")
    for _ in range(AT_ONCE.tries - 1):
        (run,) = await hand_over(world.database, at=now(60))
        await performer.perform(run)

    assert [(context.tries, context.is_last) for _, context in world.seen] == [(1, False), (2, False), (3, True)]
    assert await world.left() == (0, 1, "ValueError: no such file")


async def test_one_that_takes_too_long_is_broken_off(world: World) -> None:
    world.may_end.clear()
    await world.performer(retry=ONCE, timeout_s=0.01).perform(await world.run())

    assert await world.left() == (0, 1, "TimeoutError: ")


async def test_a_kind_that_nobody_knows_waits_for_a_version_that_does(world: World) -> None:
    performer = world.performer()
    with capture_logs() as entries:
        await performer.perform(await world.run(kind="of-tomorrow"))

    assert await world.left() == (1, 0, "")
    assert [entry["error"] for entry in entries] == ["UnknownKind: of-tomorrow"]


async def test_a_payload_of_another_shape_is_no_crash(world: World) -> None:
    await world.performer(retry=ONCE, payload=Other).perform(await world.run("n"))

    assert (await world.left())[2].startswith("ValidationError")


async def test_closing_lets_what_runs_finish_and_begins_nothing(world: World) -> None:
    world.may_end.clear()
    performer = world.performer()
    first = asyncio.create_task(performer.perform(await world.run()))
    await eventually(lambda: world.seen)
    closing = asyncio.create_task(performer.close(within_s=60.0))
    await asyncio.sleep(0)
    second = asyncio.create_task(performer.perform(Run("other", 1)))
    world.may_end.set()
    await closing

    await first
    assert await world.left() == (0, 0, "")
    assert not second.done()
    second.cancel()


async def test_what_does_not_finish_is_broken_off_and_stays_to_be_done(world: World) -> None:
    world.may_end.clear()
    performer = world.performer()
    task = asyncio.create_task(performer.perform(await world.run()))
    await eventually(lambda: world.seen)
    await performer.close(within_s=0.0)
    await performer.abandon(within_s=60.0)

    assert await world.left() == (1, 0, "")
    assert performer.running == {}
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_that_does_not_listen_is_named(world: World) -> None:
    is_deaf = asyncio.Event()

    async def deaf(_: Note, __: JobContext) -> None:
        is_deaf.set()
        while not world.may_end.is_set():
            try:
                await world.may_end.wait()
            except asyncio.CancelledError:
                continue

    world.may_end.clear()
    kind = JobKind(name="note", payload=Note, handler=deaf)
    performer = Performer(world.database, JobOutbox(), {"note": kind})
    task = asyncio.create_task(performer.perform(await world.run()))
    await is_deaf.wait()
    with capture_logs() as entries:
        await performer.abandon(within_s=0.01)

    assert [entry["event"] for entry in entries] == ["job_does_not_end"]
    world.may_end.set()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_job_that_is_not_tried_any_more_is_given_up_once_also_after_a_time_out(database: Database) -> None:
    world, given_up = World(database), []

    async def give_up(payload: Note, error: Exception) -> None:
        given_up.append((payload.name, type(error)))

    world.may_end.clear()
    kind = JobKind(
        name="note", payload=Note, handler=world.handle, retry=Retry(tries=2), timeout_s=0.01, give_up=give_up
    )
    performer = Performer(database, JobOutbox(), {"note": kind})
    await performer.perform(await world.run())
    assert given_up == []

    async with database.write() as session:
        await session.execute(update(JobRow).values(due_at=now()))
    (again,) = await hand_over(database)
    await performer.perform(again)
    assert given_up == [("n", TimeoutError)]
    assert (await world.left())[:2] == (0, 1)


async def test_what_cannot_be_given_up_has_failed_all_the_same(database: Database) -> None:
    world = World(database)
    world.error = ValueError("no")

    async def give_up(_: Note, __: Exception) -> None:
        raise RuntimeError("nor this")

    kind = JobKind(name="note", payload=Note, handler=world.handle, retry=ONCE, give_up=give_up)
    with capture_logs() as logs:
        await Performer(database, JobOutbox(), {"note": kind}).perform(await world.run())

    assert await world.left() == (0, 1, "ValueError: no")
    assert "job_not_given_up" in [line["event"] for line in logs]
