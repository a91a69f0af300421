"""What a caller hears, sample by sample: the carrier's buffer of audio and marks.

Pure; the time is a sample number of the line's clock (8,000 a second), passed in. Audio is played in the order of
its arrival at 8,000 bytes a second; a mark is echoed when everything before it has played, at once where nothing is
left to play, and also when `clear` drops it (https://www.twilio.com/docs/voice/media-streams/websocket-messages).
Where the buffer is empty the caller hears silence.

    sample:   0        160       320       480
    fifo:     [ audio A          ][ audio B         ]
    marks:                       ^ m1               ^ m2      m1 is echoed at 320, wherever `advance` stops
"""

from collections import deque
from collections.abc import Callable

import msgspec

from voice_agent.audio.mulaw import silence

Echo = Callable[[int, bool], None]
"""Called with the sample at which a mark came due, and whether `clear` dropped it."""


class Span(msgspec.Struct):
    """Samples `start` up to, not including, `end` during which the buffer was never empty."""

    start: int
    end: int


class Playout:
    """The buffer of one line. Bring it up to the present with `advance` before any other call."""

    def __init__(self) -> None:
        self.sample = 0
        """The moment up to which the timeline is settled."""

        self.spans: list[Span] = []
        """When audio was playing; between two of them the buffer had run empty."""

        self._fifo = bytearray()
        self._heard = bytearray()
        self._played = 0
        self._marks: deque[tuple[int, Echo]] = deque()

    @property
    def buffered_bytes(self) -> int:
        """Audio not yet played."""
        return len(self._fifo)

    @property
    def next_mark_sample(self) -> int | None:
        """When the first pending mark will come due if nothing clears it; None without one."""
        return self.sample + self._marks[0][0] - self._played if self._marks else None

    def advance(self, sample: int) -> None:
        """Play up to `sample`, echoing the marks that come due. A moment already past does nothing."""
        length = sample - self.sample
        if length <= 0:
            return
        start, self.sample = self.sample, sample
        chunk = self._fifo[:length]
        if chunk:
            del self._fifo[:length]
            self._heard += chunk
            self._extend_span(start, start + len(chunk))
            self._played += len(chunk)
        if len(chunk) < length:
            self._heard += silence(length - len(chunk))
        played_at_start = self._played - len(chunk)
        while self._marks and self._marks[0][0] <= self._played:
            position, echo = self._marks.popleft()
            echo(start + position - played_at_start, False)

    def play(self, mulaw: bytes) -> None:
        """Queue audio of any length."""
        self._fifo += mulaw

    def mark(self, echo: Echo) -> None:
        """Have `echo` called once everything queued so far has played: now, if nothing is queued."""
        if self._fifo:
            self._marks.append((self._played + len(self._fifo), echo))
        else:
            echo(self.sample, False)

    def clear(self) -> int:
        """Drop the audio that is left, echo every pending mark, and return how many bytes were dropped."""
        dropped = len(self._fifo)
        self._fifo.clear()
        marks, self._marks = self._marks, deque()
        for _, echo in marks:
            echo(self.sample, True)
        return dropped

    def drop(self) -> None:
        """Forget audio and marks without an echo: their stream or verb is gone."""
        self._fifo.clear()
        self._marks.clear()

    def take_heard(self, length: int) -> bytes:
        """Return the next `length` samples that were heard; they must lie before `sample`."""
        heard = bytes(self._heard[:length])
        del self._heard[:length]
        return heard

    def _extend_span(self, start: int, end: int) -> None:
        if self.spans and self.spans[-1].end == start:
            self.spans[-1].end = end
        else:
            self.spans.append(Span(start, end))
