"""The look before a launch: whom the campaign would call, whom not and why, what it costs and how long it takes.

How it works: a job, in chunks, each in one transaction with what it has counted so far; killed anywhere it goes on
where it was. Its stages: contacts of an earlier look go (only where the campaign was never launched), the audience is
filled (`audience`), every contact is asked about with the same function that admits calls (`eligibility`), and what was
counted becomes a report (`preflight_report`). Reasons are written beside the contacts, so that they can be listed.

A launch needs a report that is fresh: of the same plan, as many contacts and the same agents' versions
(`plan.fingerprint`), and not older than `FRESH`. A campaign that was paused or is held is looked at again where its
plan was changed, and stays where it is meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.principal import system
from voice_agent.calls.service import TIME_LIMIT_MARGIN_S
from voice_agent.campaigns import audience, calling_hours, repository
from voice_agent.campaigns.audience import WINDOW, Entry, Reached
from voice_agent.campaigns.inquiry import Inquiry
from voice_agent.campaigns.life import CampaignLife, Cause
from voice_agent.campaigns.model import CampaignEvent, CampaignState, ContactState
from voice_agent.campaigns.plan import Plan, fingerprint, stored_plan
from voice_agent.campaigns.ports import JobRequests, Policies
from voice_agent.campaigns.preflight_report import (
    CallerNumber,
    Counts,
    Finding,
    Report,
    Severity,
    budget_findings,
    contact_findings,
    cost_range,
    date_findings,
    dialling_hours,
    end_of,
    number_findings,
)
from voice_agent.campaigns.voices import Voice, voices_of
from voice_agent.compliance.model import Callee, Purpose
from voice_agent.compliance.rules import duties_of
from voice_agent.compliance.service import ComplianceService
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import Values, update_rows
from voice_agent.storage.tables import CampaignContactRow, CampaignRow, PhoneNumberRow, PoolMemberRow

log = structlog.get_logger(__name__)

VALIDATE = "campaign.validate"
JOB_S = 2 * 3_600.0
CHUNK = 500
"""Contacts that are asked about in a transaction: some 0.2 s."""

FRESH = timedelta(hours=24)
"""So old a look may be at a launch: consents, suppressions and hours are asked again before every call anyway."""

_OPEN = (ContactState.PENDING, ContactState.DUE, ContactState.COOLDOWN)
_BESIDE = frozenset({CampaignState.PAUSED, CampaignState.HELD})
"""States in which a campaign is looked at without leaving them."""


class Stage(StrEnum):
    """How far a look is."""

    CLEARING = "clearing"
    AUDIENCE = "audience"
    LOOKING = "looking"
    DONE = "done"
    FAILED = "failed"


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A look, as it is kept in `CampaignRow.preflight`."""

    run: UUID
    revision: int
    started_at: datetime
    stage: Stage = Stage.CLEARING
    reached: Reached = Reached()
    """In the audience."""

    after: str = ""
    """Number of the last contact that was asked about."""

    total: int = 0
    """Contacts to ask about, once the audience is filled."""

    counts: Counts = Counts()
    fingerprint: str = ""
    finished_at: datetime | None = None
    report: Report | None = None
    error: str = ""

    @property
    def is_running(self) -> bool:
        """Whether a job is at it."""
        return self.stage not in (Stage.DONE, Stage.FAILED)

    @property
    def progress(self) -> float:
        """How much of it is done, 0 to 1, as far as that can be told."""
        if not self.is_running:
            return 1.0
        return self.counts.contacts / self.total if self.total else 0.0


class CampaignToLookAt(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of the job."""

    org_id: UUID
    campaign_id: UUID
    run: UUID


def look_of(campaign: CampaignRow) -> Look | None:
    """Return a campaign's last look, None where there was none since its plan was changed."""
    return None if campaign.preflight is None else msgspec.convert(campaign.preflight, Look)


def _store(campaign: CampaignRow, look: Look) -> None:
    campaign.preflight = msgspec.to_builtins(look)


class PreflightPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a look needs of the rest of the system."""

    database: Database
    life: CampaignLife
    compliance: ComplianceService
    jobs: JobRequests
    policy: Policies
    missing_settings: tuple[str, ...] = ()
    """Settings without which no call can be placed."""


class Preflight:
    """One for the process."""

    def __init__(
        self, ports: PreflightPorts, *, clock: Callable[[], datetime], window: int = WINDOW, chunk: int = CHUNK
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = ports.database
        self._life = ports.life
        self._compliance = ports.compliance
        self._jobs = ports.jobs
        self._policy = ports.policy
        self._missing_settings = ports.missing_settings
        self._clock = clock
        self._window = window
        self._chunk = chunk

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do. Before `Jobs.open`."""
        jobs.register(VALIDATE, CampaignToLookAt, self.work, timeout_s=JOB_S, give_up=self.give_up)

    async def begin(self, session: AsyncSession, campaign: CampaignRow, cause: Cause) -> CampaignRow:
        """Have a campaign looked at after the caller's transaction. Raises Conflict where its state does not allow it.

        One that is paused or held stays so meanwhile.
        """
        now = self._clock()
        if CampaignState(campaign.state) not in _BESIDE:
            campaign = await self._life.move(session, campaign, CampaignEvent.VALIDATE, cause, now)
        look = Look(run=new_id(), revision=campaign.revision, started_at=now)
        _store(campaign, look)
        work = CampaignToLookAt(org_id=campaign.org_id, campaign_id=campaign.id, run=look.run)
        await self._jobs.request(session, VALIDATE, work, job_id=f"campaign-look-{look.run}")
        return campaign

    async def why_stale(self, session: AsyncSession, campaign: CampaignRow) -> str:
        """Return why a campaign has to be looked at (again) before it is launched; empty where it has not."""
        look = look_of(campaign)
        if look is None:
            return "it has not been looked at since it was changed: validate it"
        if look.is_running:
            return "it is being looked at"
        if look.report is None or not look.report.is_ready:
            return "something speaks against the launch: see its preflight"
        if campaign.launched_at is not None:
            return ""
        if self._clock() - look.started_at > FRESH:
            return "it was looked at too long ago: validate it again"
        if look.fingerprint != await self._fingerprint(session, campaign, stored_plan(campaign.plan)):
            return "its contacts or agents have changed since it was looked at: validate it again"
        return ""

    async def _fingerprint(self, session: AsyncSession, campaign: CampaignRow, plan: Plan) -> str:
        voices = await voices_of(session, campaign.org_id, plan)
        versions = {key: str(voice.version_id) for key, voice in voices.items()}
        return fingerprint(plan, contacts=await audience.count(session, campaign), agents=versions)

    # --- the job ----------------------------------------------------------------------------------------------
    async def work(self, work: CampaignToLookAt, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """Look at a campaign to the end: the handler of the job."""
        while await self._chunk_of(work):
            pass

    async def _chunk_of(self, work: CampaignToLookAt) -> bool:
        answered = await self._answered(work)
        return await self._database.transact(lambda session: self._step(session, work, answered))

    async def give_up(self, work: CampaignToLookAt, error: Exception) -> None:
        """Write down that a look has failed: the campaign is a draft again."""
        cause = type(error).__name__
        log.error("campaign_not_looked_at", campaign_id=str(work.campaign_id), cause=cause)
        async with self._database.write() as session:
            found = await self._at_work(session, work)
            if found is not None:
                campaign, look = found
                failed = msgspec.structs.replace(look, stage=Stage.FAILED, error=cause, finished_at=self._clock())
                await self._finish(session, campaign, failed)

    async def _at_work(self, session: AsyncSession, work: CampaignToLookAt) -> tuple[CampaignRow, Look] | None:
        """Return the campaign, locked, with its look; None where another look has begun since, or nobody waits."""
        campaign = await repository.locked(session, work.org_id, work.campaign_id)
        look = None if campaign is None else look_of(campaign)
        if campaign is None or look is None or look.run != work.run or not look.is_running:
            return None
        return campaign, look

    async def _answered(self, work: CampaignToLookAt) -> "_Answered | None":
        """Ask about the next chunk; None where the look is not that far. Nobody waits for it: nothing is locked."""
        async with self._database.read() as session:
            campaign = await repository.find(session, work.org_id, work.campaign_id)
            look = None if campaign is None else look_of(campaign)
            if campaign is None or look is None or look.run != work.run or look.stage is not Stage.LOOKING:
                return None
            rows = await repository.contacts_walk(session, campaign, *_OPEN, after=look.after, limit=self._chunk)
            inquiry = await self._inquiry(session, campaign, stored_plan(campaign.plan), rows)
        # Some 0.2 ms of arithmetic for each: in a thread, because calls may be held by this process.
        reasons, counts = await asyncio.to_thread(inquiry.answers, look.counts)
        changed = [{"id": row.id, "skip_reason": reasons[row.id]} for row in rows if _is_new(row, reasons)]
        last = rows[-1].e164 if len(rows) == self._chunk else None
        return _Answered(since=look.after, last=last, counts=counts, changed=changed)

    async def _step(self, session: AsyncSession, work: CampaignToLookAt, answered: "_Answered | None") -> bool:
        """Do the next chunk; return whether there is more."""
        found = await self._at_work(session, work)
        if found is None:
            return False
        campaign, look = found
        if look.stage is Stage.LOOKING and (answered is None or answered.since != look.after):
            return True  # another run of the job was faster: look again
        plan = stored_plan(campaign.plan)
        match look.stage:
            case Stage.CLEARING:
                look = await self._clear(session, campaign, look)
            case Stage.AUDIENCE:
                look = await self._fill(session, campaign, plan, look)
            case _:
                assert answered is not None  # noqa: S101 - asked above
                look = await self._note(session, campaign, plan, look, answered)
        if look.is_running:
            _store(campaign, look)
            return True
        await self._finish(session, campaign, look)
        return False

    async def _clear(self, session: AsyncSession, campaign: CampaignRow, look: Look) -> Look:
        is_filled_anew = campaign.launched_at is None and not stored_plan(campaign.plan).audience.is_empty
        if is_filled_anew and await audience.clear(session, campaign, limit=self._window) == self._window:
            return look
        return msgspec.structs.replace(look, stage=Stage.AUDIENCE)

    async def _fill(self, session: AsyncSession, campaign: CampaignRow, plan: Plan, look: Look) -> Look:
        entry = Entry(state=ContactState.PENDING, now=look.started_at)
        _, following = await audience.fill_window(session, campaign, plan, look.reached, entry, size=self._window)
        if following is not None:
            return msgspec.structs.replace(look, reached=following)
        total = await audience.count(session, campaign)
        return msgspec.structs.replace(look, stage=Stage.LOOKING, total=total)

    async def _note(
        self, session: AsyncSession, campaign: CampaignRow, plan: Plan, look: Look, answered: "_Answered"
    ) -> Look:
        await update_rows(session, CampaignContactRow, answered.changed, keys=["id"])
        if answered.last is not None:
            return msgspec.structs.replace(look, after=answered.last, counts=answered.counts)
        report = await self._report(session, campaign, plan, answered.counts)
        mark = await self._fingerprint(session, campaign, plan)
        return msgspec.structs.replace(
            look, stage=Stage.DONE, counts=Counts(), report=report, fingerprint=mark, finished_at=self._clock()
        )

    async def _inquiry(
        self, session: AsyncSession, campaign: CampaignRow, plan: Plan, rows: Sequence[CampaignContactRow]
    ) -> Inquiry:
        org_id = campaign.org_id
        numbers = [row.e164 for row in rows]
        there = {each.id for each in await repository.contacts_named(session, org_id, [_key(row) for row in rows])}
        return Inquiry(
            rows=rows,
            plan=plan,
            policy=await self._policy(session, org_id),
            packs=self._compliance.packs,
            callees=await self._compliance.callees(session, org_id, numbers, campaign_id=campaign.id),
            voices=await voices_of(session, org_id, plan),
            there=there,
            now=self._clock(),
        )

    # --- the report -------------------------------------------------------------------------------------------
    async def _report(self, session: AsyncSession, campaign: CampaignRow, plan: Plan, counts: Counts) -> Report:
        now = self._clock()
        voices = await voices_of(session, campaign.org_id, plan)
        longest_s = max((voice.definition.limits.duration_s for voice in voices.values()), default=0.0)
        low, high = cost_range(
            plan, counts.kept, await self._policy(session, campaign.org_id), longest_s + TIME_LIMIT_MARGIN_S
        )
        samples = [place.e164 for place in counts.places.values()]
        callees = await self._compliance.callees(session, campaign.org_id, samples, campaign_id=campaign.id)
        packs = self._compliance.packs
        start = max(now, plan.starts_at or now)
        ends_at = await asyncio.to_thread(
            end_of, plan, counts, start, lambda e164, at: calling_hours.is_open(plan, callees[e164], at, packs)
        )
        findings = [
            *contact_findings(counts),
            *_agent_findings(plan, voices),
            *number_findings(counts, await self._numbers(session, campaign, plan), self._forbidden(plan, callees, now)),
            *budget_findings(plan, low),
            *date_findings(plan, ends_at, counts.kept, now),
            *self._setting_findings(),
        ]
        return Report(
            counts=counts,
            findings=tuple(findings),
            cost_low=low,
            cost_high=high,
            hours=round(dialling_hours(plan, counts.kept), 3),
            ends_at=ends_at,
        )

    def _forbidden(self, plan: Plan, callees: dict[str, Callee], now: datetime) -> dict[str, tuple[str, ...]]:
        """Return how numbers begin that the countries of those who are called forbid as a caller's."""
        found: dict[str, tuple[str, ...]] = {}
        for callee in callees.values():
            duties = duties_of(callee, Purpose(plan.purpose), now, self._compliance.packs)
            prefixes = tuple(prefix for _, duty in duties for prefix in duty.forbidden_callers)
            found[callee.country] = tuple(dict.fromkeys((*found.get(callee.country, ()), *prefixes)))
        return found

    async def _numbers(self, session: AsyncSession, campaign: CampaignRow, plan: Plan) -> list[CallerNumber]:
        query = select(PhoneNumberRow).where(PhoneNumberRow.org_id == campaign.org_id)
        pools = {pool for pool in (plan.pool_id, *(each.pool_id for each in plan.variants)) if pool is not None}
        if pools and (plan.pool_id is not None or all(each.pool_id is not None for each in plan.variants)):
            members = select(PoolMemberRow.number_id).where(PoolMemberRow.pool_id.in_(pools))
            query = query.where(PhoneNumberRow.id.in_(members))
        rows = (await session.scalars(query.order_by(PhoneNumberRow.id))).all()
        return [CallerNumber(e164=row.e164, max_day=row.max_day) for row in rows]

    def _setting_findings(self) -> list[Finding]:
        if not self._missing_settings:
            return []
        text = f"no call can be placed without {', '.join(self._missing_settings)}"
        return [Finding(code="settings_missing", severity=Severity.BLOCKS, text=text)]

    async def _finish(self, session: AsyncSession, campaign: CampaignRow, look: Look) -> None:
        now = self._clock()
        _store(campaign, look)
        await session.flush()
        is_ready = look.report is not None and look.report.is_ready
        by = system(campaign.org_id, "preflight")
        if campaign.state == CampaignState.VALIDATING:
            event = CampaignEvent.FOUND_READY if is_ready else CampaignEvent.FOUND_WANTING
            await self._life.move(session, campaign, event, Cause(by=by, reason=_why(look)), now)
        else:
            text = "looked at again: " + (_why(look) or "nothing speaks against it")
            await repository.note(session, campaign, "preflight", text, None, by.name, now)


def _why(look: Look) -> str:
    if look.report is None:
        return f"the look could not be finished ({look.error}): validate it again"
    return "; ".join(each.text for each in look.report.findings if each.severity is Severity.BLOCKS)


def _agent_findings(plan: Plan, voices: dict[str, Voice]) -> list[Finding]:
    found = []
    for variant in plan.variants:
        if variant.key not in voices:
            text = f"variant {variant.key}: its agent is not published, or is not there any more"
            found.append(Finding(code="agent_not_published", severity=Severity.BLOCKS, text=text))
    return found


def _key(row: CampaignContactRow) -> UUID:
    return row.contact_id or UUID(int=0)


def _is_new(row: CampaignContactRow, reasons: dict[UUID, str]) -> bool:
    return row.state == ContactState.PENDING and row.skip_reason != reasons[row.id]


class _Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk of contacts that was asked about, not written down yet."""

    since: str
    """After which number it begins."""

    last: str | None
    """Its last number; None where it is the last chunk."""

    counts: Counts
    changed: list[Values]
    """Rows with another reason than before."""
