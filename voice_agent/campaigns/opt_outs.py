"""Takes back everything that an organisation was still to dial to somebody who asks not to be called again.

In the transaction that suppresses the number: whoever was waiting for a call is suppressed in every campaign, retries
and callbacks included; calls that were written down and not asked for are void, and their money is free. A call that is
being dialled or goes on stays: it ends as it does, and `settling` finds the suppression then.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import admitted, spending
from voice_agent.calls import repository as calls
from voice_agent.calls.model import CallState, Outcome, moved
from voice_agent.calls.policy import CallPolicy
from voice_agent.campaigns import attempt_rows, repository

REASON = "suppressed: asked not to be called again"


async def withdraw(session: AsyncSession, org_id: UUID, e164: str, now: datetime) -> int:
    """Suppress a number (E.164) in all of an organisation's campaigns; return how many contacts were waiting."""
    for call in await admitted.locked(session, await attempt_rows.leased_calls_to(session, org_id, e164)):
        if call.state != CallState.INTENT:
            continue  # it is being dialled by now
        after = moved(calls.facts_of(call), CallState.VOID, at=now, outcome=Outcome.BLOCKED)
        calls.store_facts(call, after)
        call.error = REASON
        await session.flush()
        await spending.settle(session, call, CallPolicy())
    await session.flush()
    suppressed = await attempt_rows.suppress_waiting(session, org_id, e164, REASON, now)
    for campaign_id, contact_id in suppressed:
        campaign = await repository.find(session, org_id, campaign_id)
        if campaign is not None:
            details = {"campaign_contact_id": str(contact_id)}
            await repository.note(session, campaign, "opt_out", "somebody is not called any more", details, "", now)
    return len(suppressed)
