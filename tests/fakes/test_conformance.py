"""The fakes are the ports they stand for: checked by the type checker here, and their drives by these tests."""

import asyncio

import pytest

from tests.fakes.call_control import FakeCallControl
from tests.fakes.language_model import FakeLanguageModel
from tests.fakes.loudspeaker import FakeLoudspeaker
from tests.fakes.speech_to_text import FakeSpeechToText
from tests.fakes.text_to_speech import FakeTextToSpeech, RecordingListener, tone
from tests.fakes.voice_activity import FakeVoiceActivityDetector
from voice_agent.errors import ProviderBusy
from voice_agent.pipeline import ports
from voice_agent.pipeline.events import AnyEvent, PlaybackFinished, PlaybackMarked, PlaybackStarted, PlaybackStopped


async def test_every_fake_is_its_port() -> None:
    events: list[AnyEvent] = []
    loudspeaker: ports.Loudspeaker = FakeLoudspeaker(events.append, lambda: 0.0)
    control: ports.CallControl = FakeCallControl()
    stt: ports.SpeechToText = FakeSpeechToText()
    tts: ports.TextToSpeech = FakeTextToSpeech()
    llm: ports.LanguageModel = FakeLanguageModel()
    vad: ports.VoiceActivityDetector = FakeVoiceActivityDetector()
    assert all((loudspeaker, control, stt, tts, llm, vad))


async def test_a_commit_is_answered_outside_the_call() -> None:
    heard: list[ports.Transcript] = []
    stream = FakeSpeechToText(["yes"]).open(language="en", on_transcript=heard.append)
    stream.commit()
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [ports.FinalTranscript("yes")]


async def test_synthesis_times_its_words() -> None:
    listener = RecordingListener()
    stream = FakeTextToSpeech(ms_per_char=10).open(voice=ports.Voice("v"), listener=listener)
    stream.speak(1, "Good day. ")
    stream.finish(1)
    await asyncio.sleep(0)
    assert listener.text(1) == "Good day. "
    assert listener.words[1] == [ports.Word("Good ", 0, 50), ports.Word("day. ", 50, 100)]
    assert listener.audio[1] == tone(100)
    assert listener.finished == [1]


async def test_a_script_can_fail_midway() -> None:
    llm = FakeLanguageModel(["Hello", ProviderBusy("fake", "full")])
    reply = llm.reply(instructions="", messages=(), tools=())
    assert await anext(reply) == ports.TextDelta("Hello")
    with pytest.raises(ProviderBusy):
        await anext(reply)
    assert llm.requests[0].is_closed
    assert not llm.requests[0].is_complete


def test_playback_reports() -> None:
    events: list[AnyEvent] = []
    ear = FakeLoudspeaker(events.append, lambda: 3.0)
    ear.play(1, tone(100))
    ear.hear(1, 40.0)
    ear.stop(1)
    ear.finish(1)
    ear.hear_all(1)
    assert events == [
        PlaybackStarted(at=3.0, turn=1),
        PlaybackMarked(at=3.0, turn=1, heard_ms=40.0),
        PlaybackStopped(at=3.0, turn=1, heard_ms=40.0, remaining_ms=60.0),
        PlaybackFinished(at=3.0, turn=1),
    ]
