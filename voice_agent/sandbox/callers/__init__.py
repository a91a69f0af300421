"""Simulated callers: scenario files, the people who follow them, and the judge of what came of the call.

Everything a user of it needs is imported here; docs/sandbox.md is its manual.
"""

from voice_agent.sandbox.callers.caller import Caller
from voice_agent.sandbox.callers.clips import Rendering
from voice_agent.sandbox.callers.judge import Verdict, percentile
from voice_agent.sandbox.callers.report import render
from voice_agent.sandbox.callers.run import (
    built_in_scenarios,
    find_scenario,
    hold_call,
    local_synthesis,
    prepare,
    run_scenario,
)
from voice_agent.sandbox.callers.scenario import Scenario, load, parse

__all__ = [
    "Caller",
    "Rendering",
    "Scenario",
    "Verdict",
    "built_in_scenarios",
    "find_scenario",
    "hold_call",
    "load",
    "local_synthesis",
    "parse",
    "percentile",
    "prepare",
    "render",
    "run_scenario",
]
