"""What the text-to-speech doubles sound like: a hummed rhythm of the text, 60 ms a character, known to the sample.

No speech synthesis and no randomness: the same text always gives the same bytes, the first sample is already
audible, and characters are cut from tones made once, so that eighty calls cost next to nothing.
"""

from collections.abc import Iterator
from functools import cache

import msgspec
import numpy as np

from voice_agent.audio import mulaw
from voice_agent.sandbox.providers.faults import FaultKind

CHAR_MS = 60
"""A character at speed 1.0; about 16 characters a second, as people speak."""

PAUSES_MS = {",": 120, ";": 180, ":": 180, ".": 240, "!": 240, "?": 240, "\n": 240}

_PITCHES_HZ = (110, 117, 123, 131, 139, 147, 156, 165)
_LEVEL = 6_000
_SPACE_LEVEL = 1_500
_LONGEST_MS = 100


class Timing(msgspec.Struct, frozen=True):
    """When characters sound, in milliseconds; the four lists run side by side."""

    chars: tuple[str, ...]
    starts_ms: tuple[int, ...]
    durations_ms: tuple[int, ...]


class Sound(msgspec.Struct, frozen=True):
    """A text in mu-law with the timing of its characters from the start of `audio`."""

    audio: bytes
    timing: Timing


@cache
def _tone(pitch: int, level: int) -> bytes:
    """Return a voiced tone that begins at the crest of its wave, mu-law."""
    at = np.arange(_LONGEST_MS * mulaw.BYTES_PER_MS) / mulaw.RATE_HZ
    harmonics = np.arange(1, 6)[:, np.newaxis]
    waves = np.cos(2 * np.pi * _PITCHES_HZ[pitch] * harmonics * at) / harmonics
    return mulaw.encode((level * waves.sum(axis=0) / 2.3).astype("<i2").tobytes())


def warm_up() -> None:
    """Make the tones now rather than in the first utterance."""
    speak("abcdefgh ijklmnop")


def _char_sound(char: str, speed: float, is_first: bool) -> tuple[int, bytes]:
    """Return how long a character takes, in ms, and its sound."""
    if is_first and not char.isalnum():
        return 0, b""
    if char in PAUSES_MS:
        pause_ms = round(PAUSES_MS[char] / speed)
        return pause_ms, mulaw.silence(pause_ms * mulaw.BYTES_PER_MS)
    length_ms = min(_LONGEST_MS, round(CHAR_MS / speed))
    tone = _tone(0, _SPACE_LEVEL) if char.isspace() else _tone(ord(char) % len(_PITCHES_HZ), _LEVEL)
    return length_ms, tone[: length_ms * mulaw.BYTES_PER_MS]


def speak(text: str, speed: float = 1.0) -> Sound:
    """Say `text`. What precedes the first letter or digit takes no time; a text without any gives no sound."""
    if not any(map(str.isalnum, text)):
        return Sound(b"", Timing((), (), ()))
    parts, starts_ms, durations_ms = [], [], []
    now_ms, is_first = 0, True
    for char in text:
        length_ms, tone = _char_sound(char, speed, is_first)
        is_first = is_first and not tone
        parts.append(tone)
        starts_ms.append(now_ms)
        durations_ms.append(length_ms)
        now_ms += length_ms
    return Sound(b"".join(parts), Timing(tuple(text), tuple(starts_ms), tuple(durations_ms)))


def chunks(sound: Sound, chunk_ms: int) -> Iterator[Sound]:
    """Cut a sound into pieces of `chunk_ms`; a character belongs to the piece in which it starts.

    Times are relative to the piece, as ElevenLabs' are; a character's duration may reach into the next one.
    """
    timing = sound.timing
    total_ms = len(sound.audio) // mulaw.BYTES_PER_MS
    first = 0
    for begin_ms in range(0, total_ms, chunk_ms):
        end_ms = begin_ms + chunk_ms
        last = first
        while last < len(timing.chars) and (timing.starts_ms[last] < end_ms or end_ms >= total_ms):
            last += 1
        yield Sound(
            sound.audio[begin_ms * mulaw.BYTES_PER_MS : end_ms * mulaw.BYTES_PER_MS],
            Timing(
                timing.chars[first:last],
                tuple(start_ms - begin_ms for start_ms in timing.starts_ms[first:last]),
                timing.durations_ms[first:last],
            ),
        )
        first = last


FORMATS_HZ = {
    "ulaw_8000": 8_000,
    **{f"pcm_{rate_hz}": rate_hz for rate_hz in (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)},
}
"""The output formats that the doubles speak, and their sample rates."""


def encode(audio: bytes, output_format: str) -> bytes:
    """Convert mu-law at 8,000 Hz to a format of `FORMATS_HZ`."""
    if output_format == "ulaw_8000":
        return audio
    rate_hz = FORMATS_HZ[output_format]
    pcm16 = mulaw.decode(audio)
    return pcm16 if rate_hz == mulaw.RATE_HZ else _stretch(pcm16, rate_hz / mulaw.RATE_HZ)


def spoil(audio: bytes, output_format: str, kind: FaultKind | None) -> bytes:
    """Apply a fault of the sound itself to an encoded piece; other kinds leave it alone."""
    if kind is FaultKind.SILENCE:
        return (b"\xff" if output_format == "ulaw_8000" else b"\x00") * len(audio)
    if kind is FaultKind.ODD_BYTES:
        return audio[:-1]
    if kind is FaultKind.WRONG_RATE:
        if output_format == "ulaw_8000":
            return mulaw.encode(_stretch(mulaw.decode(audio), 2.0))
        return _stretch(audio, 2.0)
    return audio


def _stretch(pcm16: bytes, factor: float) -> bytes:
    """Resample int16 by linear interpolation to `factor` times the samples."""
    samples = np.frombuffer(pcm16, dtype="<i2")
    at = np.arange(round(len(samples) * factor)) / factor
    stretched: bytes = np.interp(at, np.arange(len(samples)), samples).astype("<i2").tobytes()
    return stretched
