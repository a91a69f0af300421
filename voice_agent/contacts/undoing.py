"""Taking a change set back, a chunk at a time; `contacts.changes` says how it works and calls it.

Its phases follow one another: contacts that the set made are deleted, contacts that it changed are given back what they
had, and what is left of its tags and memberships is removed. How far it is stands in the set's own row, which is
committed with the chunk.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.contacts import repository
from voice_agent.contacts.columns import EDITABLE
from voice_agent.contacts.repository import PHONES
from voice_agent.storage.many_rows import insert_rows, is_one_of, update_rows
from voice_agent.storage.tables import (
    ChangeSetRow,
    ContactChangeRow,
    ContactPhoneRow,
    ContactRow,
    ContactTagRow,
    ListMemberRow,
    TagRow,
)

CHUNK = 500
TAGS = "tags"
"""In `ContactChangeRow.before`: the tags that were taken away, each with what had given it."""

CREATED, CHANGED, TAGGED, LISTED = "created", "changed", "tagged", "listed"
_PHASES = (CREATED, CHANGED, TAGGED, LISTED)
BEGINNING = {"phase": CREATED, "after": str(UUID(int=0))}
"""Where an undo begins: goes into the set's parameters as `undo`."""

SINCE, TAKEN = "changed_since", "number_taken"
"""Why a contact is kept as it is."""

_RESTORED = (*EDITABLE, "deleted_at", "merged_into")


async def undo_chunk(session: AsyncSession, row: ChangeSetRow, now: datetime) -> bool:
    """Take the next chunk of a set that is `undoing` back; return whether there is more. The set is locked."""
    at = row.parameters["undo"]
    phase, after = at["phase"], UUID(at["after"])
    match phase:
        case "created":
            last = await _delete_created(session, row, after, now)
        case "changed":
            last = await _restore_changed(session, row, after, now)
        case "tagged":
            last = await _remove_tags(session, row, now)
        case _:
            last = await _remove_members(session, row)
    if last is not None:
        row.parameters = row.parameters | {"undo": {"phase": phase, "after": str(last)}}
        return True
    following = _PHASES[_PHASES.index(phase) + 1 :]
    if following:
        row.parameters = row.parameters | {"undo": BEGINNING | {"phase": following[0]}}
        return True
    row.state, row.undone_at = "undone", now
    return False


def _keep(row: ChangeSetRow, reason: str, count: int) -> None:
    """Count contacts that are left as they are."""
    if count:
        row.kept += count
        reasons = row.parameters["kept_because"]
        row.parameters = row.parameters | {"kept_because": reasons | {reason: reasons.get(reason, 0) + count}}


async def _delete_created(session: AsyncSession, row: ChangeSetRow, after: UUID, now: datetime) -> UUID | None:
    """Delete contacts that the set made and nobody has changed since; return the last one, None at the end."""
    left = func.coalesce(ContactChangeRow.revision, 1)
    query = (
        select(ContactRow.id, (ContactRow.revision == left).label("is_as_left"))
        .outerjoin(
            ContactChangeRow,
            and_(ContactChangeRow.contact_id == ContactRow.id, ContactChangeRow.change_set_id == row.id),
        )
        .where(
            ContactRow.created_in == row.id,
            ContactRow.org_id == row.org_id,
            ContactRow.id > after,
            ContactRow.deleted_at.is_(None),
        )
        .order_by(ContactRow.id)
        .limit(CHUNK)
        .with_for_update(of=ContactRow, key_share=True)
    )
    found = (await session.execute(query)).all()
    gone = [each.id for each in found if each.is_as_left]
    await repository.delete_many(session, row.org_id, gone, now)
    await repository.touch_many(session, row.org_id, gone, now, change_set_id=None)
    row.undone += len(gone)
    _keep(row, SINCE, len(found) - len(gone))
    return found[-1].id if len(found) == CHUNK else None


async def _restore_changed(session: AsyncSession, row: ChangeSetRow, after: UUID, now: datetime) -> UUID | None:
    """Give contacts back what the set has changed; return the last one, None at the end."""
    query = (
        select(ContactRow, ContactChangeRow)
        .join(ContactChangeRow, ContactChangeRow.contact_id == ContactRow.id)
        .where(ContactChangeRow.change_set_id == row.id, ContactChangeRow.contact_id > after)
        .order_by(ContactChangeRow.contact_id)
        .limit(CHUNK)
        .with_for_update(of=ContactRow, key_share=True)
        .execution_options(populate_existing=True)
    )
    found = [(each.ContactRow, each.ContactChangeRow) for each in await session.execute(query)]
    of_others = [(contact, change) for contact, change in found if contact.created_in != row.id]
    untagged = await _take_tags(session, row, [contact.id for contact, _ in of_others])
    as_left = {
        contact.id: (contact, change.before)
        for contact, change in of_others
        if change.before and contact.revision == change.revision
    }
    _keep(row, SINCE, sum(bool(change.before) for _, change in of_others) - len(as_left))
    taken = await _restore(session, row.org_id, as_left, now)
    _keep(row, TAKEN, len(taken))
    restored = as_left.keys() - taken
    only_tagged = {contact.id for contact, change in of_others if not change.before} & untagged
    row.undone += len(restored) + len(only_tagged)
    await repository.touch_many(session, row.org_id, untagged - restored, now, change_set_id=None)
    again = restored | only_tagged
    await _pass_on(session, row, [pair for pair in of_others if pair[0].id in again])
    return found[-1][0].id if len(found) == CHUNK else None


async def _pass_on(
    session: AsyncSession, row: ChangeSetRow, pairs: Iterable[tuple[ContactRow, ContactChangeRow]]
) -> None:
    """Tell the change set before this one that a contact is as it left it again, so that it can be undone after it."""
    again = {
        contact.id: (change.revision - 1, contact.revision + 1, contact.created_in)
        for contact, change in pairs
        if contact.revision == change.revision
    }
    query = select(ContactChangeRow.change_set_id, ContactChangeRow.contact_id, ContactChangeRow.revision).where(
        ContactChangeRow.org_id == row.org_id, is_one_of(session, ContactChangeRow.contact_id, sorted(again))
    )
    earlier = [each for each in await session.execute(query) if each.revision == again[each.contact_id][0]]
    rows = [
        {"change_set_id": each.change_set_id, "contact_id": each.contact_id, "revision": again[each.contact_id][1]}
        for each in earlier
    ]
    await update_rows(session, ContactChangeRow, rows, keys=("change_set_id", "contact_id"))
    made = {contact_id: by for contact_id, (left, _, by) in again.items() if left == 1 and by is not None}
    sets = set(
        await session.scalars(
            select(ChangeSetRow.id).where(is_one_of(session, ChangeSetRow.id, sorted(set(made.values()))))
        )
    )
    new = [
        {"change_set_id": by, "contact_id": key, "org_id": row.org_id, "before": {}, "revision": again[key][1]}
        for key, by in made.items()
        if by in sets
    ]
    await insert_rows(session, ContactChangeRow, new)


async def _restore(
    session: AsyncSession, org_id: UUID, wanted: Mapping[UUID, tuple[ContactRow, dict[str, Any]]], now: datetime
) -> set[UUID]:
    """Give contacts back what they had; return those that cannot have it, because others have their number or key.

    Two in a chunk may have changed places, as those that were merged have: who leaves a number goes first.
    """
    new = {contact_id: _as_before(contact, before) for contact_id, (contact, before) in wanted.items()}
    there = {contact_id: columns for contact_id, columns in new.items() if columns["deleted_at"] is None}
    known = await repository.find_many(
        session,
        org_id,
        sorted({columns["e164"] for columns in there.values()}),
        sorted({columns["external_id"] for columns in there.values() if columns["external_id"]}),
    )
    first, second, taken = [], [], set()
    for contact_id, columns in new.items():
        holders = (known.by_number.get(columns["e164"]), known.by_external_id.get(columns["external_id"] or ""))
        others = {holder.id for holder in holders if holder is not None} - {contact_id}
        if contact_id not in there or not others:
            first.append(contact_id)
        elif all(other in new and _leaves(new[other], columns) for other in others):
            second.append(contact_id)
        else:
            taken.add(contact_id)
    for group in (first, second):
        rows = [
            {**new[contact_id], "id": contact_id, "revision": wanted[contact_id][0].revision + 1, "updated_at": now}
            for contact_id in group
        ]
        await update_rows(session, ContactRow, rows, keys=("id",))
    restored = {contact_id: wanted[contact_id][1] for contact_id in (*first, *second)}
    await _restore_phones(session, org_id, restored)
    await _restore_tags(session, org_id, restored)
    return taken


def _as_before(contact: ContactRow, before: Mapping[str, Any]) -> dict[str, Any]:
    return {name: before.get(name, getattr(contact, name)) for name in _RESTORED}


def _leaves(new: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a contact gives up the number and the key that another one wants back."""
    if new["deleted_at"] is not None:
        return True
    return new["e164"] != wanted["e164"] and (not wanted["external_id"] or new["external_id"] != wanted["external_id"])


async def _restore_phones(session: AsyncSession, org_id: UUID, restored: Mapping[UUID, dict[str, Any]]) -> None:
    phones = {contact_id: before[PHONES] for contact_id, before in restored.items() if PHONES in before}
    if phones:
        mine = is_one_of(session, ContactPhoneRow.contact_id, sorted(phones))
        await session.execute(delete(ContactPhoneRow).where(ContactPhoneRow.org_id == org_id, mine))
        rows = [phone | {"contact_id": key, "org_id": org_id} for key, found in phones.items() for phone in found]
        await repository.insert_phones(session, rows)


async def _restore_tags(session: AsyncSession, org_id: UUID, restored: Mapping[UUID, dict[str, Any]]) -> None:
    """Give tags back that were taken away, those that there still are."""
    lost = [
        (contact_id, UUID(tag), None if by is None else UUID(by))
        for contact_id, before in restored.items()
        for tag, by in before.get(TAGS, ())
    ]
    if lost:
        query = select(TagRow.id).where(is_one_of(session, TagRow.id, sorted({tag for _, tag, _ in lost})))
        there = set(await session.scalars(query))
        rows = [
            {"tag_id": tag, "contact_id": contact_id, "org_id": org_id, "added_in": by}
            for contact_id, tag, by in lost
            if tag in there
        ]
        await insert_rows(session, ContactTagRow, rows)


async def _take_tags(session: AsyncSession, row: ChangeSetRow, contact_ids: Sequence[UUID]) -> set[UUID]:
    """Take the tags that the set gave from contacts; return those that lost one."""
    taken = await session.scalars(
        delete(ContactTagRow)
        .where(ContactTagRow.added_in == row.id, is_one_of(session, ContactTagRow.contact_id, contact_ids))
        .returning(ContactTagRow.contact_id)
    )
    return set(taken)


async def _remove_tags(session: AsyncSession, row: ChangeSetRow, now: datetime) -> UUID | None:
    """Take what is left of the set's tags away: of contacts that were there and that it did not change otherwise."""
    query = select(ContactTagRow.tag_id, ContactTagRow.contact_id).where(ContactTagRow.added_in == row.id).limit(CHUNK)
    pairs = (await session.execute(query)).all()
    lost = await repository.untag_many(session, row.org_id, [(pair.contact_id, pair.tag_id) for pair in pairs])
    await repository.touch_many(session, row.org_id, lost, now, change_set_id=None)
    return _more(pairs)


async def _remove_members(session: AsyncSession, row: ChangeSetRow) -> UUID | None:
    """Take what the set put on lists off them again."""
    query = select(ListMemberRow.list_id, ListMemberRow.contact_id).where(ListMemberRow.added_in == row.id)
    pairs = (await session.execute(query.limit(CHUNK))).all()
    for list_id in {pair.list_id for pair in pairs}:
        members = [pair.contact_id for pair in pairs if pair.list_id == list_id]
        await session.execute(
            delete(ListMemberRow).where(
                ListMemberRow.list_id == list_id, is_one_of(session, ListMemberRow.contact_id, members)
            )
        )
    return _more(pairs)


def _more(pairs: Sequence[Any]) -> UUID | None:
    """Return a place to go on from, None where nothing is left: what was removed is not found again."""
    return UUID(int=0) if len(pairs) == CHUNK else None
