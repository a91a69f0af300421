"""The SQL of contacts, their numbers and tags; many at once, as an import needs them, or one. Nothing here commits.

What belongs to many contacts is done in a few statements for 500 to 1,000 of them (`storage.many_rows`). A row's
revision is raised by every change of it, of its numbers or of its tags; what a change set changed is recorded with the
revision that it left, so that its undo can tell what has been changed since.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, join, literal, or_, select, true, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts.columns import EDITABLE
from voice_agent.contacts.model import FurtherNumber
from voice_agent.errors import InvalidRequest
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import insert_rows, is_one_of, is_postgres, update_rows
from voice_agent.storage.tables import ContactChangeRow, ContactPhoneRow, ContactRow, ContactTagRow, TagRow

LONGEST_TAG = 200
PHONES = "phones"
"""In `ContactChangeRow.before`: the further numbers, as `phones_of` has them, without their contact."""

_OF_A_NUMBER = ("e164", "rank", "label", "raw_number")


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Contacts that are there already, by what was looked for."""

    by_number: dict[str, ContactRow]
    by_external_id: dict[str, ContactRow]
    by_further_number: dict[str, ContactRow]
    """The oldest contact that has it beside the number that is called first; several may share it."""


class ContactUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one contact among many."""

    contact: ContactRow
    """As `find_many` read it, in this transaction."""

    changes: Mapping[str, Any]
    """New values (`contacts.columns.changes_of`)."""

    further: Sequence[FurtherNumber] | None = None
    """All its further numbers; None where they stay."""


# --- one contact ------------------------------------------------------------------------------------------------
async def contact(
    session: AsyncSession, org_id: UUID, contact_id: UUID, *, is_locked: bool = False
) -> ContactRow | None:
    """Return a contact of this organisation, a deleted one too; locked, others that want to change it wait."""
    query = select(ContactRow).where(ContactRow.id == contact_id, ContactRow.org_id == org_id)
    if is_locked:
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return await session.scalar(query)


async def remains_of(session: AsyncSession, row: ContactRow, *, known: Sequence[UUID]) -> Sequence[ContactRow]:
    """Return what else is kept of a contact: those merged into it and deleted ones with its number, without `known`."""
    is_alike = or_(ContactRow.merged_into == row.id, (ContactRow.e164 == row.e164) & ContactRow.deleted_at.is_not(None))
    query = select(ContactRow).where(ContactRow.org_id == row.org_id, is_alike, ContactRow.id.not_in(known))
    return (await session.scalars(query)).all()


# --- many contacts ----------------------------------------------------------------------------------------------
async def find_many(session: AsyncSession, org_id: UUID, numbers: Sequence[str], external_ids: Sequence[str]) -> Known:
    """Return the contacts that have these numbers or keys; locked until the transaction ends, in one order for all."""
    ids = await _ids_by(session, org_id, ContactRow.e164, numbers)
    ids |= await _ids_by(session, org_id, ContactRow.external_id, external_ids)
    found: Sequence[ContactRow] = ()
    if ids:
        is_known = is_one_of(session, ContactRow.id, sorted(ids))
        query = select(ContactRow).where(ContactRow.org_id == org_id, ContactRow.deleted_at.is_(None), is_known)
        found = (await session.scalars(_locked(query.order_by(ContactRow.id)))).all()
    wanted = set(numbers)
    phones = (
        select(ContactPhoneRow.e164, ContactRow)
        .join(ContactRow, ContactRow.id == ContactPhoneRow.contact_id)
        .where(
            ContactPhoneRow.org_id == org_id,
            is_one_of(session, ContactPhoneRow.e164, numbers),
            ContactRow.deleted_at.is_(None),
        )
        .order_by(ContactRow.id.desc())
    )
    shared = (await session.execute(_locked(phones))).all()
    return Known(
        by_number={row.e164: row for row in found if row.e164 in wanted},
        by_external_id={row.external_id: row for row in found if row.external_id is not None},
        by_further_number={row.e164: row.ContactRow for row in shared},
    )


async def _ids_by(session: AsyncSession, org_id: UUID, column: Any, values: Sequence[str]) -> set[UUID]:
    """Return the keys of the contacts that have one of these values, which a unique index has.

    On Postgres each value is looked up by itself: asked for all of them in one condition, a planner that has not seen
    the table grow compares every contact of the organisation with every value.
    """
    if not values:
        return set()
    is_there = (ContactRow.org_id == org_id, ContactRow.deleted_at.is_(None))
    if not is_postgres(session):
        return set(await session.scalars(select(ContactRow.id).where(*is_there, column.in_(values))))
    values_there = func.unnest(literal(list(values), ARRAY(column.type, dimensions=1)))
    wanted = select(values_there.label("value")).subquery("wanted")
    one = select(ContactRow.id).where(*is_there, column == wanted.c.value).limit(1).lateral("one")
    return set(await session.scalars(select(one.c.id).select_from(join(wanted, one, true()))))


def _locked(query: Any) -> Any:
    return query.with_for_update(of=ContactRow, key_share=True).execution_options(populate_existing=True)


async def insert_many(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> set[UUID]:
    """Insert contacts (`contacts.columns.columns_of`); return the keys of those that are there now.

    One whose number or external id another transaction has taken meanwhile is left out, and so is not among them.
    """
    if not rows:
        return set()
    await insert_rows(session, ContactRow, rows)
    ids = [row["id"] for row in rows]
    return set(await session.scalars(select(ContactRow.id).where(is_one_of(session, ContactRow.id, ids))))


def phones_of(contact_id: UUID, org_id: UUID, further: Iterable[FurtherNumber]) -> list[dict[str, Any]]:
    """Return the rows of a contact's further numbers, in their order."""
    return [
        {
            "contact_id": contact_id,
            "e164": each.number.e164,
            "org_id": org_id,
            "rank": rank,
            "label": each.label,
            "raw_number": each.raw,
        }
        for rank, each in enumerate(further, 1)
    ]


async def insert_phones(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    """Insert further numbers (`phones_of`); one that its contact has already stays as it is."""
    await insert_rows(session, ContactPhoneRow, rows)


async def update_many(
    session: AsyncSession, org_id: UUID, updates: Sequence[ContactUpdate], now: datetime, *, change_set_id: UUID | None
) -> None:
    """Change contacts and raise their revisions; with a change set, record how they were. Each contact once."""
    if not updates:
        return
    anew = [each for each in updates if each.further is not None]
    phones = await phones_by_contact(session, org_id, [each.contact.id for each in anew])
    if change_set_id is not None:
        entries = {}
        for each in updates:
            before = {name: getattr(each.contact, name) for name in each.changes}
            if each.further is not None:
                before[PHONES] = [
                    {name: getattr(phone, name) for name in _OF_A_NUMBER} for phone in phones.get(each.contact.id, ())
                ]
            entries[each.contact.id] = (before, each.contact.revision)
        await record_changes(session, org_id, change_set_id, entries)
    rows = [
        {
            "id": each.contact.id,
            "org_id": org_id,
            "revision": each.contact.revision + 1,
            "updated_at": now,
            **{name: each.changes.get(name, getattr(each.contact, name)) for name in EDITABLE},
        }
        for each in updates
    ]
    await update_rows(session, ContactRow, rows, keys=("id", "org_id"))
    if anew:
        ids = [each.contact.id for each in anew]
        await session.execute(
            delete(ContactPhoneRow).where(
                ContactPhoneRow.org_id == org_id, is_one_of(session, ContactPhoneRow.contact_id, ids)
            )
        )
        await insert_phones(
            session, [row for each in anew for row in phones_of(each.contact.id, org_id, each.further or ())]
        )


async def touch_many(
    session: AsyncSession,
    org_id: UUID,
    contact_ids: Collection[UUID],
    now: datetime,
    *,
    change_set_id: UUID | None,
    before: Mapping[UUID, dict[str, Any]] | None = None,
) -> None:
    """Raise the revisions of contacts; with a change set, record that it was by it, and what was `before`."""
    if not contact_ids:
        return
    raised = await session.execute(
        update(ContactRow)
        .where(ContactRow.org_id == org_id, is_one_of(session, ContactRow.id, sorted(contact_ids)))
        .values(revision=ContactRow.revision + 1, updated_at=now)
        .returning(ContactRow.id, ContactRow.revision)
        .execution_options(synchronize_session=False)
    )
    entries = {row.id: ((before or {}).get(row.id, {}), row.revision - 1) for row in raised}
    if change_set_id is not None:
        await record_changes(session, org_id, change_set_id, entries)


async def delete_many(
    session: AsyncSession, org_id: UUID, contact_ids: Sequence[UUID], now: datetime, *, merged_into: UUID | None = None
) -> None:
    """Mark contacts as deleted. Revisions stay: see `touch_many`."""
    await session.execute(
        update(ContactRow)
        .where(ContactRow.org_id == org_id, is_one_of(session, ContactRow.id, contact_ids))
        .values(deleted_at=now, merged_into=merged_into)
        .execution_options(synchronize_session=False)
    )


async def record_changes(
    session: AsyncSession, org_id: UUID, change_set_id: UUID, entries: Mapping[UUID, tuple[dict[str, Any], int]]
) -> None:
    """Record that a change set changes contacts, by their keys: how they were, and their revision before it.

    Of a contact that it has changed before, the first state of each column counts. One that somebody else has changed
    in between keeps the revision of then, so that an undo leaves it alone.
    """
    query = select(ContactChangeRow.contact_id, ContactChangeRow.before, ContactChangeRow.revision).where(
        ContactChangeRow.change_set_id == change_set_id,
        is_one_of(session, ContactChangeRow.contact_id, sorted(entries)),
    )
    known = {row.contact_id: row for row in await session.execute(query)}
    new, again = [], []
    for contact_id, (before, revision) in entries.items():
        row: dict[str, Any] = {"change_set_id": change_set_id, "contact_id": contact_id}
        first = known.get(contact_id)
        if first is None:
            new.append(row | {"org_id": org_id, "before": before, "revision": revision + 1})
        elif first.revision == revision:
            again.append(row | {"before": {**before, **(first.before or {})}, "revision": revision + 1})
    await insert_rows(session, ContactChangeRow, new)
    await update_rows(session, ContactChangeRow, again, keys=("change_set_id", "contact_id"))


async def phones_by_contact(
    session: AsyncSession, org_id: UUID, contact_ids: Sequence[UUID]
) -> dict[UUID, list[ContactPhoneRow]]:
    """Return the further numbers of contacts, in their order."""
    found: dict[UUID, list[ContactPhoneRow]] = {}
    if contact_ids:
        query = select(ContactPhoneRow).where(
            ContactPhoneRow.org_id == org_id, is_one_of(session, ContactPhoneRow.contact_id, contact_ids)
        )
        for row in await session.scalars(query.order_by(ContactPhoneRow.contact_id, ContactPhoneRow.rank)):
            found.setdefault(row.contact_id, []).append(row)
    return found


# --- tags -------------------------------------------------------------------------------------------------------
def tag_key(name: str) -> str:
    """Return what tells a tag from others: two do not differ by capitals alone. Raises InvalidRequest."""
    key = name.strip().casefold()
    if not key or len(key) > LONGEST_TAG or len(name) > LONGEST_TAG:
        raise InvalidRequest(f"tags: a tag has 1 to {LONGEST_TAG} characters")
    return key


async def ensure_tags(session: AsyncSession, org_id: UUID, names: Collection[str], now: datetime) -> dict[str, UUID]:
    """Return the keys of tags by their names as given; those that are not there are made. Raises InvalidRequest."""
    keys = {name: tag_key(name) for name in names}
    if not keys:
        return {}
    query = select(TagRow.key, TagRow.id).where(
        TagRow.org_id == org_id, is_one_of(session, TagRow.key, sorted(set(keys.values())))
    )
    known = {row.key: row.id for row in await session.execute(query)}
    missing = {key: name.strip() for name, key in keys.items() if key not in known}
    if missing:
        rows = [
            {"id": new_id(), "org_id": org_id, "name": name, "key": key, "created_at": now}
            for key, name in sorted(missing.items())
        ]
        await insert_rows(session, TagRow, rows)
        known = {row.key: row.id for row in await session.execute(query)}  # another one may have made them meanwhile
    return {name: known[key] for name, key in keys.items()}


async def tag_many(
    session: AsyncSession, org_id: UUID, pairs: Collection[tuple[UUID, UUID]], *, added_in: UUID | None
) -> set[UUID]:
    """Give contacts tags, by pairs of contact and tag; return the contacts that got one which they did not have.

    Revisions stay: `touch_many` raises those of contacts that were there before.
    """
    if not pairs:
        return set()
    contact_ids, tag_ids = sorted({contact for contact, _ in pairs}), sorted({tag for _, tag in pairs})
    query = select(ContactTagRow.contact_id, ContactTagRow.tag_id).where(
        is_one_of(session, ContactTagRow.tag_id, tag_ids), is_one_of(session, ContactTagRow.contact_id, contact_ids)
    )
    known = {(row.contact_id, row.tag_id) for row in await session.execute(query)}
    new = sorted(set(pairs) - known)
    rows = [{"tag_id": tag, "contact_id": contact, "org_id": org_id, "added_in": added_in} for contact, tag in new]
    await insert_rows(session, ContactTagRow, rows)
    return {contact for contact, _ in new}


async def untag_many(
    session: AsyncSession, org_id: UUID, pairs: Collection[tuple[UUID, UUID]]
) -> dict[UUID, list[tuple[UUID, UUID | None]]]:
    """Take tags from contacts, by pairs of contact and tag; return what each lost: the tag, and what had given it.

    Revisions stay, as with `tag_many`.
    """
    lost: dict[UUID, list[tuple[UUID, UUID | None]]] = {}
    for tag_id in sorted({tag for _, tag in pairs}):
        contact_ids = sorted(contact for contact, tag in pairs if tag == tag_id)
        taken = await session.execute(
            delete(ContactTagRow)
            .where(
                ContactTagRow.org_id == org_id,
                ContactTagRow.tag_id == tag_id,
                is_one_of(session, ContactTagRow.contact_id, contact_ids),
            )
            .returning(ContactTagRow.contact_id, ContactTagRow.added_in)
        )
        for row in taken:
            lost.setdefault(row.contact_id, []).append((tag_id, row.added_in))
    return lost
