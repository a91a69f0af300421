"""The SQL of agents, their versions, and the numbers they answer."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.tables import AgentRow, AgentVersionRow, OrganisationRow, PhoneNumberRow


async def agent(session: AsyncSession, org_id: UUID, agent_id: UUID) -> AgentRow | None:
    """Return an agent of this organisation, archived ones too."""
    return await session.scalar(select(AgentRow).where(AgentRow.id == agent_id, AgentRow.org_id == org_id))


async def locked(session: AsyncSession, org_id: UUID, agent_id: UUID) -> AgentRow | None:
    """Return an agent for a change of its versions: others that want to change it wait."""
    query = select(AgentRow).where(AgentRow.id == agent_id, AgentRow.org_id == org_id)
    return await session.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))


async def page(
    session: AsyncSession, org_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[AgentRow]:
    """Return agents that are not archived, newest first."""
    query = select(AgentRow).where(AgentRow.org_id == org_id, AgentRow.archived_at.is_(None))
    if before is not None:
        query = query.where(tuple_(AgentRow.created_at, AgentRow.id) < tuple_(*before))
    return (await session.scalars(query.order_by(AgentRow.created_at.desc(), AgentRow.id.desc()).limit(limit))).all()


async def oldest_published(session: AsyncSession, org_id: UUID) -> AgentRow | None:
    """Return the first agent that can hold calls."""
    query = (
        select(AgentRow)
        .where(AgentRow.org_id == org_id, AgentRow.archived_at.is_(None), AgentRow.published_version.is_not(None))
        .order_by(AgentRow.created_at, AgentRow.id)
        .limit(1)
    )
    return await session.scalar(query)


async def version(session: AsyncSession, org_id: UUID, version_id: UUID) -> AgentVersionRow | None:
    """Return a version by its key."""
    query = select(AgentVersionRow).where(AgentVersionRow.id == version_id, AgentVersionRow.org_id == org_id)
    return await session.scalar(query)


async def numbered(session: AsyncSession, agent_id: UUID, number: int) -> AgentVersionRow | None:
    """Return an agent's version by its number."""
    query = select(AgentVersionRow).where(AgentVersionRow.agent_id == agent_id, AgentVersionRow.number == number)
    return await session.scalar(query)


async def versions(session: AsyncSession, agent_id: UUID) -> Sequence[AgentVersionRow]:
    """Return an agent's versions, newest first."""
    query = select(AgentVersionRow).where(AgentVersionRow.agent_id == agent_id)
    return (await session.scalars(query.order_by(AgentVersionRow.number.desc()))).all()


async def draft(session: AsyncSession, agent_id: UUID) -> AgentVersionRow | None:
    """Return an agent's draft, of which there is one at the most."""
    query = select(AgentVersionRow).where(AgentVersionRow.agent_id == agent_id, AgentVersionRow.state == "draft")
    return await session.scalar(query)


async def highest_number(session: AsyncSession, agent_id: UUID) -> int:
    """Return the number of the newest version, 0 where there is none."""
    query = select(func.coalesce(func.max(AgentVersionRow.number), 0)).where(AgentVersionRow.agent_id == agent_id)
    return int((await session.execute(query)).scalar_one())


async def phone_number(session: AsyncSession, e164: str) -> PhoneNumberRow | None:
    """Return one of our numbers, whosever it is."""
    return await session.scalar(select(PhoneNumberRow).where(PhoneNumberRow.e164 == e164))


async def phone_numbers(session: AsyncSession, org_id: UUID) -> Sequence[PhoneNumberRow]:
    """Return an organisation's numbers, oldest first: the first is shown where none is named."""
    query = select(PhoneNumberRow).where(PhoneNumberRow.org_id == org_id)
    return (await session.scalars(query.order_by(PhoneNumberRow.created_at, PhoneNumberRow.id))).all()


async def has_any(session: AsyncSession, org_id: UUID) -> bool:
    """Tell whether the organisation has, or has ever had, an agent."""
    return (await session.scalar(select(AgentRow.id).where(AgentRow.org_id == org_id).limit(1))) is not None


async def oldest_organisation_id(session: AsyncSession) -> UUID | None:
    """Return the first organisation of this installation: it has the calls to numbers that are nobody's."""
    return await session.scalar(select(OrganisationRow.id).order_by(OrganisationRow.created_at).limit(1))
