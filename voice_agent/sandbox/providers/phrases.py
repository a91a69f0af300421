"""What the speech-to-text doubles understand: recorded phrases, recognised exactly by their bytes.

A caller that sends a registered clip is understood word by word as the audio arrives; any other sound (noise, a
cough, music, another voice) gives no words. It is no acoustic model: one changed sample makes a frame unknown.
The 20 ms frames of a clip must keep their alignment in the stream, that is, whatever is sent before a clip must be
a multiple of 160 bytes; how the bytes are cut into messages does not matter.

A frame is found by one dictionary look-up; while a clip goes on, by one comparison with its next frame.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import ceil

import msgspec

from voice_agent.audio import mulaw
from voice_agent.audio.mulaw import FRAME_BYTES, FRAME_MS

LOST_FRAMES = 5
"""Frames that may be missing inside a phrase without costing the words they carried: a short network loss."""

CANDIDATES = 64
"""Places that one frame may belong to; a frame found in more is too ordinary to start from."""

AUDIBLE_RMS = 120
"""Root mean square below which a frame counts as silence: about -49 dB of full scale, telephone line noise."""

DISTINCT_BYTES = 12
"""Different byte values that a frame needs to be distinctive: constant and toggling patterns occur by themselves."""

_ONE_ZERO = bytes(0xFF if code == 0x7F else code for code in range(256))
"""mu-law has two codes for zero; conversion to PCM and back merges them, so does this table."""


class Phrase:
    """A clip and what it says. `ends[i]` is the number of frames after which word i is complete."""

    __slots__ = ("clip", "ends", "frames", "text", "voiced", "words")

    def __init__(self, clip: bytes, text: str, word_ends_ms: Sequence[float]) -> None:
        padded = clip + mulaw.silence(-len(clip) % FRAME_BYTES)
        self.clip = padded.translate(_ONE_ZERO)
        self.frames = len(padded) // FRAME_BYTES
        self.text = text
        self.words = tuple(text.split())
        self.voiced = tuple(_is_audible(self.frame(at)) for at in range(self.frames))
        ends_ms = word_ends_ms or self._even_ends_ms()
        if len(ends_ms) != len(self.words):
            raise ValueError(f"{len(self.words)} words but {len(ends_ms)} word ends: {text!r}")
        self.ends = tuple(min(self.frames, ceil(end_ms / FRAME_MS)) for end_ms in ends_ms)
        if list(self.ends) != sorted(self.ends):
            raise ValueError(f"word ends go backwards: {text!r}")

    def frame(self, at: int) -> bytes:
        """Return frame number `at`, empty beyond the end."""
        return self.clip[at * FRAME_BYTES : (at + 1) * FRAME_BYTES]

    def _even_ends_ms(self) -> list[float]:
        """Spread the words over the audible part of the clip in proportion to their letters."""
        audible = [at for at, is_voiced in enumerate(self.voiced) if is_voiced] or [0, self.frames - 1]
        first, last = audible[0], audible[-1] + 1
        total = sum(map(len, self.words)) or 1
        ends_ms, letters = [], 0
        for word in self.words:
            letters += len(word)
            ends_ms.append((first + (last - first) * letters / total) * FRAME_MS)
        return ends_ms


def _is_audible(frame: bytes) -> bool:
    return mulaw.rms(mulaw.decode(frame)) >= AUDIBLE_RMS


class PhraseBook:
    """All phrases that can be understood, and the index of their frames."""

    def __init__(self) -> None:
        self._phrases: dict[bytes, Phrase] = {}
        self._index: dict[int, list[tuple[Phrase, int]]] = {}

    def __len__(self) -> int:
        return len(self._phrases)

    def add(self, clip: bytes, text: str, word_ends_ms: Sequence[float] = ()) -> None:
        """Teach that `clip` (mu-law, 8,000 Hz) says `text`; adding the same clip again replaces its text.

        `word_ends_ms[i]` is when word i of `text.split()` has been said, from the start of the clip; without it the
        words are spread evenly. Raises ValueError where the ends do not fit the words.
        """
        phrase = Phrase(clip, text, word_ends_ms)
        if phrase.clip in self._phrases:
            self._forget(self._phrases[phrase.clip])
        self._phrases[phrase.clip] = phrase
        for at in range(phrase.frames):
            frame = phrase.frame(at)
            if phrase.voiced[at] and len(set(frame)) >= DISTINCT_BYTES:
                places = self._index.setdefault(hash(frame), [])
                if len(places) < CANDIDATES:
                    places.append((phrase, at))

    def clear(self) -> None:
        """Forget everything."""
        self._phrases.clear()
        self._index.clear()

    def find(self, frame: bytes) -> list[tuple[Phrase, int]]:
        """Return the places that this frame belongs to, earliest registered first."""
        places = self._index.get(hash(frame))
        return [(phrase, at) for phrase, at in places if phrase.frame(at) == frame] if places else []

    def _forget(self, phrase: Phrase) -> None:
        for at in range(phrase.frames):
            key = hash(phrase.frame(at))
            places = self._index.get(key)
            if places is not None:
                self._index[key] = [place for place in places if place[0] is not phrase]


class HeardWord(msgspec.Struct, frozen=True):
    """A word and when it was said, in seconds from the start of the stream."""

    text: str
    start_s: float
    end_s: float


class Ear:
    """Recognition of one stream. `words` grows as they are heard, until `take` empties it."""

    def __init__(self, book: PhraseBook) -> None:
        self.words: list[HeardWord] = []
        self.frames = 0
        """Whole frames heard since the start."""
        self.last_voiced_frame = -1
        """The latest frame of a known phrase that is not silence; -1 before the first."""
        self._book = book
        self._rest = b""
        self._places: list[tuple[Phrase, int]] = []
        """Where in which phrases the stream may be: the next frame that each expects, the likeliest first."""
        self._resume: tuple[Phrase, int] | None = None
        self._revealed = 0

    @property
    def text(self) -> str:
        """The words heard and not yet taken."""
        return " ".join(word.text for word in self.words)

    def hear(self, audio: bytes) -> bool:
        """Listen to more mu-law, any length. Returns whether words were added."""
        known = len(self.words)
        buffer = self._rest + audio if self._rest else audio
        whole = len(buffer) - len(buffer) % FRAME_BYTES
        for start in range(0, whole, FRAME_BYTES):
            self._hear_frame(buffer[start : start + FRAME_BYTES].translate(_ONE_ZERO))
        self._rest = buffer[whole:]
        return len(self.words) > known

    def take(self) -> tuple[HeardWord, ...]:
        """Return the words heard since the last `take`, and forget them."""
        words = tuple(self.words)
        self.words.clear()
        return words

    def _hear_frame(self, frame: bytes) -> None:
        self.frames += 1
        going_on = [(phrase, at + 1) for phrase, at in self._places if phrase.frame(at) == frame]
        if not going_on:
            if self._places:
                self._resume = self._places[0]
            going_on = self._enter(frame)
        self._places = going_on
        if going_on:
            self._advance(*going_on[0])

    def _enter(self, frame: bytes) -> list[tuple[Phrase, int]]:
        """Find the frame anew: behind a short loss in the same phrase, or where another one begins."""
        places = [(phrase, at + 1) for phrase, at in self._book.find(frame)]
        if not places:
            return places
        for number, (phrase, at) in enumerate(places):
            if self._resume and phrase is self._resume[0] and 0 < at - self._resume[1] <= LOST_FRAMES + 1:
                return [places[number], *places[:number], *places[number + 1 :]]
        phrase, at = places[0]
        self._revealed = bisect_right(phrase.ends, at - 1)
        return places

    def _advance(self, phrase: Phrase, at: int) -> None:
        if phrase.voiced[at - 1]:
            self.last_voiced_frame = self.frames - 1
        said = bisect_right(phrase.ends, at)
        for number in range(self._revealed, said):
            begin = phrase.ends[number - 1] if number else 0
            end_frame = self.frames - (at - phrase.ends[number])
            start_frame = max(0, end_frame - (phrase.ends[number] - begin))
            start_s, end_s = start_frame * FRAME_MS / 1000, end_frame * FRAME_MS / 1000
            self.words.append(HeardWord(phrase.words[number], start_s, end_s))
        self._revealed = max(self._revealed, said)
