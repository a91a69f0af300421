from tests.sandbox.callers.voices import synthesise
from voice_agent.sandbox.callers import Caller, parse
from voice_agent.sandbox.callers.clips import render
from voice_agent.sandbox.callers.timeline import Clear, timeline_of
from voice_agent.sandbox.carrier import Carrier
from voice_agent.sandbox.carrier.journal import Cleared, DigitPressed, StreamOpened


async def test_what_the_journal_knows_of_the_call_is_in_its_timeline() -> None:
    caller = Caller(render(parse("name: x\nsteps: [hang_up]"), synthesise))
    async with Carrier() as carrier:
        call = carrier.place_inbound_call(
            caller, to="+15005550006", from_="+15005550001", voice_url="http://127.0.0.1:9/voice"
        )
        sid = call.record.sid
        carrier.journal.write(StreamOpened(at=0.0, call_sid=sid, stream_sid="MZ1", url="ws://x", sample=48))
        carrier.journal.write(Cleared(at=0.0, call_sid=sid, sample=900, dropped_bytes=7))
        carrier.journal.write(Cleared(at=0.0, call_sid="CAother", sample=901, dropped_bytes=7))
        carrier.journal.write(DigitPressed(at=0.0, call_sid=sid, digit="1", sample=950))
        await call.ended.wait()
        line = timeline_of(call, caller, carrier.journal)
    assert line.clears == (Clear(900, 7),)
    assert line.keys == (950,)
    assert line.stream_began == 48
    assert line.has_caller_hung_up
    assert len(line.heard) == len(line.said) > 0
