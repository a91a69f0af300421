"""What the command line does about who may be called: suppress a number, show the rule packs.

Whoever can run these can read the database, so nobody is asked who they are. What holds in the whole installation is
suppressed and lifted here alone: no organisation can.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.repository import oldest_organisation
from voice_agent.compliance.model import SuppressionEntry
from voice_agent.compliance.packs import load_packs
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import NotFound
from voice_agent.phone_numbers import read_number
from voice_agent.settings import Settings
from voice_agent.storage.database import Database, database_url

OPERATOR = "operator"
SOURCE = "command_line"


async def suppress(settings: Settings, number: str, *, reason: str, is_global: bool) -> str:
    """Have a number never called again, by the oldest organisation or by any; return where that holds.

    Raises InvalidRequest for a number that is none, NotFound where there is no organisation.
    """
    entry = SuppressionEntry(e164=read_number(number).e164, source=SOURCE, reason=reason)
    async with _opened(settings) as (session, compliance):
        organisation = None if is_global else await oldest_organisation(session)
        if organisation is None and not is_global:
            raise NotFound("there is no organisation yet: say --global, or create an owner first")
        org_id = None if organisation is None else organisation.id
        row = await compliance.suppress(session, org_id, entry, created_by=OPERATOR)
        return row.scope


async def lift_everywhere(settings: Settings, number: str, *, reason: str) -> None:
    """Lift the suppression of a number in the whole installation. Raises InvalidRequest or NotFound."""
    e164 = read_number(number).e164
    async with _opened(settings) as (session, compliance):
        if not await compliance.suppressions.lift_everywhere(session, e164, reason, lifted_by=OPERATOR):
            raise NotFound("this number is not suppressed in the whole installation")


def rule_packs(settings: Settings) -> str:
    """Return the table of the rule packs in force. Raises RulePackError."""
    packs = load_packs(settings.compliance.packs_dir)
    lines = []
    for pack in (*packs.packs, packs.default):
        unsure = sum(source.verify for source in pack.sources.values())
        lines.append(
            f"{pack.jurisdiction:8} {pack.version}  followed until {pack.as_of}  {pack.name}: "
            f"{len(pack.sources)} sources, {unsure} to be checked against the law itself"
        )
    return "\n".join(lines)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[AsyncSession, ComplianceService]]:
    """Open the database, brought up to date, for one transaction."""
    compliance = ComplianceService(load_packs(settings.compliance.packs_dir), clock=lambda: datetime.now(UTC))
    database = Database(database_url(settings))
    try:
        if not database.is_pooled_by_transaction:
            await database.migrate()
        async with database.write() as session:
            yield session, compliance
    finally:
        await database.close()
