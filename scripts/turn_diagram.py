"""Write docs/turn-machine.md from the tables of the turn machine: `make docs`. With --check FILE, compare instead.

The tables are the source (voice_agent/pipeline/turn_tables.py); the page shows them to people. `make test` fails where
the page is not what the tables say.
"""

import enum
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from voice_agent.pipeline.turn import TurnMachine
from voice_agent.pipeline.turn_tables import AGENT_TABLE, RULES, TIMERS, USER_TABLE, Agent, User

_PREAMBLE = """# The turn machine

Who has the floor in a call, as the two machines that stand side by side and what they mean together. How it works, and
what each rule does, is told in voice_agent/pipeline/turn.py.

This page is generated: `make docs` writes it from voice_agent/pipeline/turn_tables.py.
"""

_USER = """## The user

By voice activity. PAUSED becomes SILENT when the agent takes the turn, or a sound turns out to be none; words too soft
for voice activity lead from SILENT to PAUSED.
"""

_AGENT = """## The agent

By its own steps. Nothing of a reply is heard, and no tool runs, while it is SPECULATING; STOPPED keeps the audio until
words tell whether the caller's voice was an interruption.
"""

_RULES = """## Joint rules

A rule is found by the event and both states, after the user's own move. An event without a rule in the current states
changes nothing; one that names a turn which is over is dropped before all of this.
"""

_TIMERS = """## Timers

The moments that the machine itself waits for. The earliest armed one is its `deadline`.
"""


def diagram(first: enum.Enum, moves: Iterable[tuple[enum.Enum, enum.Enum, str]]) -> str:
    """Return a Mermaid state diagram of (from, to, by) moves; those between the same two states share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for source, target, cause in moves:
        arrows.setdefault((source.name, target.name), []).append(cause)
    lines = [f"    {source} --> {target}: {', '.join(causes)}" for (source, target), causes in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first.name}", *lines, "```", ""])


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), ""])


def _rules() -> Iterator[tuple[str, ...]]:
    for rule in RULES:
        yield (
            f"`{rule.event.__name__}`",
            _names(rule.user, User),
            _names(rule.agent, Agent),
            rule.says,
            f"`{rule.then}`",
        )


def _names(states: frozenset[enum.Enum], every: type[enum.Enum]) -> str:
    return "any" if len(states) == len(every) else ", ".join(each.name for each in every if each in states)


def _timers() -> Iterator[tuple[str, ...]]:
    for timer, method in TIMERS.items():
        says = inspect.getdoc(getattr(TurnMachine, method))
        if not says:
            raise SystemExit(f"TurnMachine.{method} has no docstring to show in the table of timers")
        yield timer.name, says.splitlines()[0], f"`{method}`"


def page() -> str:
    """Return docs/turn-machine.md."""
    sections = (
        _PREAMBLE,
        _USER,
        diagram(User.SILENT, ((state, to, event.__name__) for (state, event), to in USER_TABLE.items())),
        _AGENT,
        diagram(Agent.IDLE, ((state, to, step.value) for (state, step), to in AGENT_TABLE.items())),
        _RULES,
        table(("event", "user", "agent", "what it means", "rule"), _rules()),
        _TIMERS,
        table(("timer", "what it does", "rule"), _timers()),
    )
    return "\n".join(sections)


def main() -> None:
    """Print the page, or compare it."""
    match sys.argv[1:]:
        case []:
            sys.stdout.write(page())
        case ["--check", name]:
            if Path(name).read_text("utf-8") != page():
                raise SystemExit(f"{name} is not what the tables say: run `make docs`")
        case _:
            raise SystemExit("usage: turn_diagram.py [--check FILE]")


if __name__ == "__main__":
    main()
