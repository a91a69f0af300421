"""A compliance service whose clock a test holds, over an organisation."""

from datetime import datetime, timedelta
from uuid import UUID

from tests.calls.stored_calls import an_organisation
from tests.compliance.people import NOON
from voice_agent.auth.principal import Principal, system
from voice_agent.compliance.model import Purpose, SuppressionEntry, Verdict
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.service import ComplianceService
from voice_agent.storage.database import Database
from voice_agent.storage.tables import SuppressionRow

ANA, BEN, EVA = "+34612345678", "+34612345679", "+34612345670"
AMERICAN = "+13055550100"


class Ledgers:
    """Made by `ledgers`."""

    def __init__(self, database: Database, org_id: UUID) -> None:
        self.database = database
        self.org_id = org_id
        self.now = NOON
        self.service = ComplianceService(built_in(), clock=lambda: self.now)
        self.principal: Principal = system(org_id, "Marta")

    def pass_time(self, **time: float) -> datetime:
        """Let time pass; return when it is then."""
        self.now += timedelta(**time)
        return self.now

    async def suppress(
        self, number: str, *, until: datetime | None = None, campaign_id: UUID | None = None
    ) -> SuppressionRow:
        """Suppress a number, in a transaction of its own."""
        entry = SuppressionEntry(e164=number, source="api", until=until, campaign_id=campaign_id)
        async with self.database.write() as session:
            return await self.service.suppress(session, self.org_id, entry, created_by="Marta")

    async def verdict(self, number: str, purpose: Purpose = Purpose.SERVICE) -> Verdict:
        """Ask whether a number may be called now."""
        async with self.database.read() as session:
            return await self.service.ask(session, self.org_id, number, purpose, self.now)

    async def codes(self, number: str, purpose: Purpose = Purpose.SERVICE) -> list[str]:
        """Return the reasons against calling a number now."""
        return [reason.code.value for reason in (await self.verdict(number, purpose)).reasons]


async def ledgers(database: Database) -> Ledgers:
    """Return the ledgers of a new organisation."""
    return Ledgers(database, await an_organisation(database))
