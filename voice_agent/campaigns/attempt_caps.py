"""How often one person may be called, all campaigns of an organisation taken together. Pure.

What counts: a call that was asked for at the carrier and that may have rung counts for the day and the week; one that
the carrier did not take, or failed before it reached anybody, does not. For the gap between two calls only those count
that the person may have noticed: a busy line was engaged with somebody else, so a busy retry after 15 minutes does not
break a gap of four hours (both are defaults of campaigns.md section 5). Days and weeks are the last 24 hours and seven
days: no midnight lets somebody be called six times in a night.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from voice_agent.campaigns.plan import Caps

DAY = timedelta(days=1)
WEEK = timedelta(days=7)

NOT_COUNTED = frozenset({"carrier_failed", "invalid_number", "not_placed", "blocked", "cancelled"})
"""Outcomes (`calls.model.Outcome`) of calls that reached nobody's telephone."""

UNNOTICED = NOT_COUNTED | {"busy"}


class PastCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the organisation to somebody's number."""

    requested_at: datetime
    ended_at: datetime | None = None
    outcome: str = ""
    """Empty while it goes on."""


def allowed_from(caps: Caps, calls: Sequence[PastCall], now: datetime) -> datetime:
    """Return from when on the caps let somebody be called: `now` or later."""
    counted = sorted(call.requested_at for call in calls if call.outcome not in NOT_COUNTED)
    moments = [now]
    for most, span in ((caps.per_day, DAY), (caps.per_week, WEEK)):
        if len(counted) >= most:
            # When the one that is `most` before the next one has left the span.
            moments.append(counted[-most] + span)
    gap = timedelta(minutes=caps.gap_min)
    noticed = (call.ended_at or call.requested_at for call in calls if call.outcome not in UNNOTICED)
    moments.extend(moment + gap for moment in noticed)
    return max(moments)
