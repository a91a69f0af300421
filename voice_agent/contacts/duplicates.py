"""Contacts that may be the same person, and what makes one of them; `contacts.merging` decides field by field.

Found are contacts with the same e-mail address, and contacts of the same name of which one has the other's number
beside its own. Two with the same number to call, or with the same external id, there are not. A merge is a change set,
so that it can be undone. What stands in the ledger of consents and suppressions belongs to numbers, and stays.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import String, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.contacts import repository
from voice_agent.contacts.changes import ContactChanges
from voice_agent.contacts.columns import EDITABLE, ZonesOfRegion, derive
from voice_agent.contacts.merging import Candidate, Merged, Phone, merged
from voice_agent.contacts.model import FurtherNumber
from voice_agent.errors import InvalidRequest, NotFound
from voice_agent.phone_numbers import read_number
from voice_agent.storage.many_rows import insert_rows, is_one_of
from voice_agent.storage.tables import ChangeSetRow, ContactPhoneRow, ContactRow, ContactTagRow, ListMemberRow

MERGE = "merge"
MOST_OF_A_GROUP = 20

Reason = Literal["email", "name_and_number"]


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    """Contacts that may be the same person, oldest first."""

    reason: Reason
    contacts: Sequence[ContactRow]


class DuplicateService:
    """One for the process. Works in the caller's transaction."""

    def __init__(
        self, changes: ContactChanges, *, zones_of_region: ZonesOfRegion, clock: Callable[[], datetime]
    ) -> None:
        """`clock` returns the present in UTC."""
        self._changes = changes
        self._zones_of_region = zones_of_region
        self._clock = clock

    async def find(self, session: AsyncSession, org_id: UUID, *, limit: int) -> list[Duplicates]:
        """Return groups of contacts that may be the same person, at most `limit` by each reason."""
        groups: list[tuple[Reason, list[UUID]]] = [
            ("email", ids) for ids in await _same_address(session, org_id, limit)
        ]
        groups += [("name_and_number", ids) for ids in await _same_name_and_number(session, org_id, limit)]
        wanted = sorted({contact_id for _, ids in groups for contact_id in ids})
        query = select(ContactRow).where(ContactRow.org_id == org_id, is_one_of(session, ContactRow.id, wanted))
        rows = {row.id: row for row in await session.scalars(query)}
        return [Duplicates(reason=reason, contacts=[rows[each] for each in ids]) for reason, ids in groups]

    async def merge(
        self,
        session: AsyncSession,
        principal: Principal,
        contact_id: UUID,
        others: Sequence[UUID],
        choose: Mapping[str, UUID],
    ) -> ChangeSetRow:
        """Make one contact of several: `others` are deleted. Raises NotFound or InvalidRequest."""
        org_id, now = principal.org_id, self._clock()
        kept, gone = await self._locked(session, org_id, contact_id, others)
        ids = [row.id for row in gone]
        phones = await repository.phones_by_contact(session, org_id, [kept.id, *ids])
        result = merged(
            _candidate(kept, phones.get(kept.id, ())), [_candidate(row, phones.get(row.id, ())) for row in gone], choose
        )
        change_set = self._changes.new_set(
            principal,
            MERGE,
            {"contact": str(kept.id), "others": [str(each) for each in ids], "numbers_left_out": result.left_out},
        )
        change_set.state, change_set.finished_at, change_set.changed = "done", now, 1 + len(ids)
        session.add(change_set)
        await session.flush()
        await repository.delete_many(session, org_id, ids, now, merged_into=kept.id)
        before: dict[UUID, dict[str, Any]] = {each: {"deleted_at": None, "merged_into": None} for each in ids}
        await repository.touch_many(session, org_id, ids, now, change_set_id=change_set.id, before=before)
        await self._give(session, kept, result, change_set, phones.get(kept.id, ()))
        await _join_lists(session, kept, ids, change_set, now)
        await audit.record(
            session,
            principal,
            "contact.merge",
            target_kind="contact",
            target_id=str(kept.id),
            after={"others": [str(each) for each in ids], "change_set": str(change_set.id)},
        )
        return change_set

    async def _locked(
        self, session: AsyncSession, org_id: UUID, contact_id: UUID, others: Sequence[UUID]
    ) -> tuple[ContactRow, list[ContactRow]]:
        wanted = {contact_id, *others}
        if contact_id in others or len(wanted) != 1 + len(others):
            raise InvalidRequest("others: each contact once, and not the one that is kept")
        query = select(ContactRow).where(
            ContactRow.org_id == org_id,
            is_one_of(session, ContactRow.id, sorted(wanted)),
            ContactRow.deleted_at.is_(None),
        )
        query = query.order_by(ContactRow.id).with_for_update(key_share=True)
        rows = {row.id: row for row in await session.scalars(query.execution_options(populate_existing=True))}
        if missing := wanted - rows.keys():
            raise NotFound(f"there is no contact {min(missing)}")
        return rows[contact_id], [rows[each] for each in others]

    async def _give(
        self,
        session: AsyncSession,
        kept: ContactRow,
        result: Merged,
        change_set: ChangeSetRow,
        present: Sequence[ContactPhoneRow],
    ) -> None:
        """Write what the contact becomes, and give it the tags of the others."""
        columns = {name: getattr(kept, name) for name in EDITABLE} | result.columns
        numbers = [phone.e164 for phone in result.further]
        derive(columns, numbers, read_number(columns["e164"]).zones, self._zones_of_region)
        changes = {name: value for name, value in columns.items() if value != getattr(kept, name)}
        further = tuple(
            FurtherNumber(number=read_number(phone.e164), raw=phone.raw_number, label=phone.label)
            for phone in result.further
        )
        is_anew = [phone.e164 for phone in present] != numbers
        tags = select(ContactTagRow.tag_id).join(ContactRow, ContactRow.id == ContactTagRow.contact_id)
        tag_ids = set(await session.scalars(tags.where(ContactRow.merged_into == kept.id)))
        pairs = [(kept.id, tag_id) for tag_id in tag_ids]
        is_tagged = await repository.tag_many(session, kept.org_id, pairs, added_in=change_set.id)
        now = self._clock()
        if changes or is_anew:
            update = repository.ContactUpdate(contact=kept, changes=changes, further=further if is_anew else None)
            await repository.update_many(session, kept.org_id, [update], now, change_set_id=change_set.id)
        elif is_tagged:
            await repository.touch_many(session, kept.org_id, [kept.id], now, change_set_id=change_set.id)
        await session.refresh(kept)


def _candidate(row: ContactRow, phones: Sequence[ContactPhoneRow]) -> Candidate:
    return Candidate(
        id=row.id,
        columns={name: getattr(row, name) for name in EDITABLE},
        further=[Phone(phone.e164, phone.raw_number, phone.label) for phone in phones],
    )


async def _join_lists(
    session: AsyncSession, kept: ContactRow, ids: Sequence[UUID], change_set: ChangeSetRow, now: datetime
) -> None:
    query = select(ListMemberRow.list_id).where(
        ListMemberRow.org_id == kept.org_id, is_one_of(session, ListMemberRow.contact_id, ids)
    )
    rows = [
        {"list_id": each, "contact_id": kept.id, "org_id": kept.org_id, "added_in": change_set.id, "added_at": now}
        for each in sorted(set(await session.scalars(query)))
    ]
    await insert_rows(session, ListMemberRow, rows)


async def _same_address(session: AsyncSession, org_id: UUID, limit: int) -> list[list[UUID]]:
    address = func.lower(ContactRow.email, type_=String(320))
    there = (ContactRow.org_id == org_id, ContactRow.deleted_at.is_(None))
    twice = (
        select(address.label("address"))
        .where(*there, ContactRow.email != "")
        .group_by(address)
        .having(func.count() > 1)
        .order_by(address)
        .limit(limit)
    )
    addresses = (await session.scalars(twice)).all()
    query = select(address.label("address"), ContactRow.id).where(*there, is_one_of(session, address, addresses))
    groups: dict[str, list[UUID]] = {}
    for row in await session.execute(query.order_by(ContactRow.created_at, ContactRow.id)):
        groups.setdefault(row.address, []).append(row.id)
    return [groups[each][:MOST_OF_A_GROUP] for each in addresses]


async def _same_name_and_number(session: AsyncSession, org_id: UUID, limit: int) -> list[list[UUID]]:
    one, other = aliased(ContactRow), aliased(ContactRow)
    query = (
        select(one.id.label("one"), other.id.label("other"))
        .select_from(ContactPhoneRow)
        .join(one, one.id == ContactPhoneRow.contact_id)
        .join(other, (other.org_id == org_id) & (other.e164 == ContactPhoneRow.e164))
        .where(
            ContactPhoneRow.org_id == org_id,
            one.deleted_at.is_(None),
            other.deleted_at.is_(None),
            one.id != other.id,
            one.name != "",
            func.lower(one.name) == func.lower(other.name),
        )
        .order_by(one.id, other.id)
        .limit(limit)
    )
    pairs = {frozenset((row.one, row.other)) for row in await session.execute(query)}
    return sorted(sorted(pair) for pair in pairs)
