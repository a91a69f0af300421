"""An agent's definition: what has to be there, what is filled in, what is refused."""

from typing import Any

import msgspec
import pytest

from voice_agent.agents.model import AgentDefinition
from voice_agent.pipeline.endpointing import PROFILES

LINES = {
    "greeting": "Hello.", "idle_prompts": [], "goodbye": "", "filler": "", "not_understood": "", "apology": "",
    "failure": "",
}  # fmt: skip
LEAST: dict[str, Any] = {"name": "Bench", "language": "en", "prompt": "You are kind.", "lines": LINES}


def test_the_least_definition_has_an_ending_and_bounds() -> None:
    agent = msgspec.convert(LEAST, AgentDefinition)
    assert agent.tools == ("end_call",)
    assert agent.limits.duration_s == 1_800.0
    assert agent.profile in PROFILES


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("language", "de"),
        ("profile", "hasty"),
        ("limits", {"duration_s": 0}),
        ("limits", {"idle_s": -1}),
        ("limits", {"seconds": 3}),
        ("lines", {}),
        ("promt", "You are kind."),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(LEAST | {field: value}, AgentDefinition)
    assert field in str(refused.value)
