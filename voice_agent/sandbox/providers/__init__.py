"""Doubles of ElevenLabs, OpenAI and Gemini on a real port: what they say, how fast, and what goes wrong is settable.

They speak the providers' protocols to the letter, with their traps, so that an adapter that works here meets nothing
new there. They are not models: recognition knows registered phrases only (`PhraseBook`), replies come from a
`Dialogue`, and the voice hums. docs/sandbox-providers.md is the page for users.
"""

from voice_agent.sandbox.providers.config import DoublesConfig, ElevenLabsConfig, OpenAIConfig, Timings
from voice_agent.sandbox.providers.dialogue import Dialogue, Prompt, Reply, Rule, ToolRequest
from voice_agent.sandbox.providers.faults import Fault, FaultKind, FaultPlan
from voice_agent.sandbox.providers.journal import Event, Exchange, Journal, Service
from voice_agent.sandbox.providers.phrases import PhraseBook
from voice_agent.sandbox.providers.server import ProviderDoubles

__all__ = [
    "Dialogue",
    "DoublesConfig",
    "ElevenLabsConfig",
    "Event",
    "Exchange",
    "Fault",
    "FaultKind",
    "FaultPlan",
    "Journal",
    "OpenAIConfig",
    "PhraseBook",
    "Prompt",
    "ProviderDoubles",
    "Reply",
    "Rule",
    "Service",
    "Timings",
    "ToolRequest",
]
