"""Lists of contacts: static ones, whose members are put on them, and segments, which are whoever fits a filter.

Works in the caller's transaction, but for `count`. Lists are archived and not deleted: what was done with one points
at it. What concerns many members is a change set (`list_filling`).
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.contacts import list_repository as repository
from voice_agent.contacts import search
from voice_agent.contacts.filters import Filter, Listed, document_of, read_filter
from voice_agent.contacts.list_filling import (
    Filling,
    FillOrder,
    ListFilling,
    Source,
    add_members,
    parameters_of,
    remove_members,
)
from voice_agent.contacts.segments import check_references, is_there
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.rest.pages import Place
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import is_one_of
from voice_agent.storage.tables import ChangeSetRow, ContactListRow, ContactRow

MAX_LISTS = 1_000
"""Of an organisation: a contact's lists are found by trying every segment."""

COUNTED_AT_ONCE = 50_000
COUNTING_S = 4.0
"""After this long a count is given as it is: whoever asked waits for it."""


class ListKind(StrEnum):
    """What a list is."""

    STATIC = "static"
    DYNAMIC = "dynamic"


class Combination(StrEnum):
    """What is made of several lists."""

    UNION = "union"
    INTERSECTION = "intersection"
    DIFFERENCE = "difference"
    """Who is on the first one and on none of the others."""


class NewList(msgspec.Struct, frozen=True, kw_only=True):
    """A list to make."""

    name: str
    description: str = ""
    filter: dict[str, Any] | None = None
    """Of a segment."""


class MemberCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many contacts a list has."""

    members: int
    is_complete: bool
    """Whether these are all; else there are more, and counting them takes too long."""

    counted_at: datetime


class ListChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a list's members."""

    changed: int
    """Contacts so far."""

    change_set: ChangeSetRow | None = None
    """Where it is one; None where it is done and was not worth one."""


class ContactListService:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        filling: ListFilling,
        clock: Callable[[], datetime],
        *,
        counted_at_once: int = COUNTED_AT_ONCE,
        counting_s: float = COUNTING_S,
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._filling = filling
        self._clock = clock
        self._counted_at_once = counted_at_once
        self._counting_s = counting_s

    # --- making and changing ----------------------------------------------------------------------------------
    async def create(self, session: AsyncSession, principal: Principal, new: NewList) -> ContactListRow:
        """Return a new list, without members or with a filter. Raises InvalidRequest, or Conflict for a name in use."""
        document = None if new.filter is None else await self._checked(session, principal.org_id, new.filter)
        if await repository.count_lists(session, principal.org_id) >= MAX_LISTS:
            raise Conflict(f"there are {MAX_LISTS} lists, and more are not allowed: archive some")
        now = self._clock()
        row = ContactListRow(
            id=new_id(),
            org_id=principal.org_id,
            name=new.name,
            description=new.description,
            kind=(ListKind.STATIC if document is None else ListKind.DYNAMIC).value,
            filter=document,
            revision=1,
            created_by=principal.name,
            created_at=now,
            updated_at=now,
        )
        session.add(row)
        await self._flush(session)
        await self._audit(session, principal, "list.create", row)
        return row

    async def edit(
        self,
        session: AsyncSession,
        principal: Principal,
        row: ContactListRow,
        *,
        name: str | None = None,
        description: str | None = None,
        filter_: dict[str, Any] | None = None,
    ) -> None:
        """Change a list that is `locked`; what is None stays. Raises InvalidRequest, or Conflict for a name in use."""
        if filter_ is not None:
            if row.kind != ListKind.DYNAMIC:
                raise InvalidRequest("filter: this list is static, its members are put on it")
            row.filter = await self._checked(session, principal.org_id, filter_)
        if name is not None:
            row.name = name
        if description is not None:
            row.description = description
        row.revision += 1
        row.updated_at = self._clock()
        await self._flush(session)
        await self._audit(session, principal, "list.edit", row)

    async def archive(self, session: AsyncSession, principal: Principal, row: ContactListRow) -> None:
        """Take a list that is `locked` out of use; its name is free again, and a filling of it ends."""
        row.archived_at = self._clock()
        row.revision += 1
        await self._audit(session, principal, "list.archive", row)

    async def clone(
        self, session: AsyncSession, principal: Principal, list_id: UUID, name: str
    ) -> tuple[ContactListRow, ListChange]:
        """Return a copy of a list: a segment with the same filter, or a static list that gets the same members."""
        original = await self.find(session, principal.org_id, list_id)
        new = NewList(name=name, description=original.description, filter=original.filter)
        row = await self.create(session, principal, new)
        if row.kind == ListKind.DYNAMIC:
            return row, ListChange(changed=0)
        return row, await self._fill(session, principal, row, sources=(source_of(original),))

    async def freeze(
        self, session: AsyncSession, principal: Principal, list_id: UUID, name: str
    ) -> tuple[ContactListRow, ListChange]:
        """Return a static list of whoever is in a segment now. Raises Conflict for a list that is static."""
        segment = await self.find(session, principal.org_id, list_id)
        if segment.kind != ListKind.DYNAMIC:
            raise Conflict("this list is static already: clone it")
        row = await self.create(session, principal, NewList(name=name, description=segment.description))
        return row, await self._fill(session, principal, row, sources=(source_of(segment),))

    async def combine(
        self, session: AsyncSession, principal: Principal, name: str, how: Combination, list_ids: Sequence[UUID]
    ) -> tuple[ContactListRow, ListChange]:
        """Return a static list that is made of others, which may be segments. Raises NotFound or InvalidRequest."""
        if len(set(list_ids)) < len(list_ids):
            raise InvalidRequest("lists: the same one is there twice")
        sources = [source_of(await self.find(session, principal.org_id, list_id)) for list_id in list_ids]
        row = await self.create(session, principal, NewList(name=name))
        if how is Combination.UNION:
            return row, await self._fill(session, principal, row, sources=tuple(sources))
        if how is Combination.DIFFERENCE:
            first, others = (sources[0],), tuple(sources[1:])
            return row, await self._fill(session, principal, row, sources=first, not_in=others)
        # Of a static list only the members are looked at, for a segment every contact.
        sources.sort(key=lambda source: source.list_id is None)
        return row, await self._fill(session, principal, row, sources=(sources[0],), also_in=tuple(sources[1:]))

    # --- members ----------------------------------------------------------------------------------------------
    async def add(
        self, session: AsyncSession, principal: Principal, row: ContactListRow, contact_ids: Sequence[UUID]
    ) -> ListChange:
        """Put contacts on a static list that is `locked`; those that there are not are left out. Raises Conflict."""
        _check_static(row)
        wanted = self._named(session, row.org_id, contact_ids)
        changed = await add_members(session, row.id, wanted, self._clock(), added_in=None)
        await self._audit(session, principal, "list.add", row, contacts=changed)
        return ListChange(changed=changed)

    async def remove(
        self, session: AsyncSession, principal: Principal, row: ContactListRow, contact_ids: Sequence[UUID]
    ) -> ListChange:
        """Take contacts off a static list that is `locked`. Raises Conflict."""
        _check_static(row)
        changed = await remove_members(session, row.id, row.org_id, self._named(session, row.org_id, contact_ids))
        await self._audit(session, principal, "list.remove", row, contacts=changed)
        return ListChange(changed=changed)

    async def add_fitting(
        self, session: AsyncSession, principal: Principal, row: ContactListRow, filter_: dict[str, Any]
    ) -> ListChange:
        """Put whoever fits a filter now on a static list that is `locked`. Raises InvalidRequest or Conflict."""
        _check_static(row)
        source = Source(filter=await self._checked(session, row.org_id, filter_))
        return await self._fill(session, principal, row, sources=(source,))

    async def remove_fitting(
        self, session: AsyncSession, principal: Principal, row: ContactListRow, filter_: dict[str, Any]
    ) -> ListChange:
        """Take whoever fits a filter now off a static list that is `locked`. Raises InvalidRequest or Conflict."""
        _check_static(row)
        chosen = Source(filter=await self._checked(session, row.org_id, filter_))
        order = FillOrder(action=Filling.REMOVE, list_id=row.id, sources=(source_of(row),), also_in=(chosen,))
        return await self._start(session, principal, row, order)

    # --- looking ----------------------------------------------------------------------------------------------
    async def find(self, session: AsyncSession, org_id: UUID, list_id: UUID) -> ContactListRow:
        """Return a list that is in use. Raises NotFound."""
        return _in_use(await repository.find(session, org_id, list_id))

    async def locked(self, session: AsyncSession, org_id: UUID, list_id: UUID) -> ContactListRow:
        """Return a list that is in use, for a change. Raises NotFound."""
        return _in_use(await repository.find(session, org_id, list_id, is_locked=True))

    async def members(
        self, session: AsyncSession, row: ContactListRow, *, before: Place | None, limit: int
    ) -> Sequence[ContactRow]:
        """Return the contacts of a list, newest first."""
        if row.filter is None:
            last = None if before is None else before[1]
            return await repository.members(session, row.org_id, row.id, before=last, limit=limit)
        wanted = search.Search(chosen=read_filter(row.filter))
        return await search.page(session, row.org_id, wanted, before=before, limit=limit, now=self._clock())

    async def count(self, org_id: UUID, list_id: UUID) -> MemberCount:
        """Count a list's members, in transactions of its own, and note how many they are. Raises NotFound."""
        now, began = self._clock(), time.monotonic()
        async with self._database.read() as session:
            row = await self.find(session, org_id, list_id)
            counted, is_complete = await self._counted(session, row, now, until=began + self._counting_s)
        if is_complete:
            async with self._database.write() as session:
                row = await self.find(session, org_id, list_id)
                row.members, row.counted_at = counted, now
        return MemberCount(members=counted, is_complete=is_complete, counted_at=now)

    async def _counted(
        self, session: AsyncSession, row: ContactListRow, now: datetime, *, until: float
    ) -> tuple[int, bool]:
        total = 0
        member: UUID | None = None
        place: Place | None = None
        chosen = None if row.filter is None else read_filter(row.filter)
        while True:
            if chosen is None:
                count, member = await repository.count_members(
                    session, row.org_id, row.id, after=member, window=self._counted_at_once
                )
            else:
                count, place = await repository.count_fitting(
                    session, row.org_id, chosen, now, after=place, window=self._counted_at_once
                )
            total += count
            if member is None and place is None:
                return total, True
            if time.monotonic() > until:
                return total, False

    async def lists_of(self, session: AsyncSession, org_id: UUID, contact_id: UUID) -> list[ContactListRow]:
        """Return the lists that a contact is on and the segments that it is in."""
        static = await repository.static_lists_of(session, org_id, contact_id)
        now = self._clock()
        dynamic = [
            row
            for row in await repository.segments(session, org_id)
            if await repository.fits(session, org_id, contact_id, read_filter(row.filter), now)
        ]
        return [*static, *dynamic]

    # --- within -----------------------------------------------------------------------------------------------
    async def _checked(self, session: AsyncSession, org_id: UUID, document: object) -> dict[str, Any]:
        chosen = read_filter(document)
        await check_references(session, org_id, chosen)
        return document_of(chosen)

    def _named(self, session: AsyncSession, org_id: UUID, contact_ids: Sequence[UUID]) -> Any:
        return is_there(org_id) & is_one_of(session, ContactRow.id, list(contact_ids))

    async def _fill(
        self,
        session: AsyncSession,
        principal: Principal,
        row: ContactListRow,
        *,
        sources: tuple[Source, ...],
        also_in: tuple[Source, ...] = (),
        not_in: tuple[Source, ...] = (),
    ) -> ListChange:
        order = FillOrder(action=Filling.ADD, list_id=row.id, sources=sources, also_in=also_in, not_in=not_in)
        return await self._start(session, principal, row, order)

    async def _start(
        self, session: AsyncSession, principal: Principal, row: ContactListRow, order: FillOrder
    ) -> ListChange:
        change = ChangeSetRow(
            id=new_id(),
            org_id=principal.org_id,
            kind=order.action.value,
            state="running",
            parameters=parameters_of(order),
            changed=0,
            undone=0,
            kept=0,
            error="",
            created_by=principal.name,
            created_at=self._clock(),
        )
        await self._filling.start(session, change)
        await self._audit(session, principal, f"list.{order.action.removeprefix('list_')}", row, change=str(change.id))
        return ListChange(changed=change.changed, change_set=change)

    async def _flush(self, session: AsyncSession) -> None:
        try:
            await session.flush()
        except IntegrityError:
            raise Conflict("name: there is a list of this name already") from None

    async def _audit(
        self, session: AsyncSession, principal: Principal, action: str, row: ContactListRow, **details: Any
    ) -> None:
        after = {"name": row.name, **details}
        await audit.record(session, principal, action, target_kind="list", target_id=str(row.id), after=after)


def source_of(row: ContactListRow) -> Source:
    """Return a list as a source of members: of a segment the filter as it is now."""
    return Source(list_id=row.id) if row.filter is None else Source(filter=row.filter)


def filter_of(row: ContactListRow) -> Filter:
    """Return the filter that means a list's contacts."""
    return Listed(values=(row.id,)) if row.filter is None else read_filter(row.filter)


def _in_use(row: ContactListRow | None) -> ContactListRow:
    if row is None or row.archived_at is not None:
        raise NotFound("there is no such list")
    return row


def _check_static(row: ContactListRow) -> None:
    if row.kind != ListKind.STATIC:
        raise Conflict("this list is a segment: whoever fits its filter is on it")
