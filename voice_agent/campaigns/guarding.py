"""Holds campaigns whose calls go wrong, and takes numbers out of use that do. What counts as wrong: `holding`."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.principal import system
from voice_agent.campaigns import health, repository
from voice_agent.campaigns.admission import Policies
from voice_agent.campaigns.holding import Health, hold_for, is_in_trouble, numbers_to_rest, without
from voice_agent.campaigns.life import CampaignLife, Cause
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.model import CampaignEvent
from voice_agent.campaigns.plan import Plan
from voice_agent.campaigns.survey import Survey, survey
from voice_agent.campaigns.voices import voices_of
from voice_agent.errors import Conflict
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignRow

log = structlog.get_logger(__name__)

_BY = "scheduler"


class CampaignGuard:
    """Looks after running campaigns."""

    def __init__(
        self,
        database: Database,
        life: CampaignLife,
        policies: Policies,
        *,
        limits: Limits,
        troubles: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`troubles` returns the speech and language providers that fail in this process."""
        self._database = database
        self._life = life
        self._policies = policies
        self._limits = limits
        self._troubles = troubles

    async def look_after(self, now: datetime, *, lag_ms: float = 0.0) -> frozenset[UUID]:
        """Hold what must not go on; return the campaigns that are in trouble. Raises DatabaseUnavailable.

        `lag_ms` is how late the event loop of this process was.
        """
        async with self._database.read() as session:
            rows = await repository.live(session)
            if not rows:
                return frozenset()
            seen = await survey(session, rows, self._limits, now, is_thorough=True)
            found = {row.id: await self._health(session, row, seen, lag_ms, now) for row in rows}
        in_trouble = [await self._judge(row, seen.plans[row.id], found[row.id], now) for row in rows]
        return frozenset(row.id for row, is_bad in zip(rows, in_trouble, strict=True) if is_bad)

    async def _health(
        self, session: AsyncSession, row: CampaignRow, seen: Survey, lag_ms: float, now: datetime
    ) -> Health:
        plan = seen.plans[row.id]
        found = await health.health_of(session, row, plan.holds, now)
        claimant = next(each for each in seen.claimants if each.campaign_id == row.id)
        usable = [use for use in seen.numbers[row.id] if use.quarantine_until is None or use.quarantine_until <= now]
        return msgspec.structs.replace(
            found,
            lag_ms=lag_ms,
            providers=tuple(self._troubles()),
            is_budget_short=await self._is_short(session, row, plan),
            active=claimant.active,
            # Without an agent nobody knows which numbers it would show: that is another reason.
            has_number=bool(usable) or not claimant.agents,
        )

    async def _is_short(self, session: AsyncSession, row: CampaignRow, plan: Plan) -> bool:
        if plan.budget is None:
            return False
        voices = (await voices_of(session, row.org_id, plan)).values()
        policy = await self._policies(session, row.org_id)
        least = min((policy.reservation(voice.time_limit_s) for voice in voices), default=0)
        return row.committed + least > plan.budget

    async def _judge(self, row: CampaignRow, plan: Plan, found: Health, now: datetime) -> bool:
        resting = numbers_to_rest(plan.holds, found)
        if resting:
            async with self._database.write() as session:
                await health.rest_numbers(session, row, resting, now)
                words = f"numbers are not shown for a while, because their calls fail: {', '.join(resting)}"
                await repository.note(session, row, "numbers", words, {"numbers": resting}, _BY, now)
            found = without(found, resting)
        hold = hold_for(plan.holds, found, now)
        if hold is None:
            return is_in_trouble(plan.holds, found)
        cause = Cause(by=system(row.org_id, _BY), reason=hold.reason, hold_code=hold.code, release_at=hold.release_at)
        try:
            await self._database.transact(lambda session: self._life.move(session, row, CampaignEvent.HOLD, cause, now))
        except Conflict as error:  # somebody has stopped it meanwhile
            log.info("campaign_not_held", campaign_id=str(row.id), reason=str(error))
        else:
            log.warning("campaign_held", campaign_id=str(row.id), code=hold.code.value, reason=hold.reason)
        return True
