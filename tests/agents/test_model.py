"""An agent's definition: what has to be there, what is filled in, what is refused."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from voice_agent.agents.model import AgentDefinition, Limits, RecordingRule, Variable, check, filled, values_for
from voice_agent.errors import AgentDefinitionError, InvalidRequest
from voice_agent.pipeline.endpointing import PROFILES
from voice_agent.pipeline.turn_settings import Lines

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
        ("limits", {"cost_usd": 0}),
        ("lines", {}),
        ("promt", "You are kind."),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(LEAST | {field: value}, AgentDefinition)
    assert field in str(refused.value)


SAID = msgspec.convert(LINES, Lines)
REMINDER = AgentDefinition(
    name="Reminder",
    language="en",
    prompt="Remind {{ name }} of {{day}}.",
    lines=msgspec.structs.replace(SAID, greeting="Hello {{name}}."),
    variables={"name": Variable(is_required=True), "day": Variable(default="tomorrow")},
    disclosure="This is an automated call.",
    recording=RecordingRule(consent_line="It is recorded."),
)


def test_variables_are_filled_in_and_what_must_be_said_comes_first() -> None:
    use = filled(REMINDER, values_for(REMINDER, {"name": "Ana"}))

    assert use.prompt == "Remind Ana of tomorrow."
    assert use.disclosure == "This is an automated call. It is recorded."
    assert use.lines.greeting == "Hello Ana."


def test_a_value_is_never_read_as_a_template_again() -> None:
    values = values_for(REMINDER, {"name": "{{day}} \\1"})

    assert filled(REMINDER, values).prompt == "Remind {{day}} \\1 of tomorrow."


def test_the_page_about_agents_names_every_field_and_number_and_its_example_works() -> None:
    page = (Path(__file__).parents[2] / "docs/agents.md").read_text("utf-8")
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    check(msgspec.yaml.decode(example[1], type=AgentDefinition))

    fields = AgentDefinition.__struct_fields__ + PROFILES["normal"].__struct_fields__
    assert [name for name in fields if f"`{name}`" not in page] == []
    rows = [row.split(" | ") for row in page.splitlines() if row.startswith("| `") and "_s` |" in row]
    shown = {row[0].strip("| `"): [float(number) for number in row[1:4]] for row in rows if "," not in row[0]}
    assert shown == {
        name: [getattr(PROFILES[profile], name) for profile in ("quick", "normal", "patient")] for name in shown
    }
    assert len(shown) == 6


def test_the_first_line_is_the_one_of_the_country_that_is_talked_to() -> None:
    local = msgspec.structs.replace(REMINDER, first_lines={"en-IE": "Hiya {{name}}."}, disclosure="")
    values = values_for(local, {"name": "Ana"})
    check(local)

    assert filled(local, values, country="IE").lines.greeting == "Hiya Ana."
    assert filled(local, values, country="US").lines.greeting == "Hello Ana."
    assert filled(local, values).disclosure == "It is recorded."


def test_nobody_is_told_of_a_recording_that_is_not_made() -> None:
    unheard = msgspec.structs.replace(REMINDER, recording=RecordingRule(enabled=False, consent_line="Hm."))

    use = filled(unheard, values_for(unheard, {"name": "Ana"}))

    assert use.disclosure == "This is an automated call."


@pytest.mark.parametrize(
    ("limits", "longest_s"),
    [
        (Limits(duration_s=900.0), 900.0),
        (Limits(duration_s=900.0, cost_usd=0.5), 170.0),
        (Limits(duration_s=900.0, cost_usd=0.45), 170.0),
        (Limits(duration_s=90.0, cost_usd=0.5), 90.0),
        (Limits(duration_s=900.0, cost_usd=0.01), 50.0),
    ],
)
def test_a_call_ends_before_it_costs_more_than_it_may(limits: Limits, longest_s: float) -> None:
    assert limits.longest_s(usd_per_minute=0.15) == longest_s


def test_an_agent_without_greeting_or_disclosure_lets_the_caller_speak_first() -> None:
    silent = AgentDefinition(name="S", language="en", prompt="", lines=msgspec.structs.replace(SAID, greeting=""))

    assert filled(silent, {}).lines.greeting == ""
    assert filled(silent, {}).disclosure == ""


def test_every_line_and_the_disclosure_are_filled_in() -> None:
    said = msgspec.convert(dict.fromkeys(SAID.__struct_fields__, "{{name}}") | {"idle_prompts": ["{{name}}"]}, Lines)
    use = filled(msgspec.structs.replace(REMINDER, lines=said, disclosure="For {{name}}."), {"name": "A", "day": ""})

    assert set(use.lines.all()) == {"A"}
    assert len(use.lines.all()) == len(said.all())
    assert use.disclosure.startswith("For A.")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [({}, "name is required"), ({"name": "x" * 501}, "more than 500"), ({"name": "A", "age": "9"}, "has no age")],
)
def test_values_that_cannot_be_used_are_refused_by_name(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        values_for(REMINDER, given)


def test_an_incoming_call_has_no_values_and_takes_the_defaults() -> None:
    assert values_for(REMINDER, {}, is_outbound=False) == {"name": "", "day": "tomorrow"}


def test_single_numbers_of_a_profile_can_be_changed() -> None:
    own = msgspec.structs.replace(REMINDER, profile="patient", endpointing={"finished_s": 0.3})

    assert own.endpointing_settings == msgspec.structs.replace(PROFILES["patient"], finished_s=0.3)
    check(own)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"variables": {}}, "what day, name is"),
        ({"variables": {"Name": Variable(), "name": Variable(), "day": Variable()}}, "is no name"),
        ({"endpointing": {"patience_s": 1.0}}, "patience_s is none of"),
        ({"first_lines": {"es-MX": "Hola."}}, "'es-MX' is no locale like en-US"),
        ({"first_lines": {"en": "Hello."}}, "'en' is no locale"),
        ({"first_lines": {"en-US": "Hello {{age}}."}}, "what age is"),
    ],
)
def test_definitions_that_cannot_be_used_are_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(AgentDefinitionError, match=complaint):
        check(msgspec.structs.replace(REMINDER, **changes))
