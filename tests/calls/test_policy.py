"""What may be called, and what it may cost."""

import random

import phonenumbers
import pytest
from phonenumbers import PhoneNumberType

from voice_agent.calls.policy import MICROS, CallPolicy, check_destination, normalised, policy_of
from voice_agent.errors import InvalidRequest, NotPermitted

SPAIN = CallPolicy(allowed_countries=frozenset({"ES"}), daily_spend_cap=5 * MICROS, cost_per_minute=150_000)


def example(country: str, kind: int) -> str:
    number = phonenumbers.example_number_for_type(country, kind)
    assert number is not None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def test_a_number_of_an_allowed_country_may_be_called_and_comes_back_as_e164() -> None:
    assert check_destination("+34 612 34 56 78", SPAIN) == "+34612345678"


@pytest.mark.parametrize("number", ["612345678", "", "+", "call me", "+34 612 34 56 7"])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(InvalidRequest):
        check_destination(number, SPAIN)


def test_a_number_of_another_country_is_refused_and_by_default_every_number_is() -> None:
    american = example("US", PhoneNumberType.FIXED_LINE_OR_MOBILE)
    with pytest.raises(NotPermitted, match="US"):
        check_destination(american, SPAIN)
    with pytest.raises(NotPermitted, match="allowed_countries"):
        check_destination("+34612345678", CallPolicy())


@pytest.mark.parametrize("kind", [PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST])
def test_a_number_that_costs_extra_is_refused(kind: int) -> None:
    with pytest.raises(NotPermitted, match="cost extra"):
        check_destination(example("ES", kind), SPAIN)


def test_toll_fraud_10_000_generated_numbers_reach_only_plain_numbers_of_the_allowed_country() -> None:
    draw = random.Random(3)
    reached = 0
    for _ in range(10_000):
        number = f"+{draw.randint(1, 999)}{draw.randint(10**6, 10**9)}"
        try:
            called = phonenumbers.parse(check_destination(number, SPAIN))
        except (InvalidRequest, NotPermitted):
            continue
        reached += 1
        assert phonenumbers.region_code_for_number(called) == "ES"
        assert phonenumbers.number_type(called) not in {PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST}
    assert reached > 0


def test_minutes_that_have_begun_are_reserved_whole() -> None:
    assert SPAIN.reservation(60) == 150_000
    assert SPAIN.reservation(61) == 300_000
    assert SPAIN.reservation(0) == 0


def test_what_an_organisation_does_not_say_is_the_servers_default() -> None:
    assert policy_of({}, SPAIN) == SPAIN
    own = policy_of({"allowed_countries": [], "daily_spend_cap": 2.5, "retention_days": 7}, SPAIN)
    assert (own.allowed_countries, own.daily_spend_cap, own.retention_days) == (frozenset(), 2_500_000, 7)


def test_numbers_are_kept_in_one_spelling() -> None:
    assert normalised("+34 (612) 345-678") == "+34612345678"
