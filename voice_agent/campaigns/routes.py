"""The REST interface of campaigns. It translates; `service`, `derived` and `dispositions` do.

Figures of a campaign are served by `analytics`, the reasons for which it does not dial by the scheduler's own routes.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.calls.model import Outcome
from voice_agent.calls.schemas import CallOut
from voice_agent.campaigns import repository
from voice_agent.campaigns.assembly import CampaignServices
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.campaigns.preflight import look_of
from voice_agent.campaigns.repository import CampaignFilter, ContactFilter
from voice_agent.campaigns.schemas import (
    Added,
    AttemptOut,
    CampaignBody,
    CampaignContactOut,
    CampaignContacts,
    CampaignDetail,
    CampaignOut,
    DispositionBody,
    DispositionOut,
    FromOutcomes,
    NewDisposition,
    NewName,
    NoteOut,
    PlanChange,
    PreflightOut,
    Reopened,
    Reopening,
    RevisionDetail,
    RevisionOut,
    Stop,
    TrialCall,
    Why,
)
from voice_agent.errors import NotFound
from voice_agent.rest.etags import IfMatch, check_if_match, etag
from voice_agent.rest.idempotency import idempotent_route
from voice_agent.rest.inputs import Ordinal, SearchText
from voice_agent.rest.pages import DEFAULT_LIMIT, CursorText, Limit, Page, cursor, place
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions
from voice_agent.storage.tables import CampaignRow

PREFIX = "/api/v1/campaigns"
DISPOSITIONS = "/api/v1/dispositions"


def campaigns_router(services: CampaignServices, gate: Gate, transactions: Transactions) -> APIRouter:
    """Return the routes under /api/v1/campaigns and /api/v1/dispositions."""

    async def org_of(request: Request) -> UUID:
        return (await gate.identify(request)).org_id

    router = APIRouter(
        tags=["campaigns"], route_class=idempotent_route(transactions.database, org_of), responses=refusals(404, 409)
    )
    _add_looking(router, services, gate, transactions)
    _add_details(router, services, gate, transactions)
    _add_editing(router, services, gate, transactions)
    _add_running(router, services, gate, transactions)
    _add_contacts(router, services, gate, transactions)
    _add_dispositions(router, services, gate, transactions)
    return router


def _add_looking(router: APIRouter, services: CampaignServices, gate: Gate, transactions: Transactions) -> None:
    campaigns = services.campaigns
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_READ))]

    @router.get(PREFIX)
    async def list_campaigns(
        principal: Reader,
        session: Reading,
        state: Annotated[list[CampaignState] | None, Query()] = None,
        name: Annotated[SearchText, Query(max_length=200, description="A part of its name.")] = "",
        limit: Limit = DEFAULT_LIMIT,
        cursor_: Annotated[CursorText, Query(alias="cursor")] = None,
    ) -> Page[CampaignOut]:
        """List campaigns, newest first; archived ones only where their state is asked for."""
        wanted = CampaignFilter(states=frozenset(state or ()), name=name)
        rows = await repository.page(session, principal.org_id, wanted, before=place(cursor_), limit=limit + 1)
        shown = rows[:limit]
        tallies = await repository.tallies(session, [row.id for row in shown])
        return Page[CampaignOut](
            items=[CampaignOut.of(row, tallies[row.id]) for row in shown],
            next_cursor=cursor(shown[-1]) if len(rows) > limit else None,
        )

    @router.get(PREFIX + "/{campaign_id}")
    async def get_campaign(
        principal: Reader, campaign_id: UUID, session: Reading, response: Response
    ) -> CampaignDetail:
        """Return a campaign with its plan, how many contacts are in each state, and its preflight."""
        row = await campaigns.find(session, principal.org_id, campaign_id)
        return await _detail(session, row, response)

    @router.get(PREFIX + "/{campaign_id}/preflight")
    async def get_campaign_preflight(principal: Reader, campaign_id: UUID, session: Reading) -> PreflightOut:
        """Return what the last look found, or how far it is. 404: not looked at since plan or audience were changed."""
        look = look_of(await campaigns.find(session, principal.org_id, campaign_id))
        if look is None:
            raise NotFound("the campaign has not been looked at since it was changed")
        return PreflightOut.of(look)

    @router.get(PREFIX + "/{campaign_id}/revisions")
    async def list_campaign_revisions(principal: Reader, campaign_id: UUID, session: Reading) -> list[RevisionOut]:
        """List the revisions of a campaign, newest first; 200 at the most."""
        row = await campaigns.find(session, principal.org_id, campaign_id)
        return [RevisionOut.of(each) for each in await repository.revisions(session, row)]

    @router.get(PREFIX + "/{campaign_id}/revisions/{number}")
    async def get_campaign_revision(
        principal: Reader, campaign_id: UUID, number: Ordinal, session: Reading
    ) -> RevisionDetail:
        """Return a revision with its plan."""
        row = await campaigns.find(session, principal.org_id, campaign_id)
        return RevisionDetail.of(await campaigns.find_revision(session, row, number))

    @router.get(PREFIX + "/{campaign_id}/revisions/{number}/difference/{other}")
    async def compare_campaign_revisions(
        principal: Reader, campaign_id: UUID, number: Ordinal, other: Ordinal, session: Reading
    ) -> list[PlanChange]:
        """Return what differs between a revision and another one."""
        row = await campaigns.find(session, principal.org_id, campaign_id)
        changes = await campaigns.compare(session, row, number, other)
        return [PlanChange(field=field, old=old, new=new) for field, (old, new) in changes.items()]


def _add_details(router: APIRouter, services: CampaignServices, gate: Gate, transactions: Transactions) -> None:
    campaigns = services.campaigns
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_READ))]
    ContactReader = Annotated[Principal, Depends(gate.allow(Permission.CONTACTS_READ))]
    CallReader = Annotated[Principal, Depends(gate.allow(Permission.CALLS_READ))]

    @router.get(PREFIX + "/{campaign_id}/contacts")
    async def list_campaign_contacts(
        principal: ContactReader,
        campaign_id: UUID,
        session: Reading,
        wanted: Annotated[ContactFilter, Depends(_contact_filter)],
        limit: Limit = DEFAULT_LIMIT,
        cursor_: Annotated[CursorText, Query(alias="cursor")] = None,
    ) -> Page[CampaignContactOut]:
        """List the contacts of a campaign, those that joined last first, with the reasons of those not called."""
        row = await campaigns.find(session, principal.org_id, campaign_id)
        rows = await repository.contacts_page(session, row, wanted, before=place(cursor_), limit=limit + 1)
        return Page[CampaignContactOut].of(rows, limit, CampaignContactOut.of)

    @router.get(PREFIX + "/{campaign_id}/notes")
    async def list_campaign_notes(
        principal: Reader,
        campaign_id: UUID,
        session: Reading,
        kind: Annotated[SearchText, Query(max_length=40)] = "",
        limit: Limit = DEFAULT_LIMIT,
        cursor_: Annotated[CursorText, Query(alias="cursor")] = None,
    ) -> Page[NoteOut]:
        """List a campaign's log, newest first: what was done to it, what it did by itself, and why."""
        row = await campaigns.find(session, principal.org_id, campaign_id)
        rows = await repository.notes_page(session, row, kind=kind, before=place(cursor_), limit=limit + 1)
        return Page[NoteOut].of(rows, limit, NoteOut.of)

    @router.get(PREFIX + "/{campaign_id}/attempts")
    async def list_campaign_attempts(
        principal: CallReader,
        campaign_id: UUID,
        session: Reading,
        outcome: Annotated[list[Outcome] | None, Query()] = None,
        campaign_contact_id: UUID | None = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor_: Annotated[CursorText, Query(alias="cursor")] = None,
    ) -> Page[AttemptOut]:
        """List the calls of a campaign, newest first."""
        row = await campaigns.find(session, principal.org_id, campaign_id)
        rows = await repository.calls_page(
            session,
            row,
            outcome or (),
            campaign_contact_id=campaign_contact_id,
            before=place(cursor_),
            limit=limit + 1,
        )
        return Page[AttemptOut].of(rows, limit, AttemptOut.of)


def _add_editing(router: APIRouter, services: CampaignServices, gate: Gate, transactions: Transactions) -> None:
    campaigns = services.campaigns
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_WRITE))]

    @router.post(PREFIX, status_code=status.HTTP_201_CREATED)
    async def create_campaign(
        principal: Writer, body: CampaignBody, session: Writing, response: Response
    ) -> CampaignDetail:
        """Make a campaign; it is a draft until it has been looked at (`validate`)."""
        row = await campaigns.create(session, principal, body.name, body.plan)
        return await _made(session, row, response)

    @router.put(PREFIX + "/{campaign_id}")
    async def edit_campaign(
        principal: Writer,
        campaign_id: UUID,
        body: CampaignBody,
        session: Writing,
        response: Response,
        if_match: IfMatch = None,
    ) -> CampaignDetail:
        """Replace name and plan: a new revision. Where audience or rules change, it has to be looked at again."""
        row = await campaigns.locked(session, principal.org_id, campaign_id)
        check_if_match(if_match, row.revision)
        row = await campaigns.edit(session, principal, row, name=body.name, document=body.plan)
        return await _detail(session, row, response)

    @router.post(PREFIX + "/{campaign_id}/clone", status_code=status.HTTP_201_CREATED)
    async def clone_campaign(
        principal: Writer, campaign_id: UUID, body: NewName, session: Writing, response: Response
    ) -> CampaignDetail:
        """Make a draft with the plan of a campaign, without its dates."""
        return await _made(session, await campaigns.clone(session, principal, campaign_id, body.name), response)

    @router.post(PREFIX + "/{campaign_id}/from-outcomes", status_code=status.HTTP_201_CREATED)
    async def create_campaign_from_outcomes(
        principal: Writer, campaign_id: UUID, body: FromOutcomes, session: Writing, response: Response
    ) -> CampaignDetail:
        """Make a draft that calls those contacts of a campaign again that have certain states or outcomes."""
        row = await services.derived.from_outcomes(session, principal, campaign_id, body.name, body.chosen())
        return await _made(session, row, response)

    @router.delete(PREFIX + "/{campaign_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_campaign(principal: Writer, campaign_id: UUID, session: Writing) -> None:
        """Delete a draft."""
        await campaigns.delete(session, principal, campaign_id)

    @router.post(PREFIX + "/{campaign_id}/archive")
    async def archive_campaign(
        principal: Writer, campaign_id: UUID, session: Writing, response: Response
    ) -> CampaignDetail:
        """Put a campaign away for good; what it left behind can be read on."""
        return await _detail(session, await campaigns.archive(session, principal, campaign_id), response)

    @router.post(PREFIX + "/{campaign_id}/validate", status_code=status.HTTP_202_ACCEPTED)
    async def validate_campaign(
        principal: Writer, campaign_id: UUID, session: Writing, response: Response
    ) -> CampaignDetail:
        """Look at a campaign before its launch, in the background; `preflight` tells how far that is."""
        return await _detail(session, await campaigns.validate(session, principal, campaign_id), response)


def _add_running(router: APIRouter, services: CampaignServices, gate: Gate, transactions: Transactions) -> None:
    campaigns = services.campaigns
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Runner = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_RUN))]
    Caller = Annotated[Principal, Depends(gate.allow(Permission.CALLS_WRITE))]

    @router.post(PREFIX + "/{campaign_id}/schedule")
    async def schedule_campaign(
        principal: Runner, campaign_id: UUID, session: Writing, response: Response
    ) -> CampaignDetail:
        """Have it start by itself at its plan's `starts_at`. It needs a fresh preflight that let it pass."""
        return await _detail(session, await campaigns.schedule(session, principal, campaign_id), response)

    @router.post(PREFIX + "/{campaign_id}/unschedule")
    async def unschedule_campaign(
        principal: Runner, campaign_id: UUID, session: Writing, response: Response
    ) -> CampaignDetail:
        """Have it not start by itself."""
        return await _detail(session, await campaigns.unschedule(session, principal, campaign_id), response)

    @router.post(PREFIX + "/{campaign_id}/start")
    async def start_campaign(
        principal: Runner, campaign_id: UUID, session: Writing, response: Response
    ) -> CampaignDetail:
        """Begin to dial now. It needs a fresh preflight that let it pass."""
        return await _detail(session, await campaigns.start(session, principal, campaign_id), response)

    @router.post(PREFIX + "/{campaign_id}/pause")
    async def pause_campaign(
        principal: Runner, campaign_id: UUID, body: Why, session: Writing, response: Response
    ) -> CampaignDetail:
        """Place no new calls; what the carrier has queued is cancelled, live calls go on."""
        return await _detail(session, await campaigns.pause(session, principal, campaign_id, body.reason), response)

    @router.post(PREFIX + "/{campaign_id}/resume")
    async def resume_campaign(
        principal: Runner, campaign_id: UUID, session: Writing, response: Response
    ) -> CampaignDetail:
        """Dial on, after a pause or a hold."""
        return await _detail(session, await campaigns.resume(session, principal, campaign_id), response)

    @router.post(PREFIX + "/{campaign_id}/stop")
    async def stop_campaign(
        principal: Runner, campaign_id: UUID, body: Stop, session: Writing, response: Response
    ) -> CampaignDetail:
        """Place no new calls, ever; in an emergency live calls are hung up, too."""
        row = await campaigns.stop(
            session, principal, campaign_id, reason=body.reason, is_emergency=body.mode == "emergency"
        )
        return await _detail(session, row, response)

    @router.post(PREFIX + "/{campaign_id}/test-call", status_code=status.HTTP_201_CREATED)
    async def place_test_call(principal: Caller, campaign_id: UUID, body: TrialCall, response: Response) -> CallOut:
        """Call a number of one's own as the campaign would, with a contact's variables; no figure counts it."""
        call = await services.trials.place(principal, campaign_id, body.wanted())
        response.headers["Location"] = f"/api/v1/calls/{call.id}"
        return CallOut.of(call)


def _add_contacts(router: APIRouter, services: CampaignServices, gate: Gate, transactions: Transactions) -> None:
    campaigns = services.campaigns
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_WRITE))]
    Runner = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_RUN))]

    @router.post(PREFIX + "/{campaign_id}/contacts")
    async def add_campaign_contacts(
        principal: Writer, campaign_id: UUID, body: CampaignContacts, session: Writing
    ) -> Added:
        """Have contacts join; those of a campaign that was launched are due at once. Who is in it already stays."""
        return Added(added=await campaigns.add_contacts(session, principal, campaign_id, body.contacts))

    @router.post(PREFIX + "/{campaign_id}/contacts/reopen")
    async def reopen_campaign_contacts(
        principal: Runner, campaign_id: UUID, body: Reopening, session: Writing
    ) -> Reopened:
        """Call contacts again whose part is over, 10,000 at the most; not those who asked not to be called."""
        return Reopened(reopened=await campaigns.reopen(session, principal, campaign_id, body.chosen()))


def _add_dispositions(router: APIRouter, services: CampaignServices, gate: Gate, transactions: Transactions) -> None:
    dispositions = services.dispositions
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_READ))]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_WRITE))]

    @router.get(DISPOSITIONS)
    async def list_dispositions(principal: Reader, session: Reading) -> list[DispositionOut]:
        """List the organisation's own words for what a call meant, by their keys."""
        return [DispositionOut.of(row) for row in await repository.dispositions(session, principal.org_id)]

    @router.post(DISPOSITIONS, status_code=status.HTTP_201_CREATED)
    async def create_disposition(principal: Writer, body: NewDisposition, session: Writing) -> DispositionOut:
        """Make one."""
        row = await dispositions.create(
            session, principal, body.key, label=body.label, is_goal=body.is_goal, is_retried=body.is_retried
        )
        return DispositionOut.of(row)

    @router.put(DISPOSITIONS + "/{disposition_id}")
    async def edit_disposition(
        principal: Writer, disposition_id: UUID, body: DispositionBody, session: Writing
    ) -> DispositionOut:
        """Change what one means; its key stays, because calls name it."""
        row = await dispositions.edit(
            session, principal, disposition_id, label=body.label, is_goal=body.is_goal, is_retried=body.is_retried
        )
        return DispositionOut.of(row)

    @router.delete(DISPOSITIONS + "/{disposition_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_disposition(principal: Writer, disposition_id: UUID, session: Writing) -> None:
        """Take one away; calls that have it keep its key."""
        await dispositions.delete(session, principal, disposition_id)


async def _contact_filter(
    state: Annotated[list[ContactState] | None, Query()] = None,
    outcome: Annotated[list[Outcome] | None, Query(description="Of the last call.")] = None,
    reason: Annotated[SearchText, Query(max_length=200, description="How the reason begins, such as its code.")] = "",
    number: Annotated[SearchText, Query(max_length=40, description="E.164.")] = "",
    variant: Annotated[SearchText, Query(max_length=40)] = "",
) -> ContactFilter:
    return ContactFilter(
        states=frozenset(state or ()),
        outcomes=frozenset(outcome or ()),
        reason=reason,
        number=number,
        variant=variant,
    )


async def _detail(session: AsyncSession, row: CampaignRow, response: Response) -> CampaignDetail:
    response.headers["ETag"] = etag(row.revision)
    tally = await repository.tally(session, row)
    return CampaignDetail.shown(row, tally, await repository.count_active(session, row))


async def _made(session: AsyncSession, row: CampaignRow, response: Response) -> CampaignDetail:
    response.headers["Location"] = f"{PREFIX}/{row.id}"
    return await _detail(session, row, response)
