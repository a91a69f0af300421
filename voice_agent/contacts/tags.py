"""Tags: words that contacts are marked with. Works in the caller's transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.contacts.repository import ensure_tags, tag_key
from voice_agent.errors import Conflict, NotFound
from voice_agent.storage.many_rows import is_one_of
from voice_agent.storage.tables import ContactTagRow, TagRow

MAX_TAGS_IN_ALL = 2_000
"""Of an organisation: they are shown as one list."""

MOST_LOST = 10_000
"""Contacts that may lose a tag with its deletion; more of them are untagged before, by a job that can be undone."""


class TagService:
    """One for the process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._clock = clock

    async def all(self, session: AsyncSession, org_id: UUID) -> list[TagRow]:
        """Return the tags by name."""
        return list(await session.scalars(select(TagRow).where(TagRow.org_id == org_id).order_by(TagRow.key)))

    async def find(self, session: AsyncSession, org_id: UUID, tag_id: UUID) -> TagRow:
        """Return a tag. Raises NotFound."""
        row = await session.scalar(select(TagRow).where(TagRow.id == tag_id, TagRow.org_id == org_id))
        if row is None:
            raise NotFound("there is no such tag")
        return row

    async def named(self, session: AsyncSession, org_id: UUID, names: Sequence[str]) -> set[UUID]:
        """Return the keys of tags by name; those that are not there are made. Raises InvalidRequest or Conflict."""
        tags = await ensure_tags(session, org_id, names, self._clock())
        await self._check_count(session, org_id)
        return set(tags.values())

    async def add(self, session: AsyncSession, principal: Principal, name: str) -> TagRow:
        """Make a tag. Raises Conflict for a name in use."""
        if await self._by_key(session, principal.org_id, tag_key(name)) is not None:
            raise Conflict("name: there is a tag of this name already")
        (tag_id,) = (await ensure_tags(session, principal.org_id, [name], self._clock())).values()
        await self._check_count(session, principal.org_id)
        row = await session.get_one(TagRow, tag_id)
        await self._audit(session, principal, "tag.create", row)
        return row

    async def rename(self, session: AsyncSession, principal: Principal, tag_id: UUID, name: str) -> TagRow:
        """Give a tag another name. Raises NotFound, or Conflict for a name in use."""
        row = await self.find(session, principal.org_id, tag_id)
        taken = await self._by_key(session, principal.org_id, tag_key(name))
        if taken is not None and taken.id != row.id:
            raise Conflict("name: there is a tag of this name already")
        row.name, row.key = name.strip(), tag_key(name)
        await self._audit(session, principal, "tag.rename", row)
        return row

    async def remove(self, session: AsyncSession, principal: Principal, tag_id: UUID) -> None:
        """Delete a tag that at most `MOST_LOST` contacts have. Raises NotFound or Conflict."""
        row = await self.find(session, principal.org_id, tag_id)
        some = select(ContactTagRow.contact_id).where(ContactTagRow.tag_id == tag_id).limit(MOST_LOST + 1).subquery()
        if (await session.execute(select(func.count()).select_from(some))).scalar_one() > MOST_LOST:
            raise Conflict(
                f"more than {MOST_LOST} contacts have this tag: take it from them first (POST /contacts/bulk)"
            )
        await session.execute(delete(TagRow).where(TagRow.id == row.id))
        await self._audit(session, principal, "tag.delete", row)

    async def of_contacts(
        self, session: AsyncSession, org_id: UUID, contact_ids: Sequence[UUID]
    ) -> dict[UUID, list[TagRow]]:
        """Return the tags of contacts, by name."""
        found: dict[UUID, list[TagRow]] = {}
        if contact_ids:
            query = (
                select(ContactTagRow.contact_id, TagRow)
                .join(TagRow, TagRow.id == ContactTagRow.tag_id)
                .where(ContactTagRow.org_id == org_id, is_one_of(session, ContactTagRow.contact_id, contact_ids))
                .order_by(TagRow.key)
            )
            for row in await session.execute(query):
                found.setdefault(row.contact_id, []).append(row.TagRow)
        return found

    async def _by_key(self, session: AsyncSession, org_id: UUID, key: str) -> TagRow | None:
        return await session.scalar(select(TagRow).where(TagRow.org_id == org_id, TagRow.key == key))

    async def _check_count(self, session: AsyncSession, org_id: UUID) -> None:
        count = select(func.count()).select_from(TagRow).where(TagRow.org_id == org_id)
        if (await session.execute(count)).scalar_one() > MAX_TAGS_IN_ALL:
            raise Conflict(f"there are {MAX_TAGS_IN_ALL} tags, and more are not allowed")

    async def _audit(self, session: AsyncSession, principal: Principal, action: str, row: TagRow) -> None:
        after = {"name": row.name}
        await audit.record(session, principal, action, target_kind="tag", target_id=str(row.id), after=after)
