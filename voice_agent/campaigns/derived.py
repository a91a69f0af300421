"""What is made of a campaign beside its own calls: a new campaign of those with certain outcomes, and test calls.

A new campaign of outcomes calls a static list that is made of the contacts of another one: as they are now, so that it
does not change while the other one goes on. The list is filled in chunks, the first one at once, the rest by a job that
is done within a minute; whoever looks at the new campaign (`preflight`) sees how many contacts it has.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.principal import Principal
from voice_agent.calls.service import CallOrder
from voice_agent.campaigns import repository
from voice_agent.campaigns.plan import Audience, Variant, document_of, stored_plan
from voice_agent.campaigns.ports import Calls, JobRequests
from voice_agent.campaigns.repository import ContactFilter
from voice_agent.campaigns.service import CampaignService
from voice_agent.campaigns.voices import voices_of
from voice_agent.compliance.model import Purpose
from voice_agent.contacts.list_filling import add_members
from voice_agent.contacts.lists import ContactListService, NewList
from voice_agent.contacts.segments import is_there
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.storage.database import Database
from voice_agent.storage.many_rows import is_one_of
from voice_agent.storage.tables import CallRow, CampaignRow, ContactRow

GATHER = "campaign.gather"
CHUNK = 5_000
"""Contacts that a transaction puts on the list."""


class ContactsToGather(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of the job."""

    org_id: UUID
    source_id: UUID
    list_id: UUID
    wanted: ContactFilter
    after: str = ""
    """Number of the last one."""


class DerivedCampaigns:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        campaigns: CampaignService,
        lists: ContactListService,
        jobs: JobRequests,
        clock: Callable[[], datetime],
        *,
        chunk: int = CHUNK,
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._campaigns = campaigns
        self._lists = lists
        self._jobs = jobs
        self._clock = clock
        self._chunk = chunk

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do. Before `Jobs.open`."""
        jobs.register(GATHER, ContactsToGather, self.work, timeout_s=3_600.0)

    async def from_outcomes(
        self, session: AsyncSession, principal: Principal, source_id: UUID, name: str, wanted: ContactFilter
    ) -> CampaignRow:
        """Return a new draft that calls some contacts of a campaign by its plan. Raises NotFound or Conflict."""
        source = await self._campaigns.find(session, principal.org_id, source_id)
        new_list = NewList(name=f"{name} ({self._clock():%Y-%m-%d %H:%M})"[:200], description=f"from {source.name}")
        target = await self._lists.create(session, principal, new_list)
        plan = msgspec.structs.replace(
            stored_plan(source.plan), audience=Audience(lists=(target.id,)), starts_at=None, ends_at=None
        )
        row = await self._campaigns.create(session, principal, name, document_of(plan))
        row.cloned_from = source.id
        work = ContactsToGather(org_id=principal.org_id, source_id=source.id, list_id=target.id, wanted=wanted)
        following = await self._gather(session, source, work)
        if following is not None:
            await self._jobs.request(session, GATHER, following, job_id=f"campaign-gather-{target.id}")
        return row

    async def work(self, work: ContactsToGather, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """Put what is left of the contacts on the list: the handler of the job. Twice is once."""
        following: ContactsToGather | None = work
        while following is not None:
            async with self._database.write() as session:
                source = await repository.find(session, work.org_id, work.source_id)
                following = None if source is None else await self._gather(session, source, following)

    async def _gather(
        self, session: AsyncSession, source: CampaignRow, work: ContactsToGather
    ) -> ContactsToGather | None:
        """Put the next contacts on the list; return what is left, None at the end."""
        rows = await repository.wanted_walk(session, source, work.wanted, after=work.after, limit=self._chunk)
        ids = [contact_id for _, contact_id in rows if contact_id is not None]
        these = is_there(work.org_id) & is_one_of(session, ContactRow.id, ids)
        await add_members(session, work.list_id, these, self._clock(), added_in=None)
        return msgspec.structs.replace(work, after=rows[-1][0]) if len(rows) == self._chunk else None


class TestCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of an agent as a campaign would place it, to a number of one's own."""

    __test__ = False

    to: str
    campaign_contact_id: UUID | None = None
    """Whose variables the agent is told; None: what `variables` says alone."""

    variant: str = ""
    """Key; empty: the contact's, else the first."""

    variables: dict[str, str] = {}


class TrialCalls:
    """Places test calls. They belong to no campaign, so that no figure ever counts them."""

    def __init__(self, database: Database, campaigns: CampaignService, calls: Calls) -> None:
        self._database = database
        self._campaigns = campaigns
        self._calls = calls

    async def place(self, principal: Principal, campaign_id: UUID, wanted: TestCall) -> CallRow:
        """Place a test call and return it as it stands.

        Raises NotFound, Conflict where the agent is not published, InvalidRequest where it misses something, and what
        `CallService.start` raises: a test goes to the organisation's own numbers, or to who agreed to that.
        """
        async with self._database.read() as session:
            campaign = await self._campaigns.find(session, principal.org_id, campaign_id)
            order = await self._order(session, campaign, wanted)
        return await self._calls.start(principal, order)

    async def _order(self, session: AsyncSession, campaign: CampaignRow, wanted: TestCall) -> CallOrder:
        plan = stored_plan(campaign.plan)
        known: dict[str, str] = {}
        key = wanted.variant
        if wanted.campaign_contact_id is not None:
            contact = await repository.contact(session, campaign, wanted.campaign_contact_id)
            if contact is None:
                raise NotFound("there is no such contact in the campaign")
            known, key = dict(contact.variables), key or contact.variant
        variant = _named(plan.variants, key)
        voice = (await voices_of(session, campaign.org_id, plan)).get(variant.key)
        if voice is None:
            raise Conflict(f"variant {variant.key}: its agent is not published")
        return CallOrder(
            to=wanted.to,
            purpose=Purpose.TEST,
            agent_id=variant.agent_id,
            variables=voice.told({**known, **wanted.variables}),
            ring_s=plan.ring_s,
        )


def _named(variants: tuple[Variant, ...], key: str) -> Variant:
    if not key:
        return variants[0]
    for variant in variants:
        if variant.key == key:
            return variant
    raise InvalidRequest(f"variant: the plan has no {key[:40]!r}")
