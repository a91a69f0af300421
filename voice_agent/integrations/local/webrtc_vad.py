"""WebRTC's voice activity detector behind the pipeline's port: six frequency bands against two Gaussian mixtures.

It costs 2 us a frame and has no notion of voice, only of sound that differs from the background it has learnt, so
music and key clicks are speech to it: the pipeline weighs its verdict with level and voice features. The binding is
`webrtcvad-wheels`; the modes are those of https://github.com/wiseman/py-webrtcvad.
"""

import webrtcvad  # type: ignore[import-untyped]  # its wheel carries no stubs and none are published

from voice_agent.audio.mulaw import RATE_HZ

AGGRESSIVENESS = 2
"""0 to 3. In noise at 10-15 dB, 3 loses 30-45 % of the speech frames and 2 loses 20-30 %; 1 and 0 call twice as much
of hold music and key clicks speech (bench/voice_activity.py)."""


class WebRtcVoiceActivityStream:
    """The detector's state for one call, about 1 KB."""

    __slots__ = ("_is_speech",)

    def __init__(self, aggressiveness: int = AGGRESSIVENESS) -> None:
        self._is_speech = webrtcvad.Vad(aggressiveness).is_speech

    def process(self, pcm16: bytes) -> float:
        """Return 1.0 where this frame (80, 160 or 240 int16 samples, 8,000 Hz) is speech, else 0.0. Hot path."""
        return 1.0 if self._is_speech(pcm16, RATE_HZ) else 0.0


class WebRtcVoiceActivityDetector:
    """Opens one `WebRtcVoiceActivityStream` for each call; nothing is shared."""

    def open(self) -> WebRtcVoiceActivityStream:
        """Return fresh state for one call."""
        return WebRtcVoiceActivityStream()
