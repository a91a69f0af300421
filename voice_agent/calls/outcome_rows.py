"""What is read from the database about whoever is in a call, and how they are to be treated there."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.tables import CampaignContactRow, ContactRow, DispositionRow


async def dispositions(session: AsyncSession, org_id: UUID) -> Sequence[DispositionRow]:
    """Return what an organisation's calls may mean, by their keys."""
    query = select(DispositionRow).where(DispositionRow.org_id == org_id).order_by(DispositionRow.key)
    return (await session.scalars(query)).all()


async def zone_of(session: AsyncSession, org_id: UUID, campaign_contact_id: UUID) -> str:
    """Return the time zone of a campaign's contact; empty where it is not known."""
    query = (
        select(ContactRow.zone)
        .join(CampaignContactRow, CampaignContactRow.contact_id == ContactRow.id)
        .where(CampaignContactRow.id == campaign_contact_id, CampaignContactRow.org_id == org_id)
    )
    return await session.scalar(query) or ""
