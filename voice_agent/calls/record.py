"""What one call leaves behind: event log, recording, transcript and latency, in a folder of its own.

Everything goes through the process's spool: nothing here waits for a disk.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog

from voice_agent import __version__
from voice_agent.audio.mulaw import BYTES_PER_MS
from voice_agent.calls.event_log import EventLogHeader
from voice_agent.calls.event_writer import EventLogWriter, LineCopy
from voice_agent.calls.live_feed import CallFeed
from voice_agent.calls.recorder import CallRecorder
from voice_agent.calls.spool import Spool
from voice_agent.calls.transcript import Transcript, TranscriptBuilder
from voice_agent.errors import MediaStreamError
from voice_agent.pipeline.actions import AnyAction
from voice_agent.pipeline.events import AnyEvent, TranscriptUpdated
from voice_agent.pipeline.latency import LatencySummary, LatencyTracker, TurnLatency, summarise
from voice_agent.pipeline.turn_settings import TurnSettings

log = structlog.get_logger(__name__)

GATHERED_BYTES = 200 * BYTES_PER_MS
"""Of the caller's audio, for each time that the recorder is called: frame by frame it took a tenth of the hot path."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9]{1,64}")
_EVENT_LOG = re.compile(r"events(?:-([1-9][0-9]{0,3}))?\.jsonl")


class CallIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which call it is."""

    call_sid: str
    stream_sid: str
    agent: str
    """The agent's name."""

    started_at: datetime
    """Wall time of the call's second 0.0, with its zone."""


class CallFiles(msgspec.Struct, frozen=True):
    """Where the files of one media stream of a call lie: of the first, or of a later one where the line was lost."""

    folder: Path
    segment: int = 0
    """0 for the first media stream, 1 after the first resumption, and so on."""

    def _named(self, name: str, suffix: str) -> Path:
        return self.folder / (f"{name}-{self.segment}{suffix}" if self.segment else f"{name}{suffix}")

    @property
    def event_log(self) -> Path:
        """JSON lines; `voice-agent replay` reads it."""
        return self._named("events", ".jsonl")

    @property
    def shipped(self) -> Path:
        """How many bytes of the event log are in the database (`event_shipper`), once it is whole there."""
        return self._named(".events", ".shipped")

    @property
    def recording(self) -> Path:
        """Two-channel WAV: the caller left, the agent right."""
        return self._named("recording", ".wav")

    @property
    def transcript(self) -> Path:
        """JSON; beside it the same as text."""
        return self._named("transcript", ".json")

    @property
    def transcript_text(self) -> Path:
        """The transcript for people."""
        return self._named("transcript", ".txt")

    @property
    def latency(self) -> Path:
        """JSON: the timing of every answered turn."""
        return self._named("latency", ".json")


def call_files(data_dir: Path, call_sid: str, segment: int = 0) -> CallFiles:
    """Return where the call's files lie. Raises MediaStreamError for a name that is no call's."""
    if not _SAFE_NAME.fullmatch(call_sid):
        raise MediaStreamError("a call sid has only letters and digits")
    return CallFiles(data_dir / "calls" / call_sid, segment)


def call_segments(folder: Path) -> list[CallFiles]:
    """Return the media streams of which a call's folder has an event log, in order; none where it cannot be read."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    found = (_EVENT_LOG.fullmatch(name) for name in names)
    return [CallFiles(folder, segment) for segment in sorted(int(match[1] or 0) for match in found if match)]


class LatencyReport(msgspec.Struct, frozen=True):
    """latency.json."""

    summary: LatencySummary
    speculations: int
    turns: tuple[TurnLatency, ...]


class CallRecord:
    """Keeps the record of one call while it goes on; the `Observer` of its conversation."""

    def __init__(
        self,
        spool: Spool,
        files: CallFiles,
        identity: CallIdentity,
        settings: TurnSettings,
        copy: LineCopy | None = None,
        *,
        is_recorded: bool = True,
        feed: CallFeed | None = None,
    ) -> None:
        """`copy` is given every line of the event log that is written; without `is_recorded` no sound is kept.

        `feed` is told what is said, for those who watch.
        """
        self._spool = spool
        self._files = files
        self._identity = identity
        self._language = settings.language
        self._log = EventLogWriter(
            spool,
            files.event_log,
            EventLogHeader(
                call_sid=identity.call_sid,
                stream_sid=identity.stream_sid,
                started_at=identity.started_at,
                settings=settings,
                package_version=__version__,
                agent=identity.agent,
                is_recorded=is_recorded,
            ),
            copy,
        )
        self._recorder = CallRecorder(spool, files.recording) if is_recorded else None
        self._transcript = TranscriptBuilder()
        self._latency = LatencyTracker()
        self._feed = feed
        self._caller = bytearray()
        """Heard, and not handed to the recorder yet."""
        self._caller_samples = 0
        self._agent_samples = 0

    # --- the conversation's observer --------------------------------------------------------------------------
    def on_step(self, event: AnyEvent, actions: tuple[AnyAction, ...]) -> None:
        """Take an event of the turn machine and what it decided."""
        self._log.record(event, actions)
        timed = self._latency.observe(event, actions)
        if timed is not None:
            log.debug("turn_timed", call_sid=self._identity.call_sid, turn=timed.turn, ms=timed.voice_to_voice_ms)
        self._transcript.observe(event, actions)
        if self._feed is not None:
            if isinstance(event, TranscriptUpdated):
                self._feed.words(event.at, event.text)
            if timed is not None:
                self._feed.turn(timed)
            self._feed.transcript(self._transcript.take_changes())

    def on_heard(self, turn: int, text: str, *, interrupted: bool) -> None:
        """Take which words of a reply were heard."""
        if interrupted:
            self._transcript.heard(turn, text)
            if self._feed is not None:
                self._feed.transcript(self._transcript.take_changes())

    # --- sound ------------------------------------------------------------------------------------------------
    def hear_caller(self, mulaw: bytes) -> None:
        """Record the caller's audio; it has no gaps. Hot path."""
        self._caller += mulaw
        if len(self._caller) >= GATHERED_BYTES:
            self._write_caller()

    def hear_agent(self, mulaw: bytes) -> None:
        """Record what the caller heard; it has no gaps."""
        if self._recorder is not None:
            self._recorder.write_agent(self._agent_samples, mulaw)
        self._agent_samples += len(mulaw)

    def pause(self) -> None:
        """Leave silence from here on, in both channels."""
        self._write_caller()
        if self._recorder is not None:
            self._recorder.pause()

    def resume(self) -> None:
        """Record again."""
        self._write_caller()
        if self._recorder is not None:
            self._recorder.resume()

    # --- the end ----------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Finish all files. Nothing may be recorded after it.

        The transcript is written once, here: until then the event log holds all that it is made from, and rewriting it
        after each turn of 80 calls kept a disk busy with nothing else.
        """
        self._write_caller()
        self._write_transcript()
        report = LatencyReport(summarise(self._latency.turns), self._latency.speculations, self._latency.turns)
        self._spool.replace(self._files.latency, _indented(report))
        if self._recorder is not None:
            self._recorder.close(max(self._caller_samples, self._agent_samples))
        self._log.close()

    def _write_caller(self) -> None:
        if self._recorder is not None:
            self._recorder.write_caller(self._caller_samples, bytes(self._caller))
        self._caller_samples += len(self._caller)
        self._caller.clear()

    def _write_transcript(self) -> None:
        transcript = Transcript(
            call_sid=self._identity.call_sid,
            started_at=self._identity.started_at,
            language=self._language,
            is_complete=self._transcript.is_complete,
            entries=self._transcript.entries,
        )
        self._spool.replace(self._files.transcript, transcript.as_json())
        self._spool.replace(self._files.transcript_text, transcript.as_text())


def _indented(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
