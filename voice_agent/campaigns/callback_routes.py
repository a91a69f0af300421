"""The REST interface of promised calls. It translates; `callbacks` does."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.campaigns import repository
from voice_agent.campaigns.callbacks import Callbacks, callbacks_page
from voice_agent.campaigns.schemas import CampaignContactOut
from voice_agent.errors import NotFound
from voice_agent.rest.inputs import Moment, RequestBody
from voice_agent.rest.pages import DEFAULT_LIMIT, CursorText, Limit, Page, cursor, place
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions
from voice_agent.storage.tables import CampaignContactRow

PREFIX = "/api/v1/campaigns/{campaign_id}"


class CallbackTime(RequestBody):
    """When somebody is to be called."""

    at: Moment = Field(strict=False)


class _Due(msgspec.Struct):
    """Where a contact is in the list: what is shown first is due first."""

    created_at: datetime
    id: UUID


def callbacks_router(
    callbacks: Callbacks, gate: Gate, transactions: Transactions, *, clock: Callable[[], datetime]
) -> APIRouter:
    """Return the routes. `clock` returns the present in UTC."""
    router = APIRouter(tags=["campaigns"], responses=refusals(404, 409))
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_READ))]
    Runner = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_RUN))]

    @router.get(PREFIX + "/callbacks")
    async def list_campaign_callbacks(
        principal: Reader,
        campaign_id: UUID,
        session: Reading,
        limit: Limit = DEFAULT_LIMIT,
        cursor_: Annotated[CursorText, Query(alias="cursor")] = None,
    ) -> Page[CampaignContactOut]:
        """List the contacts who were promised a call, the soonest first."""
        row = await repository.find(session, principal.org_id, campaign_id)
        if row is None:
            raise NotFound("there is no such campaign")
        found = await callbacks_page(session, row, after=place(cursor_), limit=limit + 1)
        shown = found[:limit]
        following = cursor(_due(shown[-1])) if len(found) > limit else None
        return Page(items=[CampaignContactOut.of(each) for each in shown], next_cursor=following)

    @router.put(PREFIX + "/contacts/{campaign_contact_id}/callback")
    async def book_campaign_callback(
        principal: Runner, campaign_id: UUID, campaign_contact_id: UUID, body: CallbackTime, session: Writing
    ) -> CampaignContactOut:
        """Promise a call for a moment, or the first legal one after it: `callback_at`. 409: nobody will call."""
        contact = await callbacks.book(session, principal, campaign_id, campaign_contact_id, body.at, clock())
        return CampaignContactOut.of(contact)

    @router.delete(PREFIX + "/contacts/{campaign_contact_id}/callback")
    async def cancel_campaign_callback(
        principal: Runner, campaign_id: UUID, campaign_contact_id: UUID, session: Writing
    ) -> CampaignContactOut:
        """Take a promise back: the contact is called as their last call says. 409: they are being called just now."""
        return CampaignContactOut.of(
            await callbacks.cancel(session, principal, campaign_id, campaign_contact_id, clock())
        )

    return router


def _due(row: CampaignContactRow) -> _Due:
    assert row.callback_at is not None  # noqa: S101 - else it would not be in the list
    return _Due(row.callback_at, row.id)
