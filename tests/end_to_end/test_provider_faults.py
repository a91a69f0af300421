"""Providers that fail within a call: the caller hears something all the same, and the call goes on or ends in words."""

from pathlib import Path

from tests.end_to_end.stand import AGENT, Stand, standing
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.sandbox.callers.scenario import HangUp, Say, WaitForAgent
from voice_agent.sandbox.providers import Fault, FaultKind, FaultPlan, Service

ASK = (
    WaitForAgent(),
    Say(text="what does it cost?"),
    WaitForAgent(),
    Say(text="and when can I come?"),
    WaitForAgent(),
    HangUp(),
)


async def test_a_model_that_always_fails_is_apologised_for_and_then_given_up(stand: Stand) -> None:
    stand.doubles.plan(Service.OPENAI_CHAT, FaultPlan((Fault(FaultKind.STATUS, status=500),), repeat=True))
    held = await stand.call(*ASK)
    assert "I am sorry, once more please." in held.agent_said
    assert held.agent_said[-1] == "We have a problem, goodbye."
    assert held.actions(act.HangUp) == [act.HangUp(reason="failed_provider")]


async def test_a_second_model_answers_for_one_that_fails(tmp_path: Path) -> None:
    async with standing(tmp_path, agent=AGENT + "fallback_model: openai:stand-backup\n") as stand:
        stand.doubles.plan_faults(Service.OPENAI_CHAT, *(Fault(FaultKind.STATUS, status=500),) * 2)
        held = await stand.call(*ASK)
    assert held.agent_said == ["Hello.", "It costs fifty euros.", "On Friday at three."]


async def test_a_voice_that_is_cut_off_within_a_reply_is_replaced(stand: Stand) -> None:
    stand.doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.RESET, after_messages=2))
    held = await stand.call(*ASK)
    assert held.agent_said == ["Hello.", "It costs fifty euros.", "On Friday at three."]
    assert len(held.events(ev.PlaybackFinished)) == 3
    assert not held.events(ev.SynthesisFailed)


async def test_recognition_that_is_cut_off_comes_back(stand: Stand) -> None:
    stand.doubles.plan_faults(Service.ELEVENLABS_STT, Fault(FaultKind.RESET, after_messages=2))
    held = await stand.call(*ASK)
    assert "On Friday at three." in held.agent_said
    assert not held.events(ev.TranscriptionFailed)
