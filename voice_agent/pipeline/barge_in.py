"""Decides whether a stretch of sound is a voice that talks, so that it may stop the agent.

How it works. Every frame since the onset adds to or takes from the `evidence`, a log-odds sum that never falls below
zero (Page's CUSUM test: it forgets a cough that came before a word). Where Silero is at hand, a frame weighs the logit
of its probability; without it, how periodic the frame is, which tells a voice from coughs, clicks and noise, but not
from music. A frame well under the loudest one so far speaks for nothing: slams and coughs ring out, words do not.

Pure: the features come in as numbers. Thresholds are measured on recorded speech and music in bench/voice_activity.py.
"""

from dataclasses import dataclass
from math import log

from voice_agent.pipeline.segmentation import SILENCE_DB


@dataclass(frozen=True, slots=True)
class BargeInSettings:
    """The weights of the decision."""

    evidence: float = 3.6
    """Nats at which a stretch is a voice."""

    suspicious_evidence: float = 4.2
    """Nats where what was heard a moment ago was background: music has louder passages, too."""

    rejected_s: float = 0.8
    """Seconds after which a stretch without a verdict is background."""

    window_s: float = 0.032
    """Seconds for which one probability of the model stands."""

    least_logit: float = -2.0
    greatest_logit: float = 3.0
    """Bounds of what one window weighs, so that no single one decides."""

    periodic: float = 0.7
    """Periodicity that speaks neither for nor against a voice, where there is no model."""

    periodic_weight: float = 6.0
    """Nats for a periodicity 1.0 higher than that."""

    least_periodic: float = -1.5
    greatest_periodic: float = 1.2
    """Bounds of what one frame's periodicity weighs."""

    decay_db: float = 12.0
    """How far under the loudest frame so far a frame still speaks for a voice."""


class BargeInDetector:
    """The evidence of one stretch: `begin` it, then `hear` every frame since its onset."""

    __slots__ = ("_heard_s", "_loudest_db", "_needed", "_settings", "_sum_db", "evidence")

    def __init__(self, settings: BargeInSettings | None = None) -> None:
        self._settings = settings or BargeInSettings()
        self.begin()

    def begin(self, *, is_suspicious: bool = False) -> None:
        """A new stretch: forget the last one. `is_suspicious`: it follows on something that was background."""
        self.evidence = 0.0
        self._needed = self._settings.suspicious_evidence if is_suspicious else self._settings.evidence
        self._heard_s = 0.0
        self._sum_db = 0.0
        self._loudest_db = SILENCE_DB

    def hear(self, length_s: float, level_db: float, periodicity: float, probability: float | None) -> bool:
        """Take in a frame and return whether the stretch is a voice. `probability` is None where there is no model."""
        settings = self._settings
        self._heard_s += length_s
        self._sum_db += level_db * length_s
        self._loudest_db = max(self._loudest_db, level_db)
        if probability is None:
            weight = settings.periodic_weight * (periodicity - settings.periodic)
            weight = max(settings.least_periodic, min(settings.greatest_periodic, weight))
        else:
            odds = (probability + 1e-6) / (1.0 - probability + 1e-6)
            weight = max(settings.least_logit, min(settings.greatest_logit, log(odds))) * length_s / settings.window_s
        if weight > 0.0 and level_db < self._loudest_db - settings.decay_db:
            weight = 0.0
        self.evidence = max(0.0, self.evidence + weight)
        return self.evidence >= self._needed

    @property
    def is_background(self) -> bool:
        """Whether the stretch has been heard for so long without a voice in it that it is background."""
        return self._heard_s >= self._settings.rejected_s and self.evidence < self._needed

    @property
    def level_db(self) -> float:
        """The mean level of the stretch in dBFS."""
        return self._sum_db / self._heard_s if self._heard_s else SILENCE_DB
