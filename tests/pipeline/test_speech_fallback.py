"""Speech goes on although a provider fails: F05, F09, F10, F12 to F15."""

import asyncio
from collections import deque
from collections.abc import Callable

import pytest

from tests.contracts.eventually import eventually
from tests.contracts.speech_to_text import Hearing, Listening, SpeechToTextContract
from tests.contracts.text_to_speech import Speaking, TextToSpeechContract
from tests.fakes.speech_to_text import FakeSpeechToText, FakeTranscriptionStream
from tests.fakes.text_to_speech import FakeSynthesisStream, FakeTextToSpeech, RecordingListener
from voice_agent.errors import ProviderRefused, ProviderUnavailable
from voice_agent.pipeline.circuit_breaker import CircuitBreaker
from voice_agent.pipeline.ports import FinalTranscript, InterimTranscript, Transcript, Voice, Word
from voice_agent.pipeline.speech_fallback import FallbackSpeechToText, FallbackTextToSpeech, SpeechLimits

DOWN = ProviderUnavailable("fake", "reset")
TEXT = "Good morning, how can I help? "
LIMITS = SpeechLimits(first_audio_s=0.05, next_audio_s=0.05, backup_audio_s=0.1)
VOICE, OTHER_VOICE = Voice("anna"), Voice("bert")


class TestFallbackTextToSpeech(TextToSpeechContract):
    @pytest.fixture
    def speaking(self) -> Speaking:
        return Speaking(FallbackTextToSpeech(FakeTextToSpeech(), FakeTextToSpeech()), VOICE)


class Stage:
    """A stream over two voices that the test plays."""

    def __init__(self, breaker: CircuitBreaker | None = None) -> None:
        self.listener = RecordingListener()
        self.primary = FakeTextToSpeech(is_automatic=False, ms_per_char=50)
        self.backup = FakeTextToSpeech(is_automatic=False, ms_per_char=50)
        tts = FallbackTextToSpeech(self.primary, self.backup, backup_voice=OTHER_VOICE, limits=LIMITS, breaker=breaker)
        self.stream = tts.open(voice=VOICE, listener=self.listener)

    @property
    def first(self) -> FakeSynthesisStream:
        return self.primary.streams[0]

    @property
    def second(self) -> FakeSynthesisStream:
        return self.backup.streams[0]


async def test_the_backup_is_opened_only_when_it_is_needed() -> None:
    stage = Stage()
    stage.stream.speak(1, TEXT)
    stage.first.sound(1, TEXT)
    stage.stream.finish(1)
    stage.first.complete(1)
    assert stage.backup.streams == []
    assert stage.listener.finished == [1]
    await stage.stream.close()
    assert stage.first.is_closed


async def test_a_failed_turn_goes_on_in_the_other_voice_from_the_cut_word() -> None:
    """F13, F15."""
    stage = Stage()
    stage.stream.speak(1, TEXT)
    stage.first.sound(1, "Good morning, ")
    stage.first.fail(1, DOWN)
    stage.stream.finish(1)
    assert stage.second.voice == OTHER_VOICE
    assert stage.second.spoken == {1: ["how can I help? "]}
    assert stage.second.finished == [1]
    stage.second.sound(1, "how can I help? ")
    stage.second.complete(1)
    assert stage.listener.text(1) == TEXT
    assert stage.listener.finished == [1]
    assert stage.listener.failures == []
    begin_ms = len("Good morning, ") * 50
    assert stage.listener.words[1][2] == Word("how ", begin_ms, begin_ms + 200)
    await stage.stream.close()


async def test_no_first_audio_in_time() -> None:
    """F12."""
    stage = Stage()
    stage.stream.speak(1, TEXT)
    await eventually(lambda: stage.backup.streams)
    assert stage.first.cancelled == [1]
    assert stage.second.spoken == {1: [TEXT]}
    stage.first.cancelled.clear()
    stage.first.sound(1, TEXT)
    assert stage.listener.audio == {}
    await stage.stream.close()
    assert stage.second.is_closed


async def test_a_stall_in_the_middle() -> None:
    """F13."""
    stage = Stage()
    stage.stream.speak(1, TEXT)
    stage.first.sound(1, "Good morning, ")
    await eventually(lambda: stage.backup.streams)
    assert stage.second.spoken == {1: ["how can I help? "]}
    stage.stream.speak(1, "We are open.")
    assert stage.second.spoken == {1: ["how can I help? ", "We are open."]}
    await stage.stream.close()


async def test_waiting_for_more_text_is_no_stall() -> None:
    stage = Stage()
    stage.stream.speak(1, TEXT)
    stage.first.sound(1, TEXT)
    await asyncio.sleep(3 * LIMITS.next_audio_s)
    assert stage.backup.streams == []
    await stage.stream.close()


async def test_an_end_that_is_never_reported_is_made_up_for() -> None:
    stage = Stage()
    stage.stream.speak(1, TEXT)
    stage.stream.finish(1)
    stage.first.sound(1, TEXT)
    await eventually(lambda: stage.listener.finished)
    assert stage.listener.finished == [1]
    assert stage.backup.streams == []
    await stage.stream.close()


async def test_both_voices_failing_is_the_end_of_the_turn_only() -> None:
    """F17."""
    stage = Stage()
    stage.stream.speak(1, TEXT)
    stage.first.fail(1, DOWN)
    stage.second.fail(1, DOWN)
    stage.stream.speak(1, "more")
    stage.stream.finish(1)
    assert stage.listener.failures == [(1, DOWN)]
    stage.stream.speak(2, TEXT)
    assert stage.first.spoken[2] == [TEXT]
    await stage.stream.close()


async def test_a_silent_backup_fails_the_turn() -> None:
    """F17."""
    stage = Stage()
    stage.stream.speak(1, TEXT)
    stage.first.fail(1, DOWN)
    await eventually(lambda: stage.listener.failures)
    assert stage.second.cancelled == [1]
    await stage.stream.close()


async def test_after_a_refusal_new_turns_begin_with_the_backup() -> None:
    """F05."""
    stage = Stage(CircuitBreaker(lambda: 0.0))
    stage.stream.speak(1, TEXT)
    stage.first.fail(1, ProviderRefused("fake", "401"))
    stage.stream.speak(2, TEXT)
    assert 2 not in stage.first.spoken
    assert stage.second.spoken[2] == [TEXT]
    await stage.stream.close()


async def test_a_cancelled_turn_has_no_deadline() -> None:
    stage = Stage()
    stage.stream.speak(1, TEXT)
    stage.stream.cancel(1)
    stage.stream.cancel(1)
    await asyncio.sleep(2 * LIMITS.first_audio_s)
    assert stage.backup.streams == []
    assert stage.first.cancelled == [1]
    await stage.stream.close()


# --- recognition ----------------------------------------------------------------------------------------------------
class EchoStream(FakeTranscriptionStream):
    """Recognises bytes that are their own text, silence as nothing."""

    def commit(self) -> None:
        text = bytes(self.audio).replace(b"\xff", b"").decode()
        self.audio.clear()
        loop = asyncio.get_running_loop()
        loop.call_soon(self.interim, text)
        loop.call_soon(self.final, text)


class EchoSpeechToText:
    def open(self, *, language: str, on_transcript: Callable[[Transcript], None]) -> EchoStream:
        return EchoStream(language, on_transcript, deque())


class TestFallbackSpeechToText(SpeechToTextContract):
    @pytest.fixture
    def hearing(self) -> Hearing:
        port = FallbackSpeechToText(EchoSpeechToText(), FakeSpeechToText())
        return Hearing(port, b"a table please", "a table please", b"at seven", "at seven")


def listen(breaker: CircuitBreaker | None = None) -> tuple[Listening, FakeSpeechToText, FakeSpeechToText]:
    primary, backup = FakeSpeechToText(), FakeSpeechToText()
    port = FallbackSpeechToText(primary, backup, breaker=breaker)
    return Listening.to(Hearing(port, b"", "", b"", "")), primary, backup


async def test_the_backup_hears_what_had_no_answer() -> None:
    """F10."""
    listening, primary, backup = listen()
    listening.send(b"one")
    listening.commit()
    primary.streams[0].final("one")
    listening.send(b"two")
    listening.commit()
    listening.send(b"three")
    primary.streams[0].lose(DOWN)
    assert bytes(backup.streams[0].audio) == b"twothree"
    assert backup.streams[0].commits == 1
    listening.send(b"four")
    listening.commit()
    backup.streams[0].interim("tw")
    backup.streams[0].final("two")
    backup.streams[0].final("three four")
    assert listening.reports == [
        FinalTranscript("one"),
        InterimTranscript("tw"),
        FinalTranscript("two"),
        FinalTranscript("three four"),
    ]
    await listening.close()
    assert primary.streams[0].is_closed
    assert backup.streams[0].is_closed


async def test_losing_both_is_reported_once() -> None:
    """F17."""
    listening, primary, backup = listen()
    primary.streams[0].lose(DOWN)
    backup.streams[0].lose(DOWN)
    assert [lost.error for lost in listening.lost] == [DOWN]
    await listening.close()


async def test_a_refused_recogniser_is_not_opened_for_the_next_call() -> None:
    """F05."""
    breaker = CircuitBreaker(lambda: 0.0)
    first, primary, _ = listen(breaker)
    primary.streams[0].lose(ProviderRefused("fake", "401"))
    second, primary, backup = listen(breaker)
    assert primary.streams == []
    second.send(b"one")
    assert bytes(backup.streams[0].audio) == b"one"
    backup.streams[0].lose(DOWN)
    assert len(second.lost) == 1
    await first.close()
    await second.close()
