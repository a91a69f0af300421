"""Filling a static list, and emptying it again: whoever is on other lists or fits filters, however many they are.

How it works
------------
A filling is a change set: an order in its `parameters`, done in chunks. A chunk looks at the next `WINDOW` members of a
list, or at the next `WINDOW` contacts of the organisation where a filter says who is meant; so it takes as long whether
all of them fit or none, and stays far below the time that a statement may take. What it adds and how far it is are
committed together: a job that is killed anywhere goes on where it was, and one that runs twice adds nobody twice.

The first chunk is done where it is asked for, so that small lists are filled when the answer arrives; the rest is done
by a job. Contacts that are made meanwhile are left out. Fillings that add are undone as every change set is
(`contacts.undoing`): the members' rows say what added them. Removals are not recorded one by one and stay.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import ColumnElement, and_, delete, literal, not_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts.filters import Filter, Listed, read_filter
from voice_agent.contacts.ports import JobRequests
from voice_agent.contacts.segments import condition, is_there
from voice_agent.contacts.windows import contacts_window, members_window
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.storage.database import Database
from voice_agent.storage.many_rows import is_postgres
from voice_agent.storage.tables import ChangeSetRow, ContactListRow, ContactRow, ListMemberRow
from voice_agent.storage.tables.columns import Instant

log = structlog.get_logger(__name__)

FILL_LIST = "contacts.fill_list"
JOB_S = 3_600.0
WINDOW = 10_000
"""Members or contacts that a chunk looks at: some 0.3 s of a database."""

Clause = ColumnElement[bool]


class Filling(StrEnum):
    """What is done: the kind of the change set."""

    ADD = "list_add"
    REMOVE = "list_remove"


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is meant: the members of a static list, or whoever fits a filter; one of the two."""

    list_id: UUID | None = None
    filter: dict[str, Any] | None = None

    @property
    def chosen(self) -> Filter:
        """It as a filter."""
        return read_filter(self.filter) if self.list_id is None else Listed(values=(self.list_id,))


class FillOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to a list."""

    action: Filling
    list_id: UUID
    sources: tuple[Source, ...]
    """Each one's contacts, one source after the other."""

    also_in: tuple[Source, ...] = ()
    """They must be in each of these, too."""

    not_in: tuple[Source, ...] = ()
    """They must be in none of these."""


class _Reached(msgspec.Struct, frozen=True, kw_only=True):
    """How far a filling is."""

    source: int = 0
    at: datetime | None = None
    """Of a filter: when the last contact that was looked at was made."""

    id: UUID | None = None
    """The last contact that was looked at; None at a source's beginning."""


class ListToFill(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of the job."""

    change_set_id: UUID


class ListFilling:
    """One for the process."""

    def __init__(
        self, database: Database, jobs: JobRequests, clock: Callable[[], datetime], *, window: int = WINDOW
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._jobs = jobs
        self._clock = clock
        self._window = window

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do. Before `Jobs.open`."""
        jobs.register(FILL_LIST, ListToFill, self.work, timeout_s=JOB_S, give_up=self.give_up)

    async def start(self, session: AsyncSession, row: ChangeSetRow) -> None:
        """Begin a new filling: do its first chunk, and have the rest done after the caller's transaction."""
        session.add(row)
        await session.flush()
        if await fill_chunk(session, row, self._clock(), window=self._window):
            await self._jobs.request(
                session, FILL_LIST, ListToFill(change_set_id=row.id), job_id=f"contacts-fill-{row.id}"
            )

    async def work(self, work: ListToFill, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """Do what is left of a filling: the handler of its job."""
        while await self._database.transact(lambda session: self._chunk(session, work.change_set_id)):
            pass

    async def _chunk(self, session: AsyncSession, change_set_id: UUID) -> bool:
        query = select(ChangeSetRow).where(ChangeSetRow.id == change_set_id).with_for_update(key_share=True)
        row = await session.scalar(query.execution_options(populate_existing=True))
        if row is None or row.state != "running":  # its organisation is gone, or it is done
            return False
        return await fill_chunk(session, row, self._clock(), window=self._window)

    async def give_up(self, work: ListToFill, error: Exception) -> None:
        """Write down that a filling has failed; who is on the list by then stays on it."""
        log.error("list_not_filled", change_set_id=str(work.change_set_id), cause=type(error).__name__)
        async with self._database.write() as session:
            row = await session.get_one(ChangeSetRow, work.change_set_id)
            row.state, row.error, row.finished_at = "failed", type(error).__name__, self._clock()


def parameters_of(order: FillOrder) -> dict[str, Any]:
    """Return what a change set keeps of an order."""
    parameters: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(order))
    return parameters


async def fill_chunk(session: AsyncSession, row: ChangeSetRow, now: datetime, *, window: int) -> bool:
    """Do the next chunk of a filling that is `running`, and raise its counts; return whether there is more."""
    order = msgspec.convert(row.parameters, FillOrder)
    target = await session.get(ContactListRow, order.list_id)
    if target is None or target.archived_at is not None:
        row.state, row.finished_at = "cancelled", now
        return False
    reached = msgspec.convert(row.parameters.get("reached", {}), _Reached)
    source = order.sources[reached.source]
    among, following = await _next_window(session, row, source, reached, window)
    chosen = [each.chosen for each in (*order.also_in, *([source] if source.list_id is None else []))]
    wanted = and_(
        is_there(row.org_id),
        ContactRow.created_at <= row.created_at,
        among,
        *(condition(each, row.org_id, row.created_at) for each in chosen),
        *(not_(condition(each.chosen, row.org_id, row.created_at)) for each in order.not_in),
    )
    if order.action is Filling.ADD:
        row.changed += await add_members(session, order.list_id, wanted, now, added_in=row.id)
    else:
        row.changed += await remove_members(session, order.list_id, row.org_id, wanted)
    if following is None and reached.source + 1 < len(order.sources):
        following = _Reached(source=reached.source + 1)
    if following is None:
        row.state, row.finished_at = "done", now
        return False
    row.parameters = row.parameters | {"reached": msgspec.to_builtins(following)}
    return True


async def _next_window(
    session: AsyncSession, row: ChangeSetRow, source: Source, reached: _Reached, size: int
) -> tuple[Clause, _Reached | None]:
    """Return the condition of the contacts that a chunk looks at, and where it ends: None where it is the last one."""
    if source.list_id is not None:
        among, member = await members_window(session, row.org_id, source.list_id, after=reached.id, size=size)
        return among, None if member is None else _Reached(source=reached.source, id=member)
    after = None if reached.at is None or reached.id is None else (reached.at, reached.id)
    among, place = await contacts_window(session, row.org_id, after=after, size=size)
    if place is None or place[0] > row.created_at:
        return among, None
    return among, _Reached(source=reached.source, at=place[0], id=place[1])


async def add_members(
    session: AsyncSession, list_id: UUID, wanted: Clause, now: datetime, *, added_in: UUID | None
) -> int:
    """Put the contacts that a condition means on a list, in one statement; return how many were not on it."""
    members = select(
        literal(list_id, ListMemberRow.list_id.type),
        ContactRow.id,
        ContactRow.org_id,
        literal(added_in, ListMemberRow.added_in.type),
        literal(now, Instant),
    ).where(wanted)
    insert = postgresql.insert if is_postgres(session) else sqlite.insert
    columns = ["list_id", "contact_id", "org_id", "added_in", "added_at"]
    many = insert(ListMemberRow).from_select(columns, members.order_by(ContactRow.id), include_defaults=False)
    connection = await session.connection()
    return (await connection.execute(many.on_conflict_do_nothing())).rowcount


async def remove_members(session: AsyncSession, list_id: UUID, org_id: UUID, wanted: Clause) -> int:
    """Take the contacts that a condition means off a list, in one statement; return how many were on it."""
    some = delete(ListMemberRow).where(
        ListMemberRow.list_id == list_id,
        ListMemberRow.org_id == org_id,
        ListMemberRow.contact_id.in_(select(ContactRow.id).where(wanted)),
    )
    connection = await session.connection()
    return (await connection.execute(some)).rowcount
