"""Events as the lines of a log: one tag each, the same after writing and reading."""

from typing import get_args

import msgspec
import pytest

from voice_agent.pipeline import events as ev


def test_every_event_is_part_of_the_union_that_a_log_is_read_by() -> None:
    assert set(get_args(ev.AnyEvent)) == set(ev.Event.__subclasses__())


def test_an_event_comes_back_from_its_line() -> None:
    event: ev.AnyEvent = ev.ToolFinished(at=3.25, turn=2, call_id="c1", result="frei", digits="1#")
    line = msgspec.json.encode(event)
    assert b'"event":"ToolFinished"' in line
    assert msgspec.json.decode(line, type=ev.AnyEvent) == event


def test_an_event_cannot_be_changed() -> None:
    event = ev.SpeechStarted(at=1.0, began_at=0.9)
    with pytest.raises(AttributeError):
        event.at = 2.0  # type: ignore[misc]  # what is tested is that this fails
