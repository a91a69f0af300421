"""Calls that somebody was promised at a moment of their own: booked in a call by the agent, or by people.

A promise is kept at the first moment from the wanted one on at which the law and the campaign's own hours allow a call.
It comes before everybody else of the campaign, and the gap between two calls does not hold for it; the caps of a day
and a week do, and whoever must not be called is not, whatever was promised. Works in the caller's transaction.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.calls import repository as calls
from voice_agent.campaigns import attempt_rows, repository
from voice_agent.campaigns.model import AT_THE_PHONE, WAITING, CampaignState, ContactState
from voice_agent.campaigns.retries import ordinary, promised
from voice_agent.campaigns.settling import Settling
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow

FURTHEST = timedelta(days=90)

_LAUNCHED = frozenset({CampaignState.RUNNING, CampaignState.PAUSING, CampaignState.PAUSED, CampaignState.HELD})
_BOOKABLE = WAITING | AT_THE_PHONE | {ContactState.DONE, ContactState.EXHAUSTED}


class Callbacks:
    """One for the process."""

    def __init__(self, settling: Settling) -> None:
        self._settling = settling

    async def book_in_call(self, session: AsyncSession, call: CallRow, wanted: datetime, now: datetime) -> datetime:
        """Return the moment at which the contact of a call can be called again as they want; `settling` has it done.

        The caller writes it into the call. Raises InvalidRequest where there is no such moment.
        """
        if call.campaign_id is None:
            raise InvalidRequest("this call is not of a campaign: nobody calls again")
        campaign = await repository.find(session, call.org_id, call.campaign_id)
        if campaign is None or CampaignState(campaign.state) not in _LAUNCHED:
            raise InvalidRequest("this campaign is over: nobody calls again")
        return await self._moment(session, campaign, call.to_number, wanted, now)

    async def book(
        self,
        session: AsyncSession,
        principal: Principal,
        campaign_id: UUID,
        campaign_contact_id: UUID,
        wanted: datetime,
        now: datetime,
    ) -> CampaignContactRow:
        """Promise a call to a contact, in place of an earlier promise; return them. Their part may be over.

        Raises NotFound, InvalidRequest for a moment at which nobody may call, or Conflict where nobody will.
        """
        campaign = await self._campaign(session, principal.org_id, campaign_id)
        contact = await self._locked(session, campaign, campaign_contact_id)
        state = ContactState(contact.state)
        if CampaignState(campaign.state) not in _LAUNCHED or state not in _BOOKABLE:
            raise Conflict(f"nobody calls a contact who is {state} in a campaign that is {campaign.state}")
        at = await self._moment(session, campaign, contact.e164, wanted, now)
        contact.callback_at = at
        if state not in AT_THE_PHONE:  # else the end of that call finds it
            contact.state, contact.next_attempt_at = ContactState.COOLDOWN.value, at
            contact.rank, contact.settled_at, contact.skip_reason = promised(contact.rank), None, ""
        await self._record(session, principal, campaign, contact, f"a call was promised for {at.isoformat()}", now)
        return contact

    async def cancel(
        self,
        session: AsyncSession,
        principal: Principal,
        campaign_id: UUID,
        campaign_contact_id: UUID,
        now: datetime,
    ) -> CampaignContactRow:
        """Take a promise back: the contact is called as their last call says, or not any more.

        Raises NotFound, also where nothing was promised, or Conflict while they are being called.
        """
        campaign = await self._campaign(session, principal.org_id, campaign_id)
        contact = await self._locked(session, campaign, campaign_contact_id)
        if contact.callback_at is None or ContactState(contact.state) not in WAITING | AT_THE_PHONE:
            raise NotFound("no call was promised to this contact")
        if ContactState(contact.state) in AT_THE_PHONE:
            raise Conflict("they are being called just now")
        contact.callback_at, contact.rank = None, ordinary(contact.rank)
        await self._settling.look_again(session, contact, now)
        await self._record(session, principal, campaign, contact, "a promised call was taken back", now)
        return contact

    async def _moment(
        self, session: AsyncSession, campaign: CampaignRow, e164: str, wanted: datetime, now: datetime
    ) -> datetime:
        if not now < wanted <= now + FURTHEST:
            raise InvalidRequest(f"at: is not within the next {FURTHEST.days} days")
        at = await self._settling.legal_moment(session, campaign, e164, wanted)
        if at is None:
            raise InvalidRequest("at: there is no hour from then on at which they may be called")
        return at

    async def _campaign(self, session: AsyncSession, org_id: UUID, campaign_id: UUID) -> CampaignRow:
        campaign = await repository.find(session, org_id, campaign_id)
        if campaign is None:
            raise NotFound("there is no such campaign")
        return campaign

    async def _locked(
        self, session: AsyncSession, campaign: CampaignRow, campaign_contact_id: UUID
    ) -> CampaignContactRow:
        contact = await repository.contact(session, campaign, campaign_contact_id)
        if contact is None:
            raise NotFound("there is no such contact in this campaign")
        if contact.call_id is not None:  # in the order in which everybody locks: the call first
            await calls.locked(session, contact.call_id)
        await session.refresh(contact, with_for_update={"key_share": True})
        return contact

    async def _record(
        self,
        session: AsyncSession,
        principal: Principal,
        campaign: CampaignRow,
        contact: CampaignContactRow,
        text: str,
        now: datetime,
    ) -> None:
        details = {"campaign_contact_id": str(contact.id)}
        await repository.note(session, campaign, "callback", text, details, principal.name, now)
        await audit.record(
            session, principal, "campaign.callback", target_kind="campaign", target_id=str(campaign.id), after=details
        )


async def callbacks_page(
    session: AsyncSession, campaign: CampaignRow, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[CampaignContactRow]:
    """Return the contacts who were promised a call, the soonest first."""
    return list(await attempt_rows.callbacks_of(session, campaign, after=after, limit=limit))
