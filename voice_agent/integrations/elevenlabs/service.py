"""ElevenLabsService: the account, from which the speech ports are made and which can be checked.

Streaming is spoken by our own sockets: the SDK's realtime synthesis is synchronous, takes three threads for an
utterance and cannot leave the wss scheme (bench/README.md). Its HTTP client serves for the check.
"""

from collections.abc import Sequence

from voice_agent.integrations.elevenlabs.speech_to_text import PROVIDER, ElevenLabsSpeechToText
from voice_agent.integrations.elevenlabs.text_to_speech import ElevenLabsTextToSpeech
from voice_agent.integrations.failures import from_exception, from_status
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
        import httpx
        from elevenlabs.client import AsyncElevenLabs
        from elevenlabs.core import ApiError

        key = self._settings.api_key.get_secret_value()
        wanted = (self._settings.voice_id, self._settings.fallback_voice_id, *voice_ids)
        async with httpx.AsyncClient(timeout=CHECK_S) as http:
            client = AsyncElevenLabs(api_key=key, base_url=self._settings.base_url, httpx_client=http)
            for voice_id in dict.fromkeys(filter(None, wanted)):
                try:
                    await client.voices.get(voice_id)
                except ApiError as error:
                    raise from_status(PROVIDER, error.status_code or 500, f"voice {voice_id}: {error.body}") from error
                except httpx.HTTPError as error:
                    raise from_exception(PROVIDER, error) from error
