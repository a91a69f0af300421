"""Waiting for the database, but not for ever."""

import asyncio

import pytest

from tests.contracts.eventually import eventually
from voice_agent.calls.patience import Patience
from voice_agent.errors import DatabaseUnavailable


async def test_what_is_done_in_time_is_returned_or_raised() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> None:
        raise DatabaseUnavailable("away")

    patience = Patience(5.0)
    assert await patience.wait_for(answer()) == 7
    with pytest.raises(DatabaseUnavailable):
        await patience.wait_for(fail())
    await patience.close()


async def test_f41_what_takes_too_long_goes_on_by_itself() -> None:
    patience, is_open, done = Patience(0.01), asyncio.Event(), []

    async def work() -> None:
        await is_open.wait()
        done.append(True)
        raise DatabaseUnavailable("late, and heeded by nobody")

    with pytest.raises(TimeoutError):
        await patience.wait_for(work())
    assert done == []
    is_open.set()
    await eventually(lambda: done)
    await patience.close()


async def test_what_cannot_be_cancelled_is_not_waited_for() -> None:
    """As a SQLite connection that waits for another writer's lock."""
    patience, is_open = Patience(0.01), asyncio.Event()

    async def stubborn() -> None:
        inner = asyncio.ensure_future(is_open.wait())
        while not inner.done():
            try:
                await asyncio.shield(inner)
            except asyncio.CancelledError:
                continue

    with pytest.raises(TimeoutError):
        await patience.wait_for(stubborn())
    is_open.set()
    await patience.close()


async def test_closing_breaks_off_what_goes_on() -> None:
    patience = Patience(0.01)
    with pytest.raises(TimeoutError):
        await patience.wait_for(asyncio.sleep(3_600))
    await patience.close()
    await patience.close()
