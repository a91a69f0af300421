"""Event logs: written through the spool, read back, torn, damaged, and made of anything."""

import contextlib
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calls.call_world import HEADER, SETTINGS, Call, log_of, short_call
from voice_agent.calls.event_log import EventLog, encoded_header, encoded_line, parse_event_log, read_event_log
from voice_agent.calls.event_writer import EventLogWriter
from voice_agent.calls.spool import Spool
from voice_agent.errors import EventLogError
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev

LOG = log_of(short_call())


def test_a_log_reads_back_as_it_was_written(tmp_path: Path) -> None:
    call = short_call()
    with Spool() as spool:
        writer = EventLogWriter(spool, tmp_path / "call.jsonl", HEADER)
        for event, actions in call.decided:
            writer.record(event, actions)
        assert not writer.close().result(10).is_truncated
    log = read_event_log(tmp_path / "call.jsonl")
    assert log.header == HEADER
    assert [(entry.event, entry.actions) for entry in log.entries] == call.decided
    assert [entry.line for entry in log.entries] == list(range(2, len(call.decided) + 2))
    assert log.is_complete
    assert not log.is_torn


def test_a_line_is_the_event_with_its_actions() -> None:
    stopped = ev.SpeechStopped(at=4.26, ended_at=4.06)
    assert encoded_line(stopped, ()) == b'{"event":"SpeechStopped","ended_at":4.06,"at":4.26}\n'
    assert encoded_line(stopped, (act.CommitTranscript(),)) == (
        b'{"event":"SpeechStopped","ended_at":4.06,"at":4.26,"actions":[{"action":"CommitTranscript"}]}\n'
    )


def test_half_a_surrogate_pair_is_written_as_a_question_mark() -> None:
    line = encoded_line(ev.ReplyText(at=1.0, turn=2, text="a\ud83d"), (act.Speak(turn=2, text="\udc00b"),))
    assert b'"text":"a?"' in line
    assert b'"text":"?b"' in line


def test_a_disclosure_was_heard_when_the_carrier_said_so_and_not_before() -> None:
    disclosing = msgspec.structs.replace(SETTINGS, disclosure="This is an automated call.")
    call = Call(disclosing)
    call.play(ev.CallStarted(at=0.0), ev.PlaybackStarted(at=0.1, turn=1), ev.PlaybackMarked(at=2.9, turn=1, heard_ms=9))
    assert parse_event_log(log_of(call)).disclosed_at is None
    call.play(ev.PlaybackFinished(at=3.5, turn=1), ev.PlaybackFinished(at=5.0, turn=2))
    assert parse_event_log(log_of(call)).disclosed_at == HEADER.started_at + timedelta(seconds=3.5)
    assert parse_event_log(LOG).disclosed_at is None


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_a_torn_last_line_is_left_out_and_told(cut: int) -> None:
    whole = parse_event_log(LOG)
    torn = parse_event_log(LOG[: -1 - cut])
    assert torn.is_torn
    assert not torn.is_complete
    assert torn.entries == whole.entries[:-1]


def test_a_last_line_without_its_line_feed_is_whole() -> None:
    assert parse_event_log(LOG[:-1]).entries == parse_event_log(LOG).entries


def test_a_log_that_is_cut_between_lines_is_incomplete() -> None:
    log = parse_event_log(LOG[: LOG.rindex(b"\n", 0, -1) + 1])
    assert (log.is_torn, log.is_complete) == (False, False)


@pytest.mark.parametrize(
    ("line", "replacement"),
    [
        (1, b"{}"),
        (1, b"not json"),
        (1, LOG.split(b"\n")[1]),
        (1, msgspec.json.encode(msgspec.structs.replace(HEADER, version=99))),
        (3, b""),
        (3, b'{"event":"Nothing","at":1.0}'),
        (3, b'{"event":"SpeechStopped","at":"now","ended_at":1.0}'),
        (3, b'{"event":"CallStarted","at":1.0,"actions":[{"action":"Dance"}]}'),
        (4, b'{"event":"CallStarted","at":1.0,"x":' + b"[" * 100_000),
        (4, b'{"event":"ReplyText","at":1.0,"turn":1,"text":"\xff"}'),
    ],
)
def test_a_damaged_line_is_named(line: int, replacement: bytes) -> None:
    lines = LOG.split(b"\n")
    lines[line - 1] = replacement
    with pytest.raises(EventLogError, match=rf"call\.jsonl: line {line}: "):
        parse_event_log(b"\n".join(lines), name="call.jsonl")


def test_a_missing_file_is_an_event_log_error(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match="No such file"):
        read_event_log(tmp_path / "none.jsonl")


HEADER_LINE = LOG.split(b"\n")[0] + b"\n"


@given(st.binary() | st.binary().map(HEADER_LINE.__add__) | st.integers(0, len(LOG)).map(lambda length: LOG[:length]))
def test_any_bytes_are_a_log_or_an_event_log_error(content: bytes) -> None:
    try:
        log = parse_event_log(content)
    except EventLogError:
        return
    assert isinstance(log, EventLog)


@given(st.integers(len(HEADER_LINE), len(LOG) - 1), st.integers(0, 255))
def test_a_changed_byte_never_raises_anything_else(place: int, value: int) -> None:
    content = LOG[:place] + bytes([value]) + LOG[place + 1 :]
    with contextlib.suppress(EventLogError):
        assert len(parse_event_log(content).entries) <= content.count(b"\n")


def test_a_message_was_left_when_a_machine_had_taken_all_of_it() -> None:
    settings = msgspec.structs.replace(SETTINGS, on_machine="drop", machine_message="Call us.")
    call = Call(settings)
    call.greet()
    call.play(ev.AnsweredBy(at=2.0, answered_by="machine_end_beep"), ev.PlaybackStarted(at=2.1, turn=2))
    header = msgspec.structs.replace(HEADER, settings=settings)

    def log() -> EventLog:
        lines = b"".join(encoded_line(event, actions) for event, actions in call.decided)
        return parse_event_log(encoded_header(header) + lines)

    assert log().first_audio_at == header.started_at + timedelta(seconds=0.1)
    assert log().message_left_at is None
    call.play(ev.PlaybackFinished(at=4.0, turn=2))
    assert log().message_left_at == header.started_at + timedelta(seconds=4.0)
    assert log().disclosed_at is None
