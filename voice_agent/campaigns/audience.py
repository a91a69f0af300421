"""Who is called: from lists, segments and filters to the contacts of a campaign, however many they are.

How it works: contacts are met in windows (`contacts.windows`), each in one transaction with the place that was reached,
so a job that is killed goes on where it was. A window is one query for those who fit and are not in the campaign yet,
and one insert; the unique indexes by contact and by number have nobody in it twice, whatever runs at the same time.

| when | who | state |
|---|---|---|
| before the launch (`preflight`) | everybody who fits then | pending |
| while it runs, where the audience is live (`follow`) | whoever has come to fit since, so many a day | due |
| while it runs, by hand (`add`) | contacts that somebody names | due |

Nobody ever leaves a campaign by not fitting any more: what is called was looked at before, and the law is asked anyway.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import ColumnElement, and_, delete, exists, func, not_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.campaigns import repository
from voice_agent.campaigns.audience_rows import STANDARD, rank_of, variables_of, variant_of
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.campaigns.plan import Plan, stored_plan
from voice_agent.campaigns.ports import JobRequests
from voice_agent.contacts import list_repository
from voice_agent.contacts.filters import Filter, read_filter
from voice_agent.contacts.segments import check_references, condition, is_there
from voice_agent.contacts.windows import contacts_window, members_window
from voice_agent.errors import InvalidRequest
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import Values, insert_rows, is_one_of
from voice_agent.storage.tables import CampaignContactRow, CampaignRow, ContactListRow, ContactRow, ListMemberRow

log = structlog.get_logger(__name__)

FOLLOW = "campaign.follow_audience"
FOLLOW_S = 300.0
"""Between two looks for whoever has come to fit a live audience."""

JOB_S = 3_600.0
WINDOW = 2_000
"""Contacts that a transaction looks at: 1 s of SQLite at the most, measured on a machine with much else to do."""

Clause = ColumnElement[bool]
_COLUMNS = (ContactRow.id, ContactRow.e164, ContactRow.custom, *(getattr(ContactRow, name) for name in STANDARD))


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """How far a walk through an audience is."""

    source: int = 0
    """Which list of the plan."""

    at: datetime | None = None
    """Of a filter or segment: when the last contact that was looked at was made."""

    id: UUID | None = None
    """The last contact that was looked at; None at a source's beginning."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """How contacts join."""

    state: ContactState
    now: datetime
    limit: int | None = None
    """Most of them; None: all who fit."""


async def check_audience(session: AsyncSession, org_id: UUID, plan: Plan) -> None:
    """Raise InvalidRequest where an audience names a list or a filter's part that the organisation has not."""
    audience = plan.audience
    for list_id in (*audience.lists, *audience.without_lists):
        if await _list(session, org_id, list_id) is None:
            raise InvalidRequest(f"plan: audience: there is no list {list_id}")
    if audience.filter is not None:
        await check_references(session, org_id, read_filter(audience.filter))


async def fill_window(
    session: AsyncSession, campaign: CampaignRow, plan: Plan, reached: Reached, entry: Entry, *, size: int = WINDOW
) -> tuple[int, Reached | None]:
    """Have whoever fits in the next window join; return how many did, and where to go on: None at the end."""
    source = await _source(session, campaign, plan, reached.source)
    if source is None:
        return 0, _after(plan, reached, None)
    among, following = await _next_window(session, campaign, source, reached, size)
    wanted = and_(is_there(campaign.org_id), among, await _fits(session, campaign, plan, source, entry.now))
    joined = await _join(session, campaign, plan, wanted, entry)
    return joined, _after(plan, reached, following)


async def add(
    session: AsyncSession, campaign: CampaignRow, plan: Plan, contact_ids: Sequence[UUID], entry: Entry
) -> int:
    """Have these contacts join, whether or not they fit; return how many are new."""
    named = and_(is_there(campaign.org_id), is_one_of(session, ContactRow.id, list(contact_ids)))
    return await _join(session, campaign, plan, named, entry)


async def clear(session: AsyncSession, campaign: CampaignRow, *, limit: int = WINDOW) -> int:
    """Take contacts out of a campaign that was never launched, `limit` at the most; return how many."""
    row = CampaignContactRow
    some = select(row.id).where(row.campaign_id == campaign.id, row.state == ContactState.PENDING.value).limit(limit)
    gone = await session.execute(delete(row).where(row.id.in_(some)).execution_options(synchronize_session=False))
    return int(getattr(gone, "rowcount", 0))


async def count(session: AsyncSession, campaign: CampaignRow, *, since: datetime | None = None) -> int:
    """Return how many contacts a campaign has, or how many have joined since."""
    query = select(func.count()).where(CampaignContactRow.campaign_id == campaign.id)
    if since is not None:
        query = query.where(CampaignContactRow.created_at >= since)
    return int((await session.execute(query)).scalar_one())


# --- sources ----------------------------------------------------------------------------------------------------------
class _Source(msgspec.Struct, frozen=True, kw_only=True):
    """A list or segment of the plan, or all contacts."""

    list_id: UUID | None = None
    """Of a static list."""

    segment: Filter | None = None


async def _source(session: AsyncSession, campaign: CampaignRow, plan: Plan, index: int) -> _Source | None:
    lists = plan.audience.lists
    if not lists:
        return None if plan.audience.is_empty else _Source()
    row = await _list(session, campaign.org_id, lists[index])
    if row is None:  # archived since the plan was written
        return None
    return _Source(list_id=row.id) if row.filter is None else _Source(segment=read_filter(row.filter))


async def _list(session: AsyncSession, org_id: UUID, list_id: UUID) -> ContactListRow | None:
    row = await list_repository.find(session, org_id, list_id)
    return None if row is None or row.archived_at is not None else row


async def _next_window(
    session: AsyncSession, campaign: CampaignRow, source: _Source, reached: Reached, size: int
) -> tuple[Clause, Reached | None]:
    if source.list_id is not None:
        among, member = await members_window(session, campaign.org_id, source.list_id, after=reached.id, size=size)
        return among, None if member is None else Reached(source=reached.source, id=member)
    after = None if reached.at is None or reached.id is None else (reached.at, reached.id)
    among, place = await contacts_window(session, campaign.org_id, after=after, size=size)
    return among, None if place is None else Reached(source=reached.source, at=place[0], id=place[1])


def _after(plan: Plan, reached: Reached, following: Reached | None) -> Reached | None:
    if following is None and reached.source + 1 < len(plan.audience.lists):
        return Reached(source=reached.source + 1)
    return following


async def _fits(session: AsyncSession, campaign: CampaignRow, plan: Plan, source: _Source, now: datetime) -> Clause:
    """Return the condition of a segment and of the plan's filter, and of not being on the lists that it leaves out."""
    org_id, audience = campaign.org_id, plan.audience
    chosen = [] if source.segment is None else [source.segment]
    if audience.filter is not None:
        chosen.append(read_filter(audience.filter))
    clauses: list[Clause] = [true(), *(condition(each, org_id, now) for each in chosen)]
    for list_id in audience.without_lists:
        row = await list_repository.find(session, org_id, list_id)
        if row is not None and row.filter is not None:
            clauses.append(not_(condition(read_filter(row.filter), org_id, now)))
        elif row is not None:  # an archived one goes on leaving out whom it has
            clauses.append(not_(_is_member(org_id, row.id)))
    return and_(*clauses)


def _is_member(org_id: UUID, list_id: UUID) -> Clause:
    member = ListMemberRow
    return exists(
        select(member.contact_id)
        .where(member.list_id == list_id, member.org_id == org_id, member.contact_id == ContactRow.id)
        .correlate(ContactRow)
    )


# --- joining ----------------------------------------------------------------------------------------------------------
async def _join(session: AsyncSession, campaign: CampaignRow, plan: Plan, wanted: Clause, entry: Entry) -> int:
    in_it = exists(
        select(CampaignContactRow.id)
        .where(CampaignContactRow.campaign_id == campaign.id, CampaignContactRow.contact_id == ContactRow.id)
        .correlate(ContactRow)
    )
    query = select(*_COLUMNS).where(wanted, not_(in_it)).order_by(ContactRow.id)
    if entry.limit is not None:
        query = query.limit(entry.limit)
    found = (await session.execute(query)).mappings().all()
    return await insert_rows(session, CampaignContactRow, [_row(campaign, plan, each, entry) for each in found])


def _row(campaign: CampaignRow, plan: Plan, contact: Any, entry: Entry) -> Values:
    is_due = entry.state is ContactState.DUE
    return {
        "id": new_id(),
        "org_id": campaign.org_id,
        "campaign_id": campaign.id,
        "contact_id": contact["id"],
        "e164": contact["e164"],
        "variables": variables_of(contact, contact["custom"]),
        "variant": variant_of(campaign.id, contact["id"], plan.variants),
        "from_number": "",
        "state": entry.state.value,
        "rank": rank_of(contact["custom"], plan.audience.rank_field),
        "next_attempt_at": entry.now if is_due else None,
        "attempts": 0,
        "calls": 0,
        "skip_reason": "",
        "lease_epoch": 0,
        "created_at": entry.now,
    }


# --- live audiences ---------------------------------------------------------------------------------------------------
class AudienceToFollow(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of `FOLLOW`."""

    org_id: UUID
    campaign_id: UUID


class LiveAudiences:
    """Has whoever comes to fit a live audience join while its campaign runs. One for the process."""

    def __init__(
        self, database: Database, jobs: JobRequests, clock: Callable[[], datetime], *, window: int = WINDOW
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._jobs = jobs
        self._clock = clock
        self._window = window

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do. Before `Jobs.open`."""
        jobs.register(FOLLOW, AudienceToFollow, self.follow, timeout_s=JOB_S)
        jobs.every("live_audiences", FOLLOW_S, self.look)

    async def look(self) -> None:
        """Ask for a job for each campaign that runs and has a live audience."""
        now = self._clock()
        async with self._database.write() as session:
            for campaign in await repository.live(session):
                if stored_plan(campaign.plan).audience.is_live:
                    work = AudienceToFollow(org_id=campaign.org_id, campaign_id=campaign.id)
                    moment = int(now.timestamp() // FOLLOW_S)
                    await self._jobs.request(session, FOLLOW, work, job_id=f"campaign-follow-{campaign.id}-{moment}")

    async def follow(self, work: AudienceToFollow, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """Walk through the audience once, as far as the day's cap allows."""
        reached: Reached | None = Reached()
        joined = 0
        while reached is not None:
            async with self._database.write() as session:
                new, reached = await self._window_of(session, work, reached)
            joined += new
        if joined:
            log.info("campaign_contacts_joined", campaign_id=str(work.campaign_id), contacts=joined)

    async def _window_of(
        self, session: AsyncSession, work: AudienceToFollow, reached: Reached
    ) -> tuple[int, Reached | None]:
        campaign = await repository.locked(session, work.org_id, work.campaign_id)
        if campaign is None or campaign.state != CampaignState.RUNNING:
            return 0, None
        plan, now = stored_plan(campaign.plan), self._clock()
        if not plan.audience.is_live:
            return 0, None
        limit = None
        if plan.audience.daily_new is not None:
            limit = plan.audience.daily_new - await self._joined_today(session, campaign, now)
            if limit <= 0:
                return 0, None
        entry = Entry(state=ContactState.DUE, now=now, limit=limit)
        new, following = await fill_window(session, campaign, plan, reached, entry, size=self._window)
        if new:
            await repository.note(
                session, campaign, "audience", f"{new} contacts joined", {"new": new}, "audience", now
            )
        return new, following

    async def _joined_today(self, session: AsyncSession, campaign: CampaignRow, now: datetime) -> int:
        """Return how many have joined since midnight (UTC), and since the launch where that was later."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        launched = campaign.launched_at or midnight
        return await count(session, campaign, since=max(midnight, launched + timedelta(microseconds=1)))
