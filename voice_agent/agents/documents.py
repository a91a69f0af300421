"""Agents between their forms: rows of the database, YAML documents, and the differences of two definitions."""

from typing import Any

import msgspec

from voice_agent.agents.dialogue import Dialogue
from voice_agent.agents.files import Agent
from voice_agent.agents.model import AgentDefinition, check
from voice_agent.errors import AgentDefinitionError
from voice_agent.storage.storable import why_not_storable
from voice_agent.storage.tables import AgentVersionRow

_NOT_YAML = (msgspec.DecodeError, ValueError, AttributeError, RecursionError)
"""What the parser raises: the last ones for `2001-99-99`, `!!int x`, `!!timestamp x` and a thousand brackets."""


class AgentFile(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as one YAML document: its definition, and its scripted dialogue where it has one."""

    definition: AgentDefinition
    dialogue: Dialogue | None = None


def definition_of(version: AgentVersionRow) -> AgentDefinition:
    """Return a version's definition. Raises AgentDefinitionError for one that an older release wrote differently."""
    try:
        return msgspec.convert(version.definition, AgentDefinition)
    except msgspec.ValidationError as error:
        raise AgentDefinitionError(str(error)) from None


def agent_of(version: AgentVersionRow) -> Agent:
    """Return a version as it is put to work. Raises AgentDefinitionError."""
    return Agent(definition_of(version), None if version.dialogue is None else dialogue_from(version.dialogue))


def fill(version: AgentVersionRow, agent: Agent) -> None:
    """Make `agent` a version's content. Raises AgentDefinitionError for one that cannot be used."""
    check(agent.definition)
    definition = msgspec.to_builtins(agent.definition)
    if reason := why_not_storable(definition):
        raise AgentDefinitionError(f"definition: {reason}")
    version.definition = definition
    version.dialogue = None if agent.dialogue is None else msgspec.yaml.encode(agent.dialogue).decode()


def dialogue_from(text: str) -> Dialogue:
    """Return a scripted dialogue from YAML. Raises AgentDefinitionError naming the field."""
    try:
        return msgspec.yaml.decode(text, type=Dialogue)
    except msgspec.ValidationError as error:
        raise AgentDefinitionError(f"dialogue: {error}") from None
    except _NOT_YAML:
        raise AgentDefinitionError("dialogue: is not YAML") from None


def to_yaml(agent: Agent) -> bytes:
    """Return an agent as one YAML document; what is as by default is left out."""
    document = AgentFile(definition=agent.definition, dialogue=agent.dialogue)
    return msgspec.yaml.encode(_without_defaults(document))


def from_yaml(text: bytes) -> Agent:
    """Return the agent in a YAML document. Raises AgentDefinitionError naming the field."""
    try:
        document = _decoded(text)
    except msgspec.ValidationError as error:
        raise AgentDefinitionError(str(error)) from None
    except _NOT_YAML:
        raise AgentDefinitionError("this is not YAML") from None
    check(document.definition)
    return Agent(document.definition, document.dialogue)


def _decoded(text: bytes) -> AgentFile:
    """Read our own form, or a file as the library has them: a definition alone."""
    raw = msgspec.yaml.decode(text)
    if isinstance(raw, dict) and "definition" not in raw:
        return AgentFile(definition=msgspec.convert(raw, AgentDefinition))
    return msgspec.convert(raw, AgentFile)


def _without_defaults(document: AgentFile) -> dict[str, Any]:
    definition = document.definition
    defaults = msgspec.to_builtins(AgentDefinition(name="", language="en", prompt="", lines=definition.lines))
    written = msgspec.to_builtins(definition)
    needed = {"name", "language", "prompt", "lines"}
    kept = {name: value for name, value in written.items() if name in needed or value != defaults[name]}
    if document.dialogue is None:
        return {"definition": kept}
    return {"definition": kept, "dialogue": msgspec.to_builtins(document.dialogue)}


def difference(old: AgentDefinition, new: AgentDefinition) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two definitions: dotted name of the field to its old and new value."""
    return _difference(msgspec.to_builtins(old), msgspec.to_builtins(new), "")


def _difference(old: Any, new: Any, prefix: str) -> dict[str, tuple[Any, Any]]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return {} if old == new else {prefix: (old, new)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted(old.keys() | new.keys()):
        found |= _difference(old.get(name), new.get(name), f"{prefix}.{name}" if prefix else name)
    return found
