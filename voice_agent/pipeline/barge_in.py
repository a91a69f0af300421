"""Decides whether a stretch of sound is a voice that talks, so that it may stop the agent.

How it works. Every frame since the onset adds to or takes from the `evidence`, a log-odds sum that never falls below
zero (Page's CUSUM test: it forgets a cough that came before a word). Where Silero is at hand, a frame weighs the logit
of its probability, and a little more where it is periodic, since Silero is late on soft onsets; without it, how
periodic the frame is, which tells a voice from coughs, clicks and noise, but not from music. A frame well under the
loudest one so far speaks for nothing: slams and coughs ring out, words do not.

Pure: the features come in as numbers. Thresholds are measured on recorded speech and music in bench/voice_activity.py.
"""

from dataclasses import dataclass
from math import log

from voice_agent.pipeline.segmentation import SILENCE_DB

_NEVER_SURE = 1e-6
"""Keeps the logit of 0.0 and 1.0 finite."""


@dataclass(frozen=True, slots=True)
class BargeInSettings:
    """The weights of the decision."""

    evidence: float = 4.2
    """Nats at which a stretch is a voice."""

    suspicious_evidence: float = 5.0
    """Nats where what was heard a moment ago was background: music has louder passages, too."""

    rejected_s: float = 0.8
    """Seconds after which a stretch without a verdict is background."""

    window_s: float = 0.032
    """Seconds for which one probability of the model stands."""

    least_logit: float = -2.0
    greatest_logit: float = 3.0
    """Bounds of what one window weighs, so that no single one decides."""

    bonus_from: float = 0.8
    bonus_weight: float = 2.5
    """Periodicity from which it supports the model, and the nats for a periodicity 1.0 higher."""

    periodic: float = 0.7
    """Periodicity that speaks neither for nor against a voice, where there is no model."""

    periodic_weight: float = 6.0
    """Nats for a periodicity 1.0 higher than that."""

    least_periodic: float = -1.5
    greatest_periodic: float = 1.4
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
            logit = log((probability + _NEVER_SURE) / (1.0 - probability + _NEVER_SURE))
            weight = max(settings.least_logit, min(settings.greatest_logit, logit)) * length_s / settings.window_s
            weight += settings.bonus_weight * max(0.0, periodicity - settings.bonus_from)
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
