"""Go, later or over: each rule, in the order in which they speak. test_admission has what is done about it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from tests.calls.stored_calls import NOW, POLICY
from tests.compliance.people import SPANIARD
from voice_agent.campaigns.attempt_caps import PastCall
from voice_agent.campaigns.eligibility import IN_A_MOMENT, Answer, Candidate, Go, Later, Over, eligibility
from voice_agent.campaigns.model import ContactState
from voice_agent.campaigns.plan import Audience, Caps, Plan, Variant, Weekday, Window
from voice_agent.compliance.model import Callee, SuppressionFact
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.rules import HORIZON

PLAN = Plan(
    purpose="service", audience=Audience(), variants=(Variant(agent_id=UUID(int=7)),), caps=Caps(per_campaign=3)
)
LATER_TODAY = msgspec.structs.replace(PLAN, windows=(Window(days=tuple(Weekday), opens="15:00", closes="16:00"),))
NEVER = msgspec.structs.replace(PLAN, windows=LATER_TODAY.windows, ring_s=120, purpose="marketing")


def suppressed(until_days: float | None) -> Callee:
    until = None if until_days is None else NOW + timedelta(days=until_days)
    return msgspec.structs.replace(
        SPANIARD, suppressions=(SuppressionFact(scope="organisation", source="api", at=NOW, until=until),)
    )


def answer(plan: Plan = PLAN, **said: Any) -> Answer:
    values: dict[str, Any] = {"e164": SPANIARD.e164, "callee": SPANIARD} | said
    return eligibility(Candidate(**values), plan, POLICY, built_in(), NOW)


def over(given_: Answer) -> tuple[ContactState, str]:
    assert isinstance(given_, Over)
    return given_.state, given_.reason.partition(":")[0]


def later(given_: Answer) -> tuple[timedelta, str]:
    assert isinstance(given_, Later)
    return given_.at - NOW, given_.reason.partition(":")[0]


def a_call(minutes_ago: float) -> PastCall:
    return PastCall(requested_at=NOW - timedelta(minutes=minutes_ago), outcome="no_answer")


def test_somebody_against_whom_nothing_speaks_is_called() -> None:
    assert isinstance(answer(), Go)


@pytest.mark.parametrize(
    ("said", "state", "code"),
    [
        ({"is_there": False}, ContactState.SKIPPED, "deleted"),
        ({"attempts": 3}, ContactState.EXHAUSTED, "exhausted"),
        ({"e164": "+3461"}, ContactState.INVALID, "invalid_number"),
        ({"e164": "+4915112345678"}, ContactState.SKIPPED, "not_permitted"),
        ({"callee": None}, ContactState.INVALID, "invalid_number"),
        ({"callee": suppressed(None)}, ContactState.SUPPRESSED, "suppressed"),
        ({"callee": suppressed(HORIZON.days + 1)}, ContactState.SUPPRESSED, "suppressed"),
        ({"callee": msgspec.structs.replace(SPANIARD, zones=("Nowhere",)), "plan": NEVER}, ContactState.SKIPPED,
         "zone_unknown"),
        ({"callee": msgspec.structs.replace(SPANIARD, consents=()), "plan": NEVER}, ContactState.SKIPPED,
         "consent_missing"),
    ],
)  # fmt: skip
def test_who_will_never_be_called(said: dict[str, Any], state: ContactState, code: str) -> None:
    assert over(answer(**said)) == (state, code)


def test_where_no_hour_ever_comes_it_is_over() -> None:
    unknown = msgspec.structs.replace(SPANIARD, zones=("Nowhere",))
    service = msgspec.structs.replace(LATER_TODAY, purpose="service")

    assert over(answer(service, callee=unknown)) == (ContactState.SKIPPED, "no_hour")


@pytest.mark.parametrize(
    ("said", "wait", "code"),
    [
        ({"callee": suppressed(2)}, timedelta(days=2), "suppressed"),
        ({"plan": LATER_TODAY}, timedelta(hours=2), "hours"),
        ({"past": [a_call(100)]}, timedelta(minutes=140), "caps"),
        ({"past": [a_call(100)], "plan": LATER_TODAY}, timedelta(minutes=140), "caps"),
        ({"past": [a_call(10)], "plan": LATER_TODAY}, timedelta(hours=26), "hours"),
        ({"is_called_now": True}, IN_A_MOMENT, "at_the_phone"),
        ({"past": [a_call(1)], "is_callback": True}, timedelta(minutes=4), "caps"),
        ({"past": [a_call(60), a_call(61), a_call(62)], "is_callback": True}, timedelta(minutes=24 * 60 - 62), "caps"),
    ],
)
def test_who_is_called_later(said: dict[str, Any], wait: timedelta, code: str) -> None:
    assert later(answer(**said)) == (wait, code)


def test_who_asked_for_the_call_waits_for_no_gap() -> None:
    assert isinstance(answer(past=[a_call(10)], is_callback=True), Go)
    assert isinstance(answer(attempts=8, is_callback=True), Go)


def test_an_ended_suppression_says_nothing() -> None:
    assert isinstance(answer(callee=suppressed(0)), Go)
