"""The tail reads what the call's own writer writes."""

import asyncio
from pathlib import Path

import pytest

from tests.calls.call_world import HEADER, log_of, short_call
from voice_agent.calls.event_log import LoggedEvent
from voice_agent.calls.event_writer import EventLogWriter
from voice_agent.calls.spool import Spool
from voice_agent.errors import EventLogError
from voice_agent.pipeline import events as ev
from voice_agent.sandbox.demo.event_tail import EventLogTail, follow


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_a_log_that_does_not_exist_yet_is_empty(log: Path) -> None:
    assert EventLogTail(log).read() == ()


def test_every_event_is_read_once_wherever_the_writer_had_got_to(log: Path) -> None:
    call, content = short_call(), log_of(short_call())
    tail = EventLogTail(log)
    found: list[LoggedEvent] = []
    for end in range(0, len(content) + 97, 97):
        log.write_bytes(content[:end])
        found += tail.read()

    assert [(each.event, each.actions) for each in found] == call.decided
    assert tail.read() == ()


def test_what_is_no_event_log_says_so(log: Path) -> None:
    log.write_bytes(b"not a log\n{}\n")

    with pytest.raises(EventLogError, match="line 1"):
        EventLogTail(log).read()


async def test_it_follows_a_call_to_its_end(log: Path) -> None:
    call = short_call()

    async def hold() -> None:
        with Spool() as spool:
            writer = EventLogWriter(spool, log, HEADER)
            for event, actions in call.decided:
                writer.record(event, actions)
                await asyncio.sleep(0)
            writer.close()

    holding = asyncio.create_task(hold())
    found: list[ev.AnyEvent] = []
    async with asyncio.timeout(10):
        async for new in follow(log):
            found += [logged.event for logged in new]
    await holding

    assert found == [event for event, _ in call.decided]
