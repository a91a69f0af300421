"""ElevenLabsService: the account, from which the speech ports are made and which can be checked.

Streaming is spoken by our own sockets: the SDK's realtime synthesis is synchronous, takes three threads for an
utterance and cannot leave the wss scheme (bench/README.md). Its HTTP client serves for the check.
"""

from collections.abc import Sequence

from voice_agent.errors import ProviderRefused
from voice_agent.integrations.elevenlabs.speech_to_text import ElevenLabsSpeechToText
from voice_agent.integrations.elevenlabs.text_to_speech import ElevenLabsTextToSpeech
from voice_agent.integrations.failures import from_exception
from voice_agent.settings import ElevenLabsSettings

CHECK_S = 10.0


class ElevenLabsService:
    """One ElevenLabs account."""

    def __init__(self, settings: ElevenLabsSettings) -> None:
        self._settings = settings

    def speech_to_text(self) -> ElevenLabsSpeechToText:
        """Return the recogniser."""
        return ElevenLabsSpeechToText(self._settings)

    def text_to_speech(self) -> ElevenLabsTextToSpeech:
        """Return the synthesiser."""
        return ElevenLabsTextToSpeech(self._settings)

    async def check(self, voice_ids: Sequence[str] = ()) -> None:
        """Ask whether the key is valid and the configured voices, and `voice_ids`, exist.

        Raises ProviderRefused for a wrong key or voice, another ProviderError where there is no answer.
        """
        # Half a second and 45 MB: only who asks for the check pays for the SDK.
        from elevenlabs.client import AsyncElevenLabs

        client = AsyncElevenLabs(
            api_key=self._settings.api_key.get_secret_value(), base_url=self._settings.base_url, timeout=CHECK_S
        )
        wanted = (self._settings.voice_id, self._settings.fallback_voice_id, *voice_ids)
        for voice_id in dict.fromkeys(filter(None, wanted)):
            try:
                await client.voices.get(voice_id)
            except Exception as error:
                failure = from_exception("elevenlabs", error)
                if isinstance(failure, ProviderRefused):
                    raise ProviderRefused("elevenlabs", f"voice {voice_id}: {failure}") from error
                raise failure from error
