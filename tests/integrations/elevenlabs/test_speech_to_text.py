"""Scribe's socket: the contract, and what only a connection can do wrong (F05, F08 to F11)."""

import asyncio

import pytest
from pydantic import SecretStr

from tests.contracts.eventually import eventually
from tests.contracts.speech_to_text import Hearing, Listening, SpeechToTextContract, words
from tests.sandbox.providers.recordings import voice
from voice_agent.audio.mulaw import FRAME_BYTES, silence
from voice_agent.errors import ProviderRefused, ProviderUnavailable
from voice_agent.integrations.elevenlabs.speech_to_text import ElevenLabsSpeechToText
from voice_agent.integrations.transcription import TranscriptionLimits
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

QUICK = TranscriptionLimits(
    tick_s=0.02, silence_s=0.4, commit_s=0.3, keep_alive_s=0.05, first_delay_s=0.01, longest_delay_s=0.02, failures=2
)
TABLE, TIME = voice(1, 1_200), voice(2, 900)


@pytest.fixture
def hearing(doubles: ProviderDoubles, settings: ElevenLabsSettings) -> Hearing:
    doubles.phrases.add(TABLE, "I would like a table.")
    doubles.phrases.add(TIME, "At seven o'clock, please.")
    port = ElevenLabsSpeechToText(settings, QUICK)
    return Hearing(port, TABLE, "I would like a table.", TIME, "At seven o'clock, please.")


class TestContract(SpeechToTextContract):
    @pytest.fixture
    def hearing(self, hearing: Hearing) -> Hearing:
        return hearing


async def test_what_the_socket_is_asked_for(doubles: ProviderDoubles, hearing: Hearing) -> None:
    listening = Listening.to(hearing)
    listening.send(TABLE)
    listening.commit()
    await listening.final(1)
    path = doubles.journal.last(Service.ELEVENLABS_STT).path
    for wanted in ("audio_format=ulaw_8000", "commit_strategy=manual", "language_code=en", "scribe_v2_realtime"):
        assert wanted in path
    await listening.close()


async def test_a_wrong_key_is_never_retried(doubles: ProviderDoubles, settings: ElevenLabsSettings) -> None:
    """F05."""
    wrong = settings.model_copy(update={"api_key": SecretStr("wrong")})
    hearing = Hearing(ElevenLabsSpeechToText(wrong, QUICK), b"", "", b"", "")
    listening = Listening.to(hearing)
    await listening.until(lambda: bool(listening.lost))
    assert isinstance(listening.lost[0].error, ProviderRefused)
    assert "wrong" not in str(listening.lost[0].error)
    assert len(doubles.journal.exchanges(Service.ELEVENLABS_STT)) == 1
    await listening.close()


async def test_audio_before_the_connection_is_kept(doubles: ProviderDoubles, hearing: Hearing) -> None:
    """F08."""
    doubles.plan_faults(Service.ELEVENLABS_STT, Fault(FaultKind.SLOW_CONNECT, delay_s=0.1))
    listening = Listening.to(hearing)
    listening.send(TABLE)
    listening.commit()
    listening.send(TIME)
    await asyncio.sleep(0)
    listening.commit()
    await listening.final(2)
    assert listening.finals == [words(hearing.text), words(hearing.other_text)]
    await listening.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.RESET, after_messages=3),
        Fault(FaultKind.CLOSE, after_messages=3, close_code=1012),
        Fault(FaultKind.STALL, after_messages=3),
        Fault(FaultKind.ERROR, after_messages=3, error="transcriber_error"),
        Fault(FaultKind.STATUS, status=503),
        Fault(FaultKind.REFUSE),
    ],
    ids=lambda fault: fault.kind,
)
async def test_no_final_is_lost_with_a_connection(doubles: ProviderDoubles, hearing: Hearing, fault: Fault) -> None:
    """F09, F10: the next connection hears what had no answer."""
    doubles.plan_faults(Service.ELEVENLABS_STT, fault)
    listening = Listening.to(hearing)
    for start in range(0, len(TABLE), FRAME_BYTES):
        listening.send(TABLE[start : start + FRAME_BYTES])
        await asyncio.sleep(0.001)
    listening.commit()
    await listening.final(1)
    listening.send(TIME)
    listening.commit()
    await listening.final(2)
    assert listening.finals == [words(hearing.text), words(hearing.other_text)]
    assert len(doubles.journal.exchanges(Service.ELEVENLABS_STT)) >= 2
    assert not listening.lost
    await listening.close()


async def test_loud_audio_without_any_answer_restarts_the_session(doubles: ProviderDoubles, hearing: Hearing) -> None:
    """F09: before any commit."""
    doubles.plan_faults(Service.ELEVENLABS_STT, Fault(FaultKind.STALL, after_messages=1))
    listening = Listening.to(hearing)
    await eventually(lambda: any(e.messages_out for e in doubles.journal.exchanges(Service.ELEVENLABS_STT)))
    await asyncio.sleep(0.05)
    listening.send(TABLE)
    await listening.until(lambda: bool(listening.interims))
    assert len(doubles.journal.exchanges(Service.ELEVENLABS_STT)) == 2
    await listening.close()


async def test_a_dead_provider_is_lost_after_a_few_attempts(doubles: ProviderDoubles, hearing: Hearing) -> None:
    """F17."""
    doubles.plan_faults(Service.ELEVENLABS_STT, *[Fault(FaultKind.REFUSE)] * 10)
    listening = Listening.to(hearing)
    await listening.until(lambda: bool(listening.lost))
    assert isinstance(listening.lost[0].error, ProviderUnavailable)
    assert len(doubles.journal.exchanges(Service.ELEVENLABS_STT)) == 1 + QUICK.failures
    await listening.close()


async def test_malformed_messages_are_dropped(doubles: ProviderDoubles, hearing: Hearing) -> None:
    """F11."""
    doubles.plan_faults(Service.ELEVENLABS_STT, Fault(FaultKind.MALFORMED, after_messages=1))
    listening = Listening.to(hearing)
    listening.send(TABLE)
    listening.commit()
    await listening.final(1)
    assert listening.finals == [words(hearing.text)]
    await listening.close()


async def test_an_idle_socket_is_kept_alive(doubles: ProviderDoubles, hearing: Hearing) -> None:
    listening = Listening.to(hearing)
    listening.send(silence(FRAME_BYTES * 2))
    await eventually(lambda: any(e.messages_in > 4 for e in doubles.journal.exchanges(Service.ELEVENLABS_STT)))
    await listening.close()
    assert doubles.journal.last(Service.ELEVENLABS_STT).audio_in_bytes == 2 * FRAME_BYTES


async def test_a_segment_that_the_server_closes_is_reported_only_with_words() -> None:
    """After 90 s without a commit Scribe commits by itself; here after two."""
    config = DoublesConfig(timings=Timings.instant(), elevenlabs=ElevenLabsConfig(auto_commit_s=2.0))
    async with await ProviderDoubles.start(config) as doubles:
        doubles.phrases.add(TABLE, "I would like a table.")
        settings = ElevenLabsSettings(api_key=SecretStr("k"), base_url=doubles.elevenlabs_base_url)
        listening = Listening.to(Hearing(ElevenLabsSpeechToText(settings, QUICK), TABLE, "", b"", ""))
        listening.send(silence(8 * 2_000))
        exchange = doubles.journal.exchanges
        await eventually(lambda: any(e.named("committed_transcript") for e in exchange(Service.ELEVENLABS_STT)))
        # What is on its way when we commit would be taken for the answer: transcripts carry no id. It has come once
        # the words said after it are there.
        listening.send(TABLE)
        await listening.until(lambda: bool(listening.interims))
        listening.commit()
        await listening.final(1)
        assert listening.finals == [words("I would like a table.")]
        await listening.close()
