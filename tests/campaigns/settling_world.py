"""A dialling world whose calls come to an end: a telephone company, and everything that follows what it says."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tests.calls.stored_calls import POLICY, OneAgent
from tests.campaigns.dialling_world import DiallingWorld
from tests.campaigns.stored_campaigns import reread
from tests.fakes.carrier import FakeCarrier
from voice_agent.calls.model import CarrierReport
from voice_agent.calls.placing import CallPlacing, PlacingPorts
from voice_agent.calls.processor import CallProcessor, Receipt, Source
from voice_agent.calls.reconciler import Reconciler
from voice_agent.calls.turns import DialTurns
from voice_agent.campaigns.callbacks import Callbacks
from voice_agent.campaigns.completion import Completion
from voice_agent.campaigns.life import CampaignLife
from voice_agent.campaigns.ports import tell_nobody
from voice_agent.campaigns.settling import Settling
from voice_agent.campaigns.sweeping import Sweeper
from voice_agent.integrations.twilio.addresses import TwilioAddresses
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow, SpendRow


class Exchange:
    """What places the calls of a world, hears of them, and settles them."""

    def __init__(self, world: DiallingWorld, carrier: FakeCarrier | None = None) -> None:
        self.world = world
        self.carrier = carrier or FakeCarrier()
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.processor = CallProcessor(world.database, self.carrier, OneAgent(), policy=POLICY)
        self.settling = Settling(world.compliance, self._publish, clock=lambda: world.now)
        self.processor.follow = self.settling.follow
        self.life = CampaignLife(JobOutbox(), tell_nobody)
        self.completion = Completion(world.database, self.life, lambda: world.now, closed_at_once=2)
        self.sweeper = Sweeper(world.database, self.processor, self.settling, self.completion, clock=lambda: world.now)
        self.reconciler = Reconciler(world.database, self.carrier, self.processor, clock=lambda: world.now)
        self.callbacks = Callbacks(self.settling)
        self.placing = CallPlacing(
            PlacingPorts(
                database=world.database,
                compliance=world.compliance,
                carrier=self.carrier,
                addresses=TwilioAddresses("https://calls.example.org"),
                processor=self.processor,
            ),
            clock=lambda: world.now,
            calls_per_second=1_000.0,
            turns=DialTurns(clock=lambda: world.now.timestamp(), sleep=self._sleep),
        )

    async def _publish(
        self, session: AsyncSession, org_id: UUID, topic: str, subject: str, payload: dict[str, Any], now: datetime
    ) -> None:
        assert session.in_transaction()
        assert (org_id, now) == (self.world.org_id, self.world.now)
        self.told.append((topic, subject, payload))

    async def _sleep(self, seconds: float) -> None:
        self.world.pass_time(seconds=seconds)

    async def place(self, campaign: CampaignRow, places: int = 1) -> list[CallRow]:
        """Admit calls and ask the carrier for them; return them as they stand then."""
        admitted = await self.world.admit(campaign, places)
        return [await self.placing.place_admitted(call.id) for call in admitted]

    async def hear(
        self, call: CallRow, status: str = "", *, source: Source = "status", key: str = "", **report: Any
    ) -> None:
        """Take what the carrier says of a call."""
        sid = call.call_sid or f"CA{call.id.hex}"
        await self.processor.take(
            Receipt(
                source=source,
                call_sid=sid,
                dedupe_key=f"{sid}:{status}{key}",
                event=status,
                report=CarrierReport(status=status, at=self.world.now, **report),
                payload={},
                received_at=self.world.now,
                call_id=call.id,
            )
        )

    async def verdict(self, call: CallRow, answered_by: str) -> None:
        """Hear who answered."""
        await self.hear(call, source="machine_detection", answered_by=answered_by)

    async def end(self, call: CallRow, status: str = "completed", **report: Any) -> None:
        """Have a call end as the carrier says; a completed one is answered before, and lasts a minute."""
        if status == "completed":
            await self.hear(call, "in-progress")
            self.world.pass_time(minutes=1)
            report = {"duration_s": 60} | report
        await self.hear(call, status, **report)

    async def contact(self, call: CallRow) -> CampaignContactRow:
        """Return the contact of a call."""
        async with self.world.database.read() as session:
            return await session.get_one(CampaignContactRow, call.campaign_contact_id)

    async def next_of(self, call: CallRow) -> tuple[str, timedelta | None]:
        """Return the state of a call's contact, and how long after the call's end they are called again."""
        contact = await self.contact(call)
        ended_at = (await reread(self.world.database, call)).ended_at
        return contact.state, None if contact.next_attempt_at is None else contact.next_attempt_at - ended_at

    async def spend(self, call: CallRow) -> SpendRow:
        """Return the money of a call."""
        async with self.world.database.read() as session:
            return await session.get_one(SpendRow, call.id)
