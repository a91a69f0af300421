"""The life of a call: every state against every report, and the order in which reports come."""

import itertools
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.calls.model import (
    ACTIVE,
    FINAL,
    RANKS,
    STEPS,
    CallFacts,
    CallState,
    CarrierReport,
    Outcome,
    answered_outcome,
    applied,
    failed_outcome,
    moved,
)

START = datetime(2026, 11, 25, 9, tzinfo=UTC)
STATUSES = (
    "queued", "initiated", "ringing", "in-progress", "answered", "completed", "busy", "no-answer", "failed", "canceled",
)  # fmt: skip


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def placed() -> CallFacts:
    return CallFacts(state=CallState.DIALING)


def told(facts: CallFacts, *reports: CarrierReport) -> CallFacts:
    for report in reports:
        facts = applied(facts, report)
    return facts


LIFE = (
    CarrierReport(status="initiated", at=at(1)),
    CarrierReport(status="ringing", at=at(2)),
    CarrierReport(status="in-progress", at=at(5)),
    CarrierReport(answered_by="machine_start"),
    CarrierReport(status="completed", at=at(30), duration_s=25, sip_code=200, price=12_000),
)


def test_a_call_goes_from_request_to_end() -> None:
    facts = told(placed(), *LIFE)

    assert facts == CallFacts(
        state=CallState.ENDED,
        outcome=Outcome.VOICEMAIL,
        answered_by="machine_start",
        sip_code=200,
        accepted_at=at(1),
        ringing_at=at(2),
        answered_at=at(5),
        ended_at=at(30),
        talk_s=25,
        price=12_000,
    )
    assert facts.is_final


def test_f21_all_120_orders_of_five_reports_end_alike() -> None:
    ends = {msgspec.json.encode(told(placed(), *order)) for order in itertools.permutations(LIFE)}

    assert len(ends) == 1


@given(st.lists(st.sampled_from(LIFE), max_size=12))
def test_f20_copies_change_nothing(reports: list[CarrierReport]) -> None:
    everything = told(placed(), *LIFE)

    assert told(everything, *reports) == everything


@pytest.mark.parametrize("state", CallState)
@pytest.mark.parametrize("status", STATUSES)
def test_a_report_never_moves_a_call_down(state: CallState, status: str) -> None:
    after = applied(
        CallFacts(state=state, outcome=Outcome.HUMAN if state in FINAL else None), CarrierReport(status=status)
    )

    assert RANKS[after.state] >= RANKS[state]
    if RANKS[after.state] == RANKS[state]:
        assert after.state is state
    assert (after.outcome is not None) >= after.is_final


@pytest.mark.parametrize("state", CallState)
def test_a_status_that_nobody_knows_changes_nothing(state: CallState) -> None:
    facts = CallFacts(state=state, outcome=Outcome.BUSY if state in FINAL else None)

    assert applied(facts, CarrierReport(status="teleported", at=at(1))) == facts


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("busy", Outcome.BUSY),
        ("no-answer", Outcome.NO_ANSWER),
        ("canceled", Outcome.CANCELLED),
        ("failed", Outcome.CARRIER_FAILED),
        ("completed", Outcome.HUMAN),
    ],
)
def test_each_final_status_has_its_outcome(status: str, outcome: Outcome) -> None:
    assert applied(placed(), CarrierReport(status=status)).outcome is outcome


def test_why_a_call_failed_is_read_from_the_far_ends_answer() -> None:
    assert applied(placed(), CarrierReport(status="failed", sip_code=404)).outcome is Outcome.INVALID_NUMBER
    assert failed_outcome(603) is Outcome.REJECTED
    assert failed_outcome(503) is Outcome.CARRIER_FAILED


def test_who_answered_decides_what_an_answered_call_was() -> None:
    assert answered_outcome(None) is Outcome.HUMAN
    assert answered_outcome("unknown") is Outcome.HUMAN
    assert answered_outcome("machine_end_beep") is Outcome.VOICEMAIL
    assert answered_outcome("fax") is Outcome.FAX


def test_a_verdict_that_comes_after_the_end_corrects_the_outcome_and_nothing_else_does() -> None:
    ended = told(placed(), CarrierReport(status="completed"))

    assert applied(ended, CarrierReport(answered_by="machine_start")).outcome is Outcome.VOICEMAIL
    assert applied(ended, CarrierReport(status="busy")).outcome is Outcome.HUMAN
    busy = told(placed(), CarrierReport(status="busy"))
    assert applied(busy, CarrierReport(answered_by="machine_start")).outcome is Outcome.BUSY


def test_a_verdict_stays_unless_it_was_none() -> None:
    unsure = told(placed(), CarrierReport(answered_by="unknown"))

    assert applied(unsure, CarrierReport(answered_by="human")).answered_by == "human"
    assert told(unsure, *LIFE).answered_by == "machine_start"
    assert told(placed(), *LIFE, CarrierReport(answered_by="human")).answered_by == "machine_start"


@pytest.mark.parametrize("state", [CallState.VOID, CallState.NOT_PLACED])
def test_a_report_of_a_call_that_was_believed_not_to_exist_brings_it_back(state: CallState) -> None:
    lost = CallFacts(state=state, ended_at=at(60), outcome=Outcome.NOT_PLACED)

    rings = applied(lost, CarrierReport(status="ringing", at=at(61)))
    assert (rings.state, rings.outcome, rings.ended_at) == (CallState.RINGING, None, None)
    assert applied(rings, CarrierReport(status="busy", at=at(70))).outcome is Outcome.BUSY


@pytest.mark.parametrize(("before", "after"), list(itertools.product(CallState, CallState)))
def test_our_own_steps_are_those_of_the_table(before: CallState, after: CallState) -> None:
    if after not in STEPS.get(before, frozenset()):
        with pytest.raises(ValueError, match="does not go"):
            moved(CallFacts(state=before), after, at=START)
        return
    facts = moved(CallFacts(state=before), after, at=START)

    assert facts.state is after
    assert facts.is_final == (facts.ended_at is not None) == (facts.outcome is not None)


def test_our_own_steps_note_their_time_once() -> None:
    accepted = moved(CallFacts(state=CallState.DIALING), CallState.ACCEPTED, at=at(1))
    talking = moved(accepted, CallState.IN_PROGRESS, at=at(4))
    ended = moved(talking, CallState.ENDED, at=at(9), outcome=Outcome.SILENT)

    assert (accepted.accepted_at, talking.answered_at, ended.ended_at) == (at(1), at(4), at(9))
    assert ended.outcome is Outcome.SILENT
    assert applied(ended, CarrierReport(status="completed", at=at(10), duration_s=6)).ended_at == at(9)


def test_every_state_is_active_or_final() -> None:
    assert not ACTIVE & FINAL
    assert frozenset(CallState) == ACTIVE | FINAL
