"""A provider that fails is left alone for a while."""

from voice_agent.errors import ProviderRefused, ProviderUnavailable
from voice_agent.pipeline.circuit_breaker import BreakerSettings, CircuitBreaker

DOWN = ProviderUnavailable("p", "down")


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def make() -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    return CircuitBreaker(clock, BreakerSettings(failures=3, within_s=30, open_s=20, refused_s=60)), clock


def test_three_quick_failures_open_it() -> None:
    breaker, _ = make()
    for _ in range(2):
        breaker.fail(DOWN)
        assert breaker.admits()
    breaker.fail(DOWN)
    assert breaker.is_open
    assert not breaker.admits()


def test_slow_failures_do_not() -> None:
    breaker, clock = make()
    for _ in range(5):
        breaker.fail(DOWN)
        clock.at += 16
    assert breaker.admits()


def test_a_success_forgets_failures() -> None:
    breaker, _ = make()
    breaker.fail(DOWN)
    breaker.fail(DOWN)
    breaker.succeed()
    breaker.fail(DOWN)
    assert breaker.admits()


def test_half_open_lets_one_request_through() -> None:
    breaker, clock = make()
    for _ in range(3):
        breaker.fail(DOWN)
    clock.at += 20
    assert breaker.admits()
    assert not breaker.admits()
    breaker.succeed()
    assert breaker.admits()
    assert breaker.admits()


def test_a_failure_while_half_open_opens_it_again() -> None:
    breaker, clock = make()
    for _ in range(3):
        breaker.fail(DOWN)
    clock.at += 31
    assert breaker.admits()
    breaker.fail(DOWN)
    assert not breaker.admits()
    clock.at += 20
    assert breaker.admits()


def test_an_outcome_that_never_comes_does_not_close_the_way_for_ever() -> None:
    breaker, clock = make()
    for _ in range(3):
        breaker.fail(DOWN)
    clock.at += 20
    assert breaker.admits()
    clock.at += 20
    assert breaker.admits()


def test_one_refusal_is_enough() -> None:
    """F05."""
    breaker, clock = make()
    breaker.fail(ProviderRefused("p", "401"))
    assert not breaker.admits()
    clock.at += 59
    assert not breaker.admits()
    clock.at += 1
    assert breaker.admits()
