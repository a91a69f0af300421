"""The REST interface of contacts, tags, custom fields and changes. It translates; the services do."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
import orjson
from fastapi import APIRouter, Depends, Query, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.contacts import repository, search
from voice_agent.contacts.changes import Action, BulkOrder, ContactChanges
from voice_agent.contacts.columns import ZonesOfRegion
from voice_agent.contacts.custom_fields import CustomFieldService
from voice_agent.contacts.duplicates import DuplicateService
from voice_agent.contacts.field_routes import Access, fields_router, tags_router
from voice_agent.contacts.filters import All, Filter, Listed, Tagged, read_filter
from voice_agent.contacts.ports import JobRequests, NumberLedger
from voice_agent.contacts.schemas import (
    BulkChange,
    ChangeSetOut,
    ContactEdit,
    ContactOut,
    ContactPage,
    DuplicatesOut,
    Merge,
    NewContact,
    TimelineEntryOut,
    TimelinePage,
)
from voice_agent.contacts.segments import check_references
from voice_agent.contacts.service import ContactService
from voice_agent.contacts.tags import TagService
from voice_agent.contacts.timeline import Timeline
from voice_agent.errors import InvalidRequest, NotFound, NotPermitted
from voice_agent.jobs.service import Jobs
from voice_agent.rest.etags import IfMatch, check_if_match, etag
from voice_agent.rest.inputs import SearchText
from voice_agent.rest.pages import DEFAULT_LIMIT, CursorText, Limit, Page, place
from voice_agent.rest.pages import cursor as cursor_of
from voice_agent.rest.transactions import Transactions
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ContactListRow, ContactRow

PREFIX = "/api/v1/contacts"
LONGEST_FILTER = 20_000


class ContactServices(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes translate for."""

    contacts: ContactService
    tags: TagService
    fields: CustomFieldService
    changes: ContactChanges
    duplicates: DuplicateService
    timeline: Timeline

    @classmethod
    def over(
        cls,
        database: Database,
        jobs: JobRequests,
        ledger: NumberLedger,
        *,
        zones_of_region: ZonesOfRegion,
        clock: Callable[[], datetime],
    ) -> Self:
        """Return those of a process. `clock` returns the present in UTC."""
        fields, tags = CustomFieldService(database, jobs, clock), TagService(clock)
        changes = ContactChanges(database, jobs, clock)
        return cls(
            contacts=ContactService(fields, tags, ledger, zones_of_region=zones_of_region, clock=clock),
            tags=tags,
            fields=fields,
            changes=changes,
            duplicates=DuplicateService(changes, zones_of_region=zones_of_region, clock=clock),
            timeline=Timeline(ledger),
        )

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do in the background. Before `Jobs.open`."""
        self.changes.register(jobs)
        self.fields.register(jobs)


def contacts_router(services: ContactServices, gate: Gate, transactions: Transactions) -> APIRouter:
    """Return the routes under /api/v1/contacts, /tags, /custom-fields and /change-sets.

    Whatever has a fixed path below /api/v1/contacts goes before them: they take it for a contact's key.
    """
    needed = Access(gate, transactions)
    router = APIRouter()
    router.include_router(_many_router(services, needed))
    router.include_router(_one_router(services, needed))
    router.include_router(tags_router(services.tags, needed))
    router.include_router(fields_router(services.fields, needed))
    router.include_router(_changes_router(services.changes, needed))
    return router


def _many_router(services: ContactServices, needed: Access) -> APIRouter:
    router = needed.router(PREFIX, "contacts")
    Reading = Annotated[AsyncSession, needed.reading]
    Writing = Annotated[AsyncSession, needed.writing]
    Reader = Annotated[Principal, needed.reader]
    Writer = Annotated[Principal, needed.writer]

    @router.get("")
    async def list_contacts(
        principal: Reader,
        session: Reading,
        wanted: Annotated[_Asked, Depends(_asked)],
        limit: Limit = DEFAULT_LIMIT,
        cursor: CursorText = None,
    ) -> ContactPage:
        """List contacts, newest first: those that have all the words or digits of `q`, and all else that is asked."""
        now = datetime.now(UTC)
        chosen = await wanted.search(session, principal.org_id)
        rows = await search.page(session, principal.org_id, chosen, before=place(cursor), limit=limit + 1, now=now)
        found = await search.count(session, principal.org_id, chosen, now=now) if wanted.count else None
        shown = rows[:limit]
        return ContactPage(
            items=[ContactOut.of(each) for each in await services.contacts.details(session, shown)],
            next_cursor=cursor_of(shown[-1]) if len(rows) > limit else None,
            total=None if found is None else found.total,
            is_total_capped=found is not None and found.is_capped,
        )

    @router.post("", status_code=status.HTTP_201_CREATED)
    async def create_contact(principal: Writer, body: NewContact, session: Writing, response: Response) -> ContactOut:
        """Make a contact. 409 names the contact that has its number or its external id."""
        row = await services.contacts.create(session, principal, body.draft())
        response.headers["Location"] = f"{PREFIX}/{row.id}"
        return await _shown(services.contacts, session, row, response)

    @router.post("/bulk", status_code=status.HTTP_202_ACCEPTED)
    async def change_contacts(principal: Writer, body: BulkChange, session: Writing) -> ChangeSetOut:
        """Tag, untag or delete many contacts in the background; what is done can be undone."""
        if body.action == "delete" and not principal.may(Permission.CONTACTS_DELETE):
            raise NotPermitted(f"this needs the permission {Permission.CONTACTS_DELETE.value}")
        order = BulkOrder(
            action=Action(body.action),
            tag=body.tag or "",
            contacts=body.contacts,
            filter=body.filter,
            list_id=body.list_id,
        )
        return ChangeSetOut.of(await services.changes.request(session, principal, order))

    @router.get("/duplicates")
    async def list_duplicate_contacts(
        principal: Reader, session: Reading, limit: Limit = DEFAULT_LIMIT
    ) -> list[DuplicatesOut]:
        """List contacts that may be the same person: by e-mail address, or by name and number."""
        groups = await services.duplicates.find(session, principal.org_id, limit=limit)
        return [
            DuplicatesOut(
                reason=group.reason,
                contacts=[ContactOut.of(each) for each in await services.contacts.details(session, group.contacts)],
            )
            for group in groups
        ]

    return router


def _one_router(services: ContactServices, needed: Access) -> APIRouter:
    contacts = services.contacts
    router = needed.router(PREFIX, "contacts")
    Reading = Annotated[AsyncSession, needed.reading]
    Writing = Annotated[AsyncSession, needed.writing]
    Reader = Annotated[Principal, needed.reader]
    Writer = Annotated[Principal, needed.writer]
    Deleter = Annotated[Principal, needed.deleter]

    @router.get("/{contact_id}")
    async def get_contact(principal: Reader, contact_id: UUID, session: Reading, response: Response) -> ContactOut:
        """Return a contact, a deleted one too."""
        row = await contacts.find(session, principal.org_id, contact_id)
        return await _shown(contacts, session, row, response)

    @router.patch("/{contact_id}")
    async def update_contact(
        principal: Writer,
        contact_id: UUID,
        body: ContactEdit,
        session: Writing,
        response: Response,
        if_match: IfMatch = None,
    ) -> ContactOut:
        """Change what the body names; the rest stays."""
        row = await contacts.locked(session, principal.org_id, contact_id)
        check_if_match(if_match, row.revision)
        further = body.further_numbers() if "further" in body.model_fields_set else None
        row = await contacts.update(session, principal, row, body.draft_of(row), further=further)
        if "tags" in body.model_fields_set:
            tags = await services.tags.named(session, principal.org_id, body.tags)
            await contacts.tag(session, principal, row, tags)
        return await _shown(contacts, session, row, response)

    @router.delete("/{contact_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_contact(
        principal: Deleter,
        contact_id: UUID,
        session: Writing,
        erase: Annotated[bool, Query(description="For good, with all that is known of the person.")] = False,
        if_match: IfMatch = None,
    ) -> None:
        """Delete a contact; for 30 days it can be restored, unless it is erased.

        Erasing also forgets its numbers in consents and suppressions, which go on by the numbers' digests. What calls
        left behind is another request: POST /api/v1/calls/erase.
        """
        row = await contacts.find(session, principal.org_id, contact_id)
        check_if_match(if_match, row.revision)
        if erase:
            await contacts.erase(session, principal, contact_id)
        else:
            await contacts.delete(session, principal, await contacts.locked(session, principal.org_id, contact_id))

    @router.post("/{contact_id}/restore")
    async def restore_contact(principal: Deleter, contact_id: UUID, session: Writing, response: Response) -> ContactOut:
        """Bring a deleted contact back. 409 names the contact that has its number by now."""
        row = await contacts.restore(session, principal, contact_id)
        return await _shown(contacts, session, row, response)

    @router.post("/{contact_id}/merge")
    async def merge_contacts(principal: Deleter, contact_id: UUID, body: Merge, session: Writing) -> ChangeSetOut:
        """Make this contact of several: what it has not comes from the others, which are deleted. Can be undone."""
        change_set = await services.duplicates.merge(session, principal, contact_id, body.others, body.choose)
        return ChangeSetOut.of(change_set)

    @router.get("/{contact_id}/timeline")
    async def get_contact_timeline(
        principal: Reader,
        contact_id: UUID,
        session: Reading,
        limit: Limit = DEFAULT_LIMIT,
        cursor: CursorText = None,
    ) -> TimelinePage:
        """List what happened with a contact and its numbers, newest first: calls, consents, suppressions, changes."""
        row = await contacts.find(session, principal.org_id, contact_id)
        phones = (await repository.phones_by_contact(session, row.org_id, [row.id])).get(row.id, [])
        numbers = [row.e164, *(phone.e164 for phone in phones)]
        entries = await services.timeline.page(session, row, numbers, before=place(cursor), limit=limit + 1)
        shown = entries[:limit]
        return TimelinePage(
            items=[
                TimelineEntryOut.model_validate(msgspec.structs.asdict(each) | {"at": each.created_at})
                for each in shown
            ],
            next_cursor=cursor_of(shown[-1]) if len(entries) > limit else None,
        )

    return router


def _changes_router(changes: ContactChanges, needed: Access) -> APIRouter:
    router = needed.router("/api/v1/change-sets", "change-sets")
    Reading = Annotated[AsyncSession, needed.reading]
    Writing = Annotated[AsyncSession, needed.writing]
    Reader = Annotated[Principal, needed.reader]
    Deleter = Annotated[Principal, needed.deleter]

    @router.get("")
    async def list_change_sets(
        principal: Reader, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
    ) -> Page[ChangeSetOut]:
        """List what was done to many contacts at once, newest first."""
        rows = await changes.page(session, principal.org_id, before=place(cursor), limit=limit + 1)
        return Page[ChangeSetOut].of(rows, limit, ChangeSetOut.of)

    @router.get("/{change_set_id}")
    async def get_change_set(principal: Reader, change_set_id: UUID, session: Reading) -> ChangeSetOut:
        """Return how a change stands."""
        return ChangeSetOut.of(await changes.find(session, principal.org_id, change_set_id))

    @router.post("/{change_set_id}/undo", status_code=status.HTTP_202_ACCEPTED)
    async def undo_change_set(principal: Deleter, change_set_id: UUID, session: Writing) -> ChangeSetOut:
        """Take a change back in the background. Contacts that have been changed since are left alone, and counted."""
        return ChangeSetOut.of(await changes.undo(session, principal, change_set_id))

    @router.post("/{change_set_id}/cancel")
    async def cancel_change_set(principal: Deleter, change_set_id: UUID, session: Writing) -> ChangeSetOut:
        """End a change where it is. What it has changed stays, until it is undone."""
        return ChangeSetOut.of(await changes.cancel(session, principal, change_set_id))

    return router


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a query asks of contacts."""

    q: str
    tags: tuple[UUID, ...]
    list_id: UUID | None
    filter: Filter | None
    is_deleted: bool
    count: bool

    async def search(self, session: AsyncSession, org_id: UUID) -> search.Search:
        """Return it as a search. Raises NotFound, or InvalidRequest for a filter of things that there are not."""
        parts: list[Filter] = [Tagged(values=(tag_id,)) for tag_id in self.tags]
        if self.filter is not None:
            await check_references(session, org_id, self.filter)
            parts.append(self.filter)
        if self.list_id is not None:
            row = await session.get(ContactListRow, self.list_id)
            if row is None or row.org_id != org_id:
                raise NotFound("list_id: there is no such list")
            parts.append(Listed(values=(row.id,)) if row.filter is None else read_filter(row.filter))
        chosen = None if not parts else parts[0] if len(parts) == 1 else All(of=tuple(parts))
        return search.Search(query=self.q, chosen=chosen, is_deleted=self.is_deleted)


async def _asked(
    q: Annotated[SearchText, Query(max_length=200, description="Beginnings of words, or digits of a number.")] = "",
    tag: Annotated[list[UUID] | None, Query(max_length=10, description="Contacts that have all these tags.")] = None,
    list_id: UUID | None = None,
    filter: Annotated[
        SearchText | None, Query(max_length=LONGEST_FILTER, description="A filter, as JSON (docs/contacts.md).")
    ] = None,
    deleted: Annotated[bool, Query(description="Those that are deleted, in place of those that are not.")] = False,
    count: Annotated[bool, Query(description="Whether to count all of them, as far as 10,000.")] = False,
) -> _Asked:
    return _Asked(
        q=q,
        tags=tuple(tag or ()),
        list_id=list_id,
        filter=None if filter is None else read_filter(_json(filter)),
        is_deleted=deleted,
        count=count,
    )


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidRequest("filter: is no JSON") from None


async def _shown(contacts: ContactService, session: AsyncSession, row: ContactRow, response: Response) -> ContactOut:
    response.headers["ETag"] = etag(row.revision)
    (details,) = await contacts.details(session, [row])
    return ContactOut.of(details)
