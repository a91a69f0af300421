"""The agents that one can begin from: files of `library/templates`, named by what they do and their language."""

from functools import cache
from typing import Any

import msgspec

from voice_agent.agents.files import LIBRARY, load_agent

FOLDER = LIBRARY / "templates"


@cache
def templates() -> tuple[dict[str, Any], ...]:
    """Return every template: key (`reminder.es`), name, language and definition, in the order of their keys."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        definition = load_agent(path).definition
        found.append(
            {
                "key": path.stem,
                "name": definition.name,
                "language": definition.language,
                "definition": msgspec.to_builtins(definition),
            }
        )
    return tuple(found)
