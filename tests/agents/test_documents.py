"""Agents as YAML, and the differences of two definitions."""

import msgspec
import pytest

from voice_agent.agents.documents import agent_of, dialogue_from, difference, fill, from_yaml, to_yaml
from voice_agent.agents.files import DEFAULT_AGENT, LIBRARY, Agent, load_agent
from voice_agent.errors import AgentDefinitionError
from voice_agent.storage.tables import AgentVersionRow


def test_an_agent_survives_yaml_and_a_row_unchanged() -> None:
    agent = load_agent()
    row = AgentVersionRow()
    fill(row, agent)

    assert from_yaml(to_yaml(agent)) == agent
    assert agent_of(row) == agent


def test_what_is_as_by_default_is_not_written() -> None:
    assert b"fallback_model" not in to_yaml(load_agent())


def test_a_file_of_the_library_can_be_imported_as_it_is() -> None:
    assert from_yaml(DEFAULT_AGENT.read_bytes()).definition == load_agent().definition
    for path in (LIBRARY / "templates").glob("*.yaml"):
        assert from_yaml(path.read_bytes()) == load_agent(path)


def test_differences_are_named_by_field() -> None:
    old = load_agent().definition
    new = msgspec.structs.replace(old, prompt="x", lines=msgspec.structs.replace(old.lines, goodbye="Bye"))

    assert difference(old, old) == {}
    assert difference(old, new) == {"prompt": (old.prompt, "x"), "lines.goodbye": (old.lines.goodbye, "Bye")}


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "2001-99-99",
        "!!int x",
        "!!float x",
        "!!timestamp x",
        "9" * 5_000,
        "[" * 20_000 + "]" * 20_000,
        "\xff",
        "\0",
    ],
)
def test_what_the_parser_stumbles_over_is_not_yaml(text: str) -> None:
    with pytest.raises(AgentDefinitionError):
        from_yaml(text.encode("latin-1"))
    with pytest.raises(AgentDefinitionError, match="dialogue"):
        dialogue_from(text)


def test_an_agent_that_no_database_keeps_is_refused() -> None:
    agent = load_agent()
    for prompt in ("\0", "\ud800"):
        with pytest.raises(AgentDefinitionError, match="cannot be kept|no text"):
            fill(AgentVersionRow(), Agent(msgspec.structs.replace(agent.definition, prompt=prompt)))


@pytest.mark.parametrize("name", ["", "a" * 201])
def test_an_agent_has_a_name_that_a_column_holds(name: str) -> None:
    document = msgspec.yaml.decode(to_yaml(load_agent()))
    document["definition"]["name"] = name
    with pytest.raises(AgentDefinitionError, match=r"length.*name"):
        from_yaml(msgspec.yaml.encode(document))


def test_a_row_of_another_release_says_so() -> None:
    row = AgentVersionRow(definition={"name": "x"}, dialogue=None)
    with pytest.raises(AgentDefinitionError, match="language"):
        agent_of(row)
    row = AgentVersionRow(definition=msgspec.to_builtins(load_agent().definition), dialogue="[")
    with pytest.raises(AgentDefinitionError, match="YAML"):
        agent_of(row)
