"""Exit codes and signals; the commands as a whole: demo/test_end_to_end.py, test_simulate.py."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from voice_agent.errors import ScenarioError
from voice_agent.sandbox.callers import built_in_scenarios
from voice_agent.sandbox.commands import ENDING_SIGNALS, list_scenarios, run_until_signalled, simulate


def test_what_the_work_returns_is_returned() -> None:
    async def work() -> str:
        return "done"

    assert run_until_signalled(work()) == "done"


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_signal_ends_the_work_in_order(number: signal.Signals) -> None:
    ended: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)
            ended.append("in order")

    with pytest.raises(SystemExit) as code:
        run_until_signalled(work())

    assert (code.value.code, ended) == (128 + number, ["in order"])


def test_every_built_in_scenario_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_scenarios() == 0

    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == list(built_in_scenarios())


def test_a_scenario_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no_such_scenario: no such file; built in are demo"):
        simulate("no_such_scenario", url="", calls=1, json_file=None, data_dir=tmp_path)
