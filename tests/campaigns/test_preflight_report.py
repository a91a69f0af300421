"""What a look counts and what it makes of that."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.calls.policy import MICROS, CallPolicy
from voice_agent.campaigns.plan import Plan, read_plan
from voice_agent.campaigns.preflight_report import (
    MOST_REASONS,
    SAMPLES,
    CallerNumber,
    Counts,
    Finding,
    Place,
    Report,
    Severity,
    Skipped,
    budget_findings,
    contact_findings,
    cost_range,
    date_findings,
    dialling_hours,
    end_of,
    number_findings,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
POLICY = CallPolicy(cost_per_minute=MICROS // 10)
MADRID, LONDON = "+34612345678", "+447400123456"


def plan(**changes: Any) -> Plan:
    return read_plan({"purpose": "service", "audience": {}, "variants": [{"agent_id": str(UUID(int=1))}], **changes})


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def test_reasons_are_counted_with_some_contacts_of_each() -> None:
    counts = Counts()
    for index in range(SAMPLES + 5):
        counts = counts.with_skipped("suppressed: by themselves", UUID(int=index))
    counts = counts.with_kept("ES", "ES", MADRID, is_waiting=True).with_kept(
        "ES", "ES", "+34600000000", is_waiting=False
    )

    assert (counts.contacts, counts.kept, counts.waiting, counts.countries) == (SAMPLES + 7, 2, 1, {"ES": 2})
    skipped = counts.skipped["suppressed"]
    assert (skipped.count, len(skipped.samples), skipped.text) == (SAMPLES + 5, SAMPLES, "by themselves")
    assert counts.places["ES"] == Place(count=2, e164=MADRID)


def test_very_many_reasons_are_others() -> None:
    counts = Counts()
    for index in range(MOST_REASONS + 5):
        counts = counts.with_skipped(f"code{index}: words", uuid4())

    assert counts.skipped["other"].count == 5


@given(st.lists(st.booleans(), max_size=50))
def test_everybody_is_kept_or_skipped(kept: list[bool]) -> None:
    counts = Counts()
    for is_kept in kept:
        if is_kept:
            counts = counts.with_kept("ES", "ES", MADRID, is_waiting=False)
        else:
            counts = counts.with_skipped("x: y", uuid4())

    assert counts.contacts == len(kept) == counts.kept + sum(each.count for each in counts.skipped.values())


def test_pace_or_number_of_calls_says_how_long_it_takes() -> None:
    slow = plan(pacing={"calls_per_second": 0.1, "max_calls": 100})
    few = plan(pacing={"calls_per_second": 10, "max_calls": 1})

    assert dialling_hours(slow, 360) == pytest.approx(1.0)
    assert dialling_hours(few, 40) == pytest.approx(1.0)


def test_the_end_is_when_the_last_place_has_had_its_hours() -> None:
    counts = Counts(kept=80, places={"ES": Place(count=40, e164=MADRID), "GB": Place(count=40, e164=LONDON)})
    work = plan(pacing={"calls_per_second": 1, "max_calls": 1})  # two hours in all, one for each place

    def mornings(e164: str, at: datetime) -> bool:
        return at.hour in ((9, 10) if e164 == MADRID else (14, 15))

    assert end_of(work, counts, NOW, lambda _, __: True) == NOW + timedelta(hours=2)
    assert end_of(work, counts, NOW, mornings) == datetime(2026, 11, 26, 10, tzinfo=UTC)
    assert end_of(work, counts, NOW, lambda _, __: False) is None
    assert end_of(work, Counts(), NOW, lambda _, __: True) is None


def test_less_than_an_hour_is_less_than_an_hour() -> None:
    counts = Counts(kept=20, places={"ES": Place(count=20, e164=MADRID)})

    end = end_of(plan(pacing={"calls_per_second": 1, "max_calls": 1}), counts, NOW, lambda _, __: True)

    assert end == NOW + timedelta(minutes=30)


def test_it_costs_between_one_minute_each_and_everything_that_is_allowed() -> None:
    low, high = cost_range(plan(retries={"busy": {"after_min": [5, 5]}}), 10, POLICY, 120.0)

    assert (low, high) == (MICROS, 10 * 3 * 2 * MICROS // 10)
    assert cost_range(plan(caps={"per_campaign": 1}), 10, POLICY, 60.0) == (MICROS, MICROS)


def test_numbers_have_to_be_there_legal_and_many_enough() -> None:
    counts = Counts(contacts=9, kept=9, countries={"ES": 9})
    mobile, fixed = CallerNumber(e164="+34600000000", max_day=4), CallerNumber(e164="+34910000000")
    forbidden = {"ES": ("+346",), "GB": ()}

    assert codes(number_findings(counts, [], {})) == ["no_number"]
    (finding, capacity) = number_findings(counts, [mobile], forbidden)
    assert (finding.code, finding.severity, finding.count) == ("no_legal_number", Severity.BLOCKS, 9)
    assert (capacity.code, capacity.count, "3 days" in capacity.text) == ("number_capacity", 5, True)
    assert number_findings(counts, [mobile, fixed], forbidden) == []


def test_what_is_said_of_contacts() -> None:
    skipped = {"variable_missing": Skipped(count=2, text="name is required"), "suppressed": Skipped(count=1)}

    assert codes(contact_findings(Counts())) == ["no_contacts"]
    assert codes(contact_findings(Counts(contacts=1, skipped={"suppressed": Skipped(count=1)}))) == [
        "nobody_to_call", "contacts_skipped",
    ]  # fmt: skip
    found = contact_findings(Counts(contacts=5, kept=2, skipped=skipped))
    assert [(each.code, each.count) for each in found] == [("variable_missing", 2), ("contacts_skipped", 1)]
    assert contact_findings(Counts(contacts=5, kept=5)) == []


@pytest.mark.parametrize(("budget", "found"), [(None, []), (0, ["no_budget"]), (5, ["budget_short"]), (MICROS, [])])
def test_what_is_said_of_the_money(budget: int | None, found: list[str]) -> None:
    assert codes(budget_findings(plan(budget=budget), MICROS)) == found


@pytest.mark.parametrize(
    ("plan_ends", "ends_at", "kept", "found"),
    [
        (None, NOW, 1, []),
        (None, None, 0, []),
        (None, None, 1, ["slow"]),
        ("2026-11-25T12:00:00Z", NOW, 1, ["over"]),
        ("2026-11-26T12:00:00Z", NOW + timedelta(days=2), 1, ["ends_early"]),
        ("2026-11-26T12:00:00Z", NOW, 1, []),
        ("2026-11-26T12:00:00Z", None, 0, []),
    ],
)
def test_what_is_said_of_the_dates(
    plan_ends: str | None, ends_at: datetime | None, kept: int, found: list[str]
) -> None:
    assert codes(date_findings(plan(ends_at=plan_ends), ends_at, kept, NOW)) == found


def test_a_warning_does_not_block() -> None:
    def report(*severities: Severity) -> Report:
        findings = tuple(Finding(code="x", severity=each, text="") for each in severities)
        return Report(counts=Counts(), findings=findings, cost_low=0, cost_high=0, hours=0.0, ends_at=None)

    assert report(Severity.WARNS).is_ready
    assert not report(Severity.WARNS, Severity.BLOCKS).is_ready
