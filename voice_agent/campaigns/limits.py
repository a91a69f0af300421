"""How many calls there may be at a time, at each level: what the installation, an organisation and a plan say. Pure.

The same figures decide when places are planned (`pacing`), when they are taken (`admission`), and when somebody asks
why nobody is called (`why`).
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from voice_agent.campaigns.pacing import Scope


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the installation allows (SCHEDULER_…)."""

    max_calls: int = 80
    """Calls at a time, people who call us included: what all processes that hold calls can hold together."""

    inbound_share: float = 0.2
    """Of these, what campaigns leave free for people who call us."""

    organisation_calls: int | None = None
    """Calls at a time of one organisation, and of one agent; None: no limit of their own."""

    agent_calls: int | None = None
    calls_per_second: float = 1.0
    """What the carrier's account allows."""

    @property
    def kept_free(self) -> int:
        """Calls that are left free for people who call us."""
        return math.ceil(self.max_calls * self.inbound_share)

    def everything(self, active: int) -> Scope:
        """Return the scope of all calls."""
        return Scope(limit=self.max_calls, active=active)

    def organisation(self, settings: Mapping[str, Any], active: int) -> Scope:
        """Return the scope of an organisation, by its own settings or else by the installation's."""
        return Scope(limit=settings.get("max_calls") or self.organisation_calls, active=active)

    def agent(self, settings: Mapping[str, Any], active: int) -> Scope:
        """Return the scope of an agent of an organisation."""
        return Scope(limit=settings.get("max_calls_per_agent") or self.agent_calls, active=active)
