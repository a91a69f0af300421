"""Calls in a database, for the tests of what is done with them."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls.policy import MICROS, CallPolicy
from voice_agent.calls.processor import Answering
from voice_agent.errors import NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, OrganisationRow

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SPAIN = "+34612345678"
OURS = "+34910000000"
SID = "CA" + "5" * 32
POLICY = CallPolicy(allowed_countries=frozenset({"ES"}), daily_spend_cap=100 * MICROS, cost_per_minute=MICROS // 10)


class OneAgent:
    """A switchboard with one organisation and no agent of its own."""

    async def answering(self, session: AsyncSession, number: str) -> Answering:
        """Implement `calls.processor.Switchboard`."""
        assert number is not None
        org_id = (await session.scalars(select(OrganisationRow.id).order_by(OrganisationRow.id))).first()
        if org_id is None:
            raise NotFound("there is no organisation")
        return Answering(org_id=org_id, version_id=None, agent_name="Anna", language="es")


async def an_organisation(database: Database, name: str = "Harbour") -> UUID:
    """Store an organisation and return its key."""
    async with database.write() as session:
        row = OrganisationRow(id=new_id(), name=name, created_at=NOW)
        session.add(row)
    return row.id


def a_call(org_id: UUID, *, state: str = "dialing", call_sid: str | None = None) -> CallRow:
    """Return a call that is not stored yet."""
    return CallRow(
        id=new_id(),
        org_id=org_id,
        direction="outbound",
        purpose="service",
        state=state,
        from_number=OURS,
        to_number=SPAIN,
        language="en",
        call_sid=call_sid,
        created_at=NOW,
        requested_at=NOW,
    )


async def a_stored_call(
    database: Database, *, state: str = "dialing", call_sid: str | None = None, org_id: UUID | None = None
) -> CallRow:
    """Store a call, with an organisation of its own where none is given."""
    owner = org_id or await an_organisation(database)
    async with database.write() as session:
        call = a_call(owner, state=state, call_sid=call_sid)
        session.add(call)
    return call


async def reread(database: Database, call_id: UUID) -> CallRow:
    """Return a call as it is stored."""
    async with database.read() as session:
        return await session.get_one(CallRow, call_id)
