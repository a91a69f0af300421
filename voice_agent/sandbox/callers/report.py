"""A verdict for people: the turns, the interruptions and the expectations of one simulated call."""

from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voice_agent.sandbox.callers.judge import Verdict, percentile

_MARKS = {True: "ok", False: "MISSED", None: "not judged"}


def render(verdict: Verdict, *, width: int = 100, color: bool = False) -> str:
    """Return the verdict as text of at most `width` columns."""
    console = Console(file=StringIO(), width=width, force_terminal=color, no_color=not color)
    console.print(_turn_table(verdict))
    for line in _event_lines(verdict):
        console.print(line, markup=False, highlight=False)
    console.print(_check_table(verdict))
    console.print(_summary(verdict), markup=False, highlight=False)
    output = console.file
    assert isinstance(output, StringIO)  # noqa: S101 - made three lines above
    return output.getvalue()


def _turn_table(verdict: Verdict) -> Table:
    table = Table(title=Text(verdict.scenario), title_justify="left", expand=True)
    table.add_column("at", justify="right")
    table.add_column("caller", ratio=1)
    table.add_column("answer")
    table.add_column("voice to voice", justify="right")
    for turn in verdict.turns:
        latency = "" if turn.latency_ms is None else f"{turn.latency_ms:.0f} ms"
        table.add_row(f"{turn.ended_s:.1f} s", Text(turn.text), turn.outcome.replace("_", " "), latency)
    return table


def _event_lines(verdict: Verdict) -> list[str]:
    lines = []
    for barge_in in verdict.barge_ins:
        stopped = "the agent did not stop"
        if barge_in.clear_ms is not None and barge_in.stop_ms is not None:
            stopped = f"`clear` after {barge_in.clear_ms:.0f} ms, last heard after {barge_in.stop_ms:.0f} ms"
        lines.append(f"barge-in at {barge_in.began_s:.1f} s: {stopped}")
    for stop in verdict.stops:
        resumed = "did not go on" if stop.resumed_ms is None else f"went on after {stop.resumed_ms:.0f} ms"
        lines.append(f"stopped at {stop.at_s:.1f} s by {stop.cause!r}: the agent {resumed}")
    return lines


def _check_table(verdict: Verdict) -> Table:
    table = Table(expand=True)
    table.add_column("expected", ratio=1)
    table.add_column("wanted")
    table.add_column("found", justify="right")
    table.add_column("")
    for check in verdict.checks:
        table.add_row(check.name, Text(check.wanted), check.found, _MARKS[check.is_met])
    return table


def _summary(verdict: Verdict) -> str:
    middle, high = percentile(verdict.latencies_ms, 0.5), percentile(verdict.latencies_ms, 0.95)
    latency = "no latency measured" if middle is None else f"voice to voice p50 {middle:.0f} ms, p95 {high:.0f} ms"
    outcome = "passed" if verdict.has_passed else "FAILED"
    return f"{outcome}: {verdict.answered_turns} turns in {verdict.duration_s:.0f} s, {latency}"
