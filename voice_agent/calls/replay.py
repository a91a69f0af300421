"""Run a recorded call through the turn machine again and compare every decision.

The machine is pure and every event carries its time, so the same events must cause the same actions, action for
action. The first difference is where today's code decides otherwise; what follows it is compared no further, because
the recorded events are answers to the recorded actions. It calls no provider and plays no sound.
"""

from pathlib import Path

import msgspec

from voice_agent.calls.event_log import EventLog, LoggedEvent, read_event_log
from voice_agent.pipeline.actions import AnyAction
from voice_agent.pipeline.events import AnyEvent
from voice_agent.pipeline.turn import TurnMachine


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first line on which the machine decided otherwise."""

    line: int
    event: AnyEvent
    expected: tuple[AnyAction, ...]
    """What the log says."""

    got: tuple[AnyAction, ...]
    """What the machine decides today."""


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found."""

    events: int
    """In the log."""

    replayed: int
    """Events whose decisions were the same, up to the first difference."""

    actions: int
    """Actions that were the same."""

    is_complete: bool
    """Whether the log reaches to the end of the call."""

    is_torn: bool
    """Whether the log's last line was cut off and left out."""

    difference: Difference | None = None

    @property
    def is_same(self) -> bool:
        """Whether every decision was the same."""
        return self.difference is None


def replay(path: Path) -> ReplayReport:
    """Replay the log in a file. Raises EventLogError where it cannot be read."""
    return replay_log(read_event_log(path))


def replay_log(log: EventLog) -> ReplayReport:
    """Replay a log that was read."""
    machine = TurnMachine(log.header.settings)
    replayed = actions = 0
    difference = None
    for entry in log.entries:
        difference = _difference(entry, machine.handle(entry.event))
        if difference is not None:
            break
        replayed += 1
        actions += len(entry.actions)
    return ReplayReport(
        events=len(log.entries),
        replayed=replayed,
        actions=actions,
        is_complete=log.is_complete,
        is_torn=log.is_torn,
        difference=difference,
    )


def _difference(entry: LoggedEvent, got: tuple[AnyAction, ...]) -> Difference | None:
    if got == entry.actions:
        return None
    return Difference(line=entry.line, event=entry.event, expected=entry.actions, got=got)
