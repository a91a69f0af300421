"""What the end of a call means for the contact: the default matrix, and what holds of every plan."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.campaigns.stored_campaigns import a_document
from voice_agent.calls.model import CallState, Outcome
from voice_agent.campaigns.model import ContactState
from voice_agent.campaigns.plan import Plan, read_plan
from voice_agent.campaigns.retries import (
    EXHAUSTED,
    FLOOR,
    NEVER_RANG,
    Again,
    Ended,
    Over,
    following,
    is_counted,
    ordinary,
    promised,
)

NOON = datetime(2026, 11, 25, 11, tzinfo=UTC)  # noon in Madrid, a Wednesday
MADRID = ZoneInfo("Europe/Madrid")
PLAN = read_plan(a_document())
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def ended(outcome: Outcome = Outcome.NO_ANSWER, **said: object) -> Ended:
    return Ended(**({"outcome": outcome, "ended_at": NOON, "zone": MADRID} | said))  # type: ignore[arg-type]


def any_hour(at: datetime) -> datetime:
    return at


def office_hours(at: datetime) -> datetime:
    """From nine to eight in Madrid, every day."""
    local = at.astimezone(MADRID)
    opens = local.replace(hour=9, minute=0, second=0, microsecond=0)
    if local < opens:
        return opens.astimezone(UTC)
    return at if local.hour < 20 else (opens + timedelta(days=1)).astimezone(UTC)


def minutes_after(outcome: Outcome, times: int, plan: Plan = PLAN) -> float | Over:
    answer = following(plan, ended(outcome, times=times, attempts=times, zone=None), any_hour)
    return (answer.at - NOON) / MINUTE if isinstance(answer, Again) else answer


@pytest.mark.parametrize(
    ("outcome", "delays"),
    [
        (Outcome.BUSY, [15, 60, 240]),
        (Outcome.NO_ANSWER, [240, 1_440, 2_880]),
        (Outcome.VOICEMAIL, [1_440, 1_440]),
        (Outcome.REJECTED, [1_440]),
        (Outcome.CARRIER_FAILED, [5, 10, 60]),  # the first would be 2: the floor
        (Outcome.SILENT, [60]),
    ],
)
def test_the_default_matrix(outcome: Outcome, delays: list[float]) -> None:
    assert [minutes_after(outcome, times) for times in range(1, len(delays) + 1)] == delays
    assert minutes_after(outcome, len(delays) + 1) == EXHAUSTED


def test_who_was_reached_is_done_and_so_is_a_fax() -> None:
    assert following(PLAN, ended(Outcome.HUMAN), any_hour) == Over(state=ContactState.DONE)
    assert following(PLAN, ended(Outcome.FAX), any_hour) == Over(state=ContactState.DONE)


def test_a_number_that_does_not_exist_is_invalid() -> None:
    answer = following(PLAN, ended(Outcome.INVALID_NUMBER), any_hour)
    assert isinstance(answer, Over)
    assert (answer.state, answer.reason[:14]) == (ContactState.INVALID, "invalid_number")


def test_an_opt_out_is_stronger_than_everything() -> None:
    said = {"is_opted_out": True, "callback_at": NOON + HOUR, "is_called_again": True}
    for outcome in Outcome:
        answer = following(PLAN, ended(outcome, **said), any_hour)
        assert isinstance(answer, Over)
        assert answer.state is ContactState.SUPPRESSED


def test_a_callback_is_when_they_want_it_never_before_and_within_the_hours() -> None:
    wanted = NOON + timedelta(days=1)
    assert following(PLAN, ended(Outcome.HUMAN, callback_at=wanted), office_hours) == Again(at=wanted, is_callback=True)
    at_night = NOON.replace(hour=22)
    answer = following(PLAN, ended(Outcome.HUMAN, callback_at=at_night), office_hours)
    assert answer == Again(at=NOON.replace(day=26, hour=8), is_callback=True)  # nine in Madrid
    at_once = following(PLAN, ended(Outcome.HUMAN, callback_at=NOON), any_hour)
    assert at_once == Again(at=NOON + FLOOR, is_callback=True)
    never = following(PLAN, ended(Outcome.HUMAN, callback_at=wanted), lambda _: None)
    assert never == Again(at=wanted, is_callback=True)


def test_a_disposition_that_is_called_again_waits_for_the_gap_and_ends_at_the_cap() -> None:
    answer = following(PLAN, ended(Outcome.HUMAN, is_called_again=True), any_hour)
    assert answer == Again(at=NOON + 4 * HOUR)
    last = ended(Outcome.HUMAN, is_called_again=True, attempts=PLAN.caps.per_campaign)
    assert following(PLAN, last, any_hour) == EXHAUSTED
    assert following(PLAN, ended(Outcome.FAX, is_called_again=True), any_hour) == Over(state=ContactState.DONE)


def test_the_campaigns_cap_ends_the_retries() -> None:
    last = ended(Outcome.BUSY, attempts=PLAN.caps.per_campaign)
    assert following(PLAN, last, any_hour) == EXHAUSTED
    reached = ended(Outcome.HUMAN, attempts=PLAN.caps.per_campaign)
    assert following(PLAN, reached, any_hour) == Over(state=ContactState.DONE)


@pytest.mark.parametrize("outcome", sorted(NEVER_RANG))
def test_a_call_that_was_none_is_due_again_at_once_and_exhausts_nobody(outcome: Outcome) -> None:
    def after(unplaced: int, **said: object) -> timedelta:
        answer = following(PLAN, ended(outcome, unplaced=unplaced, times=unplaced, attempts=99, **said), any_hour)
        assert isinstance(answer, Again)
        return answer.at - NOON

    assert [after(unplaced, may_have_rung=False) for unplaced in (1, 2, 3, 4, 50)] == [0 * FLOOR] * 3 + [FLOOR] * 2
    assert after(1, may_have_rung=True) == FLOOR
    closed = following(PLAN, ended(outcome, unplaced=1, may_have_rung=False), lambda _: None)
    assert closed == Again(at=NOON)


def test_what_counts_against_the_caps() -> None:
    assert is_counted(PLAN, CallState.ENDED, Outcome.HUMAN)
    assert is_counted(PLAN, CallState.ENDED, Outcome.BUSY)
    assert not is_counted(PLAN, CallState.VOID, Outcome.HUMAN)
    assert not any(is_counted(PLAN, CallState.ENDED, outcome) for outcome in NEVER_RANG)
    free = read_plan(a_document(retries={"busy": {"after_min": [15], "is_counted": False}}))
    assert not is_counted(free, CallState.ENDED, Outcome.BUSY)


def test_no_answer_is_tried_in_another_part_of_the_day() -> None:
    plan = read_plan(a_document(retries={"no_answer": {"after_min": [60, 1_440], "is_other_daypart": True}}))
    assert following(plan, ended(), office_hours) == Again(at=NOON.replace(hour=16))  # evening: five in Madrid
    morning = following(plan, ended(ended_at=NOON - timedelta(hours=2)), office_hours)
    assert morning == Again(at=NOON)  # ten, and an hour later is morning still: at noon
    evening = following(plan, ended(ended_at=NOON.replace(hour=18)), office_hours)
    assert evening == Again(at=NOON.replace(day=26, hour=8))
    unknown = following(plan, ended(zone=None), office_hours)
    assert unknown == Again(at=NOON + HOUR)


def test_where_no_other_part_of_the_day_is_legal_the_same_one_will_do() -> None:
    plan = read_plan(a_document(retries={"no_answer": {"after_min": [60], "is_other_daypart": True}}))

    def afternoons(at: datetime) -> datetime:
        local = at.astimezone(MADRID)
        noon = local.replace(hour=12, minute=0)
        if local < noon:
            return noon.astimezone(UTC)
        return at if local.hour < 17 else (noon + timedelta(days=1)).astimezone(UTC)

    assert following(plan, ended(), afternoons) == Again(at=NOON + HOUR)
    only_once = following(plan, ended(), lambda at: at if at <= NOON + HOUR else None)
    assert only_once == Again(at=NOON + HOUR)
    assert following(plan, ended(), lambda _: None) == Again(at=NOON + HOUR)


DELAYS = st.lists(st.floats(0, 10_000), max_size=6).map(sorted)
OUTCOMES = st.sampled_from(sorted(Outcome))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    retried = set(Outcome) - {Outcome.HUMAN, Outcome.INVALID_NUMBER, Outcome.BLOCKED}
    retries = {
        outcome.value: {"after_min": draw(DELAYS), "is_other_daypart": draw(st.booleans())}
        for outcome in draw(st.sets(st.sampled_from(sorted(retried))))
    }
    return read_plan(a_document(retries=retries, caps={"per_campaign": draw(st.integers(1, 8))}))


@given(
    plans(), OUTCOMES, st.integers(1, 9), st.integers(0, 9), st.integers(1, 9), st.booleans(),
    st.none() | st.integers(-100, 10_000), st.integers(0, 400 * 24 * 60),
)  # fmt: skip
def test_nobody_is_called_again_before_the_floor_or_outside_of_the_hours(
    plan: Plan,
    outcome: Outcome,
    times: int,
    unplaced: int,
    attempts: int,
    is_called_again: bool,
    callback: int | None,
    later: int,
) -> None:
    at = NOON + later * MINUTE
    wanted = None if callback is None else at + callback * MINUTE
    case = ended(
        outcome, ended_at=at, times=times, unplaced=max(1, unplaced), attempts=attempts,
        is_called_again=is_called_again, callback_at=wanted,
    )  # fmt: skip
    answer = following(plan, case, office_hours)
    if isinstance(answer, Over):
        assert wanted is None
        assert answer.state in {ContactState.DONE, ContactState.EXHAUSTED, ContactState.INVALID}
        return
    assert answer.at >= at + FLOOR
    assert answer.at == office_hours(answer.at)
    assert wanted is None or answer.at >= wanted
    assert following(plan, case, office_hours) == answer


@given(plans(), st.sampled_from(sorted(set(Outcome) - NEVER_RANG)), st.integers(1, 8))
def test_after_exhausted_nobody_is_called_and_later_retries_come_no_sooner(
    plan: Plan, outcome: Outcome, times: int
) -> None:
    def answer(number: int) -> float | Over:
        return minutes_after(outcome, number, plan)

    now, then = answer(times), answer(times + 1)
    if isinstance(now, Over):
        assert isinstance(then, Over)
        return
    assert isinstance(then, Over) or then >= now


@given(st.integers(-1_000_000, 1_000_000), st.integers(-1_000_000, 1_000_000))
def test_a_promise_comes_before_every_rank_and_leaves_it_as_it_was(rank: int, other: int) -> None:
    assert promised(rank) < other
    assert ordinary(promised(rank)) == ordinary(rank) == rank
    assert promised(promised(rank)) == promised(rank)
    assert promised(rank) > -(2**31)  # a column of four bytes holds it
