"""Campaigns, their contacts and their calls in a database, for the tests of what is done with them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from tests.calls.stored_calls import NOW, OURS
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import (
    CallRow,
    CampaignContactRow,
    CampaignNoteRow,
    CampaignRow,
    JobRow,
    SpendRow,
)

AGENT = str(UUID(int=7))


def a_document(**changes: Any) -> dict[str, Any]:
    """Return a plan as it is written."""
    return {"purpose": "service", "audience": {}, "variants": [{"agent_id": AGENT}], **changes}


def a_campaign(org_id: UUID, state: CampaignState = CampaignState.DRAFT, **columns: Any) -> CampaignRow:
    """Return a campaign that is not stored yet."""
    key = new_id()
    said = {"name": f"Spring {key.hex[-8:]}", "plan": a_document(), "epoch": 1, "committed": 0, "hold_code": ""}
    return CampaignRow(id=key, org_id=org_id, state=state.value, created_at=NOW, updated_at=NOW, **(said | columns))


async def a_stored_campaign(
    database: Database, org_id: UUID, state: CampaignState = CampaignState.DRAFT, **columns: Any
) -> CampaignRow:
    """Store a campaign."""
    row = a_campaign(org_id, state, **columns)
    async with database.write() as session:
        session.add(row)
    return row


async def stored_contacts(
    database: Database, campaign: CampaignRow, *states: ContactState, first: int = 0, **columns: Any
) -> list[CampaignContactRow]:
    """Store a contact of a campaign in each of these states."""
    rows = [
        CampaignContactRow(
            id=new_id(),
            org_id=campaign.org_id,
            campaign_id=campaign.id,
            e164=f"+3461200{first + index:04d}",
            state=state.value,
            created_at=NOW,
            **columns,
        )
        for index, state in enumerate(states)
    ]
    async with database.write() as session:
        session.add_all(rows)
    return rows


async def an_attempt(
    database: Database, campaign: CampaignRow, contact: CampaignContactRow, state: str = "intent", reserved: int = 100
) -> CallRow:
    """Store a call of a campaign, its contact at the phone, its money set aside."""
    call = CallRow(
        id=new_id(), org_id=campaign.org_id, direction="outbound", state=state, from_number=OURS,
        to_number=contact.e164, created_at=NOW, requested_at=None if state == "intent" else NOW,
        campaign_id=campaign.id, campaign_contact_id=contact.id, campaign_epoch=campaign.epoch, attempt=1,
        call_sid=None if state in ("intent", "dialing", "unknown") else f"CA{new_id().hex}",
    )  # fmt: skip
    async with database.write() as session:
        session.add(call)
        await session.flush()
        session.add(SpendRow(call_id=call.id, org_id=call.org_id, at=NOW, reserved=reserved, campaign_id=campaign.id))
        row = await session.get_one(CampaignContactRow, contact.id)
        row.call_id, row.calls = call.id, 1
        (await session.get_one(CampaignRow, campaign.id)).committed += reserved
    return call


async def reread(database: Database, row: Any) -> Any:
    """Return a row as it is stored."""
    async with database.read() as session:
        return await session.get_one(type(row), row.id)


async def notes_of(database: Database, campaign: CampaignRow) -> list[CampaignNoteRow]:
    """Return a campaign's log, oldest first."""
    query = select(CampaignNoteRow).where(CampaignNoteRow.campaign_id == campaign.id)
    async with database.read() as session:
        return list((await session.scalars(query.order_by(CampaignNoteRow.id))).all())


async def jobs_of(database: Database) -> list[JobRow]:
    """Return the jobs that were asked for."""
    async with database.read() as session:
        return list((await session.scalars(select(JobRow).order_by(JobRow.created_at))).all())


class Told:
    """A `campaigns.ports.Publish` that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def __call__(
        self, session: Any, org_id: UUID, topic: str, subject: str, payload: dict[str, Any], now: datetime
    ) -> None:
        """Implement the port."""
        assert session.in_transaction()
        assert (subject, now.isoformat(), bool(org_id)) == (payload["campaign_id"], payload["at"], True)
        self.events.append((topic, payload))
