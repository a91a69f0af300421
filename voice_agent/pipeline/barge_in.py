"""Decides whether a stretch of sound is a voice that talks, so that it may stop the agent."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BargeInSettings:
    """The budgets of the decision."""

    voiced_s: float = 0.14
    """Seconds of voiced frames since the onset."""


class BargeInDetector:
    """The evidence of one stretch. `begin` it, feed it every frame, ask `step`."""

    __slots__ = ("_settings", "_voiced_s")

    def __init__(self, settings: BargeInSettings | None = None) -> None:
        self._settings = settings or BargeInSettings()
        self._voiced_s = 0.0

    def begin(self) -> None:
        """Forget the last stretch."""
        self._voiced_s = 0.0

    def step(self, length_s: float, *, is_voiced: bool) -> bool:
        """Take in one frame; return whether the stretch is a voice."""
        if is_voiced:
            self._voiced_s += length_s
        return self._voiced_s >= self._settings.voiced_s - 1e-9
