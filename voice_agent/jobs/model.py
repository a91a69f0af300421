"""What a job is, when it is tried again, and what is done about one that the engine has lost.

A job is a row (`storage.tables.JobRow`). It waits, is handed over to the engine as run 1, and is deleted when its
handler returns. A handler that raises puts it off: it waits again, and is handed over as the next run. After its last
try it stays, failed, until somebody has it retried.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

MAX_ID_CHARS = 200

SEPARATOR = "#"
"""Between a job's id and the number of its run, in the engine's own id."""

Payload = TypeVar("Payload", bound=msgspec.Struct)


class JobContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler is told beside its payload."""

    job_id: str
    kind: str
    tries: int
    """Which one this is, from 1."""

    is_last: bool
    """Whether the job has failed if this try does."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """When a handler that raised is run again: after delays that double. By default ten hours in all."""

    tries: int = 20
    first_s: float = 2.0
    longest_s: float = 3_600.0

    def delay_s(self, tries: int, luck: float) -> float:
        """Return the seconds until the next try, after `tries` of them; `luck`, 0 to 1, spreads them by a tenth."""
        doubled = self.first_s * 2.0 ** min(tries - 1, 30)
        return min(self.longest_s, doubled) * (0.9 + 0.2 * luck)


class JobKind(msgspec.Struct, Generic[Payload], frozen=True, kw_only=True):
    """What runs the jobs of one name."""

    name: str
    payload: type[Payload]
    """Ids, never contents: rows of jobs are kept, shown and logged."""

    handler: Callable[[Payload, JobContext], Awaitable[None]]
    retry: Retry = Retry()
    timeout_s: float = 600.0
    """The longest one try may take."""

    give_up: Callable[[Payload, Exception], Awaitable[None]] | None = None
    """Writes down that the last try has failed, by whatever, a time-out too; waits for a database that is away."""


class FailedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is not tried any more."""

    id: str
    kind: str
    payload: dict[str, Any]
    tries: int
    error: str
    """Of the last try."""

    created_at: datetime
    failed_at: datetime


class JobTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and how long at the most. Tests have shorter ones."""

    poll_s: float = 0.2
    """Between two looks for due jobs, ours and the engine's: its own second is too long for a caller who waits."""

    beat_s: float = 2.0
    """Between two signs of life of a process."""

    dead_after_s: float = 10.0
    """Without a sign of life for so long, a process has lost its jobs to the others."""

    tend_s: float = 5.0
    """Between two looks for dead processes and lost jobs."""

    lost_after_s: float = 60.0
    """A job handed over so long ago is looked for in the engine."""

    close_s: float = 5.0
    """What running jobs are given to finish when the process ends."""

    history_s: float = 7 * 86_400.0
    """How long the engine knows a job that is done, and so does not do it again."""

    purge_s: float = 3_600.0
    recoveries: int = 20
    """A job that was running in so many processes when they died is not given to another one."""


class Run(NamedTuple):
    """One run of a job: what the engine is given."""

    job_id: str
    number: int

    @property
    def workflow_id(self) -> str:
        """The engine's id of it: handed over twice it is one."""
        return f"{self.job_id}{SEPARATOR}{self.number}"


def run_of(workflow_id: str) -> Run | None:
    """Return the run that an engine's id names, None where it names none."""
    job_id, separator, number = workflow_id.rpartition(SEPARATOR)
    return Run(job_id, int(number)) if separator and number.isascii() and number.isdigit() else None


class EngineState(StrEnum):
    """Where the engine has a run."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    BROKEN = "broken"
    """It ended by an error of the engine's: ours are caught."""

    DEADLY = "deadly"
    """Too many processes died while they ran it."""


class Verdict(StrEnum):
    """What becomes of a job that was handed over long ago."""

    LEAVE = "leave"
    AGAIN = "again"
    FORGET = "forget"
    FAIL = "fail"


_VERDICTS = {
    None: Verdict.AGAIN,  # the process died in between, or the engine's database is an older copy
    EngineState.WAITING: Verdict.LEAVE,
    EngineState.RUNNING: Verdict.LEAVE,
    EngineState.DONE: Verdict.FORGET,  # asked for once more after it had been done
    EngineState.BROKEN: Verdict.FAIL,
    EngineState.DEADLY: Verdict.FAIL,
}


def judge(state: EngineState | None, *, has_begun: bool) -> Verdict:
    """Return what to do about a job that nobody is at, whose run the engine has in this state.

    `state` is None where it does not know the run. `has_begun` tells that a worker had the run, and is gone.
    """
    if state is EngineState.DONE and has_begun:
        return Verdict.AGAIN  # given to two, of whom the second was turned away, and the first died
    return _VERDICTS[state]
