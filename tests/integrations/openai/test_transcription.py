"""OpenAI's realtime transcription: the contract for a live and an older model, and what its protocol has of its own.

In the double every second completion comes late, so that it is overtaken by the next one.
"""

import asyncio

import pytest
from pydantic import SecretStr

from tests.contracts.eventually import eventually
from tests.contracts.speech_to_text import Hearing, Listening, SpeechToTextContract, words
from tests.sandbox.providers.recordings import voice
from voice_agent.audio.mulaw import FRAME_BYTES, silence
from voice_agent.errors import ProviderRefused
from voice_agent.integrations.openai.transcription import OpenAITranscription
from voice_agent.integrations.transcription import TranscriptionLimits
from voice_agent.sandbox.providers import Fault, FaultKind, ProviderDoubles, Service
from voice_agent.settings import OpenAISettings

QUICK = TranscriptionLimits(tick_s=0.02, silence_s=0.4, commit_s=0.5, first_delay_s=0.01, longest_delay_s=0.02)
TABLE, TIME = voice(1, 1_200), voice(2, 900)


def hearing_with(doubles: ProviderDoubles, settings: OpenAISettings, model: str, limit_s: float = 600.0) -> Hearing:
    doubles.phrases.add(TABLE, "I would like a table.")
    doubles.phrases.add(TIME, "At seven o'clock, please.")
    settings = settings.model_copy(update={"transcription_model": model})
    port = OpenAITranscription(settings, QUICK, session_limit_s=limit_s)
    return Hearing(port, TABLE, "I would like a table.", TIME, "At seven o'clock, please.")


@pytest.fixture
def hearing(doubles: ProviderDoubles, settings: OpenAISettings) -> Hearing:
    return hearing_with(doubles, settings, "gpt-live-transcribe")


class TestLiveModel(SpeechToTextContract):
    @pytest.fixture
    def hearing(self, hearing: Hearing) -> Hearing:
        return hearing


class TestOlderModel(SpeechToTextContract):
    @pytest.fixture
    def hearing(self, doubles: ProviderDoubles, settings: OpenAISettings) -> Hearing:
        return hearing_with(doubles, settings, "gpt-4o-transcribe")


async def test_what_the_session_is_asked_for(doubles: ProviderDoubles, hearing: Hearing) -> None:
    listening = Listening.to(hearing)
    listening.send(TABLE)
    listening.commit()
    await listening.final(1)
    exchange = doubles.journal.last(Service.OPENAI_REALTIME)
    assert exchange.path.endswith("/v1/realtime?intent=transcription")
    update = next(event.text for event in exchange.events if event.direction == "in")
    for wanted in ('"audio/pcmu"', '"turn_detection":null', '"languages":["en"]', '"gpt-live-transcribe"'):
        assert wanted in update
    await listening.close()


async def test_a_wrong_key_is_never_retried(doubles: ProviderDoubles, settings: OpenAISettings) -> None:
    """F05."""
    wrong = settings.model_copy(update={"api_key": SecretStr("wrong")})
    listening = Listening.to(Hearing(OpenAITranscription(wrong, QUICK), b"", "", b"", ""))
    await listening.until(lambda: bool(listening.lost))
    assert isinstance(listening.lost[0].error, ProviderRefused)
    assert len(doubles.journal.exchanges(Service.OPENAI_REALTIME)) == 1
    await listening.close()


async def test_a_commit_of_too_little_audio_is_harmless(doubles: ProviderDoubles, hearing: Hearing) -> None:
    """`input_audio_buffer_commit_empty` answers the commit; the session goes on."""
    listening = Listening.to(hearing)
    listening.send(silence(FRAME_BYTES))
    listening.commit()
    listening.send(TABLE)
    listening.commit()
    await listening.final(2)
    assert listening.finals == [[], words(hearing.text)]
    assert len(doubles.journal.exchanges(Service.OPENAI_REALTIME)) == 1
    await listening.close()


@pytest.mark.parametrize(
    "fault",
    [Fault(FaultKind.RESET, after_messages=4), Fault(FaultKind.STALL, after_messages=4)],
    ids=lambda fault: fault.kind,
)
async def test_no_final_is_lost_with_a_connection(doubles: ProviderDoubles, hearing: Hearing, fault: Fault) -> None:
    """F09, F10."""
    doubles.plan_faults(Service.OPENAI_REALTIME, fault)
    listening = Listening.to(hearing)
    listening.send(TABLE)
    listening.commit()
    listening.send(TIME)
    listening.commit()
    await listening.final(2)
    assert listening.finals == [words(hearing.text), words(hearing.other_text)]
    await listening.close()


async def test_the_session_is_replaced_before_its_limit(doubles: ProviderDoubles, settings: OpenAISettings) -> None:
    hearing = hearing_with(doubles, settings, "gpt-live-transcribe", limit_s=0.1)
    listening = Listening.to(hearing)
    await eventually(lambda: len(doubles.journal.exchanges(Service.OPENAI_REALTIME)) == 2)
    listening.send(TABLE)
    listening.commit()
    await listening.final(1)
    assert listening.finals == [words(hearing.text)]
    await asyncio.sleep(0)
    assert not listening.lost
    await listening.close()
