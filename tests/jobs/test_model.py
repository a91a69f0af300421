"""Delays, names of runs, and verdicts."""

import pytest

from voice_agent.jobs.model import EngineState, Retry, Run, Verdict, judge, run_of


def test_delays_double_up_to_the_longest() -> None:
    retry = Retry(first_s=2.0, longest_s=60.0)

    assert [retry.delay_s(tries, 0.5) for tries in (1, 2, 3, 6, 1_000)] == [2.0, 4.0, 8.0, 60.0, 60.0]


def test_luck_spreads_delays_by_a_tenth() -> None:
    retry = Retry(first_s=10.0)

    assert retry.delay_s(1, 0.0) == pytest.approx(9.0)
    assert retry.delay_s(1, 1.0) == pytest.approx(11.0)


def test_the_default_goes_on_for_ten_hours() -> None:
    retry = Retry()

    assert 9 < sum(retry.delay_s(tries, 0.5) for tries in range(1, retry.tries)) / 3_600 < 11


def test_a_run_is_found_again_by_its_name() -> None:
    run = Run("call.ended-7", 12)

    assert run.workflow_id == "call.ended-7#12"
    assert run_of(run.workflow_id) == run


@pytest.mark.parametrize("name", ["", "x", "x#", "x#y", "x#-1", "x#²"])
def test_a_name_that_is_no_runs_is_none(name: str) -> None:
    assert run_of(name) is None


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (None, Verdict.AGAIN),
        (EngineState.WAITING, Verdict.LEAVE),
        (EngineState.RUNNING, Verdict.LEAVE),
        (EngineState.DONE, Verdict.FORGET),
        (EngineState.BROKEN, Verdict.FAIL),
        (EngineState.DEADLY, Verdict.FAIL),
    ],
)
def test_what_the_engine_knows_decides(state: EngineState | None, verdict: Verdict) -> None:
    assert judge(state, has_begun=False) is verdict


def test_a_run_that_ended_beside_a_worker_who_died_at_it_is_done_again() -> None:
    assert judge(EngineState.DONE, has_begun=True) is Verdict.AGAIN


@pytest.mark.parametrize("state", [EngineState.WAITING, EngineState.RUNNING])
def test_a_run_that_the_engine_still_has_is_left_to_it(state: EngineState) -> None:
    assert judge(state, has_begun=True) is Verdict.LEAVE
