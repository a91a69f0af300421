"""`<Dial><Number>`: a second leg, joined to the first by sound.

Source: https://www.twilio.com/docs/voice/twiml/dial and .../twiml/number. Not played: recording, ring-back tone.
"""

import asyncio
from collections.abc import Awaitable, Callable

from voice_agent.sandbox.carrier.leg import Leg
from voice_agent.sandbox.carrier.record import CallRecord
from voice_agent.sandbox.carrier.twiml import Dial

Brief = Callable[[Leg], Awaitable[bool]]
"""Play a whisper to whoever answered; return whether they are to be joined then."""


async def dial(leg: Leg, verb: Dial, brief: Brief) -> dict[str, str]:
    """Call the number, join both until the far end hangs up, and return what `<Dial action>` is told."""
    record = CallRecord(
        account_sid=leg.record.account_sid,
        to=verb.number,
        from_=verb.caller_id or leg.record.from_,
        direction="outbound-dial",
        parent_call_sid=leg.record.sid,
    )
    child = Leg(record, leg.services)
    is_bridged = False
    try:
        outcome = await child.ring(leg.services.find_callee(verb.number), verb.timeout_s)
        if outcome == "in-progress":
            is_bridged = await _briefed(child, brief)
            if is_bridged:
                await _bridge(leg, child)
            outcome = "completed"
        child.end(outcome)
    finally:
        child.end("completed" if child.is_answered else "canceled")
    return {
        "DialCallStatus": record.status,
        "DialCallSid": record.sid,
        "DialCallDuration": str(record.duration_s),
        "DialBridged": str(is_bridged).lower(),
    }


async def _briefed(child: Leg, brief: Brief) -> bool:
    """Play the whisper; return whether the far end is still there and wants the call."""
    briefing = asyncio.ensure_future(brief(child))
    leaving = asyncio.create_task(child.hung_up.wait())
    try:
        await asyncio.wait({briefing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return not child.hung_up.is_set() and briefing.result()
    finally:
        briefing.cancel()
        leaving.cancel()
        await asyncio.wait({briefing, leaving})


async def _bridge(leg: Leg, child: Leg) -> None:
    leg.line.tap = lambda said: child.line.catch_up().play(said)
    child.line.tap = lambda said: leg.line.catch_up().play(said)
    try:
        await child.hung_up.wait()
    finally:
        leg.line.tap = None
        child.line.tap = None
        leg.line.catch_up().drop()
