"""Speech synthesis in this process by libespeak-ng: no account, no network, first audio in under a millisecond.

The library (GPL-3, from the wheel `espeakng-loader`, extra `[local]`) is one global state and must never be entered
twice at once, so all synthesis of the process goes through one lock, and that of calls through one thread, which lets
go of the interpreter while it works. What is asked for is produced about a thousand times faster than it is spoken:
nothing is queued by length, and a cancelled turn stops at the next 60 ms of its audio.

Not here: caching of fixed phrases, and any natural sounding voice. Source: speak_lib.h of espeak-ng 1.52.
"""

import asyncio
import contextlib
import ctypes
import functools
import importlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from voice_agent.audio import mulaw
from voice_agent.audio.resample import MulawResampler
from voice_agent.errors import ProviderError, ProviderMisbehaved, ProviderRefused
from voice_agent.integrations.local.word_timing import WordTimer
from voice_agent.pipeline.ports import SynthesisListener, SynthesisStream, Voice, Word

PROVIDER = "espeak-ng"

VOICES = {"en": "en-us", "es": "es"}
"""The voice of each language where none is asked for. Others: a language of espeak-ng, or one with a variant of the
speaker such as "en-us+f3" (female 3) or "es+m3"."""

_ALIASES = {"en-gb": "en", "es-es": "es"}
"""What people write, and what the library calls it."""

WORDS_A_MINUTE = 160
"""At speed 1.0; the library's own 175 is hard to follow on a telephone."""

FIRST_CHUNK_MS = 100
CHUNK_MS = 200

SENTENCE_PAUSE_MS = 250
CLAUSE_PAUSE_MS = 80
"""Silence between the pieces of one turn: the library ends a piece without the pause that a reader would make."""

_SENTENCE_ENDS = (".", "!", "?", "…", ":")

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: the library's answer to missing data is to end the process
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_RATE_PARAMETER = 1  # espeakRATE
_EVENT_LIST_END = 0
_EVENT_WORD = 1
_BUFFER_MS = 60
"""Audio in one call of the callback; the library keeps at least 60 ms."""


class _Event(ctypes.Structure):
    """espeak_EVENT."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))

Sink = Callable[[bytes, list[tuple[int, float]]], bool]
"""Takes int16 PCM and (index of a character, ms) of each word that begins in it; False stops the synthesis."""


class EspeakSynthesiser:
    """The library itself, blocking: text in, audio out. All instances share the one library of the process."""

    _lock = threading.Lock()

    def __init__(self) -> None:
        """Load the library and its data, about 4 ms. Raises ProviderRefused where they are missing."""
        with self._lock:
            self._library, self.rate_hz = _load()

    def clip(self, text: str, language: str, voice: str = "") -> bytes:
        """Return `text` as one clip of mu-law. Raises ProviderRefused for an unknown voice."""
        pcm16 = bytearray()

        def keep(piece: bytes, _words: list[tuple[int, float]]) -> bool:
            pcm16.extend(piece)
            return True

        resampler = MulawResampler(self.rate_hz)
        self.synthesise(text, Voice(voice_id=voice, language=language), keep)
        return resampler.feed(bytes(pcm16)) + resampler.finish()

    def synthesise(self, text: str, voice: Voice, sink: Sink) -> None:
        """Speak `text` into `sink`, int16 mono PCM at `rate_hz`, until it is done or the sink says False.

        Raises ProviderRefused for an unknown voice and ProviderMisbehaved where the library fails.
        """
        # A NUL would end the text for the library; it is no sound.
        encoded = text.replace("\0", " ").encode()
        callback = self._callback(sink)
        with self._lock:
            self._choose(voice)
            self._library.espeak_SetSynthCallback(callback)
            status = self._library.espeak_Synth(
                encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
            )
        if status:
            raise ProviderMisbehaved(PROVIDER, f"synthesis failed with status {status}")

    def _choose(self, voice: Voice) -> None:
        name = voice.voice_id or VOICES.get(voice.language, voice.language)
        language, plus, variant = name.partition("+")
        if self._library.espeak_SetVoiceByName((_ALIASES.get(language.lower(), language) + plus + variant).encode()):
            raise ProviderRefused(PROVIDER, f"there is no voice {name!r}")
        self._library.espeak_SetParameter(_RATE_PARAMETER, round(WORDS_A_MINUTE * voice.speed), 0)

    def _callback(self, sink: Sink) -> "ctypes._CFunctionType":
        def receive(samples: int | None, count: int, events: "ctypes._Pointer[_Event]") -> int:
            if not samples:
                return 0
            starts = [(event.text_position - 1, 1_000 * event.sample / self.rate_hz) for event in _words(events)]
            return int(not sink(ctypes.string_at(samples, 2 * count), starts))

        return _Callback(receive)


def _words(events: "ctypes._Pointer[_Event]") -> Iterator[_Event]:
    index = 0
    while (event := events[index]).type != _EVENT_LIST_END:
        if event.type == _EVENT_WORD:
            yield event
        index += 1


class _EspeakLoader(Protocol):
    """The wheel `espeakng-loader`, which has no types of its own."""

    def get_library_path(self) -> str: ...

    def get_data_path(self) -> str: ...


@functools.cache
def _load() -> tuple[ctypes.CDLL, int]:
    try:
        loader: _EspeakLoader = importlib.import_module("espeakng_loader")
        library = ctypes.CDLL(loader.get_library_path())
        data_path = loader.get_data_path()
    except (ImportError, OSError, RuntimeError) as error:
        raise ProviderRefused(
            PROVIDER, f'local speech synthesis is not installed (pip install "voice-agent[local]"): {error}'
        ) from error
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data_path.encode(), _DO_NOT_EXIT)
    if rate_hz <= 0:
        raise ProviderRefused(PROVIDER, f"its voices cannot be read from {data_path}")
    return library, rate_hz


class EspeakTextToSpeech:
    """The TextToSpeech port over espeak-ng. One thread, started by the first text, serves all calls."""

    def __init__(self, synthesiser: EspeakSynthesiser | None = None) -> None:
        """Raises ProviderRefused where the extra `[local]` is not installed."""
        self._synthesiser = synthesiser or EspeakSynthesiser()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="espeak")

    def open(self, *, voice: Voice, listener: SynthesisListener) -> SynthesisStream:
        """Return a stream of one call. There is nothing to connect."""
        return EspeakStream(self._synthesiser, self._executor, voice, listener)

    async def close(self) -> None:
        """End the thread, after the work of streams that are still open."""
        await asyncio.to_thread(self._executor.shutdown)


class _Turn:
    """What the thread knows of one turn: where its audio ends so far, and whether to go on."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_over = False
        """Finished, cancelled or failed: nothing more is made, nothing more is reported."""
        self.audio_bytes = 0
        """Mu-law made so far; written by the thread only."""
        self.previous_text = ""
        """The piece before; written by the thread only."""


class EspeakStream:
    """The synthesis of one call: its turns are worked through by the shared thread, in order."""

    def __init__(
        self, synthesiser: EspeakSynthesiser, executor: ThreadPoolExecutor, voice: Voice, listener: SynthesisListener
    ) -> None:
        self._synthesiser = synthesiser
        self._executor = executor
        self._voice = voice
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._turns: dict[int, _Turn] = {}
        """All turns of the call: what still comes in for one that is over must not open it again."""
        self._is_closed = False
        self._latest_work: Future[None] | None = None

    def speak(self, turn: int, text: str) -> None:
        """Synthesise `text` after what the turn already has."""
        opened = self._turns.setdefault(turn, _Turn(turn))
        if text.strip() and not opened.is_over and not self._is_closed:
            self._latest_work = self._executor.submit(self._synthesise, opened, text)

    def finish(self, turn: int) -> None:
        """No more text follows in this turn."""
        opened = self._turns.setdefault(turn, _Turn(turn))
        if not opened.is_over and not self._is_closed:
            self._latest_work = self._executor.submit(self._report, self._finished, opened)

    def cancel(self, turn: int) -> None:
        """Stop the turn: after this call nothing is reported for it."""
        if opened := self._turns.get(turn):
            opened.is_over = True

    async def close(self) -> None:
        """Stop every turn and wait for the thread to let go of them."""
        self._is_closed = True
        for turn in self._turns:
            self.cancel(turn)
        if self._latest_work is not None:
            await asyncio.wrap_future(self._latest_work)

    # --- in the thread --------------------------------------------------------------------------------------------
    def _synthesise(self, turn: _Turn, text: str) -> None:
        if turn.is_over:
            return
        piece = _Piece(turn, text, self._synthesiser.rate_hz, functools.partial(self._report, self._audio, turn))
        try:
            self._synthesiser.synthesise(text, self._voice, piece.take)
        except ProviderError as error:
            self._report(self._failed, turn, error)
        else:
            piece.end()

    def _report(self, deliver: Callable[..., None], *arguments: Any) -> None:
        # A loop that closed without `close` being awaited has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(deliver, *arguments)

    # --- on the event loop ----------------------------------------------------------------------------------------
    def _audio(self, turn: _Turn, audio: bytes, words: tuple[Word, ...]) -> None:
        if not turn.is_over:
            self._listener.on_audio(turn.number, audio, words)

    def _finished(self, turn: _Turn) -> None:
        if not turn.is_over:
            turn.is_over = True
            self._listener.on_finished(turn.number)

    def _failed(self, turn: _Turn, error: ProviderError) -> None:
        if not turn.is_over:
            turn.is_over = True
            self._listener.on_failed(turn.number, error)


class _Piece:
    """One `speak` on its way through the thread: PCM in, mu-law in chunks with its words out."""

    def __init__(
        self, turn: _Turn, text: str, rate_hz: int, deliver: Callable[[bytes, tuple[Word, ...]], None]
    ) -> None:
        self._turn = turn
        self._text = text
        self._deliver = deliver
        self._resampler = MulawResampler(rate_hz)
        self._audio = bytearray(mulaw.silence(_pause_ms(turn.previous_text) * mulaw.BYTES_PER_MS))
        self._words: list[Word] = []
        self._timer = WordTimer(text, began_ms=mulaw.duration_ms(turn.audio_bytes + len(self._audio)))

    def take(self, pcm16: bytes, starts: list[tuple[int, float]]) -> bool:
        """Take more of the piece. Returns whether more is wanted."""
        for index, at_ms in starts:
            self._words += self._timer.word_began(index, at_ms)
        self._audio += self._resampler.feed(pcm16)
        chunk_ms = CHUNK_MS if self._turn.audio_bytes else FIRST_CHUNK_MS
        if len(self._audio) >= chunk_ms * mulaw.BYTES_PER_MS:
            self._send()
        return not self._turn.is_over

    def end(self) -> None:
        """Send what is left: the piece is complete, or was cancelled and the rest is dropped on the loop."""
        self._audio += self._resampler.finish()
        self._words += self._timer.finish(mulaw.duration_ms(self._turn.audio_bytes + len(self._audio)))
        self._send()
        self._turn.previous_text = self._text

    def _send(self) -> None:
        self._deliver(bytes(self._audio), tuple(self._words))
        self._turn.audio_bytes += len(self._audio)
        self._audio.clear()
        self._words.clear()


def _pause_ms(previous_text: str) -> int:
    if not previous_text:
        return 0
    return SENTENCE_PAUSE_MS if previous_text.rstrip().endswith(_SENTENCE_ENDS) else CLAUSE_PAUSE_MS
