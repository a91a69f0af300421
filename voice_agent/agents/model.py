"""An agent's definition, and its variables filled in. Pure: reading files is `agents.files`.

The numbers of a turn-taking profile live in `pipeline.endpointing`; here an agent names one, and may change single
numbers of it.

Variables are written `{{first_name}}` in the prompt and the lines. A value is put in as it is: text, never read as a
template or an instruction again, and not longer than `LONGEST_VALUE`.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from voice_agent.errors import AgentDefinitionError, InvalidRequest
from voice_agent.pipeline.endpointing import PROFILES, EndpointingSettings
from voice_agent.pipeline.turn_settings import Lines

Language = Literal["en", "es"]

Seconds = Annotated[float, msgspec.Meta(gt=0)]

GOODBYE_S = 10.0
"""Kept free at the end of the last paid minute."""

ROUNDING = 1e-9
"""Quotients of prices are not exact."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bounds on one call."""

    duration_s: Seconds = 1_800.0
    """The longest call, greeting to goodbye."""

    idle_s: Seconds = 8.0
    """Silence of both sides before a prompt."""

    cost_usd: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """What the carrier may charge for the call; it ends in time, but is never shorter than the first minute."""

    def longest_s(self, usd_per_minute: float) -> float:
        """Return how long a call may last at a price by the minute: minutes begun are paid."""
        if self.cost_usd is None:
            return self.duration_s
        minutes = max(1, math.floor(self.cost_usd / usd_per_minute + ROUNDING))
        return min(self.duration_s, 60.0 * minutes - GOODBYE_S)


class Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that differs from call to call, such as the name of whoever is called."""

    default: str = ""
    description: str = ""
    is_required: bool = False
    """Whether a call cannot be placed without it. An incoming call has no values: it takes the default."""


class RecordingRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether calls are recorded, and what is said of it."""

    enabled: bool = True
    consent_line: str = ""
    """Said as a part of the disclosure where calls are recorded; empty where the law does not ask for it."""


class AgentDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that makes one agent different from another."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    language: Language
    prompt: str
    """Instructions for the language model."""

    lines: Lines
    first_lines: dict[str, str] = msgspec.field(default_factory=dict)
    """Greetings by locale, such as `es-MX`, for people whose number is of that country; `lines` has the others'."""

    model: str = ""
    """LangChain's `provider:model`; empty for the server's LANGUAGE_MODEL."""

    fallback_model: str = ""
    """Asked where `model` fails or is slow; empty for the server's FALLBACK_MODEL."""

    voice: str = ""
    """The TTS provider's voice id; empty for the server's default."""

    fallback_voice: str = ""
    dialogue: str = ""
    """File name, beside the agent's, of the scripted dialogue that stands in for a language model."""

    tools: tuple[str, ...] = ("end_call",)
    transfer_targets: dict[str, str] = msgspec.field(default_factory=dict)
    """Names the model may use for `transfer_call`, each with its E.164 number."""

    profile: Literal["patient", "normal", "quick"] = "normal"
    endpointing: dict[str, Seconds] = msgspec.field(default_factory=dict)
    """Numbers of the profile to change, by the names of `EndpointingSettings`, in seconds."""

    limits: Limits = msgspec.field(default_factory=Limits)
    variables: dict[str, Variable] = msgspec.field(default_factory=dict)
    disclosure: str = ""
    """Said first in every call, whatever its first line is, such as that the caller talks to a machine. Nobody can
    talk over it: it is heard to its end, and what the caller says meanwhile is answered then."""

    recording: RecordingRule = msgspec.field(default_factory=RecordingRule)
    hears_opt_out: bool = False
    """Whether "do not call me again", or key 9, ends its calls for good. In calls of campaigns, and where the law asks
    for it, that is so in any case."""

    @property
    def endpointing_settings(self) -> EndpointingSettings:
        """The profile with the agent's own numbers."""
        return msgspec.structs.replace(PROFILES[self.profile], **self.endpointing)


LONGEST_VALUE = 500
"""Characters of a variable's value."""

_PLACEHOLDER = re.compile(r"\{\{\s*([a-z][a-z0-9_]{0,39})\s*\}\}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_COUNTRY = re.compile(r"[A-Z]{2}")


def check(definition: AgentDefinition) -> None:
    """Raise AgentDefinitionError for what the types alone do not show: the message names the field."""
    for name in definition.variables:
        if not _NAME.fullmatch(name):
            raise AgentDefinitionError(f"variables: {name[:40]!r} is no name: small letters, digits and _")
    unknown = sorted(placeholders(definition) - set(definition.variables))
    if unknown:
        raise AgentDefinitionError(f"variables: nobody says what {', '.join(unknown)} is")
    for locale in definition.first_lines:
        language, _, country = locale.partition("-")
        if language != definition.language or not _COUNTRY.fullmatch(country):
            raise AgentDefinitionError(f"first_lines: {locale[:40]!r} is no locale like {definition.language}-US")
    numbers = EndpointingSettings.__struct_fields__
    strange = sorted(set(definition.endpointing) - set(numbers))
    if strange:
        raise AgentDefinitionError(f"endpointing: {', '.join(strange)} is none of {', '.join(numbers)}")


def placeholders(definition: AgentDefinition) -> frozenset[str]:
    """Return the names that the prompt and the lines use."""
    spoken = (*definition.lines.all(), *definition.first_lines.values())
    texts = (definition.prompt, definition.disclosure, definition.recording.consent_line, *spoken)
    return frozenset(name for text in texts for name in _PLACEHOLDER.findall(text))


def values_for(definition: AgentDefinition, given: Mapping[str, str], *, is_outbound: bool = True) -> dict[str, str]:
    """Return a value for every variable: what was given, else the default.

    Raises InvalidRequest for a name that the agent does not have, a value that is too long, and, of an outbound call,
    a required one that is missing.
    """
    unknown = sorted(set(given) - set(definition.variables))
    if unknown:
        raise InvalidRequest(f"variables: this agent has no {', '.join(unknown)}")
    for name, variable in definition.variables.items():
        if len(given.get(name, "")) > LONGEST_VALUE:
            raise InvalidRequest(f"variables: {name} has more than {LONGEST_VALUE} characters")
        if is_outbound and variable.is_required and not given.get(name, "").strip():
            raise InvalidRequest(f"variables: {name} is required")
    return {name: given.get(name) or variable.default for name, variable in definition.variables.items()}


def filled(
    definition: AgentDefinition, values: Mapping[str, str], *, country: str = "", disclosure: str = ""
) -> AgentDefinition:
    """Return the definition as one call uses it: variables filled in, all that must be said first in the disclosure.

    `values` has one for every placeholder (`values_for`); `country` is the ISO 3166 code of whom the agent talks to.
    `disclosure` is what the law has said in the call where the agent brings none of its own.
    """

    def fill(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: values[match[1]], text)

    lines = definition.lines
    greeting = definition.first_lines.get(f"{definition.language}-{country}", lines.greeting)
    consent = definition.recording.consent_line if definition.recording.enabled else ""
    return msgspec.structs.replace(
        definition,
        prompt=fill(definition.prompt),
        disclosure=fill(_joined(definition.disclosure or disclosure, consent)),
        lines=Lines(
            greeting=fill(greeting.strip()),
            idle_prompts=tuple(map(fill, lines.idle_prompts)),
            goodbye=fill(lines.goodbye),
            filler=fill(lines.filler),
            not_understood=fill(lines.not_understood),
            apology=fill(lines.apology),
            failure=fill(lines.failure),
            resumption=fill(lines.resumption),
            closing=fill(lines.closing),
            connecting=fill(lines.connecting),
            opted_out=fill(lines.opted_out),
        ),
    )


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, (sentence.strip() for sentence in sentences)))
