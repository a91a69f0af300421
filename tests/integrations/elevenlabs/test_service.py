"""The account: its ports, and its check."""

import pytest
from pydantic import SecretStr

from voice_agent.errors import ProviderRefused, ProviderUnavailable
from voice_agent.integrations.elevenlabs.service import ElevenLabsService
from voice_agent.integrations.elevenlabs.speech_to_text import ElevenLabsSpeechToText
from voice_agent.integrations.elevenlabs.text_to_speech import ElevenLabsTextToSpeech
from voice_agent.sandbox.providers import DoublesConfig, ElevenLabsConfig, ProviderDoubles
from voice_agent.settings import ElevenLabsSettings


def test_its_ports() -> None:
    service = ElevenLabsService(ElevenLabsSettings(api_key=SecretStr("k")))
    assert isinstance(service.speech_to_text(), ElevenLabsSpeechToText)
    assert isinstance(service.text_to_speech(), ElevenLabsTextToSpeech)


async def test_the_check_asks_for_key_and_voices() -> None:
    config = DoublesConfig(api_key="right", elevenlabs=ElevenLabsConfig(voices=("anna",)))
    async with await ProviderDoubles.start(config) as doubles:
        settings = ElevenLabsSettings(api_key=SecretStr("right"), base_url=doubles.elevenlabs_base_url, voice_id="anna")
        await ElevenLabsService(settings).check()
        with pytest.raises(ProviderRefused, match="bert"):
            await ElevenLabsService(settings).check(["bert"])
        wrong = settings.model_copy(update={"api_key": SecretStr("hush-hush")})
        with pytest.raises(ProviderRefused) as caught:
            await ElevenLabsService(wrong).check()
        assert "hush-hush" not in str(caught.value)


async def test_no_answer_is_no_refusal() -> None:
    settings = ElevenLabsSettings(api_key=SecretStr("k"), base_url="http://127.0.0.1:1")
    with pytest.raises(ProviderUnavailable):
        await ElevenLabsService(settings).check()
