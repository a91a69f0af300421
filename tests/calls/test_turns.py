"""Never more than so many requests in any second, whoever waits, and whenever they begin to."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.calls.turns import SLACK, DialTurns


class Time:
    """A clock that goes on when somebody sleeps, and a bit late."""

    def __init__(self, late: list[float]) -> None:
        self.now = 100.0
        self._late = late

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + (self._late.pop() if self._late else 0.0)


@given(
    st.sampled_from([0.5, 1.0, 10.0, 50.0]),
    st.lists(st.floats(0, 3), max_size=20),
    st.lists(st.floats(0, 2), min_size=20, max_size=60),
)
def test_no_second_has_more_than_it_may(per_second: float, late: list[float], pauses: list[float]) -> None:
    time = Time(late)
    turns = DialTurns(clock=lambda: time.now, sleep=time.sleep)

    async def all_of_them() -> list[float]:
        left = []
        for pause in pauses:
            await turns.wait("a", per_second)
            left.append(time.now)
            time.now += pause if pause > 1.5 else 0.0
        return left

    left = asyncio.run(all_of_them())
    for begin in left:
        assert sum(begin <= moment < begin + 1 for moment in left) <= max(1, per_second)


async def test_each_key_has_its_own_turns() -> None:
    time = Time([])
    turns = DialTurns(clock=lambda: time.now, sleep=time.sleep)
    await turns.wait("a", 1.0)
    await turns.wait("b", 1.0)
    assert time.now == 100.0

    await turns.wait("a", 1.0)
    assert round(time.now - 100.0, 6) == SLACK
