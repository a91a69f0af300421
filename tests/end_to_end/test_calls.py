"""Whole calls over real sockets, by sound both ways."""

from tests.end_to_end.stand import Stand
from voice_agent.calls.transcript import AgentSaid
from voice_agent.integrations.twilio.addresses import AFTER_STREAM_PATH
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.sandbox.callers.scenario import Backchannel, HangUp, Interrupt, Press, Say, WaitForAgent
from voice_agent.sandbox.carrier.journal import RestAnswered, VerbStarted, WebhookSent
from voice_agent.sandbox.providers import Service


def _verbs_after_the_stream(stand: Stand, call_sid: str) -> list[str]:
    return [entry.verb for entry in stand.journal(call_sid, VerbStarted) if isinstance(entry, VerbStarted)][1:]


async def test_a_conversation_of_two_turns_that_the_agent_ends(stand: Stand) -> None:
    held = await stand.call(
        WaitForAgent(), Say(text="what does it cost?"), WaitForAgent(), Say(text="thank you and bye")
    )
    assert held.caller_said == ["what does it cost?", "thank you and bye"]
    assert held.agent_said == ["Hello.", "It costs fifty euros.", "Goodbye then."]
    assert not held.actions(act.StopPlayback)
    assert held.actions(act.HangUp) == [act.HangUp(reason="agent")]
    assert held.transcript.is_complete
    assert not held.timeline.has_caller_hung_up
    assert _verbs_after_the_stream(stand, held.call_sid) in ([], ["Hangup"])
    hung_up = [entry for entry in stand.carrier.journal if isinstance(entry, RestAnswered) and entry.method == "POST"]
    assert [entry.status for entry in hung_up] == [200]
    assert stand.product.calls.was_ended_by_us(held.call_sid)
    assert len(stand.product.calls) == 0


async def test_the_caller_interrupts_and_the_model_learns_what_was_heard(stand: Stand) -> None:
    held = await stand.call(
        WaitForAgent(),
        Say(text="are you open today?"),
        Interrupt(say="no what does it cost?"),
        WaitForAgent(),
        HangUp(),
    )
    (cut,) = [entry for entry in held.transcript.entries if isinstance(entry, AgentSaid) and entry.is_interrupted]
    assert held.actions(act.StopPlayback)
    assert held.actions(act.TrimHistory)
    assert cut.heard
    assert held.agent_said[1].startswith(cut.heard)
    assert len(cut.heard) < len(held.agent_said[1])
    assert held.agent_said[-1] == "It costs fifty euros."
    asked = stand.doubles.journal.last(Service.OPENAI_CHAT)
    assert asked.status == 200


async def test_a_backchannel_does_not_take_the_floor(stand: Stand) -> None:
    held = await stand.call(WaitForAgent(), Say(text="are you open today?"), Backchannel(), WaitForAgent(), HangUp())
    assert held.caller_said == ["are you open today?"]
    assert not held.actions(act.TrimHistory)
    assert len(held.events(ev.PlaybackFinished)) == 2


async def test_keys_are_answered(stand: Stand) -> None:
    held = await stand.call(WaitForAgent(), Press(keys="42#"), WaitForAgent(), HangUp())
    assert [entry.text for entry in held.actions(act.StartReply) if isinstance(entry, act.StartReply)] == [
        "[keypad] 42#"
    ]
    assert held.agent_said == ["Hello.", "Certainly."]


async def test_a_caller_who_says_nothing_hears_a_prompt_and_a_goodbye(stand: Stand) -> None:
    held = await stand.call(WaitForAgent())
    assert held.agent_said == ["Hello.", "Hello?", "Goodbye."]
    assert held.actions(act.HangUp) == [act.HangUp(reason="idle")]


async def test_a_caller_who_hangs_up_mid_reply_leaves_a_whole_record(stand: Stand) -> None:
    held = await stand.call(WaitForAgent(), Say(text="are you open today?"), WaitForAgent(until="begins"), HangUp())
    assert held.timeline.has_caller_hung_up
    assert held.log.is_complete
    assert held.transcript.is_complete
    assert held.caller_said == ["are you open today?"]
    asked = [e for e in stand.journal(held.call_sid, WebhookSent) if isinstance(e, WebhookSent)]
    assert not [e for e in asked if e.url.endswith(AFTER_STREAM_PATH)]
    await stand.doubles.quiet()
