"""Cuts a caller's audio into stretches of speech: when did it begin, when was the first pause.

How it works. Every 20 ms frame brings the probability that it is speech, its level and the level of the background.
A frame is voiced where the model says speech and the level stands over the background and not far under the loudest
frame of the stretch: WebRTC's detector holds on for 100 ms and more after the last sample, rooms ring on, and every
endpoint wait counts from `ended_at`. `onset_s` of voiced frames start a stretch; `pause_s` without one end it.

It does not decide whether a stretch is a voice (`barge_in`) or whether a pause ends the turn (`endpointing`). Time
comes in as an argument. Modelled on Home Assistant's `assist_pipeline/vad.py`: budgets in seconds, counted up.
"""

from dataclasses import dataclass

from voice_agent.pipeline.events import SpeechStarted, SpeechStopped

SILENCE_DB = -75.0
"""dBFS; what digital silence counts as. The smallest step of mu-law is -72 dBFS."""

_ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True)
class SegmentationSettings:
    """The budgets of a segmenter. The levels are measured in bench/voice_activity.py."""

    onset_s: float = 0.06
    """Seconds of voiced frames that start a stretch (Home Assistant 0.3, pipecat 0.2: they have no second look)."""

    pause_s: float = 0.1
    """Seconds without a voiced frame that end it. Stop consonants last up to 0.08 s."""

    probability: float = 0.5
    """The model's own threshold."""

    margin_db: float = 5.0
    """How far over the background a voiced frame stands."""

    sustain_db: float = 10.0
    """How far over the background a frame keeps a stretch going, whatever the model says: in noise it loses frames."""

    range_db: float = 30.0
    """How far under the loudest frame of its stretch a voiced frame may be: the spread of vowels and consonants."""

    quietest_db: float = -52.0
    """dBFS; a frame below it is never voiced. Telephone speech is -15 to -35, line noise under -55 dBFS."""


class NoiseFloor:
    """The level of the background in dBFS.

    It falls quickly and follows what the model does not take for speech; what might be speech hardly lifts it, until it
    has lasted longer than people speak without a pause.
    """

    __slots__ = ("level_db",)

    FALL_DB = 0.24
    """dB a frame (12 dB a second)."""

    FOLLOW = 0.06
    """Share of the distance that a frame which is no speech lifts it (time constant 0.3 s)."""

    RISE_DB = 0.02
    """dB a frame (1 dB a second) during a stretch."""

    RISE_ENDLESS_DB = 0.08
    """dB a frame (4 dB a second) in a stretch that has lasted for LONGEST_BREATH_S."""

    LONGEST_BREATH_S = 4.0
    """After this the sound is more likely music than a sentence."""

    def __init__(self) -> None:
        self.level_db = SILENCE_DB

    def follow(self, level_db: float, probability: float, spoken_s: float) -> float:
        """Take in the level of one frame, `spoken_s` seconds into a stretch (0.0 outside), and return the floor."""
        floor_db = self.level_db
        if level_db < floor_db:
            floor_db = max(level_db, floor_db - self.FALL_DB)
        elif spoken_s > 0.0:
            floor_db += self.RISE_DB if spoken_s < self.LONGEST_BREATH_S else self.RISE_ENDLESS_DB
        elif probability < 0.5:
            floor_db += self.FOLLOW * (level_db - floor_db)
        self.level_db = floor_db
        return floor_db

    def learn(self, level_db: float) -> None:
        """What was heard at `level_db` on average has turned out to be background."""
        self.level_db = max(self.level_db, level_db)


class Segmenter:
    """The speech of one call, in stretches. Feed every frame to `step`, in order."""

    __slots__ = ("_loudest_db", "_settings", "_voiced_s", "began_at", "ended_at", "is_speaking", "is_voiced")

    def __init__(self, settings: SegmentationSettings | None = None) -> None:
        self._settings = settings or SegmentationSettings()
        self._voiced_s = 0.0
        self._loudest_db = SILENCE_DB
        self.is_speaking = False
        self.is_voiced = False
        self.began_at = 0.0
        self.ended_at = 0.0

    def step(
        self, at: float, length_s: float, probability: float, level_db: float, floor_db: float
    ) -> SpeechStarted | SpeechStopped | None:
        """Take in the frame of `length_s` seconds that ended at `at` and return what it changes."""
        settings = self._settings
        over_db = level_db - floor_db
        self.is_voiced = (
            over_db >= settings.margin_db
            and level_db >= settings.quietest_db
            and level_db >= self._loudest_db - settings.range_db
            and (probability >= settings.probability or (self.is_speaking and over_db >= settings.sustain_db))
        )
        if self.is_voiced:
            return self._hear_voiced(at, length_s, level_db)
        if not self.is_speaking:
            self._forget()
        elif at - self.ended_at >= settings.pause_s - _ROUNDING_S:
            return self.stop(at)
        return None

    def stop(self, at: float) -> SpeechStopped:
        """End the stretch now."""
        self.is_speaking = False
        self._forget()
        return SpeechStopped(at=at, ended_at=self.ended_at)

    def _hear_voiced(self, at: float, length_s: float, level_db: float) -> SpeechStarted | None:
        if self._voiced_s == 0.0:
            self.began_at = at - length_s
        self._voiced_s += length_s
        self._loudest_db = max(self._loudest_db, level_db)
        self.ended_at = at
        if self.is_speaking or self._voiced_s < self._settings.onset_s - _ROUNDING_S:
            return None
        self.is_speaking = True
        return SpeechStarted(at=at, began_at=self.began_at)

    def _forget(self) -> None:
        self._voiced_s = 0.0
        self._loudest_db = SILENCE_DB
