"""The recording of a call: WAV, PCM16, 8,000 Hz, two channels: the caller left, the agent right.

Everything has its place by sample position on the call's clock (0 at the start of the media stream), so gaps are
silence and the channels stay aligned however late something is written. The caller's audio drives: what lies
`SETTLE_SAMPLES` behind it is written, in blocks, and the sizes in the header are brought up to date after each block.
A process that is killed leaves a file that opens, complete up to one block and the settling time (1.5 s) before.

What the agent has been given ahead of the caller's clock waits in memory, where `erase_agent` can take back what the
caller never heard. It does not encrypt or compress, and it does not know which words sound when.

Format: Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft, 1991), "Waveform".
"""

import struct
from concurrent.futures import Future
from pathlib import Path

from voice_agent.audio import mulaw
from voice_agent.calls.spool import FileOutcome, Spool

BLOCK_SAMPLES = mulaw.RATE_HZ
"""Written at once: a second. With the settling time, what SIGKILL can cost."""

SETTLE_SAMPLES = mulaw.RATE_HZ // 2
"""How far behind the caller's clock audio may still be written or erased."""

MOST_AHEAD_SAMPLES = 30 * mulaw.RATE_HZ
"""The agent's audio that waits for its time; bounds the memory of a call (240 kB)."""

LONGEST_SAMPLES = 24 * 3_600 * mulaw.RATE_HZ
"""The longest call that Twilio allows; a position beyond it is nonsense and is dropped."""

HEADER_BYTES = 44
_FRAME_BYTES = 4
_SILENCE = bytes([mulaw.SILENCE_BYTE])


def wav_header(frames: int) -> bytes:
    """Return the header of a two-channel PCM16 file of `frames` sample pairs."""
    size_bytes = frames * _FRAME_BYTES
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", HEADER_BYTES - 8 + size_bytes, b"WAVE",
        b"fmt ", 16, 1, 2, mulaw.RATE_HZ, mulaw.RATE_HZ * _FRAME_BYTES, _FRAME_BYTES, 16,
        b"data", size_bytes,
    )  # fmt: skip


class _Channel:
    """Audio of one side that is not yet written; its first byte stands at `start`."""

    def __init__(self) -> None:
        self.start = 0
        self.pending = bytearray()

    def place(self, position: int, audio: bytes) -> int:
        """Put `audio` at `position`; return how many samples came too late."""
        late = min(max(0, self.start - position), len(audio))
        if late == len(audio):
            return late
        offset = position + late - self.start
        if offset > len(self.pending):
            self.pending += _SILENCE * (offset - len(self.pending))
        self.pending[offset : offset + len(audio) - late] = audio[late:]
        return late

    def take(self, count: int) -> bytes:
        """Remove and return the first `count` samples, silence where there are none."""
        taken = bytes(self.pending[:count])
        del self.pending[:count]
        self.start += count
        return taken.ljust(count, _SILENCE)


class CallRecorder:
    """Records one call. All calls are cheap and never block; positions are samples since the stream began."""

    def __init__(self, spool: Spool, path: Path) -> None:
        self.dropped_samples = 0
        """Samples that came too late, too early or at an impossible place."""

        self._file = spool.open(path, is_bulk=True)
        self._caller = _Channel()
        self._agent = _Channel()
        self._clock = 0
        self._written_frames = 0
        self._is_paused = False
        self._is_closed = False

    @property
    def is_truncated(self) -> bool:
        """Whether some of the call is missing from the file: the disk was full, or too slow for the spool."""
        return self._file.is_truncated

    def write_caller(self, position: int, audio: bytes) -> None:
        """Record what the caller said: mu-law, any length, also none. Moves the recording's clock to its end."""
        if self._is_closed or not 0 <= position <= LONGEST_SAMPLES:
            self.dropped_samples += len(audio)
            return
        end = position + len(audio)
        if end - self._clock > MOST_AHEAD_SAMPLES:
            self._write_until(position - SETTLE_SAMPLES)
        if not self._is_paused:
            self.dropped_samples += self._caller.place(position, audio)
        self._clock = max(self._clock, end)
        if self._clock - self._caller.start >= SETTLE_SAMPLES + BLOCK_SAMPLES:
            self._write_until(self._clock - SETTLE_SAMPLES)

    def write_agent(self, position: int, audio: bytes) -> None:
        """Record what the caller hears from `position` on: mu-law, any length, at most 30 s ahead of the caller."""
        if self._is_paused:
            return
        if self._is_closed or not 0 <= position <= self._clock + MOST_AHEAD_SAMPLES - len(audio):
            self.dropped_samples += len(audio)
            return
        self.dropped_samples += self._agent.place(position, audio)

    def erase_agent(self, position: int) -> None:
        """Take back what the agent was to say from `position` on: it was cleared before it was heard."""
        del self._agent.pending[max(0, position - self._agent.start) :]

    def pause(self) -> None:
        """Leave silence from the caller's clock on, until `resume`: for card numbers and the like."""
        self._is_paused = True
        self.erase_agent(self._clock)

    def resume(self) -> None:
        """Record again."""
        self._is_paused = False

    def close(self, duration_samples: int | None = None) -> "Future[FileOutcome]":
        """End the recording at `duration_samples`, by default where the caller's audio ended; safe to call twice."""
        if not self._is_closed:
            self._is_closed = True
            end = self._clock if duration_samples is None else min(max(0, duration_samples), LONGEST_SAMPLES)
            self._write_until(end)
            frames = self._caller.start
            if frames > self._written_frames:
                # Silence at the end is a hole; its last sample makes the file as long as the call.
                self._file.write_at(HEADER_BYTES + (frames - 1) * _FRAME_BYTES, bytes(_FRAME_BYTES))
            self._file.write_at(0, wav_header(frames))
        return self._file.close()

    def _write_until(self, end: int) -> None:
        """Write everything before `end`. Where neither side has anything, nothing is written: holes read as silence."""
        start = self._caller.start
        if end <= start:
            return
        length = min(end - start, max(len(self._caller.pending), len(self._agent.pending)))
        if length:
            block = mulaw.interleave(self._caller.take(length), self._agent.take(length))
            self._file.write_at(HEADER_BYTES + start * _FRAME_BYTES, block)
            self._file.write_at(0, wav_header(start + length))
            self._written_frames = start + length
        self._caller.start = self._agent.start = end
