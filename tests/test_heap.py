"""When a process that holds calls looks for objects that only hold each other."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from voice_agent.heap import CALLS, CALLS_IDLE, THRESHOLDS, Heap


class Cycle:
    """Something that holds itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def heap() -> Iterator[Heap]:
    heap = Heap()
    heap.open()
    yield heap
    heap.close()


def test_what_was_loaded_is_out_of_sight_until_it_is_closed() -> None:
    before = gc.get_threshold()
    heap = Heap()
    heap.open()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == THRESHOLDS
    heap.close()
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


@pytest.mark.parametrize(("is_idle", "calls"), [(False, CALLS), (True, CALLS_IDLE)])
def test_what_calls_left_is_freed_after_many_of_them_or_when_the_last_one_has_ended(
    heap: Heap, is_idle: bool, calls: int
) -> None:
    gc.disable()
    try:
        for _ in range(2):
            left = weakref.ref(Cycle())
            for _ in range(calls - 1):
                heap.note_end(is_idle=is_idle)
            assert left() is not None
            heap.note_end(is_idle=is_idle)
            assert left() is None
    finally:
        gc.enable()
