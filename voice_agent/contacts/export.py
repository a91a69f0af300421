"""Contacts on their way out: all of them, those that fit a filter, or a list's; read a page at a time.

Each page is a transaction of its own: a download may take an hour, and a database must not keep what was deleted
meanwhile for so long. Contacts are met by their places, which never change (`contacts.windows`): each that was there
when the export began is met once, as it is at that moment; those that are made or deleted meanwhile are not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.contacts import list_repository
from voice_agent.contacts.export_formats import Cell, CsvStyle, CsvWriter, Format, JsonLinesWriter, Writer, XlsxWriter
from voice_agent.contacts.filters import All, Filter, read_filter
from voice_agent.contacts.model import MAX_PHONES
from voice_agent.contacts.segments import check_references, fitting
from voice_agent.contacts.service import ContactDetails, ContactService
from voice_agent.contacts.windows import contacts_window, members_window
from voice_agent.errors import InvalidRequest, NotFound
from voice_agent.rest.pages import Place
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ContactRow, CustomFieldRow

PAGE = 500
"""Contacts of a page: some 10 ms of the event loop, which carries calls."""

WINDOW = 5_000
"""Contacts among which a page is looked for (`contacts.windows`)."""

CUSTOM = "custom."
Reading = Callable[[ContactDetails], Cell]


def _number(index: int) -> Reading:
    def read(details: ContactDetails) -> Cell:
        return details.further[index].e164 if index < len(details.further) else None

    return read


def _own(name: str) -> Reading:
    def read(details: ContactDetails) -> Cell:
        value: Cell = getattr(details.contact, name)
        return value

    return read


COLUMNS: dict[str, Reading] = {
    "phone": _own("e164"),
    **{f"phone_{index + 2}": _number(index) for index in range(MAX_PHONES - 1)},
    "name": _own("name"),
    "given_name": _own("given_name"),
    "family_name": _own("family_name"),
    "company": _own("company"),
    "email": _own("email"),
    "external_id": _own("external_id"),
    "locale": _own("locale"),
    "region": _own("region"),
    "time_zone": _own("zone"),
    "tags": lambda details: [tag.name for tag in details.tags],
    "key": lambda details: str(details.contact.id),
    "country": _own("country"),
    "line_type": _own("line_type"),
    "raw_number": _own("raw_number"),
    "time_zones": lambda details: list(details.contact.zone_candidates),
    "source": _own("source"),
    "created_at": _own("created_at"),
    "updated_at": _own("updated_at"),
}
"""What can be written of a contact. Beside these: `custom.KEY`, a custom field."""

BY_ITSELF = tuple(COLUMNS)[: tuple(COLUMNS).index("tags") + 1]
"""What is written where nobody chose, with every custom field: what an import takes."""


class ExportOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted."""

    format: Format = Format.CSV
    columns: tuple[str, ...] = ()
    """Empty: `BY_ITSELF` and every custom field."""

    filter: dict[str, Any] | None = None
    list_id: UUID | None = None
    """A static list or a segment; with a filter both have to hold."""

    style: CsvStyle = CsvStyle()
    has_end: bool = True
    """Whether JSON lines end with a line that says so."""


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An order that can be carried out."""

    columns: tuple[str, ...]
    readings: tuple[Reading, ...]
    chosen: Filter | None
    list_id: UUID | None
    """Of a static list."""

    began_at: datetime


class ContactExport:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        contacts: ContactService,
        clock: Callable[[], datetime],
        *,
        page: int = PAGE,
        window: int = WINDOW,
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._contacts = contacts
        self._clock = clock
        self._page = page
        self._window = window

    async def begin(self, principal: Principal, order: ExportOrder) -> AsyncIterator[bytes]:
        """Write an export down in the audit log and return its bytes, which are read as they are asked for.

        Raises InvalidRequest for a column or a filter that there is not, NotFound for a list.
        """
        async with self._database.write() as session:
            plan = await self._plan(session, principal.org_id, order)
            after: dict[str, Any] = {"format": order.format.value, "columns": list(plan.columns)}
            if order.list_id is not None:
                after["list"] = str(order.list_id)
            if order.filter is not None:
                after["filter"] = True
            await audit.record(session, principal, "contacts.export", target_kind="contact", target_id="", after=after)
        return self._bytes(principal.org_id, plan, _writer([shown(column) for column in plan.columns], order))

    async def _bytes(self, org_id: UUID, plan: _Plan, writer: Writer) -> AsyncIterator[bytes]:
        yield writer.begin()
        async for page in self._pages(org_id, plan):
            rows = [[reading(details) for reading in plan.readings] for details in page]
            # Packing takes as long as reading: it is not to hold up calls.
            if piece := await asyncio.to_thread(writer.rows, rows):
                yield piece
        yield writer.end()

    async def _plan(self, session: AsyncSession, org_id: UUID, order: ExportOrder) -> _Plan:
        chosen = None if order.filter is None else read_filter(order.filter)
        if chosen is not None:
            await check_references(session, org_id, chosen)
        static = None
        if order.list_id is not None:
            row = await list_repository.find(session, org_id, order.list_id)
            if row is None or row.archived_at is not None:
                raise NotFound("list_id: there is no such list")
            if row.filter is None:
                static = row.id
            else:
                segment = read_filter(row.filter)
                chosen = segment if chosen is None else All(of=(segment, chosen))
        columns = await self._columns(session, org_id, order.columns)
        return _Plan(
            columns=columns,
            readings=tuple(_reading(column) for column in columns),
            chosen=chosen,
            list_id=static,
            began_at=self._clock(),
        )

    async def _columns(self, session: AsyncSession, org_id: UUID, wanted: Sequence[str]) -> tuple[str, ...]:
        query = select(CustomFieldRow.key).where(CustomFieldRow.org_id == org_id).order_by(CustomFieldRow.created_at)
        custom = [CUSTOM + key for key in await session.scalars(query)]
        if not wanted:
            return (*BY_ITSELF, *custom)
        for column in wanted:
            if column not in COLUMNS and column not in custom:
                raise InvalidRequest(f"columns: there is no column {column}")
        return tuple(dict.fromkeys(wanted))

    # --- reading ----------------------------------------------------------------------------------------------
    async def _pages(self, org_id: UUID, plan: _Plan) -> AsyncIterator[list[ContactDetails]]:
        query = select(ContactRow).where(
            fitting(plan.chosen, org_id, plan.began_at), ContactRow.created_at <= plan.began_at
        )
        at: Place | None = None
        is_more = True
        while is_more:
            async with self._database.read() as session:
                rows, at = await self._next(session, org_id, plan, query, at)
                page = await self._contacts.details(session, rows)
            is_more = at is not None
            if page:
                yield page

    async def _next(
        self, session: AsyncSession, org_id: UUID, plan: _Plan, query: Select[Any], at: Place | None
    ) -> tuple[Sequence[ContactRow], Place | None]:
        """Return a page from a place on, and the place where the next one begins: None where there is none."""
        if plan.list_id is not None:
            last = None if at is None else at[1]
            among, member = await members_window(session, org_id, plan.list_id, after=last, size=self._window)
            end = None if member is None else (plan.began_at, member)
            query = query.order_by(ContactRow.id)
        else:
            among, end = await contacts_window(session, org_id, after=at, size=self._window)
            query = query.order_by(ContactRow.created_at, ContactRow.id)
        rows = (await session.scalars(query.where(among).limit(self._page))).all()
        if len(rows) == self._page:
            return rows, (rows[-1].created_at, rows[-1].id)
        return rows, None if end is not None and end[0] > plan.began_at else end


def shown(column: str) -> str:
    """Return what a column is called in the file: a custom field by its key, where no other column is called so."""
    key = column.removeprefix(CUSTOM)
    return column if key in COLUMNS else key


def _reading(column: str) -> Reading:
    if column in COLUMNS:
        return COLUMNS[column]
    key = column.removeprefix(CUSTOM)

    def read(details: ContactDetails) -> Cell:
        value: Cell = details.contact.custom.get(key)
        return value

    return read


def _writer(headers: Sequence[str], order: ExportOrder) -> Writer:
    if order.format is Format.XLSX:
        return XlsxWriter(headers)
    if order.format is Format.JSONL:
        return JsonLinesWriter(headers, has_end=order.has_end)
    return CsvWriter(headers, order.style)
