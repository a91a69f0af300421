"""What holds a campaign, what only slows it down, and which numbers are taken out of use instead."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calls.stored_calls import NOW
from voice_agent.campaigns.holding import Health, Share, hold_for, is_in_trouble, numbers_to_rest, without
from voice_agent.campaigns.model import SELF_HEALING, HoldCode
from voice_agent.campaigns.plan import HoldRule

RULE = HoldRule()


def share(part: int, of: int) -> Share:
    return Share(part=part, of=of)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, None),
        ({"failed": share(2, 4)}, None),
        ({"failed": share(2, 5)}, None),
        ({"failed": share(3, 5)}, HoldCode.FAILURES),
        ({"silent": share(1, 5)}, HoldCode.SILENT_AGENT),
        ({"silent": share(1, 6)}, None),
        ({"slow_ms": 2_501.0}, HoldCode.LATENCY),
        ({"slow_ms": 2_500.0}, None),
        ({"lag_ms": 300.0}, HoldCode.LATENCY),
        ({"providers": ("openai",)}, HoldCode.PROVIDER),
        ({"has_number": False}, HoldCode.NO_NUMBER),
        ({"is_budget_short": True}, HoldCode.BUDGET),
        ({"is_budget_short": True, "active": 1}, None),
        ({"is_account_refused": True, "is_budget_short": True, "failed": share(9, 9)}, HoldCode.CARRIER),
    ],
)
def test_each_reason_has_its_code(said: dict[str, Any], code: HoldCode | None) -> None:
    hold = hold_for(RULE, Health(**said), NOW)

    assert (None if hold is None else hold.code) == code


def test_what_heals_by_itself_is_tried_again_and_money_is_not() -> None:
    failing = hold_for(RULE, Health(failed=share(5, 5), errors={31005: 1, 32011: 4}), NOW)
    assert failing is not None
    assert failing.release_at == NOW + timedelta(seconds=RULE.release_after_s)
    assert failing.reason == "5 of the last 5 calls failed (mostly with the carrier's error 32011)"

    broke = hold_for(RULE, Health(is_budget_short=True), NOW)
    assert broke is not None
    assert (broke.release_at, broke.code in SELF_HEALING) == (None, False)


def test_half_of_what_holds_is_trouble() -> None:
    assert is_in_trouble(RULE, Health(failed=share(2, 8)))
    assert not is_in_trouble(RULE, Health(failed=share(1, 8)))
    assert not is_in_trouble(RULE, Health(failed=share(2, 4)))


def test_one_number_that_fails_alone_is_rested_and_the_campaign_goes_on() -> None:
    health = Health(failed=share(6, 12), failed_by_number={"+1": share(6, 6), "+2": share(0, 6)})

    assert numbers_to_rest(RULE, health) == ["+1"]
    assert hold_for(RULE, without(health, ["+1"]), NOW) is None


@pytest.mark.parametrize(
    "shares",
    [
        {"+1": share(6, 6), "+2": share(3, 6)},
        {"+1": share(6, 6), "+2": share(0, 4)},
        {"+1": share(6, 6)},
        {"+1": share(1, 6), "+2": share(1, 6)},
        {},
    ],
)
def test_where_others_fail_too_or_nobody_knows_it_is_not_the_number(shares: dict[str, Share]) -> None:
    assert numbers_to_rest(RULE, Health(failed_by_number=shares)) == []


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1), st.integers(1, 20))
def test_what_holds_is_trouble_first_and_never_without_a_failure(
    part: int, more: int, failure_share: float, least: int
) -> None:
    rule = HoldRule(failure_share=failure_share, least_calls=least)
    health = Health(failed=share(part, part + more))
    hold = hold_for(rule, health, NOW)

    assert hold is None or (part > 0 and part + more >= least)
    assert hold is None or is_in_trouble(rule, health)
