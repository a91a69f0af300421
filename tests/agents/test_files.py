from pathlib import Path

import pytest

from voice_agent.agents.dialogue import Script
from voice_agent.agents.files import DEFAULT_AGENT, LIBRARY, load_agent, load_dialogue
from voice_agent.errors import AgentDefinitionError


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_of_the_library_can_be_used(path: Path) -> None:
    if path.name.endswith(".dialogue.yaml"):
        Script(load_dialogue(path))
    else:
        assert load_agent(path).definition.lines.greeting


def test_the_demos_receptionist_answers_by_default() -> None:
    agent = load_agent()

    assert agent == load_agent(DEFAULT_AGENT)
    assert agent.definition.language == "en"
    assert agent.dialogue is not None


def test_a_spanish_receptionist_has_no_script() -> None:
    agent = load_agent(LIBRARY / "clinica_del_puerto.yaml")

    assert agent.definition.language == "es"
    assert agent.dialogue is None


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("language: en", "language: fr", r"agent\.yaml: Invalid enum value 'fr' - at `\$\.language`"),
        ("profile: normal", "profil: normal", r"agent\.yaml: Object contains unknown field `profil`"),
        ("  goodbye:", "  farewell:", r"agent\.yaml: Object contains unknown field `farewell` - at `\$\.lines`"),
        ("idle_s: 8", "idle_s: 0", r"agent\.yaml: Expected `float` > 0.0 - at `\$\.limits\.idle_s`"),
        ("name:", "name: [", r"agent\.yaml: not YAML"),
        ("harbour_dental.dialogue.yaml", "gone.yaml", r"gone\.yaml: No such file"),
    ],
)
def test_a_fault_is_told_with_its_file_and_field(tmp_path: Path, old: str, new: str, problem: str) -> None:
    file = tmp_path / "agent.yaml"
    text = DEFAULT_AGENT.read_text("utf-8")
    assert old in text
    (tmp_path / "harbour_dental.dialogue.yaml").write_bytes((LIBRARY / "harbour_dental.dialogue.yaml").read_bytes())
    file.write_text(text.replace(old, new, 1), "utf-8")

    with pytest.raises(AgentDefinitionError, match=problem):
        load_agent(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgentDefinitionError, match=r"nobody\.yaml: No such file"):
        load_agent(tmp_path / "nobody.yaml")
