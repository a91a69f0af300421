"""An organisation's money for calls: set aside before a call is placed, settled when it has ended.

The cap is kept by a row lock: whoever sets money aside holds the organisation's row until the transaction ends, so that
fifty at once cannot together pass what one of them could not. Days are days of UTC. Nothing here commits.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import repository
from voice_agent.calls.policy import MICROS, CallPolicy
from voice_agent.errors import Conflict
from voice_agent.storage.tables import CallRow, CampaignRow, OrganisationRow, SpendRow


async def reserve(session: AsyncSession, call: CallRow, policy: CallPolicy, *, amount: int, now: datetime) -> None:
    """Set `amount` (millionths of a dollar) aside for a call. Raises Conflict where the day's cap does not allow it."""
    spent = await _spent_under_lock(session, call.org_id, now)
    if spent + amount > policy.daily_spend_cap:
        raise Conflict(
            f"the daily spend cap of ${policy.daily_spend_cap / MICROS:.2f} does not allow this call: "
            f"${spent / MICROS:.2f} are spent or set aside, it may cost ${amount / MICROS:.2f}"
        )
    session.add(SpendRow(call_id=call.id, org_id=call.org_id, at=now, reserved=amount))


async def room(session: AsyncSession, org_id: UUID, policy: CallPolicy, now: datetime) -> int:
    """Return what the day's cap leaves, in millionths of a dollar; nobody else takes of it in this transaction's time.

    Whoever takes of it adds the `SpendRow`s. Below 0 where the cap was lowered.
    """
    return policy.daily_spend_cap - await _spent_under_lock(session, org_id, now)


async def _spent_under_lock(session: AsyncSession, org_id: UUID, now: datetime) -> int:
    # FOR NO KEY UPDATE: the call's own foreign key holds a KEY SHARE on the same row, and two of those would deadlock.
    organisation = select(OrganisationRow.id).where(OrganisationRow.id == org_id)
    (await session.execute(organisation.with_for_update(key_share=True))).scalar_one()
    return await repository.spent_since(session, org_id, start_of_day(now))


async def settle(session: AsyncSession, call: CallRow, policy: CallPolicy) -> None:
    """Replace what was set aside by what the call cost: the carrier's price, else the minutes it lasted.

    To be called when a call ends and again when its price comes. A call that was never reserved (an inbound one) is
    entered with what it cost. What a campaign has committed follows in the same transaction.
    """
    cost = call.price if call.price is not None else policy.reservation(call.talk_s or 0)
    row = await session.get(SpendRow, call.id)
    if row is None:
        session.add(SpendRow(call_id=call.id, org_id=call.org_id, at=call.created_at, reserved=0, settled=cost))
        return
    freed = (row.reserved if row.settled is None else row.settled) - cost
    row.settled = cost
    if row.campaign_id is not None and freed:
        await session.execute(
            update(CampaignRow)
            .where(CampaignRow.id == row.campaign_id, CampaignRow.org_id == row.org_id)
            .values(committed=CampaignRow.committed - freed)
            .execution_options(synchronize_session=False)
        )


async def spent_today(session: AsyncSession, org_id: UUID, now: datetime) -> int:
    """Return what the calls of this day cost so far, what is set aside included."""
    return await repository.spent_since(session, org_id, start_of_day(now))


def start_of_day(now: datetime) -> datetime:
    """Return midnight before `now`, in the zone of `now` (UTC everywhere here)."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
