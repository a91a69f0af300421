"""`<Dial><Number>`: a second leg, joined to the first by sound.

Source: https://www.twilio.com/docs/voice/twiml/dial. Not played: whispers (`<Number url>`), recording, ring-back tone.
"""

from voice_agent.sandbox.carrier.leg import Leg
from voice_agent.sandbox.carrier.record import CallRecord
from voice_agent.sandbox.carrier.twiml import Dial


async def dial(leg: Leg, verb: Dial) -> dict[str, str]:
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
            is_bridged = True
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


async def _bridge(leg: Leg, child: Leg) -> None:
    leg.line.tap = lambda said: child.line.catch_up().play(said)
    child.line.tap = lambda said: leg.line.catch_up().play(said)
    try:
        await child.hung_up.wait()
    finally:
        leg.line.tap = None
        child.line.tap = None
        leg.line.catch_up().drop()
