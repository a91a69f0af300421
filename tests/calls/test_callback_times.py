"""When somebody wants to be called again, in their own time."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.calls.callback_times import FURTHEST, callback_time
from voice_agent.errors import InvalidRequest

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
"""13:00 in Madrid, 07:00 in New York."""


@pytest.mark.parametrize(
    ("text", "zone", "meant"),
    [
        ("2026-11-26 10:30", "Europe/Madrid", datetime(2026, 11, 26, 9, 30, tzinfo=UTC)),
        ("2026-11-26T9:30", "America/New_York", datetime(2026, 11, 26, 14, 30, tzinfo=UTC)),
        ("2026-11-26T10:30:00Z", "Europe/Madrid", datetime(2026, 11, 26, 10, 30, tzinfo=UTC)),
        ("2026-11-26 10:30 +02:00", "Europe/Madrid", datetime(2026, 11, 26, 8, 30, tzinfo=UTC)),
        ("17:00", "Europe/Madrid", datetime(2026, 11, 25, 16, 0, tzinfo=UTC)),
        ("at 9:15", "Europe/Madrid", datetime(2026, 11, 26, 8, 15, tzinfo=UTC)),
        ("a las 9:15", "Europe/Madrid", datetime(2026, 11, 26, 8, 15, tzinfo=UTC)),
        ("today 17:00", "Europe/Madrid", datetime(2026, 11, 25, 16, 0, tzinfo=UTC)),
        ("Tomorrow at 17:00", "Europe/Madrid", datetime(2026, 11, 26, 16, 0, tzinfo=UTC)),
        ("mañana a las 10:00", "Atlantic/Canary", datetime(2026, 11, 26, 10, 0, tzinfo=UTC)),
        ("in 20 minutes", "Europe/Madrid", datetime(2026, 11, 25, 12, 20, tzinfo=UTC)),
        ("en 2 horas", "Europe/Madrid", datetime(2026, 11, 25, 14, 0, tzinfo=UTC)),
        ("dentro de 3 días", "Europe/Madrid", datetime(2026, 11, 28, 12, 0, tzinfo=UTC)),
    ],
)
def test_what_is_written_is_a_moment_in_their_zone(text: str, zone: str, meant: datetime) -> None:
    assert callback_time(text, NOW, zone) == meant


@pytest.mark.parametrize(
    "text",
    ["", "soon", "10", "27:00", "2026-04-31 10:00", "2026-11-24 10:00", "today 9:00", "in 0 minutes",
     "2027-11-25 10:00", "in 91 days", "in two hours", "+1h"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        callback_time(text, NOW, "Europe/Madrid")


def test_a_time_of_day_stays_one_across_a_change_of_the_clock() -> None:
    evening = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)
    assert callback_time("tomorrow 10:00", evening, "Europe/Madrid") == datetime(2026, 10, 25, 9, 0, tzinfo=UTC)


@given(st.text(max_size=30))
def test_it_lies_ahead_or_is_refused(text: str) -> None:
    try:
        moment = callback_time(text, NOW, "America/Bogota")
    except InvalidRequest:
        return
    assert NOW < moment <= NOW + FURTHEST
