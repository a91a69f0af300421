"""Reading agents from YAML: the definition, and the scripted dialogue beside it where it names one.

Every field is checked when the file is read. The agents that come with the package lie in `library`.
"""

from importlib import resources
from pathlib import Path
from typing import TypeVar

import msgspec

from voice_agent.agents.dialogue import Dialogue
from voice_agent.agents.model import AgentDefinition, check
from voice_agent.errors import AgentDefinitionError

LIBRARY = Path(str(resources.files("voice_agent.agents") / "library"))
DEFAULT_AGENT = LIBRARY / "harbour_dental.yaml"
"""Who answers where no agent is configured: the receptionist of the demo."""


class Agent(msgspec.Struct, frozen=True):
    """An agent as it is put to work."""

    definition: AgentDefinition
    dialogue: Dialogue | None = None
    """What it says where no language model is configured, and what local recognition listens for."""


def load_agent(path: Path | None = None) -> Agent:
    """Return the agent in a YAML file, by default the demo's. Raises AgentDefinitionError naming file and field."""
    path = path or DEFAULT_AGENT
    definition = _read(path, AgentDefinition)
    try:
        check(definition)
    except AgentDefinitionError as error:
        raise AgentDefinitionError(f"{path}: {error}") from None
    dialogue = _read(path.parent / definition.dialogue, Dialogue) if definition.dialogue else None
    return Agent(definition, dialogue)


def load_dialogue(path: Path) -> Dialogue:
    """Return the dialogue in a YAML file. Raises AgentDefinitionError naming file and field."""
    return _read(path, Dialogue)


_Read = TypeVar("_Read")


def _read(path: Path, into: type[_Read]) -> _Read:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=into)
    except OSError as error:
        raise AgentDefinitionError(f"{path}: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise AgentDefinitionError(f"{path}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AgentDefinitionError(f"{path}: not YAML: {error}") from error
