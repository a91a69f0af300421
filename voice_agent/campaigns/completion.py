"""When a campaign has come to its end: nobody is left who would be called, and no call goes on. Never by idle time.

| state | when no call goes on, or may | then |
|---|---|---|
| running | and every contact's part is over, and its audience takes in nobody by itself | completed |
| pausing | | paused |
| stopping | its other contacts are cancelled at once, while the last calls go on | stopped |
| stopping, because its end was reached | its other contacts expire at once | completed |
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.principal import system
from voice_agent.campaigns import attempt_rows, repository
from voice_agent.campaigns.life import END_REACHED, CampaignLife, Cause
from voice_agent.campaigns.model import CampaignEvent, CampaignState, ContactState
from voice_agent.campaigns.plan import stored_plan
from voice_agent.storage.database import Database

log = structlog.get_logger(__name__)

CLOSED_AT_ONCE = 5_000
"""Contacts that one statement closes: some 0.2 s of a database."""

_BY = "campaign"
_S = CampaignState


class Completion:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        life: CampaignLife,
        clock: Callable[[], datetime],
        *,
        closed_at_once: int = CLOSED_AT_ONCE,
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._life = life
        self._clock = clock
        self._closed_at_once = closed_at_once

    async def complete(self) -> int:
        """Look at every campaign once; return how many have come to their end. Raises DatabaseUnavailable."""
        async with self._database.read() as session:
            found = await attempt_rows.ending_campaigns(session)
        ended = 0
        for row in found:
            if row.state == _S.STOPPING:
                await self._close_contacts(row.org_id, row.id)
            ended += await self._end(row.org_id, row.id)
        return ended

    async def _close_contacts(self, org_id: UUID, campaign_id: UUID) -> None:
        closed = self._closed_at_once
        while closed == self._closed_at_once:
            closed = await self._database.transact(lambda session: self._close_some(session, org_id, campaign_id))

    async def _close_some(self, session: AsyncSession, org_id: UUID, campaign_id: UUID) -> int:
        row = await repository.find(session, org_id, campaign_id)
        if row is None or row.state != _S.STOPPING:
            return 0
        if row.hold_code == END_REACHED:
            state, reason = ContactState.EXPIRED, "expired: the campaign ended before they were reached"
        else:
            state, reason = ContactState.CANCELLED, "cancelled: the campaign was stopped"
        now, limit = self._clock(), self._closed_at_once
        return await attempt_rows.close_waiting(session, row, state, reason, now, limit=limit)

    async def _end(self, org_id: UUID, campaign_id: UUID) -> bool:
        return await self._database.transact(lambda session: self._end_one(session, org_id, campaign_id))

    async def _end_one(self, session: AsyncSession, org_id: UUID, campaign_id: UUID) -> bool:
        """End a campaign under its lock, where that is so still: admissions of it wait, and then find it over."""
        row = await repository.locked(session, org_id, campaign_id)
        if row is None or await attempt_rows.is_active(session, row):
            return False
        match CampaignState(row.state):
            case _S.PAUSING:
                event = CampaignEvent.DRAINED
            case _S.STOPPING if await attempt_rows.is_open(session, row):
                return False  # somebody was given back since
            case _S.STOPPING:
                event = CampaignEvent.FINISHED if row.hold_code == END_REACHED else CampaignEvent.DRAINED
            case _S.RUNNING if not stored_plan(row.plan).audience.is_live:
                if await attempt_rows.is_open(session, row):
                    return False
                event = CampaignEvent.DRAINED
            case _:
                return False
        await self._life.move(session, row, event, Cause(by=system(org_id, _BY), reason=row.reason), self._clock())
        log.info("campaign_came_to_its_end", campaign_id=str(campaign_id), state=row.state)
        return True
