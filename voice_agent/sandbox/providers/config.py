"""Settings of the doubles: how fast they are, what they accept, how they spell their answers."""

from typing import Literal, Self

import msgspec


class Timings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How fast the doubles are. The defaults are the conditions of the latency benchmarks."""

    interim_lag_s: float = 0.15
    """From the arrival of a word's last sample to the interim transcript that shows it."""
    final_delay_s: float = 0.1
    """From a commit to its final transcript."""
    first_token_s: float = 0.15
    """From a language model request to its first token."""
    token_s: float = 0.015
    """Between two tokens."""
    first_audio_s: float = 0.08
    """From the text (or flush) to the first audio of an utterance."""
    chunk_ms: int = 200
    """Sound in one audio message."""
    audio_speed: float = 10.0
    """Audio comes this many times faster than real time."""

    @classmethod
    def realistic(cls) -> Self:
        """What the providers take over the internet: Scribe 250-380 ms after a commit, Flash 75 ms plus the way."""
        return cls(interim_lag_s=0.25, final_delay_s=0.3, first_token_s=0.45, token_s=0.012, first_audio_s=0.18)

    @classmethod
    def instant(cls) -> Self:
        """No waiting, for tests of what is said rather than when."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, audio_speed=1e9)


class ElevenLabsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ElevenLabs."""

    voices: tuple[str, ...] = ()
    """Voice ids that exist; empty: all do."""
    alignment: Literal["chunk", "legacy", "none"] = "chunk"
    """Character timing with every chunk, in the older spelling, or null."""
    spelling: Literal["camel", "snake"] = "camel"
    """contextId and isFinal, or context_id and is_final as on some servers."""
    max_contexts: int = 5
    stt_idle_close_s: float = 15.0
    """Without a message for so long the recognition socket is closed with 1000 and without a word."""
    auto_commit_s: float = 90.0
    """Seconds of uncommitted audio after which a segment is committed by itself."""
    min_commit_audio_s: float = 0.3
    """A commit of less new audio is answered by commit_throttled, and by nothing else."""


class OpenAIConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """OpenAI."""

    sends_done: bool = True
    """Whether a chat stream ends with `data: [DONE]`."""
    overtaken_every: int = 0
    """Every n-th completed transcript of a realtime session comes `overtaken_by_s` later; 0: none."""
    overtaken_by_s: float = 0.3


class DoublesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All doubles."""

    api_key: str = ""
    """The key that all of them want; empty: any key is right, but there must be one."""
    timings: Timings = Timings()
    elevenlabs: ElevenLabsConfig = ElevenLabsConfig()
    openai: OpenAIConfig = OpenAIConfig()
