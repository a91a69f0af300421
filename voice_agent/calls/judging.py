"""Whether a call that was written down may be placed: asked at the last moment, in the transaction that says it is.

What was committed before that transaction began to look, such as an opt-out, is seen; whoever commits later finds the
call dialling. The verdict stays with the call, so that years later it can be said why somebody was called.
"""

from datetime import datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import repository, spending
from voice_agent.calls.model import CallState, Outcome, moved
from voice_agent.calls.policy import CallPolicy
from voice_agent.compliance.model import CallRefused, Purpose, Verdict
from voice_agent.compliance.service import ComplianceService
from voice_agent.storage.tables import CallRow

log = structlog.get_logger(__name__)

LONGEST_ERROR = 500


def verdict_document(verdict: Verdict, asked_at: datetime) -> dict[str, Any]:
    """Return a verdict as it stays with its call."""
    return {"asked_at": asked_at.isoformat(), **msgspec.to_builtins(verdict)}


async def judge(session: AsyncSession, compliance: ComplianceService, call: CallRow, now: datetime) -> Verdict:
    """Mark a call as dialling where the rules allow it, as void where they do not; return the verdict.

    `call` is locked and in the state intent. `now` was taken before this: nothing that is older than it goes unseen.
    """
    verdict = await compliance.ask(session, call.org_id, call.to_number, Purpose(call.purpose), now)
    call.verdict = verdict_document(verdict, now)
    if verdict.is_allowed:
        await repository.claim_dialing(session, call.id, now)
        await session.refresh(call)
        return verdict
    facts = moved(repository.facts_of(call), CallState.VOID, at=now, outcome=Outcome.BLOCKED)
    repository.store_facts(call, facts)
    call.error = str(CallRefused(verdict.reasons))[:LONGEST_ERROR]
    await spending.settle(session, call, CallPolicy())
    log.info("call_refused", call_id=str(call.id), reasons=[reason.code.value for reason in verdict.reasons])
    return verdict
