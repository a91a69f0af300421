"""The SQL of lists and segments. What fills static ones is `list_filling`."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts.filters import Filter
from voice_agent.contacts.segments import fitting, is_there
from voice_agent.contacts.windows import contacts_window, members_window
from voice_agent.rest.pages import Place
from voice_agent.storage.tables import ContactListRow, ContactRow, ListMemberRow

Clause = ColumnElement[bool]


async def find(session: AsyncSession, org_id: UUID, list_id: UUID, *, is_locked: bool = False) -> ContactListRow | None:
    """Return a list of this organisation, an archived one too; locked, others that want to change it wait."""
    query = select(ContactListRow).where(ContactListRow.id == list_id, ContactListRow.org_id == org_id)
    if is_locked:
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return await session.scalar(query)


async def named(session: AsyncSession, org_id: UUID, name: str) -> ContactListRow | None:
    """Return the list of a name; an archived one has none."""
    query = select(ContactListRow).where(
        ContactListRow.org_id == org_id, ContactListRow.name == name, ContactListRow.archived_at.is_(None)
    )
    return await session.scalar(query)


async def page(
    session: AsyncSession, org_id: UUID, *, kind: str = "", before: Place | None, limit: int
) -> Sequence[ContactListRow]:
    """Return lists that are not archived, newest first."""
    query = select(ContactListRow).where(ContactListRow.org_id == org_id, ContactListRow.archived_at.is_(None))
    if kind:
        query = query.where(ContactListRow.kind == kind)
    if before is not None:
        query = query.where(tuple_(ContactListRow.created_at, ContactListRow.id) < tuple_(*before))
    query = query.order_by(ContactListRow.created_at.desc(), ContactListRow.id.desc()).limit(limit)
    return (await session.scalars(query)).all()


async def count_lists(session: AsyncSession, org_id: UUID) -> int:
    """Return how many lists are not archived."""
    query = select(func.count()).select_from(ContactListRow)
    query = query.where(ContactListRow.org_id == org_id, ContactListRow.archived_at.is_(None))
    return int((await session.execute(query)).scalar_one())


# --- members ----------------------------------------------------------------------------------------------------
async def members(
    session: AsyncSession, org_id: UUID, list_id: UUID, *, before: UUID | None, limit: int
) -> Sequence[ContactRow]:
    """Return the contacts of a static list by their keys, newest first, from those before a key on."""
    query = (
        select(ContactRow)
        .join(ListMemberRow, ListMemberRow.contact_id == ContactRow.id)
        .where(
            ListMemberRow.list_id == list_id,
            ListMemberRow.org_id == org_id,
            is_there(org_id),
        )
    )
    if before is not None:
        query = query.where(ListMemberRow.contact_id < before)
    return (await session.scalars(query.order_by(ListMemberRow.contact_id.desc()).limit(limit))).all()


async def count_members(
    session: AsyncSession, org_id: UUID, list_id: UUID, *, after: UUID | None, window: int
) -> tuple[int, UUID | None]:
    """Return how many of the next members of a static list are there, and where they end; None at the list's end."""
    among, end = await members_window(session, org_id, list_id, after=after, size=window)
    return await _count(session, is_there(org_id) & among), end


async def count_fitting(
    session: AsyncSession, org_id: UUID, chosen: Filter, now: datetime, *, after: Place | None, window: int
) -> tuple[int, Place | None]:
    """Return how many of the next contacts fit a filter, and where they end; None at the end of the contacts."""
    among, end = await contacts_window(session, org_id, after=after, size=window)
    return await _count(session, fitting(chosen, org_id, now) & among), end


async def _count(session: AsyncSession, wanted: Clause) -> int:
    return int((await session.execute(select(func.count()).select_from(ContactRow).where(wanted))).scalar_one())


async def static_lists_of(session: AsyncSession, org_id: UUID, contact_id: UUID) -> Sequence[ContactListRow]:
    """Return the static lists that a contact is on, by name."""
    query = (
        select(ContactListRow)
        .join(ListMemberRow, ListMemberRow.list_id == ContactListRow.id)
        .where(
            ListMemberRow.contact_id == contact_id,
            ContactListRow.org_id == org_id,
            ContactListRow.archived_at.is_(None),
        )
    )
    return (await session.scalars(query.order_by(ContactListRow.name))).all()


async def segments(session: AsyncSession, org_id: UUID) -> Sequence[ContactListRow]:
    """Return the dynamic lists, by name."""
    query = select(ContactListRow).where(
        ContactListRow.org_id == org_id, ContactListRow.kind == "dynamic", ContactListRow.archived_at.is_(None)
    )
    return (await session.scalars(query.order_by(ContactListRow.name))).all()


async def fits(session: AsyncSession, org_id: UUID, contact_id: UUID, chosen: Filter, now: datetime) -> bool:
    """Tell whether a contact fits a filter."""
    query = select(ContactRow.id).where(ContactRow.id == contact_id, fitting(chosen, org_id, now))
    return await session.scalar(query) is not None
