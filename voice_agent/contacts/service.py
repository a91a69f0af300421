"""One contact: made, read, changed, deleted, brought back. `changes` has what is done to many.

Two contacts do not have the same number to call, nor the same external id; a further number may be shared, as in a
household. Works in the caller's transaction. What the audit log keeps of a contact is its key and which fields were
changed, never a value: the log outlives the person's data.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.contacts import repository
from voice_agent.contacts.columns import EDITABLE, ZonesOfRegion, changes_of, columns_of
from voice_agent.contacts.custom_fields import CustomFieldService
from voice_agent.contacts.model import MAX_PHONES, MAX_TAGS, ContactDraft, FurtherNumber
from voice_agent.contacts.ports import NumberLedger
from voice_agent.contacts.tags import TagService
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.storage.tables import ContactPhoneRow, ContactRow, TagRow


class ContactDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A contact with what belongs to it."""

    contact: ContactRow
    further: Sequence[ContactPhoneRow]
    tags: Sequence[TagRow]


class ContactService:
    """One for the process."""

    def __init__(
        self,
        fields: CustomFieldService,
        tags: TagService,
        ledger: NumberLedger,
        *,
        zones_of_region: ZonesOfRegion,
        clock: Callable[[], datetime],
    ) -> None:
        """`clock` returns the present in UTC."""
        self.fields = fields
        self.tags = tags
        self._ledger = ledger
        self._zones_of_region = zones_of_region
        self._clock = clock

    # --- looking ----------------------------------------------------------------------------------------------
    async def find(self, session: AsyncSession, org_id: UUID, contact_id: UUID) -> ContactRow:
        """Return a contact, a deleted one too. Raises NotFound."""
        return await self._one(session, org_id, contact_id)

    async def locked(self, session: AsyncSession, org_id: UUID, contact_id: UUID) -> ContactRow:
        """Return a contact that is not deleted, for a change. Raises NotFound."""
        row = await self._one(session, org_id, contact_id, is_locked=True)
        if row.deleted_at is not None:
            raise NotFound("this contact is deleted")
        return row

    async def details(self, session: AsyncSession, rows: Sequence[ContactRow]) -> list[ContactDetails]:
        """Return contacts of one organisation with their further numbers and tags, in the same order."""
        if not rows:
            return []
        ids = [row.id for row in rows]
        phones = await repository.phones_by_contact(session, rows[0].org_id, ids)
        tags = await self.tags.of_contacts(session, rows[0].org_id, ids)
        return [ContactDetails(contact=row, further=phones.get(row.id, ()), tags=tags.get(row.id, ())) for row in rows]

    async def _one(
        self, session: AsyncSession, org_id: UUID, contact_id: UUID, *, is_locked: bool = False
    ) -> ContactRow:
        row = await repository.contact(session, org_id, contact_id, is_locked=is_locked)
        if row is None:
            raise NotFound("there is no such contact")
        return row

    # --- changing ---------------------------------------------------------------------------------------------
    async def create(self, session: AsyncSession, principal: Principal, draft: ContactDraft) -> ContactRow:
        """Return a new contact. Raises InvalidRequest, or Conflict that names the contact with this number or key."""
        draft = await self._checked(session, principal.org_id, draft)
        columns = columns_of(draft, principal.org_id, self._clock(), zones_of_region=self._zones_of_region)
        if not await repository.insert_many(session, [columns]):
            await self._refuse_taken(session, principal.org_id, draft.number.e164, draft.external_id)
            raise Conflict("another request has just made or deleted this contact: look again")
        contact_id: UUID = columns["id"]
        await repository.insert_phones(session, repository.phones_of(contact_id, principal.org_id, draft.further))
        tags = await self.tags.named(session, principal.org_id, draft.tags)
        await repository.tag_many(session, principal.org_id, [(contact_id, tag) for tag in tags], added_in=None)
        row = await self._one(session, principal.org_id, contact_id)
        await self._audit(session, principal, "contact.create", row)
        return row

    async def update(
        self,
        session: AsyncSession,
        principal: Principal,
        contact: ContactRow,
        draft: ContactDraft,
        *,
        further: Sequence[FurtherNumber] | None = None,
    ) -> ContactRow:
        """Change a contact that is `locked` to what a draft says; `further` are all its further numbers from then on.

        What the draft does not say stays. Its tags are not looked at: see `tag`. Raises InvalidRequest, or Conflict
        that names the contact with this number or key.
        """
        present = (await repository.phones_by_contact(session, contact.org_id, [contact.id])).get(contact.id, [])
        e164s = [phone.e164 for phone in present] if further is None else [each.number.e164 for each in further]
        _check_numbers([draft.number.e164, *e164s])
        custom = await self.fields.check(session, contact.org_id, draft.custom)
        draft = msgspec.structs.replace(draft, custom=custom)
        before = {name: getattr(contact, name) for name in EDITABLE}
        changes = changes_of(before, draft, e164s, zones_of_region=self._zones_of_region)
        is_anew = further is not None and further_of(present) != further_of(further)
        if not changes and not is_anew:
            return contact
        await self._refuse_taken(
            session, contact.org_id, changes.get("e164"), changes.get("external_id"), but=contact.id
        )
        update = repository.ContactUpdate(contact=contact, changes=changes, further=further if is_anew else None)
        try:
            await repository.update_many(session, contact.org_id, [update], self._clock(), change_set_id=None)
        except IntegrityError:
            raise Conflict("another contact has just got this number or external id: look again") from None
        changed = sorted({*changes, *(["further"] if is_anew else [])} - {"search_words"})
        await self._audit(session, principal, "contact.update", contact, fields=changed)
        return await self._reread(session, contact)

    async def delete(self, session: AsyncSession, principal: Principal, contact: ContactRow) -> None:
        """Delete a contact that is `locked`, so that `restore` can bring it back for a while."""
        contact.deleted_at = self._clock()
        self._touch(contact)
        await self._audit(session, principal, "contact.delete", contact)

    async def restore(self, session: AsyncSession, principal: Principal, contact_id: UUID) -> ContactRow:
        """Bring a deleted contact back. Raises NotFound, or Conflict where another has its number or key by now."""
        row = await self._one(session, principal.org_id, contact_id, is_locked=True)
        if row.deleted_at is None:
            return row
        if row.merged_into is not None:
            raise Conflict(f"it was merged into contact {row.merged_into}: undo that change set")
        await self._refuse_taken(session, row.org_id, row.e164, row.external_id, but=row.id)
        row.deleted_at = None
        self._touch(row)
        await self._audit(session, principal, "contact.restore", row)
        return row

    async def erase(self, session: AsyncSession, principal: Principal, contact_id: UUID) -> None:
        """Delete a contact for good, and those that were merged into it. Raises NotFound.

        Its numbers are forgotten in the ledger of consents and suppressions too; their digests stay. What calls with
        them left behind is not touched: `CallService.erase_number` does that.
        """
        row = await self._one(session, principal.org_id, contact_id, is_locked=True)
        erased, waiting = [row], [row]
        while waiting:
            of = waiting.pop()
            more = await repository.remains_of(session, of, known=[each.id for each in erased])
            erased += more
            waiting += more
        phones = await repository.phones_by_contact(session, row.org_id, [each.id for each in erased])
        numbers = {each.e164 for each in erased} | {phone.e164 for found in phones.values() for phone in found}
        await self._audit(session, principal, "contact.erase", row)
        for each in erased:
            await session.delete(each)
        await session.flush()
        shared = await repository.find_many(session, row.org_id, sorted(numbers), [])
        for number in sorted(numbers - {*shared.by_number, *shared.by_further_number}):
            await self._ledger.erase_number(session, row.org_id, number)

    async def tag(self, session: AsyncSession, principal: Principal, contact: ContactRow, tag_ids: set[UUID]) -> None:
        """Give a contact that is `locked` exactly these tags. Raises InvalidRequest where they are too many."""
        if len(tag_ids) > MAX_TAGS:
            raise InvalidRequest(f"tags: a contact has at most {MAX_TAGS}")
        present = {
            tag.id for tag in (await self.tags.of_contacts(session, contact.org_id, [contact.id])).get(contact.id, ())
        }
        if present == tag_ids:
            return
        new = [(contact.id, tag) for tag in tag_ids - present]
        await repository.tag_many(session, contact.org_id, new, added_in=None)
        await repository.untag_many(session, contact.org_id, [(contact.id, tag) for tag in present - tag_ids])
        self._touch(contact)
        await self._audit(session, principal, "contact.update", contact, fields=["tags"])

    # --- within -----------------------------------------------------------------------------------------------
    async def _checked(self, session: AsyncSession, org_id: UUID, draft: ContactDraft) -> ContactDraft:
        _check_numbers([draft.number.e164, *(each.number.e164 for each in draft.further)])
        if len(draft.tags) > MAX_TAGS:
            raise InvalidRequest(f"tags: a contact has at most {MAX_TAGS}")
        return msgspec.structs.replace(draft, custom=await self.fields.check(session, org_id, draft.custom))

    async def _refuse_taken(
        self,
        session: AsyncSession,
        org_id: UUID,
        number: str | None,
        external_id: str | None,
        *,
        but: UUID | None = None,
    ) -> None:
        """Raise Conflict where another contact than `but` has the number to call or the key."""
        known = await repository.find_many(
            session, org_id, [number] if number else [], [external_id] if external_id else []
        )
        for field, found in (("number", known.by_number), ("external_id", known.by_external_id)):
            for row in found.values():
                if row.id != but:
                    raise Conflict(f"{field}: contact {row.id} has it already")

    async def _reread(self, session: AsyncSession, contact: ContactRow) -> ContactRow:
        await session.refresh(contact)
        return contact

    def _touch(self, contact: ContactRow) -> None:
        contact.revision += 1
        contact.updated_at = self._clock()

    async def _audit(
        self,
        session: AsyncSession,
        principal: Principal,
        action: str,
        row: ContactRow,
        *,
        fields: Sequence[str] = (),
    ) -> None:
        after: dict[str, Any] | None = {"fields": list(fields)} if fields else None
        await audit.record(session, principal, action, target_kind="contact", target_id=str(row.id), after=after)


def further_of(numbers: Sequence[ContactPhoneRow] | Sequence[FurtherNumber]) -> list[tuple[str, str]]:
    """Return what tells lists of further numbers apart: numbers and labels in their order."""
    return [(each.e164 if isinstance(each, ContactPhoneRow) else each.number.e164, each.label) for each in numbers]


def _check_numbers(e164s: Sequence[str]) -> None:
    if len(e164s) > MAX_PHONES:
        raise InvalidRequest(f"further: a contact has at most {MAX_PHONES} numbers")
    if len(set(e164s)) < len(e164s):
        raise InvalidRequest("further: the same number is there twice")
