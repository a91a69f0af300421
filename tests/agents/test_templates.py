"""The agents that one can begin from."""

import msgspec

from voice_agent.agents.model import AgentDefinition, filled, placeholders, values_for
from voice_agent.agents.templates import templates


def test_every_template_can_hold_a_call_once_what_it_requires_is_given() -> None:
    assert len(templates()) == 8
    for template in templates():
        definition = msgspec.convert(template["definition"], AgentDefinition)
        required = {name: "Ana" for name, variable in definition.variables.items() if variable.is_required}
        use = filled(definition, values_for(definition, required))

        assert not placeholders(use)
        assert set(definition.variables) == placeholders(definition)
        assert all(use.lines.all())


def test_every_agent_says_first_that_it_is_a_machine() -> None:
    for template in templates():
        definition = msgspec.convert(template["definition"], AgentDefinition)
        machine = {"en": "virtual assistant", "es": "asistente virtual"}[definition.language]
        values = dict.fromkeys(definition.variables, "Ana")

        assert machine in filled(definition, values).disclosure.partition(".")[0]


def test_nothing_is_said_with_a_gap_where_only_what_is_required_was_given() -> None:
    for template in templates():
        definition = msgspec.convert(template["definition"], AgentDefinition)
        assert all(variable.is_required or variable.default for variable in definition.variables.values())
