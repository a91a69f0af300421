"""Cuts a caller's audio into stretches of speech: when did it begin, when was the first pause.

How it works. Every 20 ms frame brings the probability that it is speech, its level and the level of the background.
A frame is voiced where the model says speech and the level stands over the background: the model's hangover, 100 ms
and more, would otherwise move the end of every utterance. `onset_s` of voiced frames start a stretch; `pause_s`
without one end it, dated to the last voiced frame. What `ended_at` says is what every endpoint wait counts from.

It does not decide whether a stretch is a voice (`barge_in`) or whether a pause ends the turn (`endpointing`). Time
comes in as an argument. Modelled on Home Assistant's `assist_pipeline/vad.py`: budgets in seconds, counted down.
"""

from dataclasses import dataclass

from voice_agent.pipeline.events import SpeechStarted, SpeechStopped

SILENCE_DB = -75.0
"""dBFS; what digital silence counts as. The smallest step of mu-law is -72 dBFS."""


@dataclass(frozen=True, slots=True)
class SegmentationSettings:
    """The budgets of a segmenter."""

    onset_s: float = 0.06
    """Seconds of voiced frames that start a stretch (Home Assistant 0.3, pipecat 0.2: they have no second look)."""

    pause_s: float = 0.1
    """Seconds without a voiced frame that end it. Stop consonants last up to 0.08 s."""

    probability: float = 0.5
    """The model's own threshold."""

    margin_db: float = 8.0
    """How far over the background a voiced frame stands."""

    quietest_db: float = -50.0
    """dBFS; a frame below it is never voiced."""


class NoiseFloor:
    """The level of the background in dBFS: falls at once, rises slowly, and slower while somebody speaks."""

    __slots__ = ("level_db",)

    FALL = 0.3
    """Share of the distance that one quieter frame moves it."""

    RISE_DB = 0.08
    """dB a frame (4 dB a second) while nobody speaks."""

    RISE_SPEAKING_DB = 0.015
    """dB a frame (0.75 dB a second) during a stretch: a minute of speech without a pause lifts it by 45 dB."""

    def __init__(self) -> None:
        self.level_db = SILENCE_DB

    def follow(self, level_db: float, *, is_speaking: bool) -> float:
        """Take in the level of one frame and return the floor."""
        floor_db = self.level_db
        if level_db < floor_db:
            floor_db += self.FALL * (level_db - floor_db)
        else:
            floor_db = min(level_db, floor_db + (self.RISE_SPEAKING_DB if is_speaking else self.RISE_DB))
        self.level_db = floor_db
        return floor_db


class Segmenter:
    """The speech of one call, in stretches. Feed every frame to `step`, in order."""

    __slots__ = ("_began_at", "_ended_at", "_settings", "_voiced_s", "is_speaking", "is_voiced")

    def __init__(self, settings: SegmentationSettings | None = None) -> None:
        self._settings = settings or SegmentationSettings()
        self.is_speaking = False
        self.is_voiced = False
        self._began_at = 0.0
        self._ended_at = 0.0
        self._voiced_s = 0.0

    @property
    def began_at(self) -> float:
        """Seconds; the first sample of the stretch under way (or of the last one)."""
        return self._began_at

    def step(
        self, at: float, length_s: float, probability: float, level_db: float, floor_db: float
    ) -> SpeechStarted | SpeechStopped | None:
        """Take in the frame of `length_s` seconds that ended at `at` and return what it changes."""
        settings = self._settings
        self.is_voiced = (
            probability >= settings.probability
            and level_db >= settings.quietest_db
            and level_db >= floor_db + settings.margin_db
        )
        if self.is_voiced:
            if self._voiced_s == 0.0:
                self._began_at = at - length_s
            self._voiced_s += length_s
            self._ended_at = at
            if not self.is_speaking and self._voiced_s >= settings.onset_s - 1e-9:
                self.is_speaking = True
                return SpeechStarted(at=at, began_at=self._began_at)
            return None
        if not self.is_speaking:
            self._voiced_s = 0.0
        elif at - self._ended_at >= settings.pause_s - 1e-9:
            self.is_speaking = False
            self._voiced_s = 0.0
            return SpeechStopped(at=at, ended_at=self._ended_at)
        return None
