"""The SQL of imports: their rows, pushed batches, refused rows, templates; places among an organisation's imports.

Nothing here commits. Rows are settled by `advance`: whoever raises the cursor from where it was holds the import's lock
until the transaction ends, and whatever else the transaction writes is written once.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts.import_model import AT_WORK, FINAL, Counts, ImportState
from voice_agent.contacts.reading.model import RowRefusal
from voice_agent.storage.many_rows import insert_rows, is_one_of
from voice_agent.storage.tables import (
    ChangeSetRow,
    ContactChangeRow,
    ContactListRow,
    ImportBatchRow,
    ImportRow,
    ImportRowErrorRow,
    ImportTemplateRow,
    JobRow,
    ListMemberRow,
    OrganisationRow,
)

PAGE = 500
"""Refused rows that are read at once."""


# --- imports ----------------------------------------------------------------------------------------------------
async def of_organisation(session: AsyncSession, org_id: UUID, import_id: UUID) -> ImportRow | None:
    """Return an import."""
    query = select(ImportRow).where(ImportRow.id == import_id, ImportRow.org_id == org_id)
    return await session.scalar(query.execution_options(populate_existing=True))


async def locked(session: AsyncSession, org_id: UUID, import_id: UUID) -> ImportRow | None:
    """Return an import that nobody else changes until the transaction ends."""
    query = select(ImportRow).where(ImportRow.id == import_id, ImportRow.org_id == org_id)
    return await session.scalar(query.with_for_update().execution_options(populate_existing=True))


async def page(
    session: AsyncSession, org_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[ImportRow]:
    """Return imports, newest first."""
    query = select(ImportRow).where(ImportRow.org_id == org_id)
    if before is not None:
        query = query.where(tuple_(ImportRow.created_at, ImportRow.id) < tuple_(*before))
    return (await session.scalars(query.order_by(ImportRow.created_at.desc(), ImportRow.id.desc()).limit(limit))).all()


async def change_sets(session: AsyncSession, org_id: UUID, import_ids: Sequence[UUID]) -> dict[UUID, ChangeSetRow]:
    """Return the change sets of imports that have started, by their key."""
    query = select(ChangeSetRow).where(ChangeSetRow.org_id == org_id, ChangeSetRow.id.in_(import_ids))
    return {row.id: row for row in await session.scalars(query)}


async def advance(
    session: AsyncSession, org_id: UUID, import_id: UUID, *, old: int, new: int, now: datetime
) -> Counts | None:
    """Raise the cursor of a running import; return what was counted up to `old`. None where it is not there."""
    statement = (
        update(ImportRow)
        .where(
            ImportRow.id == import_id,
            ImportRow.org_id == org_id,
            ImportRow.cursor == old,
            ImportRow.state == ImportState.RUNNING,
        )
        .values(cursor=new, beat_at=now)
        .returning(ImportRow.counts)
        .execution_options(synchronize_session=False)
    )
    counts = (await session.execute(statement)).scalar_one_or_none()
    return None if counts is None else Counts(**counts)


async def note(session: AsyncSession, import_id: UUID, values: dict[str, Any]) -> None:
    """Write down how far an import is, once `advance` has locked it."""
    statement = update(ImportRow).where(ImportRow.id == import_id).values(values)
    await session.execute(statement.execution_options(synchronize_session=False))


# --- places -----------------------------------------------------------------------------------------------------
async def lock_places(session: AsyncSession, org_id: UUID) -> None:
    """Let nobody else give or take a place among the organisation's imports until the transaction ends."""
    await session.execute(
        select(OrganisationRow.id).where(OrganisationRow.id == org_id).with_for_update(key_share=True)
    )


async def count_at_work(session: AsyncSession, org_id: UUID) -> int:
    """Return how many imports of an organisation run."""
    query = select(func.count()).select_from(ImportRow)
    return int((await session.execute(query.where(ImportRow.org_id == org_id, _is_in(AT_WORK)))).scalar_one())


async def queued(session: AsyncSession, org_id: UUID, *, limit: int) -> Sequence[ImportRow]:
    """Return imports that wait for a place, the oldest first, locked."""
    query = select(ImportRow).where(ImportRow.org_id == org_id, ImportRow.state == ImportState.QUEUED)
    query = query.order_by(ImportRow.started_at, ImportRow.id).limit(limit).with_for_update()
    return (await session.scalars(query.execution_options(populate_existing=True))).all()


async def organisations_that_wait(session: AsyncSession) -> Sequence[UUID]:
    """Return organisations with an import that waits for a place."""
    query = select(ImportRow.org_id).where(ImportRow.state == ImportState.QUEUED).distinct()
    return (await session.scalars(query)).all()


# --- those that need looking after ------------------------------------------------------------------------------
async def unheard_of(session: AsyncSession, before: datetime) -> Sequence[ImportRow]:
    """Return imports that are fetched or run, and were not heard of since a moment."""
    heard_of_at = func.coalesce(ImportRow.beat_at, ImportRow.started_at, ImportRow.created_at)
    query = select(ImportRow).where(_is_in({*AT_WORK, ImportState.FETCHING}), heard_of_at < before)
    return (await session.scalars(query.order_by(ImportRow.id))).all()


async def jobs_of(session: AsyncSession, job_id: str) -> Sequence[JobRow]:
    """Return the jobs whose id begins so."""
    return (await session.scalars(select(JobRow).where(JobRow.id.startswith(job_id, autoescape=True)))).all()


async def with_old_files(session: AsyncSession, before: datetime, *, limit: int) -> Sequence[ImportRow]:
    """Return imports that are over, or that nobody has started, since a moment, and whose files are still there."""
    over_since = func.coalesce(ImportRow.finished_at, ImportRow.created_at)
    is_idle = _is_in({*FINAL, ImportState.WAITING, ImportState.READY})
    has_files = or_(ImportRow.storage_key.is_not(None), ImportRow.rejected_key.is_not(None))
    query = select(ImportRow).where(is_idle, over_since < before, has_files).order_by(over_since).limit(limit)
    return (await session.scalars(query)).all()


def _is_in(states: Collection[ImportState]) -> ColumnElement[bool]:
    return ImportRow.state.in_([state.value for state in states])


# --- rows of the file -------------------------------------------------------------------------------------------
async def refuse(session: AsyncSession, org_id: UUID, import_id: UUID, refused: Sequence[RowRefusal]) -> None:
    """Keep rows that could not be taken, as they stand in the file."""
    rows = [
        {
            "import_id": import_id,
            "row": each.row,
            "org_id": org_id,
            "column": each.column[:200],
            "code": each.code,
            "reason": each.reason[:500],
            "cells": list(each.cells),
        }
        for each in refused
    ]
    await insert_rows(session, ImportRowErrorRow, rows)


async def refused(
    session: AsyncSession, org_id: UUID, import_id: UUID, *, after: int, limit: int = PAGE
) -> Sequence[ImportRowErrorRow]:
    """Return refused rows behind a row, in the order of the file."""
    query = select(ImportRowErrorRow).where(
        ImportRowErrorRow.import_id == import_id, ImportRowErrorRow.org_id == org_id, ImportRowErrorRow.row > after
    )
    return (await session.scalars(query.order_by(ImportRowErrorRow.row).limit(limit))).all()


async def forget_refused(session: AsyncSession, import_id: UUID) -> None:
    """Delete refused rows: their file is not kept any longer either."""
    await session.execute(delete(ImportRowErrorRow).where(ImportRowErrorRow.import_id == import_id))


async def changed_by(session: AsyncSession, change_set_id: UUID, contact_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these contacts a change set has changed."""
    query = select(ContactChangeRow.contact_id).where(
        ContactChangeRow.change_set_id == change_set_id, is_one_of(session, ContactChangeRow.contact_id, contact_ids)
    )
    return set(await session.scalars(query))


# --- the list ---------------------------------------------------------------------------------------------------
async def static_list(session: AsyncSession, org_id: UUID, list_id: UUID) -> ContactListRow | None:
    """Return a list that contacts can join."""
    query = select(ContactListRow).where(
        ContactListRow.id == list_id,
        ContactListRow.org_id == org_id,
        ContactListRow.kind == "static",
        ContactListRow.archived_at.is_(None),
    )
    return await session.scalar(query)


async def listed(session: AsyncSession, list_id: UUID, contact_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these contacts are on a list."""
    query = select(ListMemberRow.contact_id).where(
        ListMemberRow.list_id == list_id, is_one_of(session, ListMemberRow.contact_id, contact_ids)
    )
    return set(await session.scalars(query))


async def join_list(
    session: AsyncSession, org_id: UUID, list_id: UUID, contact_ids: Sequence[UUID], *, added_in: UUID, now: datetime
) -> int:
    """Put contacts on a list; return how many were not on it."""
    rows = [
        {"list_id": list_id, "contact_id": contact_id, "org_id": org_id, "added_in": added_in, "added_at": now}
        for contact_id in sorted(contact_ids)
    ]
    return await insert_rows(session, ListMemberRow, rows)


# --- pushed rows ------------------------------------------------------------------------------------------------
async def add_batch(session: AsyncSession, org_id: UUID, import_id: UUID, number: int, rows: list[str]) -> bool:
    """Keep pushed rows; False where there is a batch of this number already."""
    row = {"import_id": import_id, "number": number, "org_id": org_id, "rows": rows}
    return await insert_rows(session, ImportBatchRow, [row]) == 1


async def batch(session: AsyncSession, org_id: UUID, import_id: UUID, number: int) -> ImportBatchRow | None:
    """Return pushed rows."""
    query = select(ImportBatchRow).where(
        ImportBatchRow.import_id == import_id, ImportBatchRow.org_id == org_id, ImportBatchRow.number == number
    )
    return await session.scalar(query)


async def next_batch(session: AsyncSession, org_id: UUID, import_id: UUID, *, after: int) -> ImportBatchRow | None:
    """Return the batch with the next number."""
    query = select(ImportBatchRow).where(
        ImportBatchRow.import_id == import_id, ImportBatchRow.org_id == org_id, ImportBatchRow.number > after
    )
    return await session.scalar(query.order_by(ImportBatchRow.number).limit(1))


async def count_batches(session: AsyncSession, import_id: UUID) -> int:
    """Return how many batches there are."""
    query = select(func.count()).select_from(ImportBatchRow).where(ImportBatchRow.import_id == import_id)
    return int((await session.execute(query)).scalar_one())


async def forget_batches(session: AsyncSession, import_id: UUID) -> None:
    """Delete pushed rows: they are in a file now."""
    await session.execute(delete(ImportBatchRow).where(ImportBatchRow.import_id == import_id))


# --- templates --------------------------------------------------------------------------------------------------
async def templates(session: AsyncSession, org_id: UUID) -> Sequence[ImportTemplateRow]:
    """Return an organisation's templates, by name."""
    query = select(ImportTemplateRow).where(ImportTemplateRow.org_id == org_id)
    return (await session.scalars(query.order_by(ImportTemplateRow.name))).all()


async def template(session: AsyncSession, org_id: UUID, template_id: UUID) -> ImportTemplateRow | None:
    """Return a template."""
    query = select(ImportTemplateRow).where(ImportTemplateRow.id == template_id, ImportTemplateRow.org_id == org_id)
    return await session.scalar(query)


async def template_named(session: AsyncSession, org_id: UUID, name: str) -> ImportTemplateRow | None:
    """Return the template of a name."""
    query = select(ImportTemplateRow).where(ImportTemplateRow.name == name, ImportTemplateRow.org_id == org_id)
    return await session.scalar(query)
