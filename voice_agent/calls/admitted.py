"""The last look at a call of a campaign before it is dialled: the SQL of it. Nothing here commits.

A campaign's call was admitted in another transaction, a moment ago. Between the two somebody may have paused the
campaign, opted out, or found that this process does not dial any more; all of that is seen here, because what is read
is read after `requested_at` was taken, in the transaction that marks the call as dialling.
"""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow

RUNNING = "running"
"""The state of a campaign in which it dials, and those of a contact, in the words of `campaigns.model`."""

LEASED = "leased"
DIALING = "dialing"


async def begin(session: AsyncSession, call: CallRow, now: datetime) -> bool:
    """Mark the contact of an admitted call as being dialled; False where it is not to be dialled any more.

    It is where the campaign runs under the epoch of the admission, and the contact is leased for this very call.
    """
    epoch = select(CampaignRow.epoch).where(
        CampaignRow.id == call.campaign_id, CampaignRow.org_id == call.org_id, CampaignRow.state == RUNNING
    )
    begun = await session.execute(
        update(CampaignContactRow)
        .where(
            CampaignContactRow.id == call.campaign_contact_id,
            CampaignContactRow.org_id == call.org_id,
            CampaignContactRow.call_id == call.id,
            CampaignContactRow.state == LEASED,
            CampaignContactRow.lease_until > now,
            CampaignContactRow.lease_epoch == call.campaign_epoch,
            epoch.scalar_subquery() == call.campaign_epoch,
        )
        .values(state=DIALING)
        .returning(CampaignContactRow.id)
        .execution_options(synchronize_session=False)
    )
    return begun.scalar_one_or_none() is not None
