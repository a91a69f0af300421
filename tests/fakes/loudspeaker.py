"""The caller's ear: keeps what was played, and hears as much of it as the test says."""

from collections.abc import Callable

from voice_agent.audio.mulaw import duration_ms
from voice_agent.pipeline.events import AnyEvent, PlaybackFinished, PlaybackMarked, PlaybackStarted, PlaybackStopped


class FakeLoudspeaker:
    """`report` receives the Playback* events; `now` is the call's clock, in seconds."""

    def __init__(self, report: Callable[[AnyEvent], None], now: Callable[[], float]) -> None:
        self.played: dict[int, bytearray] = {}
        self.finished: list[int] = []
        self.stopped: list[int] = []
        self.resumed: list[tuple[int, float]] = []
        self.discarded: list[int] = []
        self._heard_ms: dict[int, float] = {}
        self._report = report
        self._now = now

    def play(self, turn: int, mulaw: bytes) -> None:
        is_first = turn not in self.played
        self.played.setdefault(turn, bytearray()).extend(mulaw)
        if is_first:
            self._report(PlaybackStarted(at=self._now(), turn=turn))

    def finish(self, turn: int) -> None:
        self.finished.append(turn)

    def stop(self, turn: int) -> None:
        self.stopped.append(turn)
        heard_ms = self._heard_ms.get(turn, 0.0)
        remaining_ms = self.length_ms(turn) - heard_ms
        self._report(PlaybackStopped(at=self._now(), turn=turn, heard_ms=heard_ms, remaining_ms=remaining_ms))

    def resume(self, turn: int, from_ms: float) -> None:
        self.resumed.append((turn, from_ms))

    def discard(self, turn: int) -> None:
        self.discarded.append(turn)

    def length_ms(self, turn: int) -> float:
        """Return how much audio of the turn was queued."""
        return duration_ms(len(self.played.get(turn, b"")))

    def hear(self, turn: int, heard_ms: float) -> None:
        """Let the caller hear the turn up to `heard_ms`."""
        self._heard_ms[turn] = heard_ms
        self._report(PlaybackMarked(at=self._now(), turn=turn, heard_ms=heard_ms))

    def hear_all(self, turn: int) -> None:
        """Let the caller hear the whole turn; it must have been finished."""
        assert turn in self.finished, f"turn {turn} has no end yet"
        self._heard_ms[turn] = self.length_ms(turn)
        self._report(PlaybackFinished(at=self._now(), turn=turn))
