"""The last look at a call of a campaign before it is dialled: the SQL of it. Nothing here commits.

A campaign's call was admitted in another transaction, a moment ago. Between the two somebody may have paused the
campaign, opted out, or found that this process does not dial any more; all of that is seen here, because what is read
is read after `requested_at` was taken, in the transaction that marks the call as dialling.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.many_rows import is_one_of
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow

RUNNING = "running"
"""The state of a campaign in which it dials, and those of a contact, in the words of `campaigns.model`."""

LEASED = "leased"
DIALING = "dialing"


async def locked(session: AsyncSession, call_ids: Sequence[UUID]) -> Sequence[CallRow]:
    """Return calls for a change, in one order always: two that want the same calls do not wait for each other.

    Their campaigns are locked before them, as a pause does: a void call changes what its campaign has committed.
    """
    of_them = select(CallRow.campaign_id).where(is_one_of(session, CallRow.id, call_ids))
    campaigns = select(CampaignRow.id).where(CampaignRow.id.in_(of_them)).order_by(CampaignRow.id)
    await session.execute(campaigns.with_for_update(key_share=True))
    query = select(CallRow).where(is_one_of(session, CallRow.id, call_ids)).order_by(CallRow.id)
    query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return (await session.scalars(query)).all()


async def begin(session: AsyncSession, calls: Sequence[CallRow], now: datetime) -> set[UUID]:
    """Mark the contacts of admitted calls as being dialled; return the calls that are to be dialled still.

    Those are whose campaign runs under the epoch of the admission, and whose contact is leased for this very call.
    """
    contact = CampaignContactRow
    is_as_it_was = (
        select(CallRow.id)
        .join(CampaignRow, CampaignRow.id == CallRow.campaign_id)
        .where(
            CallRow.id == contact.call_id,
            CallRow.campaign_contact_id == contact.id,
            CallRow.org_id == contact.org_id,
            CallRow.campaign_epoch == contact.lease_epoch,
            CampaignRow.org_id == contact.org_id,
            CampaignRow.state == RUNNING,
            CampaignRow.epoch == contact.lease_epoch,
        )
        .correlate(contact)
        .exists()
    )
    begun = await session.execute(
        update(contact)
        .where(
            is_one_of(session, contact.id, [call.campaign_contact_id for call in calls]),
            is_one_of(session, contact.call_id, [call.id for call in calls]),
            contact.state == LEASED,
            contact.lease_until > now,
            is_as_it_was,
        )
        .values(state=DIALING)
        .returning(contact.call_id)
        .execution_options(synchronize_session=False)
    )
    return {call_id for call_id in begun.scalars() if call_id is not None}
