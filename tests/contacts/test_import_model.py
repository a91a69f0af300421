"""An import's life: every state and event; options as people send them; counts and progress."""

import pytest

from voice_agent.contacts.import_model import (
    EDITABLE,
    FINAL,
    Counts,
    Event,
    ImportOptions,
    ImportState,
    Speedometer,
    Treatment,
    moved,
    options_of,
    seconds_left,
)
from voice_agent.errors import Conflict, InvalidRequest

S, E = ImportState, Event
LEGAL = {
    (S.WAITING, E.FILE): S.READY,
    (S.FETCHING, E.FILE): S.READY,
    (S.READY, E.FILE): S.READY,
    (S.WAITING, E.START): S.FETCHING,
    (S.READY, E.START): S.QUEUED,
    (S.QUEUED, E.PLACE): S.RUNNING,
    (S.RUNNING, E.END): S.DONE,
    (S.CANCELLING, E.END): S.CANCELLED,
    (S.WAITING, E.CANCEL): S.CANCELLED,
    (S.FETCHING, E.CANCEL): S.CANCELLED,
    (S.READY, E.CANCEL): S.CANCELLED,
    (S.QUEUED, E.CANCEL): S.CANCELLED,
    (S.RUNNING, E.CANCEL): S.CANCELLING,
    (S.CANCELLING, E.CANCEL): S.CANCELLING,
    (S.WAITING, E.FAIL): S.FAILED,
    (S.FETCHING, E.FAIL): S.FAILED,
    (S.READY, E.FAIL): S.FAILED,
    (S.QUEUED, E.FAIL): S.FAILED,
    (S.RUNNING, E.FAIL): S.FAILED,
    (S.CANCELLING, E.FAIL): S.FAILED,
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", ImportState)
def test_every_state_and_event(state: ImportState, event: Event) -> None:
    if (state, event) in LEGAL:
        assert moved(state, event) is LEGAL[state, event]
    else:
        with pytest.raises(Conflict, match=f"the import is {state}: "):
            moved(state, event)


def test_nothing_leads_out_of_the_end_and_everything_leads_there() -> None:
    assert not [state for state, _ in LEGAL if state in FINAL]
    reached = set(FINAL)
    while more := {state for (state, _), after in LEGAL.items() if after in reached} - reached:
        reached |= more
    assert reached == set(ImportState)
    assert not EDITABLE & FINAL


def test_options_are_read_as_people_send_them() -> None:
    options = options_of(
        {
            "country": "ES",
            "tags": ["fair", "2026"],
            "existing": "update",
            "fields": {"email": "skip", "custom": "merge", "custom.plan": "update"},
        }
    )
    assert options.existing is Treatment.UPDATE
    assert options.treatment_of("email", Treatment.UPDATE) is Treatment.SKIP
    assert options.treatment_of("name", Treatment.UPDATE) is Treatment.UPDATE
    assert options.treatment_of("custom.plan", Treatment.UPDATE) is Treatment.UPDATE
    assert options.treatment_of("custom.age", Treatment.UPDATE) is Treatment.MERGE
    assert options_of({}) == ImportOptions()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"country": "es"}, "options.country"),
        ({"country": "ESP"}, "options.country"),
        ({"country": "ÑÑ"}, "options.country"),
        ({"tags": [" "]}, "options.tags"),
        ({"tags": ["x" * 201]}, "options.tags"),
        ({"tags": ["x"] * 51}, "options.tags"),
        ({"existing": "replace"}, "options"),
        ({"fields": {"shoe": "skip"}}, "'shoe' is no field"),
        ({"list_id": "mine"}, "options"),
        ({"colour": 1}, "options"),
    ],
)
def test_options_that_are_none_are_refused_by_name(given: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        options_of(given)


def test_counts_add_up() -> None:
    one, other = Counts(created=2, refused=1, listed=2), Counts(created=1, skipped=3, blank=1, suppressed=1)
    both = one.plus(other)
    assert both == Counts(created=3, refused=1, skipped=3, blank=1, listed=2, suppressed=1)
    assert both.settled == 8


def test_the_rate_is_that_of_the_last_seconds() -> None:
    speed = Speedometer(0.0)
    assert speed.add(500, 1.0) == 500.0
    assert speed.add(500, 2.0) == 500.0
    for second in range(3, 30):
        rate = speed.add(100, float(second))
    assert rate == 100.0


def test_the_first_rows_of_all_have_a_rate_although_no_time_has_passed() -> None:
    assert Speedometer(5.0).add(1, 5.0) == 1_000.0


@pytest.mark.parametrize(
    ("total", "cursor", "rate", "left"),
    [
        (1_000, 500, 100.0, 5.0),
        (None, 500, 100.0, None),
        (1_000, 500, None, None),
        (1_000, 500, 0.0, None),
        (10, 20, 1.0, 0),
    ],
)
def test_the_time_left_is_what_the_rest_takes(
    total: int | None, cursor: int, rate: float | None, left: float | None
) -> None:
    assert seconds_left(total, cursor, rate) == left
