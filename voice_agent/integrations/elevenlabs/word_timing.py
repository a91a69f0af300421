"""Character timing as it comes from ElevenLabs, turned into words on a turn's own clock.

Pure. On the wire times are relative to their chunk of audio and words may be cut between chunks; a word is complete
once its spaces have come, or the turn ends. Source: "alignment" in ElevenLabs' API reference, text-to-speech
WebSocket (https://elevenlabs.io/docs/api-reference/text-to-speech/v-1-text-to-speech-voice-id-multi-stream-input).
"""

from collections.abc import Sequence

from voice_agent.pipeline.ports import Word


class WordTiming:
    """The words of one turn, from its chunks in order."""

    def __init__(self) -> None:
        self._text = ""
        self._start_ms = 0.0
        self._end_ms = 0.0

    def add(
        self, chars: Sequence[str], starts_ms: Sequence[float], durations_ms: Sequence[float], offset_ms: float
    ) -> tuple[Word, ...]:
        """Return the words that became complete; `offset_ms` is where the chunk begins in the turn.

        Lists of unequal length are read as far as the shortest goes.
        """
        words = []
        for char, start_ms, duration_ms in zip(chars, starts_ms, durations_ms, strict=False):
            at_ms = max(offset_ms + start_ms, self._end_ms)
            if not char.isspace() and self._is_complete:
                words.append(self._take())
            if not self._text:
                self._start_ms = at_ms
            self._text += char
            self._end_ms = max(at_ms, offset_ms + start_ms + duration_ms)
        if self._is_complete:
            words.append(self._take())
        return tuple(words)

    def finish(self) -> tuple[Word, ...]:
        """Return the last word, where no space has followed it."""
        return (self._take(),) if self._text.strip() else ()

    @property
    def _is_complete(self) -> bool:
        return self._text[-1:].isspace() and bool(self._text.strip())

    def _take(self) -> Word:
        word = Word(self._text, self._start_ms, self._end_ms)
        self._text = ""
        return word
