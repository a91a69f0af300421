"""What `voice-agent demo` and `voice-agent simulate` do: output, signals, exit codes.

Exit codes: 0 all went as it should, 1 it did not, 128 + N ended by signal N. However a command ends, it first ends
what it has started.
"""

import asyncio
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from voice_agent.sandbox.callers import built_in_scenarios, load, render
from voice_agent.sandbox.demo.api_view import api_view, how_to_ask
from voice_agent.sandbox.demo.run import broken_promises, run_demo, summary
from voice_agent.sandbox.simulate import Simulation, run_simulation

RUN_NAME = "%Y%m%d-%H%M%S"
"""Local time. Each demo has a folder, and so a database, of its own: the list shows its call and no other."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def demo(data_dir: Path, json_file: Path | None) -> int:
    """Run the demo in a new folder of `data_dir`; return the exit code."""
    console = Console(highlight=False)
    folder = data_dir / time.strftime(RUN_NAME)
    held = run_until_signalled(run_demo(folder.absolute(), console))
    _write(json_file, held.report.as_json())
    console.print()
    console.print(summary(held))
    if held.seen is not None:
        console.print()
        console.print(api_view(held.seen))
    console.print()
    for name, path in (
        ("recording", held.report.recording),
        ("transcript", held.files.transcript_text),
        ("event log", held.files.event_log),
    ):
        console.print(f"{name:<11}{path}", soft_wrap=True)
    for check in held.verdict.checks:
        if check.is_met is False:
            console.print(f"Expected {check.name}: {check.wanted}; found: {check.found}.", style="yellow", markup=False)
    if held.seen is not None:
        console.print("\n".join(("", *how_to_ask(folder))), soft_wrap=True, markup=False)
    broken = list(broken_promises(held.report, held.fault))
    for sentence in broken:
        console.print(f"The demo failed: {sentence}", style="bold red", markup=False)
    return 1 if broken else 0


def simulate(scenario: str, *, url: str, calls: int, json_file: Path | None, data_dir: Path) -> int:
    """Run a scenario; return the exit code."""
    console = Console(highlight=False)
    simulation = Simulation(scenario=scenario, url=url, calls=calls, data_dir=data_dir.absolute())
    report = run_until_signalled(run_simulation(simulation, console))
    _write(json_file, report.as_json())
    for verdict in report.calls:
        console.file.write(render(verdict, width=console.width, color=console.is_terminal))
    if calls > 1:
        console.print(f"{sum(verdict.has_passed for verdict in report.calls)} of {calls} calls passed.")
    return 0 if report.has_passed else 1


def _write(json_file: Path | None, content: bytes) -> None:
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(content)


def list_scenarios() -> int:
    """Print the built-in scenarios."""
    console = Console(highlight=False)
    for name, path in built_in_scenarios().items():
        console.print(f"{name:<12}{load(path).name}", markup=False)
    return 0


_Result = TypeVar("_Result")


def run_until_signalled(work: Coroutine[None, None, _Result]) -> _Result:
    """Return what `work` returns. An ending signal cancels it, so that it cleans up, and then raises SystemExit."""
    received: list[int] = []

    async def watched() -> _Result:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def cancel(number: int) -> None:
            received.append(number)
            if task is not None:
                task.cancel()

        for each in ENDING_SIGNALS:
            loop.add_signal_handler(each, cancel, each)
        return await work

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise SystemExit(128 + received[0]) from None
