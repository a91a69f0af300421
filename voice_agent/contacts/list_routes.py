"""The REST interface of lists and segments. It translates; `lists` does."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.contacts import list_repository as repository
from voice_agent.contacts.list_schemas import (
    CountOut,
    ListBody,
    ListChangeOut,
    ListCombination,
    ListEdit,
    ListOut,
    Members,
    NewListOut,
    NewName,
)
from voice_agent.contacts.lists import ContactListService
from voice_agent.contacts.schemas import ContactOut
from voice_agent.contacts.service import ContactService
from voice_agent.rest.etags import IfMatch, check_if_match, etag
from voice_agent.rest.idempotency import idempotent_route
from voice_agent.rest.pages import DEFAULT_LIMIT, CursorText, Limit, Page, place
from voice_agent.rest.pages import cursor as cursor_of
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions

PREFIX = "/api/v1/lists"


def lists_router(
    lists: ContactListService, contacts: ContactService, gate: Gate, transactions: Transactions
) -> APIRouter:
    """Return the routes under /api/v1/lists, and those of a contact's lists."""

    async def org_of(request: Request) -> UUID:
        return (await gate.identify(request)).org_id

    router = APIRouter(
        tags=["lists"], route_class=idempotent_route(transactions.database, org_of), responses=refusals(404, 409)
    )
    _add_looking(router, lists, contacts, gate, transactions)
    _add_editing(router, lists, gate, transactions)
    _add_combining(router, lists, gate, transactions)
    _add_members(router, lists, gate, transactions)
    return router


def _add_looking(
    router: APIRouter, lists: ContactListService, contacts: ContactService, gate: Gate, transactions: Transactions
) -> None:
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_READ))]

    @router.get(PREFIX)
    async def list_lists(
        principal: Reader,
        session: Reading,
        kind: Literal["static", "dynamic"] | None = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: CursorText = None,
    ) -> Page[ListOut]:
        """List the lists and segments that are not archived, newest first."""
        rows = await repository.page(session, principal.org_id, kind=kind or "", before=place(cursor), limit=limit + 1)
        return Page[ListOut].of(rows, limit, ListOut.of)

    @router.get(PREFIX + "/{list_id}")
    async def get_list(principal: Reader, list_id: UUID, session: Reading, response: Response) -> ListOut:
        """Return a list."""
        row = await lists.find(session, principal.org_id, list_id)
        response.headers["ETag"] = etag(row.revision)
        return ListOut.of(row)

    @router.get(PREFIX + "/{list_id}/count")
    async def count_list_members(principal: Reader, list_id: UUID) -> CountOut:
        """Count the contacts of a list now; the list shows that number from then on."""
        return CountOut.of(await lists.count(principal.org_id, list_id))

    @router.get(PREFIX + "/{list_id}/members")
    async def list_list_members(
        principal: Reader, list_id: UUID, session: Reading, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
    ) -> Page[ContactOut]:
        """List the contacts of a list, newest first; of a segment those that fit its filter now."""
        row = await lists.find(session, principal.org_id, list_id)
        rows = await lists.members(session, row, before=place(cursor), limit=limit + 1)
        shown = rows[:limit]
        return Page[ContactOut](
            items=[ContactOut.of(each) for each in await contacts.details(session, shown)],
            next_cursor=cursor_of(shown[-1]) if len(rows) > limit else None,
        )

    @router.get("/api/v1/contacts/{contact_id}/lists")
    async def list_lists_of_contact(principal: Reader, contact_id: UUID, session: Reading) -> list[ListOut]:
        """List the lists that a contact is on and the segments that it is in."""
        contact = await contacts.find(session, principal.org_id, contact_id)
        return [ListOut.of(row) for row in await lists.lists_of(session, principal.org_id, contact.id)]


def _add_editing(router: APIRouter, lists: ContactListService, gate: Gate, transactions: Transactions) -> None:
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_WRITE))]

    @router.post(PREFIX, status_code=status.HTTP_201_CREATED)
    async def create_list(principal: Writer, body: ListBody, session: Writing, response: Response) -> ListOut:
        """Make a static list, or with a filter a segment."""
        row = await lists.create(session, principal, body.new())
        response.headers.update({"ETag": etag(row.revision), "Location": f"{PREFIX}/{row.id}"})
        return ListOut.of(row)

    @router.patch(PREFIX + "/{list_id}")
    async def edit_list(
        principal: Writer,
        list_id: UUID,
        body: ListEdit,
        session: Writing,
        response: Response,
        if_match: IfMatch = None,
    ) -> ListOut:
        """Change a list's name or description, or a segment's filter."""
        row = await lists.locked(session, principal.org_id, list_id)
        check_if_match(if_match, row.revision)
        await lists.edit(session, principal, row, name=body.name, description=body.description, filter_=body.filter)
        response.headers["ETag"] = etag(row.revision)
        return ListOut.of(row)

    @router.delete(PREFIX + "/{list_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def archive_list(principal: Writer, list_id: UUID, session: Writing, if_match: IfMatch = None) -> None:
        """Take a list out of use. Its contacts stay, and what was done with it keeps pointing at it."""
        row = await lists.locked(session, principal.org_id, list_id)
        check_if_match(if_match, row.revision)
        await lists.archive(session, principal, row)


def _add_combining(router: APIRouter, lists: ContactListService, gate: Gate, transactions: Transactions) -> None:
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_WRITE))]

    @router.post(PREFIX + "/combine", status_code=status.HTTP_201_CREATED)
    async def combine_lists(principal: Writer, body: ListCombination, session: Writing) -> NewListOut:
        """Make a static list of the union, the intersection or the difference of lists and segments."""
        return NewListOut.made(*await lists.combine(session, principal, body.name, body.how, body.lists))

    @router.post(PREFIX + "/{list_id}/clone", status_code=status.HTTP_201_CREATED)
    async def clone_list(principal: Writer, list_id: UUID, body: NewName, session: Writing) -> NewListOut:
        """Make a copy of a list: with the same members, or with the same filter."""
        return NewListOut.made(*await lists.clone(session, principal, list_id, body.name))

    @router.post(PREFIX + "/{list_id}/freeze", status_code=status.HTTP_201_CREATED)
    async def freeze_list(principal: Writer, list_id: UUID, body: NewName, session: Writing) -> NewListOut:
        """Make a static list of whoever is in a segment now."""
        return NewListOut.made(*await lists.freeze(session, principal, list_id, body.name))


def _add_members(router: APIRouter, lists: ContactListService, gate: Gate, transactions: Transactions) -> None:
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_WRITE))]

    @router.post(PREFIX + "/{list_id}/members")
    async def add_list_members(principal: Writer, list_id: UUID, body: Members, session: Writing) -> ListChangeOut:
        """Put contacts on a static list, by their keys or by a filter. Keys that are no contact's are left out."""
        body.check()
        row = await lists.locked(session, principal.org_id, list_id)
        if body.filter is not None:
            return ListChangeOut.of(await lists.add_fitting(session, principal, row, body.filter))
        return ListChangeOut.of(await lists.add(session, principal, row, body.contacts or ()))

    @router.post(PREFIX + "/{list_id}/members/remove")
    async def remove_list_members(principal: Writer, list_id: UUID, body: Members, session: Writing) -> ListChangeOut:
        """Take contacts off a static list, by their keys or by a filter. They stay contacts."""
        body.check()
        row = await lists.locked(session, principal.org_id, list_id)
        if body.filter is not None:
            return ListChangeOut.of(await lists.remove_fitting(session, principal, row, body.filter))
        return ListChangeOut.of(await lists.remove(session, principal, row, body.contacts or ()))
