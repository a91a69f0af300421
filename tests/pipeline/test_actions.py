"""Actions as parts of a log's lines, and each of them performed by somebody."""

from typing import get_args

import msgspec

from voice_agent.pipeline import actions as act


def test_every_action_is_part_of_the_union_that_a_log_is_read_by() -> None:
    assert set(get_args(act.AnyAction)) == set(act.Action.__subclasses__())


def test_an_action_comes_back_from_its_line() -> None:
    actions: tuple[act.AnyAction, ...] = (
        act.StopPlayback(turn=2),
        act.Speak(turn=4, text="Perdón, ¿qué?", is_line=True),
        act.HangUp(reason="idle"),
    )
    line = msgspec.json.encode(actions)
    assert msgspec.json.decode(line, type=tuple[act.AnyAction, ...]) == actions
