"""The spool on a real disk, on a full one, and with more than it can hold."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from voice_agent.calls.spool import Spool

FULL_DISK = Path("/dev/full")


class Blocker:
    """Keeps the writer thread busy until it is released."""

    def __init__(self, spool: Spool) -> None:
        self.release = threading.Event()
        self._running = threading.Event()
        spool.put_always(self._block)
        assert self._running.wait(10)

    def _block(self) -> None:
        self._running.set()
        self.release.wait(10)


def test_what_is_written_at_an_offset_stands_there(tmp_path: Path) -> None:
    with Spool() as spool:
        file = spool.open(tmp_path / "new" / "folder" / "file")
        assert file.write_at(0, b"hello world")
        assert file.write_at(6, b"there")
        assert file.write_at(14, b"end")
        outcome = file.close().result(10)
    assert outcome.path.read_bytes() == b"hello there\0\0\0end"
    assert (outcome.size_bytes, outcome.is_truncated, outcome.reason) == (17, False, "")
    assert stat.S_IMODE(outcome.path.stat().st_mode) == 0o600


def test_closing_twice_gives_the_same_outcome_and_refuses_more(tmp_path: Path) -> None:
    with Spool() as spool:
        file = spool.open(tmp_path / "file")
        file.write_at(0, b"x")
        first = file.close()
        assert file.close() is first
        assert not file.write_at(1, b"y")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_file_without_a_write_is_never_made(tmp_path: Path) -> None:
    with Spool() as spool:
        outcome = spool.open(tmp_path / "file").close().result(10)
    assert not outcome.path.exists()
    assert outcome.size_bytes == 0


def test_closing_the_spool_writes_all_that_waits(tmp_path: Path) -> None:
    spool = Spool()
    files = [spool.open(tmp_path / str(number)) for number in range(20)]
    for file in files:
        file.write_at(0, b"x" * 10_000)
    outcomes = [file.close() for file in files]
    spool.close()
    spool.close()
    assert {outcome.result(0).size_bytes for outcome in outcomes} == {10_000}
    assert spool.waiting_bytes == 0


def test_a_file_closed_after_the_spool_is_closed_all_the_same(tmp_path: Path) -> None:
    with Spool() as spool:
        file = spool.open(tmp_path / "file")
        file.write_at(0, b"x")
    assert not file.write_at(1, b"y")
    assert file.close().result(0).is_truncated


def test_what_does_not_fit_is_refused_and_told(tmp_path: Path) -> None:
    with Spool(capacity_bytes=10) as spool:
        blocker = Blocker(spool)
        file = spool.open(tmp_path / "file")
        assert file.write_at(0, b"12345")
        assert not file.write_at(5, b"123456")
        assert file.is_truncated
        assert file.write_at(11, b"abcde")
        assert (spool.refused, spool.waiting_bytes) == (1, 10)
        blocker.release.set()
        outcome = file.close().result(10)
    assert outcome.path.read_bytes() == b"12345" + bytes(6) + b"abcde"
    assert (outcome.is_truncated, outcome.reason) == (True, "spool full")


@pytest.mark.skipif(not FULL_DISK.exists(), reason="needs /dev/full")
def test_a_full_disk_truncates_that_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to(FULL_DISK)
    with Spool() as spool:
        full, fine = spool.open(tmp_path / "full"), spool.open(tmp_path / "fine")
        for offset in range(3):
            full.write_at(offset, b"x")
            fine.write_at(offset, b"x")
        outcome = full.close().result(10)
        assert fine.close().result(10).size_bytes == 3
    assert outcome.is_truncated
    assert outcome.size_bytes == 0
    assert outcome.reason == os.strerror(errno.ENOSPC)


def test_a_disk_that_fills_up_leaves_the_last_whole_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel writes what still fits and fails on the rest: the torn piece is cut off again."""
    real_write, room = os.pwrite, [7]

    def write_while_room(descriptor: int, content: bytes, offset: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real_write(descriptor, bytes(content)[: room[0]], offset)
        room[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", write_while_room)
    with Spool() as spool:
        file = spool.open(tmp_path / "file")
        file.write_at(0, b"12345")
        file.write_at(5, b"67890")
        file.write_at(10, b"later")
        outcome = file.close().result(10)
    assert outcome.path.read_bytes() == b"12345"
    assert (outcome.size_bytes, outcome.is_truncated) == (5, True)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with Spool() as spool:
        file = spool.open(tmp_path / "file" / "below")
        file.write_at(0, b"x")
        outcome = file.close().result(10)
    assert outcome.is_truncated
    assert outcome.reason


def test_recordings_leave_the_reserve_to_the_logs(tmp_path: Path) -> None:
    with Spool(reserve_bytes=1_000, free_bytes=lambda _: 999) as spool:
        recording, log = spool.open(tmp_path / "recording", is_bulk=True), spool.open(tmp_path / "log")
        recording.write_at(0, b"x")
        log.write_at(0, b"x")
        assert recording.close().result(10).is_truncated
        assert not log.close().result(10).is_truncated


def test_written_bytes_are_synced_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    real_sync = os.fsync

    def sync(descriptor: int) -> None:
        real_sync(descriptor)
        synced.set()

    monkeypatch.setattr(os, "fsync", sync)
    with Spool() as spool:
        file = spool.open(tmp_path / "file")
        file.write_at(0, b"x")
        assert synced.wait(10)
        file.close()


def test_a_sync_that_fails_marks_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with Spool() as spool:
        file = spool.open(tmp_path / "file")
        file.write_at(0, b"x")
        outcome = file.close().result(10)
    assert (outcome.is_truncated, outcome.reason) == (True, os.strerror(errno.EIO))


def test_replacing_a_file_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "transcript.json"
    with Spool() as spool:
        assert spool.replace(path, b"old")
        assert spool.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["transcript.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.mkdir()
    with Spool() as spool:
        spool.replace(path, b"new")
        spool.replace(tmp_path / "other", b"fine")
    assert path.is_dir()
    assert (tmp_path / "other").read_bytes() == b"fine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other", "there"]
