"""The synthesis socket: the contract, and what only a connection can do wrong (F05, F13 to F16)."""

import asyncio

import pytest
from pydantic import SecretStr

from tests.contracts.eventually import eventually
from tests.contracts.text_to_speech import FIRST, SECOND, Speaking, TextToSpeechContract, until
from voice_agent.audio.mulaw import duration_ms
from voice_agent.errors import ProviderMisbehaved, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.elevenlabs.text_to_speech import MAX_CONTEXTS, ElevenLabsTextToSpeech, SynthesisLimits
from voice_agent.pipeline.ports import Voice
from voice_agent.pipeline.speech_fallback import FallbackTextToSpeech, SpeechLimits
from voice_agent.sandbox.providers import (
    DoublesConfig,
    ElevenLabsConfig,
    Fault,
    FaultKind,
    ProviderDoubles,
    Service,
    Timings,
)
from voice_agent.settings import ElevenLabsSettings

LIMITS = SynthesisLimits(tick_s=0.05, slot_s=0.2, delays_s=(0.0, 0.01, 0.02))
KEY = "k"


@pytest.fixture
def speaking(settings: ElevenLabsSettings) -> Speaking:
    return Speaking(ElevenLabsTextToSpeech(settings, LIMITS), Voice("sandbox-voice", language="es"))


class TestContract(TextToSpeechContract):
    @pytest.fixture
    def speaking(self, speaking: Speaking) -> Speaking:
        return speaking


@pytest.mark.parametrize("alignment", ["chunk", "legacy"])
@pytest.mark.parametrize("spelling", ["camel", "snake"])
async def test_every_spelling_of_the_server_is_read(alignment: str, spelling: str) -> None:
    elevenlabs = ElevenLabsConfig(alignment=alignment, spelling=spelling)  # type: ignore[arg-type]
    async with await ProviderDoubles.start(DoublesConfig(timings=Timings.instant(), elevenlabs=elevenlabs)) as doubles:
        settings = ElevenLabsSettings(api_key=SecretStr(KEY), base_url=doubles.elevenlabs_base_url)
        stream, listener = Speaking(ElevenLabsTextToSpeech(settings, LIMITS), Voice("v")).open()
        stream.speak(1, FIRST)
        stream.finish(1)
        await until(listener, lambda: listener.finished == [1])
        assert listener.text(1).split() == FIRST.split()
        # Times on the wire begin anew with each chunk; ours do not.
        assert listener.words[1][-1].end_ms > 1_000
        await stream.close()


async def test_no_timing_is_no_failure() -> None:
    elevenlabs = ElevenLabsConfig(alignment="none")
    async with await ProviderDoubles.start(DoublesConfig(timings=Timings.instant(), elevenlabs=elevenlabs)) as doubles:
        settings = ElevenLabsSettings(api_key=SecretStr(KEY), base_url=doubles.elevenlabs_base_url)
        stream, listener = Speaking(ElevenLabsTextToSpeech(settings, LIMITS), Voice("v")).open()
        stream.speak(1, FIRST)
        stream.finish(1)
        await until(listener, lambda: listener.finished == [1])
        assert listener.text(1) == ""
        assert listener.audio[1]
        await stream.close()


async def test_what_the_socket_is_asked_for(doubles: ProviderDoubles, settings: ElevenLabsSettings) -> None:
    voice = Voice("sandbox-voice", language="es", speed=1.1)
    stream, listener = Speaking(ElevenLabsTextToSpeech(settings, LIMITS), voice).open()
    stream.speak(1, "Buenos días.")
    stream.finish(1)
    await until(listener, lambda: listener.finished == [1])
    exchange = doubles.journal.last(Service.ELEVENLABS_TTS)
    for wanted in ("/sandbox-voice/multi-stream-input", "output_format=ulaw_8000", "language_code=es", "flash_v2_5"):
        assert wanted in exchange.path
    said = [event.text for event in exchange.events if event.direction == "in"]
    assert '"speed":1.1' in said[0]
    assert "voice_settings" not in "".join(said[1:])
    await stream.close()


async def test_the_context_limit_is_never_crossed() -> None:
    """F14: five contexts, those that are closing included; the sixth turn waits."""
    config = DoublesConfig(timings=Timings(first_audio_s=0.05, audio_speed=50.0))
    async with await ProviderDoubles.start(config) as doubles:
        settings = ElevenLabsSettings(api_key=SecretStr(KEY), base_url=doubles.elevenlabs_base_url)
        stream, listener = Speaking(ElevenLabsTextToSpeech(settings), Voice("v")).open()
        for turn in range(1, MAX_CONTEXTS + 3):
            stream.speak(turn, SECOND)
            stream.finish(turn)
        await until(listener, lambda: len(listener.finished) == MAX_CONTEXTS + 2)
        assert listener.failures == []
        assert len(doubles.journal.exchanges(Service.ELEVENLABS_TTS)) == 1
        assert not doubles.journal.last(Service.ELEVENLABS_TTS).named("max_active_conversations")
        await stream.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.RESET, after_messages=3),
        Fault(FaultKind.CLOSE, after_messages=3, close_code=1008),
        Fault(FaultKind.CLOSE, after_messages=3, close_code=1012),
        Fault(FaultKind.ERROR, after_messages=3, error="input_timeout_exceeded"),
        Fault(FaultKind.STATUS, status=500),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.close_code}",
)
async def test_a_turn_survives_its_socket(doubles: ProviderDoubles, speaking: Speaking, fault: Fault) -> None:
    """F13, F14: it goes on from the word that was cut, which alone may be heard twice."""
    doubles.plan_faults(Service.ELEVENLABS_TTS, fault)
    stream, listener = speaking.open()
    stream.speak(1, FIRST)
    stream.speak(1, SECOND)
    stream.finish(1)
    await until(listener, lambda: listener.finished == [1])
    wanted = (FIRST + SECOND).split()
    assert listener.text(1).split() == wanted
    assert listener.failures == []
    starts = [word.start_ms for word in listener.words[1]]
    assert starts == sorted(starts)
    assert len(doubles.journal.exchanges(Service.ELEVENLABS_TTS)) == 2
    await stream.close()


async def test_a_storm_of_closes_ends_in_failure(doubles: ProviderDoubles, speaking: Speaking) -> None:
    """F14: three quick failures, then the turn is given up; the next turn tries again."""
    doubles.plan_faults(Service.ELEVENLABS_TTS, *[Fault(FaultKind.STATUS, status=500)] * 4)
    stream, listener = speaking.open()
    stream.speak(1, FIRST)
    stream.finish(1)
    await until(listener, lambda: bool(listener.failures))
    turn, error = listener.failures[0]
    assert (turn, type(error)) == (1, ProviderUnavailable)
    assert len(doubles.journal.exchanges(Service.ELEVENLABS_TTS)) == 1 + len(LIMITS.delays_s)
    stream.speak(2, SECOND)
    stream.finish(2)
    await until(listener, lambda: listener.finished == [2])
    await stream.close()


async def test_a_refusal_fails_every_turn_and_is_never_retried(
    doubles: ProviderDoubles, settings: ElevenLabsSettings
) -> None:
    """F05."""
    wrong = settings.model_copy(update={"api_key": SecretStr("wrong-secret")})
    stream, listener = Speaking(ElevenLabsTextToSpeech(wrong, LIMITS), Voice("v")).open()
    stream.speak(1, FIRST)
    await until(listener, lambda: len(listener.failures) == 1)
    stream.speak(2, SECOND)
    stream.finish(2)
    await until(listener, lambda: len(listener.failures) == 2)
    stream.finish(1)
    await asyncio.sleep(0.02)
    assert [turn for turn, _ in listener.failures] == [1, 2]
    assert all(isinstance(error, ProviderRefused) for _, error in listener.failures)
    assert "wrong-secret" not in str(listener.failures)
    assert listener.finished == []
    assert len(doubles.journal.exchanges(Service.ELEVENLABS_TTS)) == 1
    await stream.close()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(FaultKind.WRONG_RATE), "another sample rate"),
        (Fault(FaultKind.SILENCE), "nothing but silence"),
        (Fault(FaultKind.HUGE, size_bytes=3_000_000), "a constant level"),
    ],
)
async def test_unfit_sound_is_never_heard(
    doubles: ProviderDoubles, speaking: Speaking, fault: Fault, reason: str
) -> None:
    """F15, F16."""
    doubles.plan_faults(Service.ELEVENLABS_TTS, fault)
    stream, listener = speaking.open()
    stream.speak(1, FIRST)
    stream.finish(1)
    await until(listener, lambda: bool(listener.failures))
    turn, error = listener.failures[0]
    assert turn == 1
    assert isinstance(error, ProviderMisbehaved)
    assert reason in str(error)
    heard_ms = duration_ms(len(listener.audio.get(1, b"")))
    assert heard_ms == 0 if fault.kind is not FaultKind.HUGE else heard_ms < 30_000
    await stream.close()


async def test_a_malformed_message_costs_its_chunk_only(doubles: ProviderDoubles, speaking: Speaking) -> None:
    """F11."""
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.MALFORMED, after_messages=2))
    stream, listener = speaking.open()
    stream.speak(1, FIRST)
    stream.finish(1)
    await until(listener, lambda: listener.finished == [1])
    assert listener.audio[1]
    await stream.close()


async def test_an_idle_socket_that_closes_is_opened_again(doubles: ProviderDoubles, speaking: Speaking) -> None:
    doubles.plan_faults(Service.ELEVENLABS_TTS, Fault(FaultKind.TRUNCATE, after_messages=12))
    stream, listener = speaking.open()
    stream.speak(1, FIRST + SECOND)
    stream.finish(1)
    await until(listener, lambda: listener.finished == [1])
    await eventually(lambda: len(doubles.journal.exchanges(Service.ELEVENLABS_TTS)) == 2)
    stream.speak(2, SECOND)
    stream.finish(2)
    await until(listener, lambda: listener.finished == [1, 2])
    assert listener.text(2).split() == SECOND.split()
    await stream.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.STALL, after_messages=4),
        Fault(FaultKind.LATE_FIRST_BYTE, delay_s=5.0),
        Fault(FaultKind.WRONG_RATE),
        Fault(FaultKind.SILENCE),
    ],
    ids=lambda fault: fault.kind,
)
async def test_behind_a_fallback_every_word_is_heard(
    doubles: ProviderDoubles, settings: ElevenLabsSettings, fault: Fault
) -> None:
    """F12, F13, F15: here the backup is the same provider on another connection."""
    doubles.plan_faults(Service.ELEVENLABS_TTS, fault)
    tts = ElevenLabsTextToSpeech(settings, LIMITS)
    limits = SpeechLimits(first_audio_s=0.2, next_audio_s=0.2, backup_audio_s=2.0)
    stream, listener = Speaking(FallbackTextToSpeech(tts, tts, limits=limits), Voice("v")).open()
    stream.speak(1, FIRST)
    stream.speak(1, SECOND)
    stream.finish(1)
    await until(listener, lambda: listener.finished == [1])
    assert listener.text(1).split() == (FIRST + SECOND).split()
    assert listener.failures == []
    await stream.close()
