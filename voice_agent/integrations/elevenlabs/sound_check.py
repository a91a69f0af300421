"""Is this mu-law speech? Checked before a caller's ear is: noise is worse than silence.

Pure. Finds another container (MP3, WAV, Ogg), PCM sent as mu-law, another sample rate, nothing but silence, a constant
level, and audio without end. It does not judge quality. Each threshold is far from what a voice produces: bytes of
0x00 are 0.0 % of telephone speech and 10 to 40 % of speech in 16 bits (tests/integrations/elevenlabs/test_sound_check).
"""

from voice_agent.audio.mulaw import BYTES_PER_MS, FULL_SCALE, decode, duration_ms, mean, rms

CONTAINERS = (b"ID3", b"RIFF", b"OggS", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")

FULL_NEGATIVE_SHARE = 0.05
"""Share of 0x00, the loudest negative code; in PCM it is the high byte of every quiet positive sample."""

RATE_TOLERANCE = 1.6
"""How much longer a chunk may be than its characters say; twice as long is 16 kHz, or 16 bits."""

JUDGED_MS = 200.0
"""Shorter stretches than this prove nothing about rate or format."""

SILENT_RMS = 20
SILENT_MS = 1_000.0
"""No voice takes a second to begin; silence at the beginning lasts 0.05 to 0.3 s."""

CONSTANT_LEVEL = FULL_SCALE // 8
"""A mean this far from zero over `JUDGED_MS` is a stuck converter: speech stays within 1 %."""

MS_PER_CHAR = 400.0
SPARE_MS = 3_000.0
"""The longest audio believed for a text. Prose takes 65 ms a character, spoken-out numbers up to 400."""


class SoundCheck:
    """What is known of the sound of one turn."""

    def __init__(self) -> None:
        self._length_ms = 0.0
        self._loudest = 0

    @property
    def is_audible(self) -> bool:
        """Whether anything but silence has come yet."""
        return self._loudest >= SILENT_RMS

    def fault(self, mulaw: bytes, aligned_ms: float, text_chars: int) -> str:
        """Return what is wrong with the next chunk, empty where it is fit to be heard.

        `aligned_ms` is the length that the chunk's characters claim (0 where unknown), `text_chars` the turn's text.
        """
        is_first = not self._length_ms
        chunk_ms = duration_ms(len(mulaw))
        self._length_ms += chunk_ms
        pcm16 = decode(mulaw)
        self._loudest = max(self._loudest, rms(pcm16))
        if is_first and mulaw.startswith(CONTAINERS):
            return "a container, not mu-law"
        if self._length_ms > text_chars * MS_PER_CHAR + SPARE_MS:
            return "audio without end"
        if chunk_ms >= JUDGED_MS:
            fault = _format_fault(mulaw, pcm16, aligned_ms)
            if fault:
                return fault
        return self._silence_fault(SILENT_MS)

    def fault_at_end(self) -> str:
        """Return what is wrong with the whole, empty where it can be called finished."""
        return self._silence_fault(JUDGED_MS)

    def _silence_fault(self, after_ms: float) -> str:
        return "nothing but silence" if self._length_ms >= after_ms and not self.is_audible else ""


def _format_fault(mulaw: bytes, pcm16: bytes, aligned_ms: float) -> str:
    chunk_ms = len(mulaw) / BYTES_PER_MS
    if mulaw.count(0) > len(mulaw) * FULL_NEGATIVE_SHARE:
        return "PCM, not mu-law"
    if aligned_ms >= JUDGED_MS and chunk_ms > aligned_ms * RATE_TOLERANCE:
        return "another sample rate"
    if abs(mean(pcm16)) > CONSTANT_LEVEL:
        return "a constant level"
    return ""
