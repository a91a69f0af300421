"""The REST interface of dialling: why a campaign calls nobody now, or not more. It translates; `why` answers."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.calls.policy import MICROS
from voice_agent.campaigns import repository
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.model import CampaignState
from voice_agent.campaigns.why import WhyAnswer, why
from voice_agent.errors import NotFound
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions


class NumberInUse(BaseModel):
    """A number that the campaign may show."""

    e164: str
    blocker: str = Field(
        description="Why it cannot be shown now: quarantine, live, hour, day, warm_up or rest; empty: it can be."
    )
    live: int
    last_hour: int
    last_day: int


class Level(BaseModel):
    """How many calls there are at one level, and how many there may be."""

    scope: str = Field(description="everything, organisation, campaign or agent.")
    active: int
    limit: int | None = Field(description="null: any number. A campaign's is lower while its ramp lasts.")


class DiallingOut(BaseModel):
    """Why a campaign is not dialling, or not faster."""

    is_dialling: bool = Field(description="Whether it would begin a call now.")
    state: CampaignState
    reason: str = Field(description="Why it is held or stopped.")
    blockers: list[str] = Field(
        description="What keeps it from (more) calls: state:…, nobody_due, campaign_full, campaign_rate, carrier_rate, "
        "global_full, organisation_full, agents_full, numbers_full, no_number, no_agent."
    )
    due: int = Field(description="Contacts that could be looked at now, counted up to 200 of each rank.")
    callbacks: int = Field(description="Of these, those with a promised callback.")
    later: int = Field(description="Contacts that wait for a later moment, of the next 1,000.")
    next_at: datetime | None = Field(description="When the first of these is looked at.")
    waiting_for: dict[str, int] = Field(
        description="What those wait for: hours, caps, at_the_phone, retry, numbers_full, agents_full, budget, …"
    )
    over_for: dict[str, int] = Field(description="Why contacts are suppressed, invalid or skipped.")
    levels: list[Level]
    starting: int = Field(description="Calls that wait for their turn at the carrier.")
    calls_per_second: float = Field(description="By now.")
    ramp: float = Field(description="Share of its pace that it may use by now.")
    numbers: list[NumberInUse]
    budget: float | None = Field(description="US dollars.")
    committed: float = Field(description="Spent and set aside, US dollars.")

    @classmethod
    def of(cls, answer: WhyAnswer) -> Self:
        """Return what the interface shows."""
        return cls(
            is_dialling=answer.is_dialling,
            state=answer.state,
            reason=answer.reason,
            blockers=list(answer.blockers),
            due=answer.due,
            callbacks=answer.callbacks,
            later=answer.later,
            next_at=answer.next_at,
            waiting_for=dict(answer.waiting_for),
            over_for=dict(answer.over_for),
            levels=[Level(scope=each.scope, active=each.active, limit=each.limit) for each in answer.scopes],
            starting=answer.starting,
            calls_per_second=answer.calls_per_second,
            ramp=answer.ramp,
            numbers=[
                NumberInUse(
                    e164=each.e164,
                    blocker=each.blocker,
                    live=each.live,
                    last_hour=each.last_hour,
                    last_day=each.last_day,
                )
                for each in answer.numbers
            ],
            budget=None if answer.budget is None else answer.budget / MICROS,
            committed=answer.committed / MICROS,
        )


def dialling_router(
    limits: Limits, gate: Gate, transactions: Transactions, *, clock: Callable[[], datetime]
) -> APIRouter:
    """Return the routes. `clock` returns the present in UTC."""
    router = APIRouter(tags=["campaigns"], responses=refusals(404))
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.CAMPAIGNS_READ))]

    @router.get("/api/v1/campaigns/{campaign_id}/dialling")
    async def get_campaign_dialling(principal: Reader, campaign_id: UUID, session: Reading) -> DiallingOut:
        """Say why a campaign is not dialling, or not faster: the answer that dialling itself would get now."""
        row = await repository.find(session, principal.org_id, campaign_id)
        if row is None:
            raise NotFound("there is no such campaign")
        return DiallingOut.of(await why(session, row, limits, clock()))

    return router
