"""What the caller has said and no final transcript has answered yet: kept so that it can be said again.

A recogniser's connection may die at any moment. Whoever opens the next one, to the same provider or to another,
replays this log, so that no commit stays without its answer and no word of the last ten seconds is lost. What it does
not do: keep more than `KEPT_BYTES` of a segment, so a longer utterance loses its beginning with the connection.

Pure. A segment is what lies between two commits; the last one is open. Answers may name an item (OpenAI's ids, which
can overtake each other) or come in order (ElevenLabs, which gives no ids).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from voice_agent.audio.mulaw import RATE_HZ

KEPT_BYTES = 10 * RATE_HZ
"""Ten seconds of mu-law in each segment: longer than any connection takes to come up."""


@dataclass(slots=True)
class _Segment:
    audio: bytearray = field(default_factory=bytearray)
    committed_at: float | None = None
    item_id: str = ""
    interim: str = ""
    final: str | None = None


class SegmentLog:
    """The unanswered segments of one stream, oldest first."""

    def __init__(self) -> None:
        self._segments: deque[_Segment] = deque([_Segment()])

    @property
    def oldest_commit_at(self) -> float | None:
        """When the oldest commit without an answer was made; None where all are answered."""
        return self._segments[0].committed_at

    @property
    def has_audio(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._segments[-1].audio)

    @property
    def has_interim(self) -> bool:
        """Whether words are known that no final transcript has confirmed."""
        return any(segment.interim for segment in self._segments)

    def add(self, mulaw: bytes) -> None:
        """Keep more audio of the open segment. Hot path."""
        audio = self._segments[-1].audio
        audio += mulaw
        if len(audio) > KEPT_BYTES:
            del audio[:-KEPT_BYTES]

    def commit(self, at: float, answer: str | None = None) -> None:
        """Close the open segment at `at` seconds; `answer` is its final text where that is known already."""
        segment = self._segments[-1]
        segment.committed_at = at
        segment.final = answer
        self._segments.append(_Segment())

    def claim(self, item_id: str) -> None:
        """Give the provider's id to the segment it was made for: the oldest that has none."""
        self._find(item_id)

    def update(self, text: str, item_id: str = "", *, is_delta: bool = False) -> str:
        """Take an interim text, whole or as what has been added; return all words since the last final transcript."""
        segment = self._find(item_id)
        if segment is not None:
            segment.interim = segment.interim + text if is_delta else text
        return " ".join(segment.interim.strip() for segment in self._segments if segment.interim.strip())

    def answer(self, text: str, item_id: str = "") -> None:
        """Take a final text: of the item, or of the oldest unanswered segment, which may still be open."""
        segment = self._find(item_id)
        if segment is None:
            return
        segment.final, segment.interim = text, text
        if segment is self._segments[-1]:
            self._segments.append(_Segment())

    def answer_unclaimed(self) -> None:
        """The provider heard nothing in the oldest committed segment that has no item."""
        for segment in self._segments:
            if segment.committed_at is not None and segment.final is None and not segment.item_id:
                segment.final = ""
                return

    def take_finals(self) -> Iterator[str]:
        """Remove and yield the final texts that are due, in the order of their commits."""
        while self._segments[0].final is not None:
            yield self._segments.popleft().final or ""

    def restart(self) -> None:
        """Forget what a lost connection knew about the unanswered segments."""
        for segment in self._segments:
            if segment.final is None:
                segment.item_id = segment.interim = ""

    def replay(self) -> Iterator[bytes | None]:
        """Yield the audio of each unanswered segment, and None where it was committed."""
        for segment in self._segments:
            if segment.final is not None:
                continue
            if segment.audio:
                yield bytes(segment.audio)
            if segment.committed_at is not None:
                yield None

    def _find(self, item_id: str) -> _Segment | None:
        """Return the item's segment; an id seen first belongs to the oldest segment that waits for one."""
        unanswered = [segment for segment in self._segments if segment.final is None]
        if not item_id:
            return unanswered[0]
        for segment in self._segments:
            if segment.item_id == item_id:
                return segment if segment.final is None else None
        for segment in unanswered:
            if not segment.item_id:
                segment.item_id = item_id
                return segment
        return None
