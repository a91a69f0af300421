"""The file of a recording, ours or the carrier's: what is in it, and its way to the storage, with its outline.

Whose it is, and what its row says, is for `calls.filing` and `calls.carrier_recordings`.
"""

import asyncio
import wave
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from voice_agent.audio.waveform import Outline, outline
from voice_agent.storage.files import StorageService

TOLERATED_S = 2.0
"""By which a recording may be shorter than it should be and still be whole: what recorders hold back, and rounding."""

LARGEST_BYTES = 0x7FFF_0000
"""2 GiB, 18 hours in two channels. A header that says more was written before its writer knew the length."""

PIECE_FRAMES = 262_144
CHANNELS = {1: ("both",), 2: ("caller", "agent")}
"""What the channels of a recording are called: in two channels ours and Twilio's have the caller first."""

_RIFF_HEADER_BYTES = 12


class Sound(msgspec.Struct, frozen=True, kw_only=True):
    """What a WAV file holds. All is None where its samples are not PCM, or none that Python's `wave` reads."""

    duration_s: float | None = None
    channels: int | None = None
    drawn: Outline | None = None
    """None also where the samples are not 16 bits wide, or more than two channels are."""


def examine(path: Path) -> Sound:
    """Look at a WAV file. Blocking. Raises ValueError where it is none, or is shorter than its header says."""
    with path.open("rb") as file:
        head = file.read(_RIFF_HEADER_BYTES)
        if len(head) < _RIFF_HEADER_BYTES or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise ValueError("this is no WAV file")
        size_bytes, claimed_bytes = path.stat().st_size, int.from_bytes(head[4:8], "little") + 8
        if size_bytes < claimed_bytes <= LARGEST_BYTES:
            raise ValueError(f"the WAV file ends after {size_bytes} of {claimed_bytes} bytes")
        file.seek(0)
        try:
            with wave.open(file) as sound:
                return _sound(sound, size_bytes)
        except (wave.Error, EOFError):
            return Sound()


def _sound(file: wave.Wave_read, size_bytes: int) -> Sound:
    channels, width, rate_hz = file.getnchannels(), file.getsampwidth(), file.getframerate()
    frames = min(file.getnframes(), size_bytes // (channels * width))
    drawn = None
    if width == 2 and channels in CHANNELS:
        pieces = iter(lambda: file.readframes(PIECE_FRAMES), b"")
        drawn = outline(pieces, frames=frames, rate_hz=rate_hz, channels=channels)
    return Sound(duration_s=frames / rate_hz, channels=channels, drawn=drawn)


class StoredSound(msgspec.Struct, frozen=True, kw_only=True):
    """A recording in the storage, verified."""

    storage_key: str
    peaks_key: str | None
    size_bytes: int
    sha256: str
    sound: Sound

    @property
    def keys(self) -> tuple[str, ...]:
        """Return what the storage has of it."""
        return (self.storage_key,) if self.peaks_key is None else (self.storage_key, self.peaks_key)

    def columns(self, shortcoming: str = "") -> dict[str, Any]:
        """Return what its row says now; `shortcoming` is what it lacks, empty where it is whole."""
        columns = {
            "state": "stored",
            "is_partial": bool(shortcoming),
            "reason": shortcoming,
            "storage_key": self.storage_key,
            "peaks_key": self.peaks_key,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "stored_at": datetime.now(UTC),
            "local_path": None,
        }
        if self.sound.duration_s is not None:
            columns |= {"duration_s": self.sound.duration_s, "channels": self.sound.channels}
        if self.sound.drawn is not None:
            levels = self.sound.drawn.levels_dbfs
            columns["loudness_db"] = dict(zip(CHANNELS[len(levels)], levels, strict=True))
        return columns


async def store_sound(storage: StorageService, key: str, path: Path, sound: Sound) -> StoredSound:
    """Store a recording under `key`.wav and its outline, if there is one, under `key`.json. Raises StorageError."""
    stored = await storage.put_file(sound_key(key), path, content_type="audio/wav")
    drawn_key = None
    if sound.drawn is not None:
        drawn_key = peaks_key(key)
        peaks = path.with_suffix(".peaks.json")
        await asyncio.to_thread(peaks.write_bytes, msgspec.json.encode(sound.drawn.peaks))
        try:
            await storage.put_file(drawn_key, peaks, content_type="application/json")
        finally:
            await asyncio.to_thread(peaks.unlink)
    return StoredSound(
        storage_key=stored.key,
        peaks_key=drawn_key,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        sound=sound,
    )


def sound_key(key: str) -> str:
    """Return where the sound of the recording `key` is in the storage."""
    return f"{key}.wav"


def peaks_key(key: str) -> str:
    """Return where the outline of the recording `key` is in the storage."""
    return f"{key}.json"
