"""Fixed phrases, synthesised before they are needed.

The greeting must not wait for a provider, and the apology must be sayable when the provider is down. A `LineBook`
belongs to one provider and voice and is shared by all calls; what only one of them says has a book of its own on top
of it. Looking a line up never waits.
"""

import asyncio
from collections.abc import Iterable

import msgspec
import structlog

from voice_agent.errors import ProviderError, ProviderUnavailable
from voice_agent.pipeline.ports import TextToSpeech, Voice, Word
from voice_agent.storage.cache import CacheService, cache_key

log = structlog.get_logger(__name__)

KEPT_FOR_S = 30 * 24 * 3600.0
"""How long the shared cache keeps a line. Its key names voice, model and text, so a line never goes stale."""

KEPT_FOR_ONE_CALL_S = 3_600.0
"""Of lines that only one call says, such as a greeting by name: from the ringing to the end of the call."""

SYNTHESIS_TIMEOUT_S = 15.0


class Line(msgspec.Struct, frozen=True):
    """A phrase as sound: mu-law at 8,000 Hz, and when its words begin and end in it."""

    mulaw: bytes
    words: tuple[Word, ...]


class _OneLine:
    """Collects the audio of one phrase."""

    def __init__(self) -> None:
        self.done: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._mulaw = bytearray()
        self._words: list[Word] = []

    def on_audio(self, turn: int, mulaw: bytes, words: tuple[Word, ...]) -> None:  # noqa: ARG002 - the port's shape
        self._mulaw += mulaw
        self._words += words

    def on_finished(self, turn: int) -> None:  # noqa: ARG002 - the port's shape
        if not self.done.done():
            self.done.set_result(Line(mulaw=bytes(self._mulaw), words=tuple(self._words)))

    def on_failed(self, turn: int, error: ProviderError) -> None:  # noqa: ARG002 - the port's shape
        if not self.done.done():
            self.done.set_exception(error)


class LineBook:
    """The lines of one voice, by text."""

    def __init__(self, tts: TextToSpeech, voice: Voice, cache: CacheService, *, provider: str) -> None:
        self._tts = tts
        self._voice = voice
        self._cache = cache
        self._provider = provider
        self._lines: dict[str, Line] = {}
        self._shared: LineBook | None = None

    def for_one_call(self) -> "LineBook":
        """Return a book that has all lines of this one, and forgets with the call what is added to it."""
        book = LineBook(self._tts, self._voice, self._cache, provider=self._provider)
        book._shared = self
        return book

    def find(self, text: str) -> Line | None:
        """Return a line that was prepared, None for any other text. Hot path."""
        line = self._lines.get(text)
        return self._shared.find(text) if line is None and self._shared is not None else line

    async def prepare(self, texts: Iterable[str]) -> None:
        """Have every text ready, from the shared cache or by synthesis. A text that fails is left to the live voice."""
        for text in texts:
            if text and self.find(text) is None:
                try:
                    self._lines[text] = await self._fetch(text)
                except ProviderError as error:
                    log.warning("line not prepared", error=str(error))

    async def _fetch(self, text: str) -> Line:
        voice = self._voice
        key = cache_key("line", self._provider, voice.voice_id, voice.model, voice.language, f"{voice.speed:g}", text)
        stored = await self._cache.get(key)
        if stored is not None:
            try:
                return msgspec.msgpack.decode(stored, type=Line)
            except msgspec.DecodeError:
                log.warning("stored line not readable", key=key)  # of another version: made again
        line = await self._synthesise(text)
        ttl_s = KEPT_FOR_S if self._shared is None else KEPT_FOR_ONE_CALL_S
        await self._cache.put(key, msgspec.msgpack.encode(line), ttl_s=ttl_s)
        return line

    async def _synthesise(self, text: str) -> Line:
        listener = _OneLine()
        stream = self._tts.open(voice=self._voice, listener=listener)
        try:
            stream.speak(1, text)
            stream.finish(1)
            async with asyncio.timeout(SYNTHESIS_TIMEOUT_S):
                return await listener.done
        except TimeoutError:
            raise ProviderUnavailable(self._provider, "no speech for a fixed line in time") from None
        finally:
            await stream.close()
