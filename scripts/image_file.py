"""Read a Dockerfile and a .dockerignore, as far as this project's own go. Pure: what is read is handed in as text.

An instruction that is not known here is refused: what `make image` proves has to be all that the Dockerfile says.
"""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

STEPS = frozenset({"RUN", "COPY"})
"""What changes the files of a stage, in order."""

LISTS = frozenset({"CMD", "ENTRYPOINT"})
WORDS = frozenset({"VOLUME", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL"})


class UnknownInstruction(Exception):
    """This line is not understood."""


@dataclass(frozen=True)
class Step:
    """One RUN or COPY."""

    kind: str
    words: tuple[str, ...]
    """RUN: the command. COPY: sources, then the target."""

    origin: str = ""
    """COPY: the stage that is copied from; empty for the folder of the Dockerfile."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """What the ENV lines before it say."""


@dataclass
class Stage:
    """One FROM and what follows it. What a stage inherits from another one is not repeated."""

    name: str
    parent: str
    steps: list[Step] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    health_check: tuple[str, ...] = ()
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """CMD and ENTRYPOINT."""

    words: dict[str, str] = field(default_factory=dict)
    """USER, WORKDIR and the like."""


def parse(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile. Raises UnknownInstruction."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in _lines(text):
        kind, _, rest = line.partition(" ")
        if kind == "ARG" and not stages:
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif kind == "FROM" and (found := re.fullmatch(r"(\S+) AS (\S+)", rest)):
            parent = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], found[1])
            stages.append(Stage(name=found[2], parent=parent))
        elif stages:
            _add(stages[-1], kind, rest)
        else:
            raise UnknownInstruction(line)
    return stages


def _lines(text: str) -> list[str]:
    joined = re.sub(r"\\\n\s*", "", text)
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _add(stage: Stage, kind: str, rest: str) -> None:
    if kind in STEPS:
        stage.steps.append(_step(kind, rest, dict(stage.environment)))
    elif kind == "ENV":
        stage.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
    elif kind in LISTS:
        stage.lists[kind] = tuple(json.loads(rest))
    elif kind == "HEALTHCHECK":
        stage.health_check = tuple(json.loads(rest.partition(" CMD ")[2]))
    elif kind in WORDS:
        stage.words[kind] = rest
    else:
        raise UnknownInstruction(f"{kind} {rest}")


def _step(kind: str, rest: str, environment: Mapping[str, str]) -> Step:
    words = shlex.split(rest)
    origin = ""
    if kind == "COPY" and words[0].startswith("--from="):
        origin = words.pop(0).removeprefix("--from=")
    if words[0].startswith(("--", "[")):
        raise UnknownInstruction(f"{kind} {rest}")
    return Step(kind, tuple(words), origin, environment)


def ignored(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether a .dockerignore keeps a path out: the last pattern that fits it, or a folder above it, decides."""
    parts = path.split("/")
    names = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    is_ignored = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        if any(_fits(name, wanted) for name in names):
            is_ignored = wanted == pattern
    return is_ignored


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(name.rpartition("/")[2], pattern[3:])
    return name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)


def patterns(text: str) -> list[str]:
    """Return the patterns of a .dockerignore."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
