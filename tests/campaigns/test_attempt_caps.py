"""From when on somebody may be called again, whoever in the organisation has called them."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calls.stored_calls import NOW
from voice_agent.campaigns.attempt_caps import DAY, NOT_COUNTED, WEEK, PastCall, allowed_from
from voice_agent.campaigns.plan import Caps

CAPS = Caps(gap_min=60.0, per_day=2, per_week=3)


def call(hours_ago: float, outcome: str = "no_answer", lasted_min: float = 0.0) -> PastCall:
    at = NOW - timedelta(hours=hours_ago)
    return PastCall(requested_at=at, ended_at=at + timedelta(minutes=lasted_min), outcome=outcome)


@pytest.mark.parametrize(
    ("calls", "hours"),
    [
        ([], 0),
        ([call(2)], 0),
        ([call(0.5)], 0.5),
        ([call(0.5, lasted_min=10)], 0.5 + 1 / 6),
        ([call(3), call(5)], 19),
        ([call(24), call(5)], 0),
        ([call(30), call(50), call(100)], 68),
        ([call(0.1, "busy")], 0),
        ([call(3, "busy"), call(5, "busy")], 19),
        ([call(3, "carrier_failed"), call(5, "not_placed"), call(0.1, "cancelled")], 0),
    ],
)
def test_the_latest_cap_counts(calls: list[PastCall], hours: float) -> None:
    assert allowed_from(CAPS, calls, NOW) == NOW + timedelta(hours=hours)


def test_a_call_that_goes_on_counts() -> None:
    assert allowed_from(CAPS, [PastCall(requested_at=NOW)], NOW) == NOW + timedelta(hours=1)


moments = st.floats(min_value=0.0, max_value=200.0)
histories = st.lists(st.builds(call, moments, st.sampled_from(["human", "busy", "no_answer", "carrier_failed"])))


@given(histories, st.integers(1, 5), st.integers(1, 9), st.floats(5, 600))
def test_a_call_at_the_allowed_moment_breaks_no_cap(
    calls: list[PastCall], per_day: int, per_week: int, gap_min: float
) -> None:
    caps = Caps(gap_min=gap_min, per_day=per_day, per_week=per_week)
    at = allowed_from(caps, calls, NOW)

    counted = [each.requested_at for each in calls if each.outcome not in NOT_COUNTED]
    assert at >= NOW
    assert within(counted, at, DAY) < per_day
    assert within(counted, at, WEEK) < per_week


def within(moments_: list[datetime], at: datetime, span: timedelta) -> int:
    return sum(at - span < moment <= at for moment in moments_)
