"""The SQL of holds: what calls were like lately, and which numbers are answered less than they used to be."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.campaigns.caller_numbers import QUARANTINE, AnswerRate, is_dropped
from voice_agent.campaigns.holding import LEAST_TURNS, NUMBER_QUARANTINE, Health, Share
from voice_agent.campaigns.plan import HoldRule
from voice_agent.storage.tables import CallRow, CampaignRow, PhoneNumberRow, TurnLatencyRow

SILENT = timedelta(seconds=2)
"""campaigns.md 1D, "abandon rate"."""

FILED = timedelta(seconds=30)
"""By then a call's log has been read, and it is known when the agent was first heard."""

ACCOUNT_ERRORS = frozenset({20003, 20005, 21215, 21216, 32203, 30002})
"""Twilio: wrong credentials, account not active, countries not permitted, account suspended.

https://www.twilio.com/docs/api/errors
"""

LATELY = timedelta(days=1)
BEFORE = timedelta(days=8)


async def health_of(session: AsyncSession, campaign: CampaignRow, rule: HoldRule, now: datetime) -> Health:
    """Return what the calls were like that ended within the rule's window, since the campaign last began to dial."""
    since = now - timedelta(seconds=rule.window_s)
    if campaign.resumed_at is not None:
        since = max(since, campaign.resumed_at)
    call = CallRow
    is_failed = or_(call.outcome == "carrier_failed", call.end_reason == "transport_lost")
    ended = (call.campaign_id == campaign.id, call.ended_at >= since, call.requested_at.is_not(None))
    by_number: dict[str, Share] = {}
    errors: Counter[int] = Counter()
    query = (
        select(call.from_number, call.error_code, is_failed, func.count())
        .where(*ended, or_(call.outcome.is_(None), call.outcome.not_in(["not_placed", "cancelled", "blocked"])))
        .group_by(call.from_number, call.error_code, is_failed)
    )
    for e164, code, has_failed, count in await session.execute(query):
        share = by_number.get(e164, Share())
        by_number[e164] = Share(part=share.part + (count if has_failed else 0), of=share.of + count)
        if has_failed and code:
            errors[code] += count
    failed = Share(part=sum(each.part for each in by_number.values()), of=sum(each.of for each in by_number.values()))
    return Health(
        failed=failed,
        failed_by_number=by_number,
        errors=errors,
        is_account_refused=any(errors[code] for code in ACCOUNT_ERRORS),
        silent=await _silent(session, campaign, since, now),
        slow_ms=await _slow_ms(session, campaign, since),
    )


async def _silent(session: AsyncSession, campaign: CampaignRow, since: datetime, now: datetime) -> Share:
    """Count people who answered; of a call whose stream no process of ours held, nothing is known."""
    call = CallRow
    query = select(call.answered_at, call.first_audio_at).where(
        and_(
            call.campaign_id == campaign.id,
            call.ended_at >= since - FILED,
            call.ended_at < now - FILED,
            call.outcome == "human",
            call.answered_at.is_not(None),
            call.worker.is_not(None),
        )
    )
    heard = [(answered, first) for answered, first in await session.execute(query) if answered is not None]
    late = sum(first is None or first - answered > SILENT for answered, first in heard)
    return Share(part=late, of=len(heard))


async def _slow_ms(session: AsyncSession, campaign: CampaignRow, since: datetime) -> float:
    query = (
        select(TurnLatencyRow.voice_to_voice_ms)
        .join(CallRow, CallRow.id == TurnLatencyRow.call_id)
        .where(CallRow.campaign_id == campaign.id, CallRow.ended_at >= since)
        .order_by(TurnLatencyRow.voice_to_voice_ms)
    )
    turns = (await session.scalars(query)).all()
    return turns[ceil(0.95 * len(turns)) - 1] if len(turns) >= LEAST_TURNS else 0.0


async def rest_numbers(session: AsyncSession, campaign: CampaignRow, numbers: Sequence[str], now: datetime) -> None:
    """Put numbers into quarantine whose calls fail."""
    row = PhoneNumberRow
    await session.execute(
        update(row)
        .where(row.org_id == campaign.org_id, row.e164.in_(numbers))
        .values(
            quarantine_until=now + NUMBER_QUARANTINE,
            quarantine_reason=f"its calls failed while those of other numbers did not ({campaign.name})"[:200],
        )
    )


async def quarantine_dropped(session: AsyncSession, now: datetime) -> list[str]:
    """Put numbers into quarantine that are answered far less than in the week before; return them."""
    call = CallRow
    is_late = call.requested_at > now - LATELY
    is_answered = case((call.answered_at.is_not(None), 1), else_=0)
    query = (
        select(call.org_id, call.from_number, is_late, func.count(), func.sum(is_answered))
        .where(call.campaign_id.is_not(None), call.requested_at > now - BEFORE, call.ended_at.is_not(None))
        .group_by(call.org_id, call.from_number, is_late)
    )
    rates: dict[tuple[object, str], dict[bool, AnswerRate]] = {}
    for org_id, e164, late, calls, answered in await session.execute(query):
        rates.setdefault((org_id, e164), {})[bool(late)] = AnswerRate(calls=calls, answered=int(answered or 0))
    nothing = AnswerRate(calls=0, answered=0)
    rested: list[str] = []
    for (org_id, e164), rate in sorted(rates.items(), key=lambda each: each[0][1]):
        lately, before = rate.get(True, nothing), rate.get(False, nothing)
        if is_dropped(lately, before):
            row = PhoneNumberRow
            is_free = or_(row.quarantine_until.is_(None), row.quarantine_until <= now)
            reason = f"answered {lately.rate:.0%} of the day, {before.rate:.0%} of the week before"
            changed = await session.execute(
                update(row)
                .where(row.org_id == org_id, row.e164 == e164, is_free)
                .values(quarantine_until=now + QUARANTINE, quarantine_reason=reason)
                .returning(row.e164)
            )
            rested += changed.scalars()
    return rested
