"""Streaming recognition that survives its connection: the TranscriptionStream behind every cloud recogniser.

    open ──> connecting ──> listening ──(lost, stalled, session limit)──> connecting ...
                 └──(refused, or too many failures in a row)──> TranscriptionLost

A vendor is a `Dialect`: how to say things, and what an answer means. This module knows the rest: audio is kept while
there is no connection and replayed on the next one (`SegmentLog`), commits are answered one by one and in order, an
idle socket is kept alive, and a socket that has fallen silent is replaced.

How a stall is told from a silent caller: a commit that stays without an answer, or sound loud enough for speech
without a single message. Sound alone may be music, so each such restart doubles the patience for the next.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from voice_agent.audio.mulaw import BYTES_PER_MS, RATE_HZ, decode, rms
from voice_agent.errors import ProviderError, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.websocket import ProviderSocket, connect
from voice_agent.pipeline.ports import FinalTranscript, InterimTranscript, Transcript, TranscriptionLost
from voice_agent.pipeline.segment_log import SegmentLog

log = structlog.get_logger(__name__)

SILENCE_BYTES = 100 * BYTES_PER_MS
"""Speech leaves as it comes, a telephone frame at a time: two together would cost every turn 10 ms
(bench/voice_to_voice.py). Silence leaves in larger pieces: nothing is waited for in it, and a write costs as much as
all other work on a frame (bench/density.py)."""

TAIL_BYTES = 400 * BYTES_PER_MS
"""Quiet after speech that still leaves as it comes: the soft end of a word, and what tells that it has ended."""

REPLAY_BYTES = RATE_HZ // 2
"""Replayed audio leaves in pieces of half a second, well below every provider's limit on a message."""

VOICED_RMS = 500
"""Of 32,768 (-36 dBFS): telephone speech lies at 1,000 to 6,000, a quiet line below 100."""

EVENT_BYTES = 64 * 1024
"""A longer message than this is no transcript of one utterance."""


class Interim(msgspec.Struct, frozen=True):
    """More is known of a segment; `is_delta` where `text` continues what was reported before."""

    text: str
    item_id: str = ""
    is_delta: bool = False


class Final(msgspec.Struct, frozen=True):
    """A segment's text is settled."""

    text: str
    item_id: str = ""


class Claimed(msgspec.Struct, frozen=True):
    """The provider has made an item of the oldest commit that has none."""

    item_id: str


class NothingHeard(msgspec.Struct, frozen=True):
    """The provider found no speech, or too little audio, in the oldest commit that has no item."""


class SessionFailed(msgspec.Struct, frozen=True):
    """The session cannot go on."""

    error: ProviderError


Heard = Interim | Final | Claimed | NothingHeard | SessionFailed


class Dialect(Protocol):
    """How one vendor's recogniser is spoken to. Stateless."""

    provider: str
    url: str
    session_limit_s: float
    """A session older than this is replaced between two utterances; infinity where the vendor sets no limit."""

    keep_alive: bytes
    """Sent where there has been no audio for a while; empty where pings are enough."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers of the upgrade request, the key among them."""
        ...

    def opening(self) -> Sequence[bytes]:
        """Return the messages that come before any audio."""
        ...

    def audio(self, mulaw: bytes) -> bytes:
        """Return the message that carries `mulaw`. Hot path."""
        ...

    def commit(self) -> bytes:
        """Return the message that asks for the final transcript."""
        ...

    def read(self, payload: bytes) -> Heard | None:
        """Return what a message means, None where it means nothing to us. Raises msgspec.MsgspecError."""
        ...


@dataclass(frozen=True, slots=True)
class TranscriptionLimits:
    """When to give up on a connection, and on the provider."""

    tick_s: float = 0.5
    """How often the other limits are looked at."""

    silence_s: float = 2.0
    """Loud audio sent without any message back. With the pauses of natural speech this is about 3 s of talking."""

    commit_s: float = 3.0
    """The longest wait for a final transcript; providers take 0.1 to 0.6 s."""

    keep_alive_s: float = 5.0
    """Longest time without sending; ElevenLabs closes after about 10 to 15 s, pings do not count."""

    first_delay_s: float = 0.1
    longest_delay_s: float = 1.0
    failures: int = 4
    """Failures in a row, without a transcript between them, after which the provider is lost."""

    healthy_s: float = 10.0
    """A session that lived this long was no failure."""


class ResumableTranscription:
    """A TranscriptionStream over any Dialect. Create it on the event loop; it connects at once."""

    def __init__(
        self, dialect: Dialect, on_transcript: Callable[[Transcript], None], limits: TranscriptionLimits
    ) -> None:
        self._dialect = dialect
        self._on_transcript = on_transcript
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._log = SegmentLog()
        self._unsent = bytearray()
        self._socket: ProviderSocket | None = None
        self._ended: asyncio.Future[ProviderError | None] = self._loop.create_future()
        self._failures = 0
        self._dropped = 0
        self._began_at = self._sent_at = self._loop.time()
        self._voiced_bytes = 0
        self._quiet_bytes = 0
        self._patience_bytes = int(limits.silence_s * RATE_HZ)
        self._tick_handle = self._loop.call_later(limits.tick_s, self._tick)
        self._task = self._loop.create_task(self._run())

    # --- the port --------------------------------------------------------------------------------------------------
    def send(self, mulaw: bytes) -> None:
        """Recognise more audio."""
        self._log.add(mulaw)
        if self._socket is None:
            return
        if rms(decode(mulaw)) >= VOICED_RMS:
            self._voiced_bytes += len(mulaw)
            self._quiet_bytes = 0
        else:
            self._quiet_bytes += len(mulaw)
        self._unsent += mulaw
        if self._quiet_bytes <= TAIL_BYTES or len(self._unsent) >= SILENCE_BYTES:
            self._flush(self._socket)

    def commit(self) -> None:
        """Ask for the final transcript of what was sent."""
        if not self._log.has_audio:
            self._log.commit(self._loop.time(), answer="")
            self._loop.call_soon(self._report_finals)
            return
        self._log.commit(self._loop.time())
        if self._socket is not None:
            self._flush(self._socket)
            self._socket.send(self._dialect.commit())

    async def close(self) -> None:
        """End the stream."""
        self._on_transcript = _ignore
        self._tick_handle.cancel()
        self._task.cancel()
        await asyncio.wait([self._task])

    # --- a session ---------------------------------------------------------------------------------------------------
    async def _run(self) -> None:
        while True:
            error = await self._session()
            delay_s = self._delay_s(error)
            if delay_s is None:
                break
            log.info("transcription_restarted", provider=self._dialect.provider, error=str(error or ""))
            await asyncio.sleep(delay_s)
        self._tick_handle.cancel()
        if error is not None:
            self._on_transcript(TranscriptionLost(error))

    async def _session(self) -> ProviderError | None:
        """Serve one connection to its end; return why it ended, None where we ended it in good health."""
        self._ended = self._loop.create_future()
        try:
            socket = await connect(
                self._dialect.provider,
                self._dialect.url,
                headers=self._dialect.headers(),
                on_message=self._receive,
                on_closed=self._end,
            )
        except ProviderError as error:
            return error
        self._begin(socket)
        try:
            return await self._ended
        finally:
            self._socket = None
            socket.close()

    def _begin(self, socket: ProviderSocket) -> None:
        self._began_at = self._sent_at = self._loop.time()
        self._voiced_bytes = 0
        self._unsent.clear()
        self._log.restart()
        for message in self._dialect.opening():
            socket.send(message)
        for kept in self._log.replay():
            if kept is None:
                socket.send(self._dialect.commit())
                continue
            for start in range(0, len(kept), REPLAY_BYTES):
                socket.send(self._dialect.audio(kept[start : start + REPLAY_BYTES]))
        self._socket = socket

    def _end(self, error: ProviderError | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    def _delay_s(self, error: ProviderError | None) -> float | None:
        """Return how long to wait before the next session, None where there shall be none."""
        if error is None:
            return 0.0
        if isinstance(error, ProviderRefused):
            return None
        if self._loop.time() - self._began_at > self._limits.healthy_s:
            self._failures = 0
        self._failures += 1
        if self._failures > self._limits.failures:
            return None
        delay_s = self._limits.first_delay_s * 2.0 ** (self._failures - 1)
        return min(delay_s, self._limits.longest_delay_s) * random.uniform(0.8, 1.2)

    # --- out and in --------------------------------------------------------------------------------------------------
    def _flush(self, socket: ProviderSocket) -> None:
        if self._unsent:
            socket.send(self._dialect.audio(bytes(self._unsent)))
            self._unsent.clear()
        self._sent_at = self._loop.time()

    def _receive(self, payload: bytes) -> None:
        try:
            heard = self._dialect.read(payload) if len(payload) <= EVENT_BYTES else None
        except msgspec.MsgspecError:
            self._dropped += 1
            log.warning("transcription_event_dropped", provider=self._dialect.provider, dropped=self._dropped)
            return
        if heard is not None:
            self._voiced_bytes = 0
            self._take(heard)

    def _take(self, heard: Heard) -> None:
        match heard:
            case Interim(text, item_id, is_delta):
                self._has_heard()
                words = self._log.update(text, item_id, is_delta=is_delta)
                if words:
                    self._on_transcript(InterimTranscript(words))
            case Final(text, item_id):
                self._has_heard()
                # A provider that closes a long silence by itself answers nobody and says nothing.
                if text.strip() or self._log.oldest_commit_at is not None:
                    self._log.answer(text.strip(), item_id)
            case Claimed(item_id):
                self._log.claim(item_id)
            case NothingHeard():
                self._log.answer_unclaimed()
            case SessionFailed(error):
                self._end(error)
        self._report_finals()

    def _has_heard(self) -> None:
        self._failures = 0
        self._patience_bytes = int(self._limits.silence_s * RATE_HZ)

    def _report_finals(self) -> None:
        for text in self._log.take_finals():
            self._on_transcript(FinalTranscript(text))

    # --- the watch ---------------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        self._tick_handle = self._loop.call_later(self._limits.tick_s, self._tick)
        if self._socket is None:
            return
        now = self._loop.time()
        committed_at = self._log.oldest_commit_at
        if committed_at is not None and now - max(committed_at, self._began_at) > self._limits.commit_s:
            self._end(ProviderUnavailable(self._dialect.provider, "no answer to a commit"))
        elif self._voiced_bytes > self._patience_bytes:
            self._patience_bytes *= 2
            self._end(None)
        elif now - self._began_at > self._dialect.session_limit_s and not self._log.has_interim:
            self._end(None)
        elif self._dialect.keep_alive and now - self._sent_at > self._limits.keep_alive_s:
            self._socket.send(self._dialect.keep_alive)
            self._sent_at = now


def _ignore(_: Transcript) -> None:
    """Stand for the listener once the stream is closed."""
