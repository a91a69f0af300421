"""What the engine of jobs has to say, in our own log."""

import logging
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

LOGGER = "dbos"

QUIET_S = 10.0
"""The same line of its code is heard once in so long: while its database is away it complains five times a second."""

MAX_CHARS = 300


class EngineLog(logging.Handler):
    """Passes the engine's warnings and errors on. In place, it keeps the engine from writing to the console itself."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds that never go back."""
        super().__init__(logging.WARNING)
        self._clock = clock
        self._heard: dict[tuple[str, int], float] = {}
        self._was_propagating = True

    def open(self) -> None:
        """Take the engine's log over."""
        logger = logging.getLogger(LOGGER)
        self._was_propagating = logger.propagate
        logger.propagate = False
        logger.addHandler(self)

    def close(self) -> None:
        """Give it back."""
        logger = logging.getLogger(LOGGER)
        logger.removeHandler(self)
        logger.propagate = self._was_propagating
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; without a traceback, whose statements may hold values."""
        place = (record.pathname, record.lineno)
        now = self._clock()
        if now - self._heard.get(place, -QUIET_S) < QUIET_S:
            return
        self._heard[place] = now
        lines = record.getMessage().strip().splitlines() or [""]
        cause = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        write = log.error if record.levelno >= logging.ERROR else log.warning
        write("jobs_engine", said=lines[0][:MAX_CHARS], cause=cause)
