"""Which numbers an organisation may call and what its calls may cost. Pure.

Fails closed: a number that cannot be understood, a country that nobody allowed and a number that costs extra are
refused, whatever an agent or an API key asks for. Numbering plans: `phonenumbers` (Google's libphonenumber).
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from voice_agent.errors import InvalidRequest, NotPermitted

MICROS = 1_000_000
"""Millionths of a dollar in a dollar."""

EXPENSIVE = frozenset(
    {PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.UAN, PhoneNumberType.PAGER}
)
"""Kinds of numbers that earn somebody money when they are called: what toll fraud lives on."""


class CallPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation's limits on its calls."""

    allowed_countries: frozenset[str] = frozenset()
    """ISO 3166 codes; empty: no outbound calls."""

    daily_spend_cap: int = 0
    """Most that the calls of a day (UTC) may cost, in millionths of a dollar; 0: nothing may be spent."""

    cost_per_minute: int = 0
    """Assumed price of a minute, in millionths of a dollar."""

    retention_days: int = 0
    """After so many days a call's data is deleted; 0: never."""

    def reservation(self, time_limit_s: float) -> int:
        """Return what a call may cost at the most: set aside before it is placed. Minutes begun are paid."""
        minutes = -(-int(time_limit_s) // 60)
        return minutes * self.cost_per_minute


def policy_of(settings: Mapping[str, Any], default: CallPolicy) -> CallPolicy:
    """Return the policy of an organisation from its own settings; what they do not say is the default's."""
    countries = settings.get("allowed_countries")
    cap = settings.get("daily_spend_cap")
    days = settings.get("retention_days")
    return CallPolicy(
        allowed_countries=default.allowed_countries if countries is None else frozenset(countries),
        daily_spend_cap=default.daily_spend_cap if cap is None else round(cap * MICROS),
        cost_per_minute=default.cost_per_minute,
        retention_days=default.retention_days if days is None else days,
    )


def normalised(number: str) -> str:
    """Return a number as E.164. Raises InvalidRequest: a number must come with its country's code."""
    return phonenumbers.format_number(_parsed(number), PhoneNumberFormat.E164)


def check_destination(number: str, policy: CallPolicy) -> str:
    """Return the number as E.164 where the policy lets it be called. Raises InvalidRequest or NotPermitted."""
    parsed = _parsed(number)
    if not phonenumbers.is_valid_number(parsed):
        raise InvalidRequest("to: this is no telephone number that can exist")
    country = phonenumbers.region_code_for_number(parsed)
    if country not in policy.allowed_countries:
        raise NotPermitted(
            f"numbers of {country or 'no country'} may not be called: allowed_countries does not name it"
        )
    if phonenumbers.number_type(parsed) in EXPENSIVE:
        raise NotPermitted("numbers that cost extra are never called")
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164)


def _parsed(number: str) -> phonenumbers.PhoneNumber:
    try:
        return phonenumbers.parse(number, None)
    except NumberParseException:
        raise InvalidRequest("a telephone number is written as + and country code, such as +34600000000") from None
