"""What time brings to campaigns: they begin, they end, and those that were held go on."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.campaigns.model import CampaignEvent, CampaignState
from voice_agent.campaigns.plan import stored_plan
from voice_agent.storage.tables import CampaignRow

_E, _S = CampaignEvent, CampaignState

WORDS = {
    _E.START: "its time to begin has come",
    _E.END_REACHED: "its end has come",
    _E.RELEASE: "it goes on by itself: it is tried whether the reason of the hold has gone",
}

_ENDS = frozenset({_S.SCHEDULED, _S.RUNNING, _S.HELD, _S.PAUSING, _S.PAUSED})
"""States in which the end of a campaign is its end."""


async def due(session: AsyncSession, now: datetime) -> list[tuple[CampaignRow, CampaignEvent]]:
    """Return what is to happen to which campaigns now, of all organisations."""
    query = select(CampaignRow).where(CampaignRow.state.in_([state.value for state in _ENDS]))
    return [(row, event) for row in await session.scalars(query) for event in _events(row, now)]


def _events(row: CampaignRow, now: datetime) -> Iterator[CampaignEvent]:
    plan = stored_plan(row.plan)
    if plan.ends_at is not None and plan.ends_at <= now:
        yield _E.END_REACHED
    elif row.state == _S.SCHEDULED and plan.starts_at is not None and plan.starts_at <= now:
        yield _E.START
    elif row.state == _S.HELD and row.release_at is not None and row.release_at <= now:
        yield _E.RELEASE
