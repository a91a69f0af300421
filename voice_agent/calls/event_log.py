"""The event log of a call: JSON lines, from which `replay` reconstructs every decision.

The first line is the header (who called, which settings the turn machine had), each further line one event with the
actions it caused:

    {"event":"SpeechStopped","ended_at":4.06,"at":4.26,"actions":[{"action":"CommitTranscript"}]}

A killed process may leave a torn last line: the reader drops it and says so. Transcripts stand in it in clear: keep it
like the recording. `event_writer` writes it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from voice_agent.errors import EventLogError
from voice_agent.pipeline.actions import Action, AnyAction, Speak
from voice_agent.pipeline.events import AnyEvent, CallEnded, Event, PlaybackFinished, PlaybackStarted
from voice_agent.pipeline.turn_settings import TurnSettings

FORMAT_VERSION = 1
"""Raised by every change that older code cannot read or replay."""


class EventLogHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    call_sid: str
    stream_sid: str
    started_at: datetime
    """Wall time of the call's second 0.0, with its zone."""

    settings: TurnSettings
    """Of the turn machine; the language is among them."""

    package_version: str
    agent: str = ""
    """The agent's name."""

    is_recorded: bool = True
    """Whether the call's sound is kept beside it."""

    version: int = FORMAT_VERSION
    format: Literal["voice-agent-events"] = "voice-agent-events"


class LoggedEvent(msgspec.Struct, frozen=True):
    """One line after the first."""

    line: int
    """Counted from 1, as editors do; the header is line 1."""

    event: AnyEvent
    actions: tuple[AnyAction, ...]


class EventLog(msgspec.Struct, frozen=True):
    """A log that was read."""

    header: EventLogHeader
    entries: tuple[LoggedEvent, ...]
    is_torn: bool
    """Whether the last line was cut off, as after SIGKILL. It is left out."""

    @property
    def is_complete(self) -> bool:
        """Whether the log reaches to the end of the call."""
        return bool(self.entries) and isinstance(self.entries[-1].event, CallEnded)

    @property
    def disclosed_at(self) -> datetime | None:
        """When the caller had heard the disclosure to its end, by the carrier's mark; None where they have not."""
        return self._heard_at(lambda speak: speak.is_locked)

    @property
    def message_left_at(self) -> datetime | None:
        """When a machine had taken all of the message for it; None where it has not."""
        return self._heard_at(lambda speak: speak.is_message)

    @property
    def first_audio_at(self) -> datetime | None:
        """When the agent was first heard."""
        started = (entry.event.at for entry in self.entries if isinstance(entry.event, PlaybackStarted))
        return next((self.header.started_at + timedelta(seconds=at) for at in started), None)

    def _heard_at(self, is_meant: Callable[[Speak], bool]) -> datetime | None:
        """Return when a turn that holds something of a kind was heard to its end, for the first time."""
        turn = 0
        for entry in self.entries:
            if isinstance(entry.event, PlaybackFinished) and entry.event.turn == turn:
                return self.header.started_at + timedelta(seconds=entry.event.at)
            turn = next((each.turn for each in entry.actions if isinstance(each, Speak) and is_meant(each)), turn)
        return None


class _Actions(msgspec.Struct, frozen=True):
    actions: tuple[AnyAction, ...] = ()


_ENCODER = msgspec.json.Encoder()
_HEADER = msgspec.json.Decoder(EventLogHeader)
_EVENT: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_ACTIONS = msgspec.json.Decoder(_Actions)


def encoded_header(header: EventLogHeader) -> bytes:
    """Return the log's first line, line feed included."""
    return _ENCODER.encode(header) + b"\n"


def encoded_line(event: AnyEvent, actions: tuple[AnyAction, ...]) -> bytes:
    """Return the log's line of one event, line feed included."""
    try:
        return _spliced(event, actions)
    except UnicodeEncodeError:
        # A provider's JSON may escape half a surrogate pair, which UTF-8 cannot carry.
        return _spliced(_encodable(event), tuple(map(_encodable, actions)))


def _spliced(event: AnyEvent, actions: tuple[AnyAction, ...]) -> bytes:
    line = _ENCODER.encode(event)
    if not actions:
        return line + b"\n"
    return b'%b,"actions":%b}\n' % (line[:-1], _ENCODER.encode(actions))


_Record = TypeVar("_Record", bound=Event | Action)


def _encodable(record: _Record) -> _Record:
    """Return `record` with a question mark for every character that UTF-8 cannot carry."""
    texts = {
        field: text.encode("utf-8", "replace").decode()
        for field in record.__struct_fields__
        if isinstance(text := getattr(record, field), str)
    }
    return msgspec.structs.replace(record, **texts)


def read_event_log(path: Path) -> EventLog:
    """Return the log in a file. Raises EventLogError, which names the file and the line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EventLogError(f"{path}: {error.strerror}") from error
    return parse_event_log(content, name=str(path))


def parse_event_log(content: bytes, *, name: str = "event log") -> EventLog:
    """Return the log in `content`. Raises EventLogError, which names the line after `name`."""
    *lines, last = content.split(b"\n")
    first = lines[0] if lines else last
    header = _decoded(_HEADER, first, f"{name}: line 1")
    if header.version != FORMAT_VERSION:
        raise EventLogError(f"{name}: line 1: format version {header.version}, this version reads {FORMAT_VERSION}")
    entries = [_entry(line, number, name) for number, line in enumerate(lines[1:], start=2)]
    is_torn = False
    if last and lines:
        try:
            entries.append(_entry(last, len(lines) + 1, name))
        except EventLogError:
            is_torn = True
    return EventLog(header, tuple(entries), is_torn)


def _entry(line: bytes, number: int, name: str) -> LoggedEvent:
    place = f"{name}: line {number}"
    return LoggedEvent(number, _decoded(_EVENT, line, place), _decoded(_ACTIONS, line, place).actions)


_Decoded = TypeVar("_Decoded")


def _decoded(decoder: msgspec.json.Decoder[_Decoded], line: bytes, place: str) -> _Decoded:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventLogError(f"{place}: {error}") from error
    except RecursionError as error:
        raise EventLogError(f"{place}: nested too deeply") from error
