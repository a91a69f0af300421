"""The engine's log."""

import logging
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from voice_agent.jobs.engine_log import LOGGER, QUIET_S, EngineLog


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logger(clock: Clock) -> Iterator[logging.Logger]:
    handler = EngineLog(clock)
    handler.open()
    yield logging.getLogger(LOGGER)
    handler.close()
    assert handler not in logging.getLogger(LOGGER).handlers


def complain(logger: logging.Logger, words: str) -> None:
    logger.warning(words)


def test_warnings_and_errors_are_ours_and_the_rest_is_nobodys(logger: logging.Logger) -> None:
    with capture_logs() as entries:
        logger.info("launched")
        complain(logger, "slow\nSELECT secret")
        try:
            raise RuntimeError("secret")
        except RuntimeError:
            logger.exception("broken")

    assert entries == [
        {"event": "jobs_engine", "log_level": "warning", "said": "slow", "cause": ""},
        {"event": "jobs_engine", "log_level": "error", "said": "broken", "cause": "RuntimeError"},
    ]
    assert not logger.propagate


def test_what_it_says_again_and_again_is_heard_now_and_then(logger: logging.Logger, clock: Clock) -> None:
    with capture_logs() as entries:
        for _ in range(5):
            complain(logger, "no database")
        clock.now += QUIET_S
        complain(logger, "")

    assert [entry["said"] for entry in entries] == ["no database", ""]
