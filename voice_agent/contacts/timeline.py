"""A contact's timeline: calls with its numbers, consents and suppressions of them, changes and imports of it.

Each source is asked for as many entries as a page has, from the cursor on; the newest of all of them are the page. What
happened with a number before the contact had it is shown, too: it is the number's history that decides about calls.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts.ports import NumberLedger
from voice_agent.rest.pages import Place
from voice_agent.storage.many_rows import is_one_of
from voice_agent.storage.tables import (
    AuditRow,
    CallRow,
    ChangeSetRow,
    ConsentRow,
    ContactChangeRow,
    ContactRow,
    ImportRow,
    SuppressionRow,
)

CALL, CONSENT, SUPPRESSION, CHANGE, IMPORT = "call", "consent", "suppression", "change", "import"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened."""

    kind: str
    id: UUID
    created_at: datetime
    """When it happened: its place in the timeline."""

    details: dict[str, Any]


class Timeline:
    """One for the process."""

    def __init__(self, ledger: NumberLedger) -> None:
        self._ledger = ledger

    async def page(
        self, session: AsyncSession, contact: ContactRow, numbers: Sequence[str], *, before: Place | None, limit: int
    ) -> list[Entry]:
        """Return what happened with a contact and its numbers, newest first."""
        entries = await _calls(session, contact.org_id, numbers, before, limit)
        entries += await _audited(session, contact, before, limit)
        entries += await _change_sets(session, contact, before, limit)
        entries += await _imports(session, contact, before)
        for number in numbers:
            consents = await self._ledger.consents_of(session, contact.org_id, number)
            entries += [_consent(row) for row in consents]
            suppressions = await self._ledger.suppressions_of(session, contact.org_id, number)
            entries += [entry for row in suppressions for entry in _suppression(row)]
        shown = [entry for entry in entries if before is None or (entry.created_at, entry.id) < before]
        # The same row by two of its numbers is one; a lifted suppression is two moments of one.
        unique = {(entry.created_at, entry.id): entry for entry in shown}
        return [unique[place] for place in sorted(unique, reverse=True)[:limit]]


def _earlier(row: Any, before: Place | None) -> Sequence[ColumnElement[bool]]:
    return () if before is None else (tuple_(row.created_at, row.id) < tuple_(*before),)


async def _calls(
    session: AsyncSession, org_id: UUID, numbers: Sequence[str], before: Place | None, limit: int
) -> list[Entry]:
    with_them = or_(is_one_of(session, CallRow.to_number, numbers), is_one_of(session, CallRow.from_number, numbers))
    query = select(CallRow).where(CallRow.org_id == org_id, with_them, *_earlier(CallRow, before))
    rows = await session.scalars(query.order_by(CallRow.created_at.desc(), CallRow.id.desc()).limit(limit))
    return [
        Entry(
            kind=CALL,
            id=row.id,
            created_at=row.created_at,
            details={
                "direction": row.direction,
                "state": row.state,
                "outcome": row.outcome,
                "agent_name": row.agent_name,
                "talk_s": row.talk_s,
            },
        )
        for row in rows
    ]


async def _audited(session: AsyncSession, contact: ContactRow, before: Place | None, limit: int) -> list[Entry]:
    query = select(AuditRow).where(
        AuditRow.org_id == contact.org_id,
        AuditRow.target_id == str(contact.id),
        AuditRow.target_kind == "contact",
        *_earlier(AuditRow, before),
    )
    rows = await session.scalars(query.order_by(AuditRow.created_at.desc(), AuditRow.id.desc()).limit(limit))
    return [
        Entry(
            kind=CHANGE,
            id=row.id,
            created_at=row.created_at,
            details={"action": row.action, "by": row.actor_name, **(row.after or {})},
        )
        for row in rows
    ]


async def _change_sets(session: AsyncSession, contact: ContactRow, before: Place | None, limit: int) -> list[Entry]:
    """Return what was done to it among many; a merge is in the audit log by itself."""
    query = (
        select(ChangeSetRow)
        .join(ContactChangeRow, ContactChangeRow.change_set_id == ChangeSetRow.id)
        .where(
            ContactChangeRow.contact_id == contact.id,
            ContactChangeRow.org_id == contact.org_id,
            ChangeSetRow.kind != "merge",
            # Made by an import: that is an entry of its own.
            ChangeSetRow.id != contact.created_in if contact.created_in is not None else ChangeSetRow.id.is_not(None),
            *_earlier(ChangeSetRow, before),
        )
    )
    rows = await session.scalars(query.order_by(ChangeSetRow.created_at.desc(), ChangeSetRow.id.desc()).limit(limit))
    return [
        Entry(
            kind=CHANGE,
            id=row.id,
            created_at=row.created_at,
            details={
                "action": f"contacts.{row.kind}",
                "by": row.created_by,
                "change_set": str(row.id),
                "state": row.state,
                **({"tag": row.parameters["tag"]} if "tag" in row.parameters else {}),
            },
        )
        for row in rows
    ]


async def _imports(session: AsyncSession, contact: ContactRow, before: Place | None) -> list[Entry]:
    if contact.created_in is None:
        return []
    query = select(ImportRow).where(
        ImportRow.id == contact.created_in, ImportRow.org_id == contact.org_id, *_earlier(ImportRow, before)
    )
    return [
        Entry(kind=IMPORT, id=row.id, created_at=row.created_at, details={"name": row.name, "by": row.created_by})
        for row in await session.scalars(query)
    ]


def _consent(row: ConsentRow) -> Entry:
    details = {
        "action": row.action,
        "purpose": row.purpose,
        "basis": row.basis,
        "wording_version": row.wording_version,
        "expires_at": None if row.expires_at is None else row.expires_at.isoformat(),
    }
    return Entry(kind=CONSENT, id=row.id, created_at=row.at, details=details)


def _suppression(row: SuppressionRow) -> list[Entry]:
    details = {"scope": row.scope.partition(":")[0], "source": row.source, "reason": row.reason}
    entries = [
        Entry(kind=SUPPRESSION, id=row.id, created_at=row.created_at, details=details | {"action": "suppressed"})
    ]
    if row.lifted_at is not None:
        lifted = {"action": "lifted", "by": row.lifted_by, "reason": row.lift_reason}
        entries.append(Entry(kind=SUPPRESSION, id=row.id, created_at=row.lifted_at, details=details | lifted))
    return entries
