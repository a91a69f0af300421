"""Speech recognition without an account: pocketsphinx with a dialogue's grammar, in a worker process. English only.

It hears the phrases that a dialogue lists and nothing else: enough for the demo, tests and simple menus, no product
(docs/local-speech.md has the figures). One worker, started by the first call or by `start`, serves all calls.

    starting ──ready──> listening ──(died, hung)──> starting ...
        └──(grammar refused)──> every stream is lost          └──(twice in a row)──> every stream is lost

What a dead worker had not answered is said again to the next one, as with any recogniser (`pipeline.segment_log`).
"""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import msgspec
import structlog

from voice_agent.agents.dialogue import Dialogue
from voice_agent.audio.mulaw import BYTES_PER_MS
from voice_agent.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.local import recognition_worker
from voice_agent.integrations.local.grammar import from_dialogue
from voice_agent.integrations.local.recognition_protocol import Frame, FrameReader, Kind, pack
from voice_agent.pipeline.ports import FinalTranscript, InterimTranscript, Transcript, TranscriptionLost
from voice_agent.pipeline.segment_log import SegmentLog

log = structlog.get_logger(__name__)

PROVIDER = "pocketsphinx"

MAX_STREAMS = 6
"""Calls at once: one second of speech takes a worker 0.13 s, and a core is shared with the rest of the server."""

BATCH_BYTES = 80 * BYTES_PER_MS
"""Audio goes to the worker in pieces of four telephone frames; a commit does not wait for one."""

ANSWER_S = 5.0
"""A commit without an answer for so long is a worker that hangs. It takes 25 ms, and 0.4 s where a decoder loads."""

TICK_S = 1.0
"""How often that is looked at."""

MAX_FAILURES = 2
"""In a row, without an answer in between."""


class LocalSpeechToText:
    """The SpeechToText port over a worker process."""

    def __init__(
        self,
        dialogue: Dialogue,
        *,
        max_streams: int = MAX_STREAMS,
        answer_s: float = ANSWER_S,
        tick_s: float = TICK_S,
    ) -> None:
        """Raises ProviderRefused for another language than English, or where the extra `[local]` is not installed."""
        _check_language(dialogue.language)
        if find_spec("pocketsphinx") is None:
            raise ProviderRefused(
                PROVIDER, 'local speech recognition is not installed (pip install "voice-agent[local]")'
            )
        self._grammar = pack(Kind.GRAMMAR, payload=msgspec.msgpack.encode(from_dialogue(dialogue)))
        self._max_streams = max_streams
        self._answer_s = answer_s
        self._tick_s = tick_s
        self._streams: dict[int, LocalTranscriptionStream] = {}
        self._opened = 0
        self._worker_input: asyncio.StreamWriter | None = None
        self._is_ready = asyncio.Event()
        self._ready_at = 0.0
        self._failures = 0
        self._supervision: asyncio.Task[None] | None = None
        self._error: ProviderError | None = None

    async def start(self) -> None:
        """Have the worker ready before the first call. Raises ProviderError where it cannot be."""
        supervision = self._supervise()
        ready = asyncio.create_task(self._is_ready.wait())
        try:
            await asyncio.wait((ready, supervision), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(ready)
        if self._error is not None:
            raise self._error

    def open(self, *, language: str, on_transcript: Callable[[Transcript], None]) -> "LocalTranscriptionStream":
        """Return a stream at once; a language that is not English is a TranscriptionLost."""
        self._opened += 1
        stream = LocalTranscriptionStream(self._opened, self._send, self._forget, on_transcript)
        try:
            _check_language(language)
            if len(self._streams) >= self._max_streams:
                raise ProviderBusy(PROVIDER, f"it serves {self._max_streams} calls at once")
        except ProviderError as error:
            asyncio.get_running_loop().call_soon(stream.lose, error)
            return stream
        self._streams[stream.number] = stream
        self._supervise()
        return stream

    async def close(self) -> None:
        """End the worker. Streams that are still open hear nothing more."""
        self._streams.clear()
        if self._supervision is not None:
            await _cancelled(self._supervision)
            self._supervision = None

    def _send(self, frame: bytes) -> None:
        # Until the worker is ready, the streams' own logs keep what is sent.
        if self._worker_input is not None and self._is_ready.is_set():
            self._worker_input.write(frame)

    def _forget(self, number: int) -> None:
        if self._streams.pop(number, None) is not None:
            self._send(pack(Kind.CLOSE, number))

    # --- the worker's life ----------------------------------------------------------------------------------------
    def _supervise(self) -> asyncio.Task[None]:
        if self._supervision is None or self._supervision.done():
            self._failures = 0
            self._error = None
            self._supervision = asyncio.create_task(self._keep_running())
        return self._supervision

    async def _keep_running(self) -> None:
        error: ProviderError | None = None
        while error is None:
            try:
                await self._run()
            except ProviderRefused as refusal:
                error = refusal
            except (OSError, ProviderUnavailable) as failure:
                self._failures += 1
                log.warning("recognition_worker_lost", reason=str(failure), failures=self._failures)
                if self._failures >= MAX_FAILURES:
                    error = ProviderUnavailable(PROVIDER, "the recognition worker keeps ending")
        self._error = error
        streams = tuple(self._streams.values())
        self._streams.clear()
        for stream in streams:
            stream.lose(error)

    async def _run(self) -> None:
        """Serve with one worker until it is lost. Raises ProviderError."""
        # A session of its own: an interrupt from the keyboard is the server's, which ends the worker in its turn.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", recognition_worker.__name__, stdin=PIPE, stdout=PIPE, start_new_session=True
        )
        try:
            self._worker_input, output = _pipes(process)
            self._worker_input.write(self._grammar)
            await self._listen(output)
        finally:
            self._is_ready.clear()
            self._worker_input = None
            await _end(process)

    async def _listen(self, output: asyncio.StreamReader) -> None:
        """Take what the worker says. Raises ProviderUnavailable when it ends or hangs, ProviderRefused."""
        reader = FrameReader()
        while True:
            reading = asyncio.create_task(output.read(65_536))
            try:
                while not reading.done():
                    await asyncio.wait((reading,), timeout=self._tick_s)
                    self._check_answers()
            finally:
                await _cancelled(reading)
            received = reading.result()
            if not received:
                raise ProviderUnavailable(PROVIDER, "the recognition worker has ended")
            for frame in reader.feed(received):
                self._receive(frame)

    def _check_answers(self) -> None:
        if not self._is_ready.is_set():
            return
        # A new worker has its own time for what the last one left unanswered.
        waits_since = max(self._ready_at, min((s.waits_since for s in self._streams.values()), default=float("inf")))
        if waits_since < asyncio.get_running_loop().time() - self._answer_s:
            raise ProviderUnavailable(PROVIDER, "the recognition worker hangs")

    def _receive(self, frame: Frame) -> None:
        if frame.kind is Kind.REFUSED:
            raise ProviderRefused(PROVIDER, frame.payload.decode())
        if frame.kind is Kind.READY:
            self._is_ready.set()
            self._ready_at = asyncio.get_running_loop().time()
            for stream in self._streams.values():
                stream.replay()
        elif known := self._streams.get(frame.stream):
            self._failures = 0
            known.receive(frame)


class LocalTranscriptionStream:
    """The recognition of one call."""

    def __init__(
        self,
        number: int,
        send: Callable[[bytes], None],
        forget: Callable[[int], None],
        on_transcript: Callable[[Transcript], None],
    ) -> None:
        self.number = number
        self._send_frame = send
        self._forget = forget
        self._on_transcript = on_transcript
        self._loop = asyncio.get_running_loop()
        self._log = SegmentLog()
        self._batch = bytearray()
        self._is_over = False

    @property
    def waits_since(self) -> float:
        """When the oldest commit without an answer was made; infinity where all are answered."""
        at = self._log.oldest_commit_at
        return float("inf") if at is None else at

    def send(self, mulaw: bytes) -> None:
        """Recognise more of the caller's audio."""
        if self._is_over:
            return
        self._log.add(mulaw)
        self._batch += mulaw
        if len(self._batch) >= BATCH_BYTES:
            self._flush()

    def commit(self) -> None:
        """Ask for a final transcript of everything sent so far."""
        if self._is_over:
            return
        self._flush()
        self._log.commit(self._loop.time())
        self._send_frame(pack(Kind.COMMIT, self.number))

    async def close(self) -> None:
        """End the stream. The worker goes on for other calls."""
        self._is_over = True
        self._forget(self.number)

    def replay(self) -> None:
        """Say again to a new worker what the last one has not answered."""
        self._log.restart()
        self._batch.clear()
        for audio in self._log.replay():
            self._send_frame(pack(Kind.COMMIT, self.number) if audio is None else pack(Kind.AUDIO, self.number, audio))

    def receive(self, frame: Frame) -> None:
        """Report what the worker has heard."""
        text = frame.payload.decode()
        if frame.kind is Kind.INTERIM:
            self._on_transcript(InterimTranscript(self._log.update(text)))
            return
        self._log.answer(text)
        for final in self._log.take_finals():
            self._on_transcript(FinalTranscript(final))

    def lose(self, error: ProviderError) -> None:
        """Report that nothing more will be recognised."""
        if not self._is_over:
            self._is_over = True
            self._on_transcript(TranscriptionLost(error))

    def _flush(self) -> None:
        if self._batch:
            self._send_frame(pack(Kind.AUDIO, self.number, bytes(self._batch)))
            self._batch.clear()


def _check_language(language: str) -> None:
    if language != "en":
        raise ProviderRefused(
            PROVIDER,
            f"local speech recognition knows English only, not {language!r}: set SPEECH_TO_TEXT=elevenlabs or openai",
        )


def _pipes(process: Process) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
    if process.stdin is None or process.stdout is None:
        raise ProviderUnavailable(PROVIDER, "the recognition worker has no pipes")
    return process.stdin, process.stdout


async def _end(process: Process) -> None:
    """End a worker and wait until nothing is left of it."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    """Cancel a task unless it is done, and wait until it is."""
    task.cancel()
    await asyncio.wait((task,))
