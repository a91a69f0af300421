"""Change sets: what is done to many contacts at once, in the background, and taken back again.

How it works
------------
A change set is a row, and a job that works on it in chunks. A chunk is one transaction: the contacts, how they were
before (`ContactChangeRow`) and how far the work is (`cursor`) are committed together, so that a job which is killed
anywhere goes on where it was, and one that runs twice finds nothing to do. Chunks follow the contacts' keys, which
never change, and not what is asked of them: a tag that is given does not move the others about.

An undo gives a contact back what the set has changed, unless its revision says that somebody has changed it since:
such a contact is left alone and counted, and so is one whose number another contact has by then. Tags and memberships
of lists that the set gave are taken back in any case, because the rows say who gave them. Contacts that the set made
(an import) are deleted, unless they have been changed since.

Not here: what an import writes (`contacts.importer`), how contacts are merged (`contacts.merging`); both are change
sets, and undone here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.contacts import repository, undoing
from voice_agent.contacts.filters import Filter, read_filter
from voice_agent.contacts.ports import JobRequests
from voice_agent.contacts.segments import check_references, condition
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.rest.pages import Place
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import is_one_of
from voice_agent.storage.tables import ChangeSetRow, ContactListRow, ContactRow, ListMemberRow, TagRow

log = structlog.get_logger(__name__)

CHANGE_CONTACTS = "contacts.change"
JOB_S = 6 * 3_600.0
PURGE_S = 3_600.0
KEPT = timedelta(days=30)
"""How long a deleted contact can be brought back."""

CHUNK = 500
WINDOW = 4 * CHUNK
"""Contacts among which those that fit a filter are looked for at once: however rare they are, a chunk stays short."""


class Action(StrEnum):
    """What can be done to many contacts."""

    TAG = "tag"
    UNTAG = "untag"
    DELETE = "delete"


class BulkOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done to which contacts: exactly one of the three says which."""

    action: Action
    tag: str = ""
    contacts: Sequence[UUID] | None = None
    filter: dict[str, Any] | None = None
    list_id: UUID | None = None


class ChangeSetWork(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a job."""

    change_set_id: UUID


class ContactChanges:
    """One for the process."""

    def __init__(self, database: Database, jobs: JobRequests, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._jobs = jobs
        self._clock = clock

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do. Before `Jobs.open`."""
        jobs.register(CHANGE_CONTACTS, ChangeSetWork, self.work, timeout_s=JOB_S, give_up=self.give_up)
        jobs.every("deleted_contacts", PURGE_S, self.purge)

    # --- asking -----------------------------------------------------------------------------------------------
    async def request(self, session: AsyncSession, principal: Principal, order: BulkOrder) -> ChangeSetRow:
        """Have something done to many contacts. Raises InvalidRequest, or NotFound for a tag or a list."""
        parameters = await self._parameters(session, principal.org_id, order)
        row = self.new_set(principal, order.action.value, parameters)
        session.add(row)
        await session.flush()
        await self._start(session, row, "change")
        await self._audit(session, principal, f"contacts.{order.action}", row)
        return row

    async def undo(self, session: AsyncSession, principal: Principal, change_set_id: UUID) -> ChangeSetRow:
        """Have a change set taken back; asked for twice it is done once. Raises NotFound, Conflict while it runs."""
        row = await self.locked(session, principal.org_id, change_set_id)
        if row.state in ("undoing", "undone"):
            return row
        if row.kind == "list_remove":
            raise Conflict("who was taken off a list is not recorded: put them on it again")
        if row.state == "running":
            raise Conflict("it is not done yet: cancel it first")
        row.state, row.error = "undoing", ""
        row.parameters = row.parameters | {"undo": undoing.BEGINNING, "kept_because": {}}
        await self._start(session, row, "undo")
        await self._audit(session, principal, "contacts.undo", row)
        return row

    async def cancel(self, session: AsyncSession, principal: Principal, change_set_id: UUID) -> ChangeSetRow:
        """End a change where it is; what it has changed stays, until it is undone. Raises NotFound, or Conflict."""
        row = await self.locked(session, principal.org_id, change_set_id)
        if row.kind not in list(Action):
            raise Conflict("this is no change that can be cancelled here")
        if row.state == "running":
            row.state, row.finished_at = "cancelled", self._clock()
            await self._audit(session, principal, "contacts.cancel", row)
        return row

    def new_set(self, principal: Principal, kind: str, parameters: dict[str, Any]) -> ChangeSetRow:
        """Return a change set that begins."""
        return ChangeSetRow(
            id=new_id(),
            org_id=principal.org_id,
            kind=kind,
            state="running",
            parameters=parameters,
            changed=0,
            undone=0,
            kept=0,
            error="",
            created_by=principal.name,
            created_at=self._clock(),
        )

    # --- looking ----------------------------------------------------------------------------------------------
    async def find(self, session: AsyncSession, org_id: UUID, change_set_id: UUID) -> ChangeSetRow:
        """Return a change set. Raises NotFound."""
        query = select(ChangeSetRow).where(ChangeSetRow.id == change_set_id, ChangeSetRow.org_id == org_id)
        return _there(await session.scalar(query))

    async def locked(self, session: AsyncSession, org_id: UUID, change_set_id: UUID) -> ChangeSetRow:
        """Return a change set, for a change of it. Raises NotFound."""
        query = select(ChangeSetRow).where(ChangeSetRow.id == change_set_id, ChangeSetRow.org_id == org_id)
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
        return _there(await session.scalar(query))

    async def page(
        self, session: AsyncSession, org_id: UUID, *, before: Place | None, limit: int
    ) -> Sequence[ChangeSetRow]:
        """Return change sets, newest first."""
        query = select(ChangeSetRow).where(ChangeSetRow.org_id == org_id)
        if before is not None:
            query = query.where(tuple_(ChangeSetRow.created_at, ChangeSetRow.id) < tuple_(*before))
        query = query.order_by(ChangeSetRow.created_at.desc(), ChangeSetRow.id.desc()).limit(limit)
        return (await session.scalars(query)).all()

    # --- working ----------------------------------------------------------------------------------------------
    async def work(self, work: ChangeSetWork, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """Do what a change set is there for, or take it back: the handler of its job."""
        while await self._database.transact(lambda session: self._chunk(session, work.change_set_id)):
            pass

    async def purge(self) -> None:
        """Delete for good what was deleted `KEPT` ago, some contacts at a time."""
        before, deleted = self._clock() - KEPT, CHUNK
        while deleted == CHUNK:
            async with self._database.write() as session:
                query = select(ContactRow.id).where(ContactRow.deleted_at < before).limit(CHUNK)
                ids = (await session.scalars(query)).all()
                await session.execute(delete(ContactRow).where(is_one_of(session, ContactRow.id, ids)))
            deleted = len(ids)
            if deleted:
                log.info("deleted_contacts_purged", contacts=deleted)

    async def _chunk(self, session: AsyncSession, change_set_id: UUID) -> bool:
        """Do the next chunk; return whether there is more."""
        query = select(ChangeSetRow).where(ChangeSetRow.id == change_set_id).with_for_update(key_share=True)
        row = await session.scalar(query.execution_options(populate_existing=True))
        if row is None:  # its organisation is gone
            return False
        if row.state == "running" and row.kind in list(Action):
            return await self._change(session, row)
        if row.state == "undoing":
            return await undoing.undo_chunk(session, row, self._clock())
        return False

    async def _change(self, session: AsyncSession, row: ChangeSetRow) -> bool:
        seen, chosen = await _next_contacts(session, row)
        now = self._clock()
        match Action(row.kind):
            case Action.TAG:
                row.changed += await self._tag(session, row, chosen, now)
            case Action.UNTAG:
                row.changed += await self._untag(session, row, chosen, now)
            case Action.DELETE:
                row.changed += await self._delete(session, row, chosen, now)
        if seen is None:
            row.state, row.finished_at = "done", now
            return False
        row.parameters = row.parameters | {"cursor": str(seen)}
        return True

    async def _tag(self, session: AsyncSession, row: ChangeSetRow, chosen: Sequence[UUID], now: datetime) -> int:
        tag_id = UUID(row.parameters["tag_id"])
        if await session.scalar(select(TagRow.id).where(TagRow.id == tag_id)) is None:
            return 0  # it has been deleted meanwhile
        pairs = [(contact_id, tag_id) for contact_id in chosen]
        changed = await repository.tag_many(session, row.org_id, pairs, added_in=row.id)
        await repository.touch_many(session, row.org_id, changed, now, change_set_id=row.id)
        return len(changed)

    async def _untag(self, session: AsyncSession, row: ChangeSetRow, chosen: Sequence[UUID], now: datetime) -> int:
        tag_id = UUID(row.parameters["tag_id"])
        lost = await repository.untag_many(session, row.org_id, [(contact_id, tag_id) for contact_id in chosen])
        before: dict[UUID, dict[str, Any]] = {
            contact_id: {undoing.TAGS: [[str(tag), None if by is None else str(by)] for tag, by in tags]}
            for contact_id, tags in lost.items()
        }
        await repository.touch_many(session, row.org_id, lost, now, change_set_id=row.id, before=before)
        return len(lost)

    async def _delete(self, session: AsyncSession, row: ChangeSetRow, chosen: Sequence[UUID], now: datetime) -> int:
        await repository.delete_many(session, row.org_id, chosen, now)
        before: dict[UUID, dict[str, Any]] = {contact_id: {"deleted_at": None} for contact_id in chosen}
        await repository.touch_many(session, row.org_id, chosen, now, change_set_id=row.id, before=before)
        return len(chosen)

    async def give_up(self, work: ChangeSetWork, error: Exception) -> None:
        """Write down that a change set has failed; what is changed by then stays."""
        log.error("change_set_failed", change_set_id=str(work.change_set_id), cause=type(error).__name__)
        async with self._database.write() as session:
            row = await session.get_one(ChangeSetRow, work.change_set_id)
            row.state, row.error, row.finished_at = "failed", type(error).__name__, self._clock()

    # --- within -----------------------------------------------------------------------------------------------
    async def _parameters(self, session: AsyncSession, org_id: UUID, order: BulkOrder) -> dict[str, Any]:
        if sum(each is not None for each in (order.contacts, order.filter, order.list_id)) != 1:
            raise InvalidRequest("contacts: say which by contacts, filter or list_id, by one of them")
        parameters: dict[str, Any] = {"action": order.action.value}
        if order.contacts is not None:
            parameters["contacts"] = sorted({str(contact_id) for contact_id in order.contacts})
        if order.filter is not None:
            await check_references(session, org_id, read_filter(order.filter))
            parameters["filter"] = order.filter
        if order.list_id is not None:
            parameters |= await _list_parameters(session, org_id, order.list_id)
        if order.action is not Action.DELETE:
            parameters |= {"tag": order.tag, "tag_id": str(await self._tag_id(session, org_id, order))}
        return parameters

    async def _tag_id(self, session: AsyncSession, org_id: UUID, order: BulkOrder) -> UUID:
        key = repository.tag_key(order.tag)
        if order.action is Action.TAG:
            await repository.ensure_tags(session, org_id, [order.tag], self._clock())
        tag_id = await session.scalar(select(TagRow.id).where(TagRow.org_id == org_id, TagRow.key == key))
        if tag_id is None:
            raise NotFound("tag: there is no such tag")
        return tag_id

    async def _start(self, session: AsyncSession, row: ChangeSetRow, what: str) -> None:
        work = ChangeSetWork(change_set_id=row.id)
        # An undo after one that failed is another job.
        job_id = f"contacts-{what}-{row.id}-{new_id().hex[-6:]}"
        await self._jobs.request(session, CHANGE_CONTACTS, work, job_id=job_id)

    async def _audit(self, session: AsyncSession, principal: Principal, action: str, row: ChangeSetRow) -> None:
        await audit.record(
            session, principal, action, target_kind="change_set", target_id=str(row.id), after={"kind": row.kind}
        )


def _there(row: ChangeSetRow | None) -> ChangeSetRow:
    if row is None:
        raise NotFound("there is no such change")
    return row


async def _list_parameters(session: AsyncSession, org_id: UUID, list_id: UUID) -> dict[str, Any]:
    query = select(ContactListRow).where(ContactListRow.id == list_id, ContactListRow.org_id == org_id)
    row = await session.scalar(query)
    if row is None or row.archived_at is not None:
        raise NotFound("list_id: there is no such list")
    # Of a segment the filter counts as it is now: who edits it later does not change this work.
    return {"list_id": str(list_id)} | ({} if row.filter is None else {"filter": row.filter})


async def _next_contacts(session: AsyncSession, row: ChangeSetRow) -> tuple[UUID | None, Sequence[UUID]]:
    """Return how far this chunk looks, None where it is the last one, and which contacts it is about; locked."""
    asked, after = row.parameters, UUID(row.parameters.get("cursor", str(UUID(int=0))))
    if "contacts" in asked:
        window = [UUID(text) for text in asked["contacts"] if UUID(text) > after][:CHUNK]
        size, chosen = CHUNK, None
    elif "filter" in asked:
        query = select(ContactRow.id).where(ContactRow.org_id == row.org_id, ContactRow.id > after)
        window = list(await session.scalars(query.order_by(ContactRow.id).limit(WINDOW)))
        size, chosen = WINDOW, read_filter(asked["filter"])
    else:
        members = select(ListMemberRow.contact_id).where(
            ListMemberRow.list_id == UUID(asked["list_id"]), ListMemberRow.contact_id > after
        )
        window = list(await session.scalars(members.order_by(ListMemberRow.contact_id).limit(CHUNK)))
        size, chosen = CHUNK, None
    seen = window[-1] if len(window) == size else None
    return seen, await _fitting(session, row, window, chosen)


async def _fitting(
    session: AsyncSession, row: ChangeSetRow, window: Sequence[UUID], chosen: Filter | None
) -> Sequence[UUID]:
    """Return those of a window that are there, were there when the change was asked for, and fit the filter."""
    query = select(ContactRow.id).where(
        ContactRow.org_id == row.org_id,
        is_one_of(session, ContactRow.id, window),
        ContactRow.deleted_at.is_(None),
        ContactRow.created_at <= row.created_at,
    )
    if chosen is not None:
        query = query.where(condition(chosen, row.org_id, row.created_at))
    return (await session.scalars(query.order_by(ContactRow.id).with_for_update(key_share=True))).all()
