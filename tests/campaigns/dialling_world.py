"""An organisation that can dial: an agent, numbers, contacts, a running campaign, and a clock that a test holds."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from tests.calls.stored_calls import NOW, OURS, POLICY, an_organisation
from tests.campaigns.stored_campaigns import a_document, a_stored_campaign
from voice_agent.agents.files import load_agent
from voice_agent.agents.service import AgentService
from voice_agent.auth.principal import Principal, system
from voice_agent.calls.policy import CallPolicy
from voice_agent.campaigns.admission import Admission
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.compliance.model import SuppressionEntry
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.service import ComplianceService
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import (
    CallRow,
    CampaignContactRow,
    CampaignRow,
    ContactRow,
    NumberPoolRow,
    PhoneNumberRow,
    PoolMemberRow,
)

OWNER = "worker-1"


class DiallingWorld:
    """Made by `dialling_world`."""

    def __init__(self, database: Database, org_id: UUID, agent_id: UUID) -> None:
        self.database = database
        self.org_id = org_id
        self.agent_id = agent_id
        self.now = NOW
        self.policy = POLICY
        self.principal: Principal = system(org_id, "Marta")
        self.compliance = ComplianceService(built_in(), clock=lambda: self.now)

    def pass_time(self, **time: float) -> datetime:
        """Let time pass; return when it is then."""
        self.now += timedelta(**time)
        return self.now

    def plan(self, **changes: Any) -> dict[str, Any]:
        """Return a plan in which the organisation's agent speaks."""
        return a_document(**({"variants": [{"agent_id": str(self.agent_id)}]} | changes))

    async def campaign(self, state: CampaignState = CampaignState.RUNNING, **plan: Any) -> CampaignRow:
        """Store a campaign."""
        return await a_stored_campaign(
            self.database, self.org_id, state, plan=self.plan(**plan), launched_at=self.now, resumed_at=self.now
        )

    async def contacts(
        self, campaign: CampaignRow, number: int, *, first: int = 0, prefix: str = "+3461200", **columns: Any
    ) -> list[CampaignContactRow]:
        """Store contacts of a campaign who are due, each known to the organisation."""
        said = {"state": ContactState.DUE.value, "next_attempt_at": self.now}
        rows = []
        async with self.database.write() as session:
            for index in range(first, first + number):
                e164 = f"{prefix}{index:04d}"
                known = await session.scalar(
                    select(ContactRow).where(ContactRow.org_id == self.org_id, ContactRow.e164 == e164)
                )
                if known is None:
                    known = ContactRow(
                        id=new_id(), org_id=self.org_id, e164=e164, raw_number=e164, country="ES",
                        zone="Europe/Madrid", created_at=NOW, updated_at=NOW,
                    )  # fmt: skip
                    session.add(known)
                    await session.flush()
                row = CampaignContactRow(
                    id=new_id(), org_id=self.org_id, campaign_id=campaign.id, contact_id=known.id, e164=e164,
                    created_at=NOW, **(said | columns),
                )  # fmt: skip
                session.add(row)
                rows.append(row)
        return rows

    async def number(self, e164: str, **columns: Any) -> PhoneNumberRow:
        """Store a further number of the organisation's."""
        row = PhoneNumberRow(
            id=new_id(), org_id=self.org_id, e164=e164, created_at=NOW, **({"country": "ES"} | columns)
        )
        async with self.database.write() as session:
            session.add(row)
        return row

    async def pool(self, *numbers: PhoneNumberRow) -> UUID:
        """Store a pool of numbers."""
        pool = NumberPoolRow(id=new_id(), org_id=self.org_id, name=new_id().hex, created_at=NOW)
        async with self.database.write() as session:
            session.add(pool)
            await session.flush()
            for number in numbers:
                session.add(PoolMemberRow(pool_id=pool.id, number_id=number.id, org_id=self.org_id))
        return pool.id

    async def suppress(self, number: str, until: datetime | None = None) -> None:
        """Suppress a number in the organisation."""
        entry = SuppressionEntry(e164=number, source="api", until=until)
        async with self.database.write() as session:
            await self.compliance.suppress(session, self.org_id, entry, created_by="Marta")

    def admission(self, **choices: Any) -> Admission:
        """Return an admission of this process."""

        async def policies(_: object, org_id: UUID) -> CallPolicy:
            assert org_id == self.org_id
            return self.policy

        said: dict[str, Any] = {"owner": OWNER, "limits": Limits(inbound_share=0.0)}
        return Admission(self.compliance, policies, **(said | choices))

    async def admit(self, campaign: CampaignRow, places: int = 10, **choices: Any) -> list[CallRow]:
        """Admit calls in a transaction of its own."""
        admission = self.admission(**choices)
        return await self.database.transact(lambda session: admission.admit(session, campaign, self.now, places))

    async def end(self, call: CallRow, outcome: str = "no_answer", *, state: str = "ended") -> None:
        """Have a call end now, and its contact due again at once."""
        async with self.database.write() as session:
            row = await session.get_one(CallRow, call.id)
            row.state, row.outcome, row.ended_at = state, outcome, self.now
            row.requested_at = row.requested_at or self.now
            contact = await session.get_one(CampaignContactRow, row.campaign_contact_id)
            contact.state, contact.next_attempt_at, contact.call_id = ContactState.DUE.value, self.now, None
            contact.last_outcome, contact.attempts = outcome, contact.attempts + 1

    async def states(self, campaign: CampaignRow) -> dict[str, int]:
        """Return how many contacts of a campaign are in each state."""
        found: dict[str, int] = {}
        for row in await self.rows(campaign):
            found[row.state] = found.get(row.state, 0) + 1
        return found

    async def rows(self, campaign: CampaignRow) -> Sequence[CampaignContactRow]:
        """Return a campaign's contacts, by number."""
        query = select(CampaignContactRow).where(CampaignContactRow.campaign_id == campaign.id)
        async with self.database.read() as session:
            return (await session.scalars(query.order_by(CampaignContactRow.e164))).all()

    async def calls(self, campaign: CampaignRow) -> Sequence[CallRow]:
        """Return a campaign's calls."""
        query = select(CallRow).where(CallRow.campaign_id == campaign.id).order_by(CallRow.id)
        async with self.database.read() as session:
            return (await session.scalars(query)).all()


async def dialling_world(database: Database) -> DiallingWorld:
    """Return an organisation with a published agent and one number."""
    org_id = await an_organisation(database)
    agents = AgentService(lambda: NOW)
    async with database.write() as session:
        principal = system(org_id, "Marta")
        row, _ = await agents.create(session, principal, "Anna", load_agent())
        await agents.publish(session, principal, row.id)
    world = DiallingWorld(database, org_id, row.id)
    await world.number(OURS)
    return world
