"""An agent's definition. Pure: reading files is `agents.files`.

The numbers of a turn-taking profile live in `pipeline.endpointing`; here an agent only names one.
"""

from typing import Annotated, Literal

import msgspec

from voice_agent.pipeline.turn_settings import Lines

Language = Literal["en", "es"]

Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bounds on one call."""

    duration_s: Seconds = 1_800.0
    """The longest call, greeting to goodbye."""

    idle_s: Seconds = 8.0
    """Silence of both sides before a prompt."""


class AgentDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that makes one agent different from another."""

    name: str
    language: Language
    prompt: str
    """Instructions for the language model."""

    lines: Lines
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
    limits: Limits = msgspec.field(default_factory=Limits)
