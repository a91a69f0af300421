"""When the agent speaks, as a caller hears it: by the energy of what is played.

Pure; fed with 20 ms frames. Gaps shorter than `PAUSE_MS` belong to one stretch of speech, as between two sentences.
It is what callers act on; the judge measures on the samples themselves.
"""

from voice_agent.audio.mulaw import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, SILENCE_BYTE, decode, rms

AUDIBLE_RMS = 100
"""Of 32,768 in a frame: -50 dB. Synthesised and recorded speech lies 25 dB above it, comfort noise below."""

PAUSE_MS = 400
PAUSE_SAMPLES = PAUSE_MS * BYTES_PER_MS

_SILENT_FRAME = bytes([SILENCE_BYTE]) * FRAME_BYTES


class Ear:
    """Follows the agent's speech on one line."""

    def __init__(self) -> None:
        self.sample = 0
        """Samples heard so far."""

        self.speech_began: int | None = None
        """First sample of the agent's latest stretch of speech; None before any."""

        self.speech_ended = 0
        """The sample after that stretch's last audible frame so far."""

        self._is_answer_due = False

    def expect_answer(self) -> None:
        """Count the agent's next sound as a new stretch, however soon it comes: the caller takes the turn."""
        self._is_answer_due = self.quiet_ms > 0

    def hear(self, frame: bytes) -> None:
        """Take the next 160 samples of mu-law."""
        began = self.sample
        self.sample += len(frame)
        if frame == _SILENT_FRAME or rms(decode(frame)) < AUDIBLE_RMS:
            return
        if self.speech_began is None or self._is_answer_due or began - self.speech_ended > PAUSE_SAMPLES:
            self.speech_began = began
            self._is_answer_due = False
        self.speech_ended = self.sample

    @property
    def quiet_ms(self) -> float:
        """How long the agent has been silent."""
        return (self.sample - self.speech_ended) * FRAME_MS / FRAME_BYTES

    @property
    def spoken_ms(self) -> float:
        """How long the agent has been speaking in this stretch; 0 while it is silent."""
        if self.speech_began is None or self._is_answer_due or self.quiet_ms >= PAUSE_MS:
            return 0.0
        return (self.sample - self.speech_began) * FRAME_MS / FRAME_BYTES
