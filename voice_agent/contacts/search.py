"""Searching contacts: by words and digits, tags, lists, custom fields, newest first, in pages.

How it works
------------
Postgres has an index by words and one by custom fields, and cannot tell in advance how common a value is: for a common
one it gathers and sorts half of the table, for a rare one it walks through all of it. So a page is looked for in steps.
First the newest `WALKED` contacts are looked through, which fills the page for whatever one in a hundred has. Where
enough of them fit for it to be worth it, as many as `WALKED_ON` are. What is rarer than that is few enough to be
gathered by an index and sorted. Each step is fenced off, so that it is done as it is written
(`bench/contacts_search.py` has the figures).

SQLite looks through the contacts in their order, and finds the same ones.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, literal, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.util import ClauseAdapter

from voice_agent.contacts.filters import Filter
from voice_agent.contacts.segments import condition, has_words
from voice_agent.contacts.words import query_words
from voice_agent.rest.pages import Place
from voice_agent.storage.many_rows import is_postgres
from voice_agent.storage.tables import ContactRow

WALKED = 5_000
"""Contacts that are looked through before an index is asked: some 10 ms, and beyond them one in a hundred is enough."""

WALKED_ON = 25_000
"""As far as contacts are looked through where the first ones let expect that this fills the page."""

COUNTED = 10_000
"""As far as contacts are counted."""

Clause = ColumnElement[bool]


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """Which contacts; all that is named has to hold."""

    query: str = ""
    """Beginnings of words, or digits of a number."""

    chosen: Filter | None = None
    is_deleted: bool = False
    """Those that are deleted, in place of those that are not."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are."""

    total: int
    is_capped: bool
    """There are more than `COUNTED`."""


async def page(
    session: AsyncSession, org_id: UUID, wanted: Search, *, before: Place | None, limit: int, now: datetime
) -> list[ContactRow]:
    """Return contacts, newest first, from those before the given (created_at, id) on."""
    whose = _whose(org_id, wanted)
    if before is not None:
        whose = and_(whose, tuple_(ContactRow.created_at, ContactRow.id) < tuple_(*before))
    words = query_words(wanted.query)
    is_open = not words and wanted.chosen is None
    if is_open or not is_postgres(session):
        return list(await session.scalars(_newest(ContactRow, _fitting(whose, org_id, wanted, now), limit)))
    looked_through = _looked_through(words, org_id, wanted, now)
    found = list(await session.scalars(_walk(whose, looked_through, WALKED, limit)))
    if len(found) < limit <= len(found) * (WALKED_ON // WALKED):
        found = list(await session.scalars(_walk(whose, looked_through, WALKED_ON, limit)))
    if len(found) == limit:
        return found
    return list(await session.scalars(_gathered(_fitting(whose, org_id, wanted, now), limit)))


async def count(session: AsyncSession, org_id: UUID, wanted: Search, *, now: datetime) -> Found:
    """Return how many contacts there are, as far as `COUNTED`."""
    some = select(literal(1)).select_from(ContactRow).where(_fitting(_whose(org_id, wanted), org_id, wanted, now))
    total = (await session.execute(select(func.count()).select_from(some.limit(COUNTED + 1).subquery()))).scalar_one()
    return Found(total=min(total, COUNTED), is_capped=total > COUNTED)


def _whose(org_id: UUID, wanted: Search) -> Clause:
    is_deleted = ContactRow.deleted_at.is_not(None) if wanted.is_deleted else ContactRow.deleted_at.is_(None)
    return and_(ContactRow.org_id == org_id, is_deleted)


def _fitting(whose: Clause, org_id: UUID, wanted: Search, now: datetime) -> Clause:
    words = query_words(wanted.query)
    chosen = true() if wanted.chosen is None else condition(wanted.chosen, org_id, now)
    return and_(whose, has_words(words) if words else true(), chosen)


def _looked_through(words: list[str], org_id: UUID, wanted: Search, now: datetime) -> Clause:
    """Return the same condition as it is cheapest without an index: words as they stand in the text."""
    spaced = literal(" ").concat(ContactRow.search_words)
    chosen = true() if wanted.chosen is None else condition(wanted.chosen, org_id, now)
    return and_(*(spaced.contains(f" {word}", autoescape=True) for word in words), chosen)


def _newest(entity: Any, clause: Clause, limit: int) -> Select[Any]:
    newest = (entity.created_at.desc(), entity.id.desc())
    return select(entity).where(clause).order_by(*newest).limit(limit)


def _walk(whose: Clause, clause: Clause, walked_through: int, limit: int) -> Select[Any]:
    newest = (ContactRow.created_at.desc(), ContactRow.id.desc())
    # A limit is a fence: nothing is pushed into it. `segments` writes the table's name, which this one has too.
    walked = select(ContactRow.__table__).where(whose).order_by(*newest).limit(walked_through).subquery("contact")
    return _newest(aliased(ContactRow, walked), ClauseAdapter(walked).traverse(clause), limit)


def _gathered(clause: Clause, limit: int) -> Select[Any]:
    places = select(ContactRow.id, ContactRow.created_at).where(clause).cte("gathered").prefix_with("MATERIALIZED")
    keys = select(places.c.id).order_by(places.c.created_at.desc(), places.c.id.desc()).limit(limit).scalar_subquery()
    return _newest(ContactRow, ContactRow.id.in_(keys), limit)
