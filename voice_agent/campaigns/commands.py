"""`voice-agent campaigns`: what there is, how one stands, and the verbs that are needed when no console is at hand.

Works on the configured database, for the oldest organisation; no server is needed for it to count: servers and workers
see a pause as soon as it is committed. Whoever can run these can read the database, so nobody is asked who they are.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import repository as organisations
from voice_agent.auth.principal import Principal, system
from voice_agent.calls.policy import CallPolicy, policy_of
from voice_agent.campaigns import repository
from voice_agent.campaigns.life import CampaignLife
from voice_agent.campaigns.model import CampaignState, Tally
from voice_agent.campaigns.ports import Publish, tell_nobody
from voice_agent.campaigns.preflight import Preflight, PreflightPorts, look_of
from voice_agent.campaigns.repository import CampaignFilter
from voice_agent.campaigns.service import CampaignService
from voice_agent.compliance.packs import load_packs
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import NotFound
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.settings import Settings
from voice_agent.storage.database import Database, database_url
from voice_agent.storage.tables import CampaignRow, OrganisationRow

WHO = "command line"
SHOWN = 100
NOTES = 10


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction, and what works in it."""

    session: AsyncSession
    campaigns: CampaignService
    principal: Principal


async def list_campaigns(settings: Settings) -> str:
    """Return a line for each campaign, newest first, 100 at the most."""
    async with _opened(settings) as opened:
        session = opened.session
        wanted = CampaignFilter()
        rows = await repository.page(session, opened.principal.org_id, wanted, before=None, limit=SHOWN)
        tallies = await repository.tallies(session, [row.id for row in rows])
    return "\n".join(_line(row, tallies[row.id]) for row in rows) or "There are no campaigns yet."


async def show(settings: Settings, name: str) -> str:
    """Return how a campaign stands. `name`: its name or key. Raises NotFound."""
    async with _opened(settings) as opened:
        session, row = opened.session, await _named(opened, name)
        tally = await repository.tally(session, row)
        active = await repository.count_active(session, row)
        notes = await repository.notes_page(session, row, kind="", before=None, limit=NOTES)
    lines = [_line(row, tally), f"  {row.id}, revision {row.revision}, {active} calls under way"]
    if row.reason:
        lines.append(f"  {row.reason}")
    lines += [f"  {count:>9,} {state}" for state, count in sorted(tally.counts.items())]
    if (look := look_of(row)) is not None and look.report is not None:
        lines += [f"  {each.severity}: {each.text}" for each in look.report.findings]
    lines += [f"  {note.created_at:%Y-%m-%d %H:%M:%S} {note.text} ({note.created_by})" for note in notes]
    return "\n".join(lines)


async def start(settings: Settings, name: str) -> str:
    """Begin to dial, or dial on after a pause or a hold; return how it stands. Raises NotFound or Conflict."""

    async def launch(opened: Opened, row: CampaignRow) -> CampaignRow:
        is_new = CampaignState(row.state) in (CampaignState.READY, CampaignState.SCHEDULED, CampaignState.DRAFT)
        verb = opened.campaigns.start if is_new else opened.campaigns.resume
        return await verb(opened.session, opened.principal, row.id)

    return await _move(settings, name, launch)


async def pause(settings: Settings, name: str, reason: str = "") -> str:
    """Place no new calls; return how it stands. Raises NotFound or Conflict."""

    async def hold(opened: Opened, row: CampaignRow) -> CampaignRow:
        return await opened.campaigns.pause(opened.session, opened.principal, row.id, reason)

    return await _move(settings, name, hold)


async def stop(settings: Settings, name: str, reason: str = "", *, is_emergency: bool = False) -> str:
    """Place no new calls, ever; return how it stands. Raises NotFound or Conflict."""

    async def end(opened: Opened, row: CampaignRow) -> CampaignRow:
        return await opened.campaigns.stop(
            opened.session, opened.principal, row.id, reason=reason, is_emergency=is_emergency
        )

    return await _move(settings, name, end)


async def _move(settings: Settings, name: str, verb: Callable[[Opened, CampaignRow], Awaitable[CampaignRow]]) -> str:
    async with _opened(settings) as opened:
        row = await verb(opened, await _named(opened, name))
        return _line(row, await repository.tally(opened.session, row))


async def _named(opened: Opened, name: str) -> CampaignRow:
    org_id = opened.principal.org_id
    row = await repository.named(opened.session, org_id, name)
    if row is None and (key := _key(name)) is not None:
        row = await repository.find(opened.session, org_id, key)
    if row is None:
        raise NotFound(f"there is no campaign {name!r}")
    return row


def _key(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _line(row: CampaignRow, tally: Tally) -> str:
    over = tally.total - tally.open
    return f"{row.name}: {row.state}, {over:,} of {tally.total:,} contacts are over"


@asynccontextmanager
async def _opened(settings: Settings, publish: Publish = tell_nobody) -> AsyncIterator[Opened]:
    """Open the database, brought up to date, for one transaction."""
    database = Database(database_url(settings))
    try:
        if not database.is_pooled_by_transaction:
            await database.migrate()
        ports = PreflightPorts(
            database=database,
            life=(life := CampaignLife(JobOutbox(), publish)),
            compliance=ComplianceService(load_packs(settings.compliance.packs_dir), clock=_now),
            jobs=JobOutbox(),
            policy=_policy,
        )
        campaigns = CampaignService(life, Preflight(ports, clock=_now), _now)
        async with database.write() as session:
            organisation = await organisations.oldest_organisation(session)
            if organisation is None:
                raise NotFound("there is no organisation yet: create an owner first")
            yield Opened(session=session, campaigns=campaigns, principal=system(organisation.id, WHO))
    finally:
        await database.close()


async def _policy(session: AsyncSession, org_id: UUID) -> CallPolicy:
    organisation = await session.get_one(OrganisationRow, org_id)
    return policy_of(organisation.settings, CallPolicy())


def _now() -> datetime:
    return datetime.now(UTC)
