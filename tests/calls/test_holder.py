"""Requests to the process that holds a call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from voice_agent.calls.holder import CallHolders, Command, NoHolders
from voice_agent.errors import HolderUnreachable
from voice_agent.storage.bus import EventBus, InProcessBus
from voice_agent.storage.redis_bus import RedisBus


class Process:
    """One that holds some calls."""

    def __init__(self, bus: EventBus, *held: str, answer_s: float = 10.0) -> None:
        self.held = set(held)
        self.done: list[tuple[str, Command]] = []
        self.holders = CallHolders(bus, self._obey, answer_s=answer_s)

    def _obey(self, call_sid: str, command: Command) -> bool:
        if call_sid in self.held:
            self.done.append((call_sid, command))
        return call_sid in self.held


@asynccontextmanager
async def open_(*processes: Process) -> AsyncIterator[None]:
    for process in processes:
        await process.holders.open()
    try:
        yield
    finally:
        for process in processes:
            await process.holders.close()
            await process.holders.close()


async def test_the_process_itself_needs_no_bus() -> None:
    process = Process(InProcessBus(), "CA1")
    await process.holders.ask("CA1", "pause_recording")
    assert process.done == [("CA1", "pause_recording")]


async def test_the_one_that_holds_the_call_does_it_and_no_other() -> None:
    bus = InProcessBus()
    here, there, elsewhere = Process(bus), Process(bus, "CA1"), Process(bus, "CA2")
    async with open_(here, there, elsewhere):
        await here.holders.ask("CA1", "pause_recording")
        await here.holders.ask("CA1", "resume_recording")
    assert there.done == [("CA1", "pause_recording"), ("CA1", "resume_recording")]
    assert elsewhere.done == []


async def test_a_call_that_nobody_holds_is_told() -> None:
    bus = InProcessBus()
    here, there = Process(bus, answer_s=0.05), Process(bus, "CA1")
    async with open_(here, there):
        with pytest.raises(HolderUnreachable):
            await here.holders.ask("CA9", "pause_recording")
        await here.holders.ask("CA1", "pause_recording")
    with pytest.raises(HolderUnreachable):
        await NoHolders().ask("CA1", "pause_recording")


async def test_so_many_at_once_that_they_are_lost_do_not_end_it() -> None:
    bus = InProcessBus(backlog=5)
    here, there = Process(bus, answer_s=0.05), Process(bus, "CA1")
    async with open_(here, there):
        for _ in range(20):
            bus.publish("holders", b'{"id":"1","answer_to":"x","call_sid":"CA9","command":"pause_recording"}')
        with pytest.raises(HolderUnreachable):
            await here.holders.ask("CA1", "pause_recording")
        await here.holders.ask("CA1", "pause_recording")
    assert there.done == [("CA1", "pause_recording")]


async def test_what_another_release_asks_for_is_left_to_it() -> None:
    bus = InProcessBus()
    here, there = Process(bus), Process(bus, "CA1")
    async with open_(here, there):
        bus.publish("holders", b'{"id":"1","answer_to":"x","call_sid":"CA1","command":"sing"}')
        bus.publish("holders", b"garbage")
        await here.holders.ask("CA1", "pause_recording")
    assert there.done == [("CA1", "pause_recording")]


async def test_across_processes_by_redis(redis_url: str) -> None:
    mine, theirs = RedisBus(redis_url), RedisBus(redis_url)
    await mine.open()
    await theirs.open()
    here, there = Process(mine), Process(theirs, "CA1")
    try:
        async with open_(here, there):
            await here.holders.ask("CA1", "pause_recording")
    finally:
        await mine.close()
        await theirs.close()
    assert there.done == [("CA1", "pause_recording")]
