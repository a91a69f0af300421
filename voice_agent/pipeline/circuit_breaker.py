"""A circuit breaker for one provider: after quick failures in a row nobody waits for it for a while.

    closed ──(3 failures within 30 s, or one refusal)──> open ──(20 s; 60 s after a refusal)──> half open
    half open: one request is let through ──(success)──> closed, ──(failure)──> open

It does not call anything and keeps no timer: whoever asks gives the outcome back. The clock is injected.
"""

from collections.abc import Callable
from dataclasses import dataclass

from voice_agent.errors import ProviderError, ProviderRefused


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a provider is left alone."""

    failures: int = 3
    within_s: float = 30.0
    open_s: float = 20.0
    refused_s: float = 60.0
    """After a refusal (key, plan, model): it will not change by itself, but an operator may mend it meanwhile."""


class CircuitBreaker:
    """The state of one provider, shared by all calls of the process."""

    def __init__(self, now: Callable[[], float], settings: BreakerSettings | None = None) -> None:
        self._now = now
        self._settings = settings or BreakerSettings()
        self._failed_at: list[float] = []
        self._open_until: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests are held back now."""
        return self._open_until is not None and self._now() < self._open_until

    def admits(self) -> bool:
        """Return whether a request may be made; in the half-open state only the first one may."""
        if self.is_open:
            return False
        if self._open_until is not None:
            # Whoever comes next waits for the outcome of this one.
            self._open_until = self._now() + self._settings.open_s
        return True

    def succeed(self) -> None:
        """The provider has answered."""
        self._failed_at.clear()
        self._open_until = None

    def fail(self, error: ProviderError) -> None:
        """The provider has failed."""
        now, settings = self._now(), self._settings
        if isinstance(error, ProviderRefused):
            self._open_until = now + settings.refused_s
            return
        self._failed_at = [at for at in self._failed_at if now - at < settings.within_s]
        self._failed_at.append(now)
        if len(self._failed_at) >= settings.failures or self._open_until is not None:
            self._open_until = now + settings.open_s
