"""Walking through very many contacts: windows of the organisation's contacts, or of a list's members.

A window is so many contacts by their place, whatever is asked of them: a statement about one takes as long whether all
of them fit or none, and stays far below the time that a statement may take. Places never change, so nobody is met twice
and nobody is passed over, whatever is changed, made or deleted meanwhile.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.rest.pages import Place
from voice_agent.storage.tables import ContactRow, ListMemberRow
from voice_agent.storage.tables.columns import Instant

Clause = ColumnElement[bool]

PLACE = tuple_(ContactRow.created_at, ContactRow.id)
"""Where a contact is among all: the order of `ix_contact_org_id_created_at`."""


async def contacts_window(
    session: AsyncSession, org_id: UUID, *, after: Place | None, size: int
) -> tuple[Clause, Place | None]:
    """Return the condition of the next contacts, and where they end: None where they are the last ones.

    Deleted ones are among them.
    """
    among: Clause = ContactRow.org_id == org_id
    if after is not None:
        among = and_(among, place_of(after) < PLACE)
    ends = select(ContactRow.created_at, ContactRow.id).where(among).order_by(ContactRow.created_at, ContactRow.id)
    end = (await session.execute(ends.offset(size - 1).limit(1))).first()
    if end is None:
        return among, None
    place = (end.created_at, end.id)
    return and_(among, place_of(place) >= PLACE), place


async def members_window(
    session: AsyncSession, org_id: UUID, list_id: UUID, *, after: UUID | None, size: int
) -> tuple[Clause, UUID | None]:
    """Return the condition of the next members of a static list by their keys, and where they end, or None."""
    member = ListMemberRow.contact_id
    on_it = and_(ListMemberRow.list_id == list_id, ListMemberRow.org_id == org_id)
    if after is not None:
        on_it = and_(on_it, member > after)
    end = await session.scalar(select(member).where(on_it).order_by(member).offset(size - 1).limit(1))
    if end is not None:
        on_it = and_(on_it, member <= end)
    return ContactRow.id.in_(select(member).where(on_it)), end


def place_of(place: Place) -> Any:
    """Return a place as SQL, to be compared with `PLACE`."""
    created_at: datetime
    created_at, contact_id = place
    return tuple_(literal(created_at, Instant), literal(contact_id, ContactRow.id.type))
