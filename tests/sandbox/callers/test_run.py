"""A whole simulated call: carrier, caller and judge against a small server that answers by energy."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.sandbox.callers.voices import synthesise, tone_mulaw
from tests.sandbox.carrier.server import FakeServer, Wire
from voice_agent.audio.mulaw import FRAME_BYTES
from voice_agent.calls.transcript import AgentSaid, CallerSaid, Transcript
from voice_agent.sandbox.callers import parse, prepare, run_scenario
from voice_agent.sandbox.callers.ear import Ear
from voice_agent.sandbox.carrier import Carrier


async def answer_after_silence(wire: Wire) -> None:
    """Greet, answer 100 ms after each stretch of speech, stop when spoken over, hang up after the second answer."""
    await wire.next("start")
    await wire.play(tone_mulaw(300))
    ear, answers, quiet_frames = Ear(), 0, 0
    while answers < 2:
        message = await wire.next("media")
        media = message["media"]
        assert isinstance(media, dict)
        was_quiet = ear.spoken_ms == 0
        ear.hear(base64.b64decode(media["payload"]))
        if ear.spoken_ms and was_quiet:
            await wire.clear()
        quiet_frames = 0 if ear.quiet_ms == 0 else quiet_frames + 1
        if ear.speech_began is not None and quiet_frames == 5:
            answers += 1
            await wire.play(tone_mulaw(2_000 if answers == 1 else 200))
            await wire.mark(f"answer {answers}")
    # The mark of the first answer came back when it was cleared.
    await wire.next("mark")


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer(hold=answer_after_silence)
    runner = await fake.start()
    fake.documents["voice"] = fake.stream()
    yield fake
    await runner.cleanup()


SCENARIO = parse("""
name: a short call
limit_s: 20
steps:
- wait_for_agent: {quiet_ms: 200}
- say: hello there
- interrupt: {say: wait a moment, after_ms: 500}
- wait_for_agent: {quiet_ms: 300}
expect: {min_turns: 2, barge_ins: 1, max_latency_ms: 2000, ended_by: agent, heard: [moment], understood: [hello]}
""")


async def transcript(call_sid: str) -> Transcript:
    return Transcript(
        call_sid=call_sid,
        started_at=datetime.now(UTC),
        language="en",
        is_complete=True,
        entries=(
            CallerSaid(started_at=0.0, ended_at=1.0, text="Hello there."),
            AgentSaid(started_at=1.0, ended_at=2.0, turn=1, text="One moment, please", heard="One moment,"),
        ),
    )


async def test_callers_at_once_are_each_judged(server: FakeServer) -> None:
    rendering = await prepare(SCENARIO, synthesise)
    async with Carrier() as carrier:
        verdicts = await asyncio.gather(
            *(
                run_scenario(rendering, carrier, f"{server.url}/twiml/voice", find_transcript=transcript)
                for _ in range(3)
            )
        )
    for verdict in verdicts:
        assert verdict.has_passed, verdict.checks
        assert [turn.text for turn in verdict.turns] == ["hello there", "wait a moment"]
        # The server waits for five silent frames: less than that cannot be.
        assert min(verdict.latencies_ms) >= 5 * FRAME_BYTES / 8
        assert verdict.barge_ins[0].clear_ms is not None
    assert len({verdict.call_sid for verdict in verdicts}) == 3


async def test_a_server_that_never_answers_ends_the_call_badly(server: FakeServer) -> None:
    server.documents["voice"] = "<Response><Hangup/></Response>"
    rendering = await prepare(SCENARIO, synthesise)
    async with Carrier() as carrier:
        verdict = await run_scenario(rendering, carrier, f"{server.url}/twiml/voice")
    assert not verdict.has_passed
    assert verdict.turns == ()
