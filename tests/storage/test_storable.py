"""What every database can keep."""

from collections.abc import Callable
from math import inf, nan

import pytest

from voice_agent.storage.storable import storable, why_not_storable


@pytest.mark.parametrize("value", ["a\0b", "\ud800", nan, inf, -inf])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [1, {"a": (x,)}], lambda x: {"a": {"b": [x]}}])
def test_what_no_database_keeps_is_found_however_deep(value: object, wrap: Callable[[object], object]) -> None:
    assert why_not_storable(wrap(value))


def test_it_is_found_in_a_key() -> None:
    assert why_not_storable({"a": {"\0": 1}})


def test_a_thousand_levels_are_no_trouble() -> None:
    deep: object = "\0"
    for _ in range(100_000):
        deep = [deep]
    assert why_not_storable(deep)


@pytest.mark.parametrize("value", ["", "ñ 😀 \x01\x7f", 10**400, True, None, 1.5, [], {"a": [1, 2.5, "x"]}])
def test_everything_else_is_well(value: object) -> None:
    assert not why_not_storable(value)


@pytest.mark.parametrize(("text", "kept"), [("a\0b", "ab"), ("a\ud83d", "a?"), ("ñ 😀", "ñ 😀"), ("", "")])
def test_a_text_that_nobody_can_write_again_is_kept_without_it(text: str, kept: str) -> None:
    assert storable(text) == kept
    assert not why_not_storable(storable(text))
