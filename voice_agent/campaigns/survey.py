"""What the pacing decides by, read from the database: running campaigns, who is due in them, and every limit."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.campaigns import claim
from voice_agent.campaigns.caller_numbers import NumberUse, room_of
from voice_agent.campaigns.claim import ActiveCalls
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.pacing import Claimant, Ground, Scope, ramp
from voice_agent.campaigns.plan import Plan, stored_plan
from voice_agent.campaigns.voices import voices_of
from voice_agent.storage.tables import CampaignRow, OrganisationRow

MOST_COUNTED = 200
"""Contacts who are due are counted so far: more places are never given at once."""


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """One look at everything."""

    claimants: tuple[Claimant, ...]
    ground: Ground
    plans: Mapping[UUID, Plan]
    numbers: Mapping[UUID, tuple[NumberUse, ...]]
    """Of each campaign."""

    active: ActiveCalls


async def survey(
    session: AsyncSession,
    campaigns: Sequence[CampaignRow],
    limits: Limits,
    now: datetime,
    *,
    ramped_since: Mapping[UUID, datetime] | None = None,
    is_thorough: bool = False,
) -> Survey:
    """Look at running campaigns. `ramped_since` is when a campaign's ramp began anew, where it had trouble.

    Agents and numbers of campaigns in which nobody is due are looked at where `is_thorough` says so.
    """
    active = await claim.active_calls(session)
    organisations = await _organisations(session, campaigns)
    plans: dict[UUID, Plan] = {}
    uses: dict[UUID, tuple[NumberUse, ...]] = {}
    claimants = []
    agents: dict[str, Scope] = {}
    numbers: dict[str, Scope] = {}
    for row in campaigns:
        plan = plans[row.id] = stored_plan(row.plan)
        due = await claim.due_by_rank(session, row.id, now, MOST_COUNTED)
        settings = organisations[row.org_id].settings
        voices = (await voices_of(session, row.org_id, plan)).values() if due or is_thorough else ()
        pools = frozenset(voice.variant.pool_id or plan.pool_id for voice in voices)
        by_pool = await claim.numbers_of(session, row.org_id, pools, active, now) if pools else {}
        uses[row.id] = tuple({each.e164: each for pool in by_pool.values() for each in pool}.values())
        for voice in voices:
            agents[str(voice.agent_id)] = limits.agent(settings, active.by_agent[voice.agent_id])
        for use in uses[row.id]:
            room = room_of(use, now)
            numbers[use.e164] = Scope(limit=None if room is None else use.live + room, active=use.live)
        claimants.append(
            Claimant(
                campaign_id=row.id,
                org_id=row.org_id,
                weight=plan.weight,
                pacing=plan.pacing,
                ramp=ramp(plan.pacing, _since(row, ramped_since or {}, now), now),
                active=active.by_campaign[row.id],
                starting=active.starting_by_campaign[row.id],
                due=sum(count for _, count in due),
                callbacks=sum(count for rank, count in due if rank < 0),
                agents=tuple(dict.fromkeys(str(voice.agent_id) for voice in voices)),
                numbers=tuple(use.e164 for use in uses[row.id]),
            )
        )
    ground = Ground(
        everything=limits.everything(active.all),
        kept_free=limits.kept_free,
        calls_per_second=limits.calls_per_second,
        starting=active.starting,
        organisations={
            row.id: limits.organisation(row.settings, active.by_organisation[row.id]) for row in organisations.values()
        },
        agents=agents,
        numbers=numbers,
    )
    return Survey(claimants=tuple(claimants), ground=ground, plans=plans, numbers=uses, active=active)


async def _organisations(session: AsyncSession, campaigns: Sequence[CampaignRow]) -> dict[UUID, OrganisationRow]:
    keys = {row.org_id for row in campaigns}
    rows = await session.scalars(select(OrganisationRow).where(OrganisationRow.id.in_(keys)))
    return {row.id: row for row in rows}


def _since(row: CampaignRow, ramped_since: Mapping[UUID, datetime], now: datetime) -> datetime:
    begun = row.resumed_at or row.launched_at or now
    return max(begun, ramped_since.get(row.id, begun))
