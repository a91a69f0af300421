"""The REST interface of tags and custom fields, and what all routes of contacts depend on."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, status
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.contacts.custom_fields import CustomFieldService
from voice_agent.contacts.schemas import FieldBody, FieldOut, NewField, NewTag, TagOut
from voice_agent.contacts.tags import TagService
from voice_agent.rest.idempotency import idempotent_route
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions


class Access:
    """What handlers of contacts depend on: sessions, and who may do what."""

    def __init__(self, gate: Gate, transactions: Transactions) -> None:
        async def org_of(request: Request) -> UUID:
            return (await gate.identify(request)).org_id

        self.route_class = idempotent_route(transactions.database, org_of)
        self.reading = Depends(transactions.reading, scope="function")
        self.writing = Depends(transactions.writing, scope="function")
        self.reader = Depends(gate.allow(Permission.CONTACTS_READ))
        self.writer = Depends(gate.allow(Permission.CONTACTS_WRITE))
        self.deleter = Depends(gate.allow(Permission.CONTACTS_DELETE))

    def router(self, prefix: str, *tags: str) -> APIRouter:
        """Return a router whose POSTs honour an Idempotency-Key."""
        return APIRouter(prefix=prefix, tags=list(tags), route_class=self.route_class, responses=refusals(404, 409))


def tags_router(tags: TagService, needed: Access) -> APIRouter:
    """Return the routes under /api/v1/tags."""
    router = needed.router("/api/v1/tags", "tags")
    Reading = Annotated[AsyncSession, needed.reading]
    Writing = Annotated[AsyncSession, needed.writing]
    Reader = Annotated[Principal, needed.reader]
    Writer = Annotated[Principal, needed.writer]

    @router.get("")
    async def list_tags(principal: Reader, session: Reading) -> list[TagOut]:
        """List the tags by name."""
        return [TagOut.of(row) for row in await tags.all(session, principal.org_id)]

    @router.post("", status_code=status.HTTP_201_CREATED)
    async def create_tag(principal: Writer, body: NewTag, session: Writing) -> TagOut:
        """Make a tag; giving a contact an unknown one makes it, too."""
        return TagOut.of(await tags.add(session, principal, body.name))

    @router.patch("/{tag_id}")
    async def rename_tag(principal: Writer, tag_id: UUID, body: NewTag, session: Writing) -> TagOut:
        """Give a tag another name; who has it keeps it."""
        return TagOut.of(await tags.rename(session, principal, tag_id, body.name))

    @router.delete("/{tag_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_tag(principal: Writer, tag_id: UUID, session: Writing) -> None:
        """Delete a tag, and take it from its contacts. 409 where very many have it: untag them first."""
        await tags.remove(session, principal, tag_id)

    return router


def fields_router(fields: CustomFieldService, needed: Access) -> APIRouter:
    """Return the routes under /api/v1/custom-fields."""
    router = needed.router("/api/v1/custom-fields", "custom-fields")
    Reading = Annotated[AsyncSession, needed.reading]
    Writing = Annotated[AsyncSession, needed.writing]
    Reader = Annotated[Principal, needed.reader]
    Writer = Annotated[Principal, needed.writer]

    @router.get("")
    async def list_custom_fields(principal: Reader, session: Reading) -> list[FieldOut]:
        """List the fields that contacts have beside the usual ones."""
        return [FieldOut.of(row) for row in await fields.all(session, principal.org_id)]

    @router.post("", status_code=status.HTTP_201_CREATED)
    async def create_custom_field(principal: Writer, body: NewField, session: Writing) -> FieldOut:
        """Give contacts a field."""
        return FieldOut.of(await fields.add(session, principal, body.field(body.key)))

    @router.put("/{field_id}")
    async def change_custom_field(principal: Writer, field_id: UUID, body: FieldBody, session: Writing) -> FieldOut:
        """Change a field's label, type or choices. 409 tells how many contacts have a value that would not fit."""
        row = await fields.find(session, principal.org_id, field_id)
        return FieldOut.of(await fields.change(session, principal, field_id, body.field(row.key)))

    @router.delete("/{field_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_custom_field(principal: Writer, field_id: UUID, session: Writing) -> None:
        """Take a field away, with its values in all contacts."""
        await fields.remove(session, principal, field_id)

    return router
