"""Which number is shown: the same one for the same state, a legal one always, a familiar one where there is one."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calls.stored_calls import NOW
from voice_agent.campaigns.caller_numbers import (
    WARM_UP,
    AnswerRate,
    Destination,
    NumberBlocker,
    NumberUse,
    blocker_of,
    choose,
    is_dropped,
    is_legal,
    room_of,
    warm_up_limit,
)

MADRID, BARCELONA, MOBILE, NEW_YORK = "+34910000001", "+34930000001", "+34600000001", "+12125550101"
COUNTRIES = {"+3": "ES", "+1": "US"}
SHOWN_TO = Destination(e164="+34912223344", country="ES", regions=("ES-MD",))


def number(e164: str = MADRID, **said: Any) -> NumberUse:
    return NumberUse(id=UUID(int=int(e164[1:])), e164=e164, country=COUNTRIES[e164[:2]], **said)


def chosen(numbers: list[NumberUse], **said: Any) -> str | None:
    values = {name: getattr(SHOWN_TO, name) for name in SHOWN_TO.__struct_fields__}
    found = choose(numbers, Destination(**(values | said)), NOW)
    return None if found is None else found.e164


@pytest.mark.parametrize(
    ("said", "blocker"),
    [
        ({}, None),
        ({"quarantine_until": NOW + timedelta(seconds=1)}, NumberBlocker.QUARANTINE),
        ({"quarantine_until": NOW}, None),
        ({"max_live": 2, "live": 2}, NumberBlocker.LIVE),
        ({"max_live": 2, "live": 1}, None),
        ({"max_hour": 5, "last_hour": 5}, NumberBlocker.HOUR),
        ({"max_day": 50, "last_day": 50}, NumberBlocker.DAY),
        ({"warm_since": NOW, "last_day": 20}, NumberBlocker.WARM_UP),
        ({"warm_since": NOW - timedelta(days=1), "last_day": 20}, None),
        ({"rest_s": 60, "last_used_at": NOW - timedelta(seconds=59)}, NumberBlocker.REST),
        ({"rest_s": 60, "last_used_at": NOW - timedelta(seconds=60)}, None),
    ],
)
def test_a_number_is_held_back_at_each_of_its_limits(said: dict[str, Any], blocker: NumberBlocker | None) -> None:
    assert blocker_of(number(**said), NOW) is blocker
    assert (room_of(number(**said), NOW) == 0) is (blocker is not None)
    assert chosen([number(**said)]) == (MADRID if blocker is None else None)


@pytest.mark.parametrize(
    ("said", "room"),
    [
        ({}, None),
        ({"max_live": 5, "live": 2, "max_day": 100, "last_day": 99}, 1),
        ({"rest_s": 1}, 1),
        ({"warm_since": NOW, "last_day": 5}, 15),
    ],
)
def test_a_number_says_how_many_more_calls_may_show_it(said: dict[str, Any], room: int | None) -> None:
    assert room_of(number(**said), NOW) == room


def test_a_new_number_warms_up_and_is_then_as_any_other() -> None:
    days = [warm_up_limit(NOW - timedelta(days=day), NOW) for day in range(len(WARM_UP) + 1)]

    assert days == [*WARM_UP, None]
    assert warm_up_limit(NOW + timedelta(days=1), NOW) == WARM_UP[0]
    assert warm_up_limit(None, NOW) is None


def test_the_number_that_they_know_is_shown_again_unless_another_one_is_wanted() -> None:
    pool = [number(MADRID), number(BARCELONA), number(NEW_YORK)]

    assert chosen(pool, known_number=NEW_YORK) == NEW_YORK
    assert chosen(pool, known_number=MADRID, wants_other=True) == BARCELONA
    assert chosen([number(MADRID)], known_number=MADRID, wants_other=True) == MADRID


def test_region_then_area_then_country_then_the_least_used_one() -> None:
    pool = [number(NEW_YORK), number(MOBILE), number(BARCELONA, region="ES-MD"), number(MADRID)]

    assert chosen(pool) == BARCELONA
    assert chosen([number(NEW_YORK), number(MOBILE)]) == MOBILE
    assert chosen([number(MOBILE, last_day=3), number(BARCELONA, last_day=2)]) == BARCELONA
    assert chosen([number("+34912220000"), number(BARCELONA)]) == "+34912220000"


def test_what_the_law_forbids_to_show_is_never_shown() -> None:
    assert chosen([number(MOBILE)], forbidden_callers=("+346", "+347"), known_number=MOBILE) is None
    assert chosen([number(MOBILE), number(MADRID)], forbidden_callers=("+346",)) == MADRID
    assert is_legal(number(MOBILE), SHOWN_TO)


@given(st.permutations([number(MADRID), number(BARCELONA), number(MOBILE), number(NEW_YORK)]))
def test_the_same_state_gives_the_same_number_in_whatever_order(pool: list[NumberUse]) -> None:
    assert chosen(pool) == chosen(sorted(pool, key=lambda each: each.e164))


@pytest.mark.parametrize(
    ("lately", "before", "is_drop"),
    [
        ((50, 5), (500, 200), True),
        ((50, 10), (500, 200), False),
        ((49, 0), (500, 200), False),
        ((50, 0), (49, 20), False),
    ],
)
def test_a_number_that_is_answered_half_as_often_has_dropped(
    lately: tuple[int, int], before: tuple[int, int], is_drop: bool
) -> None:
    one, other = (AnswerRate(calls=calls, answered=answered) for calls, answered in (lately, before))

    assert is_dropped(one, other) is is_drop
    assert AnswerRate(calls=0, answered=0).rate == 0.0
