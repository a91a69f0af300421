"""A disclosure on real sockets: talked over, keyed over, cut off by hanging up; the log knows when it was heard."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.end_to_end.stand import AGENT, Held, Stand, standing
from voice_agent.calls.record import call_files
from voice_agent.calls.replay import replay
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.sandbox.callers.scenario import Backchannel, HangUp, Interrupt, Press, Say, WaitForAgent
from voice_agent.sandbox.carrier.journal import Cleared

DISCLOSURE = "This is an automated call from a virtual assistant of the harbour practice, and this call is recorded."
DISCLOSING = f"""{AGENT}
disclosure: This is an automated call from a virtual assistant of the harbour practice,
recording: {{consent_line: and this call is recorded.}}
"""


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    async with standing(tmp_path, agent=DISCLOSING) as stand:
        yield stand


def _is_replayed(stand: Stand, held: Held) -> bool:
    return replay(call_files(stand.data_dir, held.call_sid).event_log).is_same


async def test_nobody_talks_over_it_and_what_was_said_meanwhile_is_answered_after_it(stand: Stand) -> None:
    held = await stand.call(Interrupt(say="what does it cost?"), WaitForAgent(), HangUp())

    assert held.events(ev.VoiceConfirmed)
    assert not held.actions(act.StopPlayback)
    assert stand.journal(held.call_sid, Cleared) == []
    assert held.agent_said == [DISCLOSURE, "It costs fifty euros."]
    assert held.caller_said == ["what does it cost?"]
    heard_s = held.events(ev.PlaybackFinished)[0].at
    assert held.log.disclosed_at == held.log.header.started_at + timedelta(seconds=heard_s)
    assert _is_replayed(stand, held)


async def test_the_greeting_follows_it_where_nothing_was_said_and_can_be_talked_over(stand: Stand) -> None:
    held = await stand.call(Backchannel(), WaitForAgent(quiet_ms=1_500), Say(text="what does it cost?"), WaitForAgent())

    assert held.agent_said[:3] == [DISCLOSURE, "Hello.", "It costs fifty euros."]
    assert not held.actions(act.StopPlayback)
    assert _is_replayed(stand, held)


async def test_keys_pressed_over_it_are_answered_after_it(stand: Stand) -> None:
    held = await stand.call(WaitForAgent(until="begins"), Press(keys="42#"), WaitForAgent(), HangUp())

    assert held.agent_said == [DISCLOSURE, "Certainly."]
    assert [each.text for each in held.actions(act.StartReply) if isinstance(each, act.StartReply)] == ["[keypad] 42#"]
    assert stand.journal(held.call_sid, Cleared) == []


async def test_whoever_hangs_up_during_it_has_not_heard_it(stand: Stand) -> None:
    held = await stand.call(WaitForAgent(until="begins"), HangUp())

    assert held.agent_said == [DISCLOSURE]
    assert not held.events(ev.PlaybackFinished)
    assert held.log.disclosed_at is None
    assert _is_replayed(stand, held)
