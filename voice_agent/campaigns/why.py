"""Why is it not dialling? One answer at any moment, from what decides about dialling itself.

It is the survey and the decision of the scheduler, made for somebody who asks, and what the last look at each contact
has left with it. Nothing here is kept or remembered, so it cannot disagree with what happens.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.campaigns import repository
from voice_agent.campaigns.caller_numbers import blocker_of
from voice_agent.campaigns.claim import WAITING
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.model import CampaignState
from voice_agent.campaigns.pacing import Turns, decide
from voice_agent.campaigns.plan import stored_plan
from voice_agent.campaigns.survey import Survey, survey
from voice_agent.storage.tables import CampaignContactRow, CampaignRow

MOST_SAMPLED = 1_000
"""Contacts whose reasons are counted, of those whose turn comes next: all of a million would take a second."""


class NumberAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One of the numbers that could be shown."""

    e164: str
    blocker: str
    """`caller_numbers.NumberBlocker`; empty where it can be shown."""

    live: int
    last_hour: int
    last_day: int


class ScopeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How full one level is."""

    scope: str
    """everything, organisation, campaign or agent."""

    active: int
    limit: int | None
    """By now: on its ramp a campaign's is lower than its plan's."""


class WhyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps a campaign from (more) calls."""

    is_dialling: bool
    """Whether it would begin a call now."""

    state: CampaignState
    reason: str
    """Why it is held or stopped, in words."""

    blockers: tuple[str, ...]
    """`pacing.Blocker`, or `state:` and the state; empty where it dials."""

    due: int
    """Contacts who could be looked at now, counted up to 200 a rank; likewise those with a promised callback."""

    callbacks: int
    later: int
    """Those who wait for a later moment, of the next 1,000."""

    next_at: datetime | None
    """When the next one of these is due."""

    waiting_for: Mapping[str, int]
    """Why those wait, of the next 1,000: hours, caps, at_the_phone, retry, numbers_full, budget ..."""

    over_for: Mapping[str, int]
    """Why contacts were suppressed, invalid or skipped, by code."""

    scopes: tuple[ScopeAnswer, ...]
    starting: int
    """Calls that are admitted and wait for their turn at the carrier."""

    calls_per_second: float
    """By now."""

    ramp: float
    numbers: tuple[NumberAnswer, ...]
    budget: int | None
    committed: int
    """Spent and set aside, in millionths of a US dollar."""


async def why(session: AsyncSession, campaign: CampaignRow, limits: Limits, now: datetime) -> WhyAnswer:
    """Return what keeps a campaign from calling."""
    plan = stored_plan(campaign.plan)
    rows = list(await repository.live(session))
    if campaign.id not in {row.id for row in rows}:
        rows.append(campaign)
    seen = await survey(session, rows, limits, now, is_thorough=True)
    decisions = decide(seen.claimants, seen.ground, Turns())
    claimant = next(each for each in seen.claimants if each.campaign_id == campaign.id)
    is_running = campaign.state == CampaignState.RUNNING
    blockers = [blocker.value for blocker in decisions.blockers[campaign.id]]
    waiting, next_at = await _waiting(session, campaign, now)
    return WhyAnswer(
        is_dialling=is_running and campaign.id in decisions.places,
        state=CampaignState(campaign.state),
        reason=campaign.reason,
        blockers=tuple(blockers if is_running else [f"state:{campaign.state}", *blockers]),
        due=claimant.due,
        callbacks=claimant.callbacks,
        later=sum(waiting.values()),
        next_at=next_at,
        waiting_for=waiting,
        over_for=await _over(session, campaign),
        scopes=_scopes(campaign, seen, limits),
        starting=claimant.starting,
        calls_per_second=claimant.calls_per_second,
        ramp=claimant.ramp,
        numbers=_numbers(seen, campaign.id, now),
        budget=plan.budget,
        committed=campaign.committed,
    )


async def _waiting(session: AsyncSession, campaign: CampaignRow, now: datetime) -> tuple[Counter[str], datetime | None]:
    row = CampaignContactRow
    query = (
        select(row.skip_reason, row.next_attempt_at)
        .where(row.campaign_id == campaign.id, WAITING, row.next_attempt_at > now)
        .order_by(row.rank, row.next_attempt_at)
        .limit(MOST_SAMPLED)
    )
    waiting: Counter[str] = Counter()
    next_at: datetime | None = None
    for reason, at in await session.execute(query):
        waiting[reason.partition(":")[0] or "retry"] += 1
        if at is not None and (next_at is None or at < next_at):
            next_at = at
    return waiting, next_at


async def _over(session: AsyncSession, campaign: CampaignRow) -> dict[str, int]:
    row = CampaignContactRow
    over: ColumnElement[bool] = literal_column("campaign_contact.state IN ('suppressed','invalid','skipped')")
    query = select(row.skip_reason, func.count()).where(row.campaign_id == campaign.id, over).group_by(row.skip_reason)
    found: Counter[str] = Counter()
    for reason, count in await session.execute(query):
        found[reason.partition(":")[0] or "unknown"] += count
    return found


def _scopes(campaign: CampaignRow, seen: Survey, limits: Limits) -> tuple[ScopeAnswer, ...]:
    claimant = next(each for each in seen.claimants if each.campaign_id == campaign.id)
    ground = seen.ground
    organisation = ground.organisations[campaign.org_id]
    answers = [
        ScopeAnswer(scope="everything", active=ground.everything.active, limit=limits.max_calls - limits.kept_free),
        ScopeAnswer(scope="organisation", active=organisation.active, limit=organisation.limit),
        ScopeAnswer(scope="campaign", active=claimant.active, limit=claimant.max_calls),
    ]
    for key in claimant.agents:
        agent = ground.agents[key]
        answers.append(ScopeAnswer(scope="agent", active=agent.active, limit=agent.limit))
    return tuple(answers)


def _numbers(seen: Survey, campaign_id: UUID, now: datetime) -> tuple[NumberAnswer, ...]:
    return tuple(
        NumberAnswer(
            e164=use.e164,
            blocker=blocker.value if (blocker := blocker_of(use, now)) is not None else "",
            live=use.live,
            last_hour=use.last_hour,
            last_day=use.last_day,
        )
        for use in seen.numbers[campaign_id]
    )
