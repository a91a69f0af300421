"""Writing a log: whole or openly short, and a copy of each line for whoever wants one."""

from pathlib import Path

from tests.calls.call_world import HEADER
from voice_agent.calls.event_log import read_event_log
from voice_agent.calls.event_writer import EventLogWriter
from voice_agent.calls.spool import Spool
from voice_agent.pipeline import events as ev


class Copy:
    """A LineCopy that keeps everything."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.closed = 0

    def add(self, line: bytes) -> None:
        self.lines.append(line)

    def close(self) -> None:
        self.closed += 1


def test_after_a_refused_line_nothing_more_is_written(tmp_path: Path) -> None:
    """A log with a gap would replay wrongly: it ends where the gap begins."""
    with Spool(capacity_bytes=2_000) as spool:
        writer = EventLogWriter(spool, tmp_path / "call.jsonl", HEADER)
        writer.record(ev.CallStarted(at=0.0), ())
        writer.record(ev.ReplyText(at=1.0, turn=1, text="x" * 3_000), ())
        assert writer.is_truncated
        writer.record(ev.CallEnded(at=2.0, reason="caller"), ())
        assert writer.close().result(10).is_truncated
    log = read_event_log(tmp_path / "call.jsonl")
    assert [entry.event for entry in log.entries] == [ev.CallStarted(at=0.0)]


def test_a_copy_has_what_the_file_has_line_by_line(tmp_path: Path) -> None:
    copy = Copy()
    with Spool(capacity_bytes=2_000) as spool:
        writer = EventLogWriter(spool, tmp_path / "call.jsonl", HEADER, copy)
        writer.record(ev.CallStarted(at=0.0), ())
        writer.record(ev.ReplyText(at=1.0, turn=1, text="x" * 3_000), ())
        writer.close().result(10)
        writer.close()
    assert b"".join(copy.lines) == (tmp_path / "call.jsonl").read_bytes()
    assert (len(copy.lines), copy.closed) == (2, 1)
