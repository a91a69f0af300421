"""Speech synthesis whose sound is a tone of known length: `ms_per_char` for each character of the text."""

import asyncio
import re

from voice_agent.audio.mulaw import BYTES_PER_MS
from voice_agent.errors import ProviderError
from voice_agent.pipeline.ports import SynthesisListener, Voice, Word

TONE = b"\x20\xa0" * 4
"""One millisecond of a loud 4 kHz square wave."""


def tone(length_ms: float) -> bytes:
    """Return `length_ms` of audible mu-law."""
    return (TONE * (int(length_ms) + 1))[: int(length_ms * BYTES_PER_MS)]


class FakeSynthesisStream:
    """What it was told to say, and the audio that the test lets it report."""

    def __init__(self, voice: Voice, listener: SynthesisListener, *, is_automatic: bool, ms_per_char: float) -> None:
        self.voice = voice
        self.spoken: dict[int, list[str]] = {}
        self.finished: list[int] = []
        self.cancelled: list[int] = []
        self.is_closed = False
        self._listener = listener
        self._is_automatic = is_automatic
        self._ms_per_char = ms_per_char
        self._delivered_ms: dict[int, float] = {}

    def speak(self, turn: int, text: str) -> None:
        self.spoken.setdefault(turn, []).append(text)
        if self._is_automatic:
            asyncio.get_running_loop().call_soon(self.sound, turn, text)

    def finish(self, turn: int) -> None:
        self.finished.append(turn)
        if self._is_automatic:
            asyncio.get_running_loop().call_soon(self.complete, turn)

    def cancel(self, turn: int) -> None:
        self.cancelled.append(turn)

    async def close(self) -> None:
        self.is_closed = True

    def sound(self, turn: int, text: str) -> None:
        """Deliver the audio of `text`, its words timed evenly, unless the turn was cancelled."""
        if self._is_silent(turn):
            return
        start_ms = self._delivered_ms.get(turn, 0.0)
        words = []
        at_ms = start_ms
        for match in re.finditer(r"\S+\s*", text):
            end_ms = at_ms + len(match[0]) * self._ms_per_char
            words.append(Word(match[0], at_ms, end_ms))
            at_ms = end_ms
        self._delivered_ms[turn] = at_ms
        self._listener.on_audio(turn, tone(at_ms - start_ms), tuple(words))

    def complete(self, turn: int) -> None:
        """Report that all audio of the turn has been delivered, unless it was cancelled."""
        if not self._is_silent(turn):
            self._listener.on_finished(turn)

    def fail(self, turn: int, error: ProviderError) -> None:
        """Report that the turn cannot be completed, unless it was cancelled."""
        if not self._is_silent(turn):
            self._listener.on_failed(turn, error)

    def _is_silent(self, turn: int) -> bool:
        return self.is_closed or turn in self.cancelled


class FakeTextToSpeech:
    """`is_automatic`: sounds each piece as soon as it is spoken; otherwise the test calls `sound` and `complete`."""

    def __init__(self, *, is_automatic: bool = True, ms_per_char: float = 60.0) -> None:
        self.streams: list[FakeSynthesisStream] = []
        self.is_automatic = is_automatic
        self.ms_per_char = ms_per_char

    def open(self, *, voice: Voice, listener: SynthesisListener) -> FakeSynthesisStream:
        stream = FakeSynthesisStream(voice, listener, is_automatic=self.is_automatic, ms_per_char=self.ms_per_char)
        self.streams.append(stream)
        return stream


class RecordingListener:
    """A SynthesisListener that keeps what was reported, by turn."""

    def __init__(self) -> None:
        self.audio: dict[int, bytearray] = {}
        self.words: dict[int, list[Word]] = {}
        self.finished: list[int] = []
        self.failures: list[tuple[int, ProviderError]] = []
        self.changed = asyncio.Event()

    def on_audio(self, turn: int, mulaw: bytes, words: tuple[Word, ...]) -> None:
        self.audio.setdefault(turn, bytearray()).extend(mulaw)
        self.words.setdefault(turn, []).extend(words)
        self.changed.set()

    def on_finished(self, turn: int) -> None:
        self.finished.append(turn)
        self.changed.set()

    def on_failed(self, turn: int, error: ProviderError) -> None:
        self.failures.append((turn, error))
        self.changed.set()

    def text(self, turn: int) -> str:
        """Return the words delivered for a turn, joined."""
        return "".join(word.text for word in self.words.get(turn, ()))
