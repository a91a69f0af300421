"""The one thread that writes what calls leave behind, so that a slow disk never reaches the audio path.

The event loop hands over bytes with `SpooledFile.write_at` and goes on; the writer thread opens, writes, syncs and
closes. The queue between them is bounded: what does not fit is refused at once and the file is marked truncated,
never silently short. Writes carry their offset, so a refused write leaves a hole of zeros and later ones stay in
place; a header can be rewritten as a file grows.

Writes gather for `GATHER_S` before the thread is at them: waking it for each one cost a call a tenth of its CPU
(bench/density.py). What reaches the kernel survives SIGKILL; what is synced, at most `SYNC_S` later, survives a power
cut. When the disk is full (or nearly so, for recordings: `RESERVE_BYTES` is kept for event logs) the file is cut back
to its last whole write, closed and marked truncated; the call never learns of it. It knows nothing of formats:
recorder.py and event_log.py do.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Self

import msgspec
import structlog

GATHER_S = 0.1
"""The longest that bytes wait in this process while the disk keeps up."""

SYNC_S = 1.0
"""The longest that written bytes wait for fsync."""

CAPACITY_BYTES = 64 * 1024 * 1024
"""Bytes that may wait to be written: 25 s of 80 recorded calls (32,000 bytes a second each)."""

RESERVE_BYTES = 64 * 1024 * 1024
"""Free space that recordings leave for event logs and transcripts."""

_log = structlog.get_logger(__name__)


class FileOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file."""

    path: Path
    size_bytes: int
    is_truncated: bool
    reason: str = ""
    """Why it is truncated: an error of the operating system, or that the spool was full."""


class SpooledFile:
    """A file written in the background. Use it from one thread; `Spool.open` makes it."""

    def __init__(self, spool: "Spool", path: Path, *, is_bulk: bool) -> None:
        self.path = path
        self._spool = spool
        self._is_bulk = is_bulk
        self._reason = ""
        self._outcome: Future[FileOutcome] = Future()
        self._is_closing = False
        # The writer thread alone touches what follows.
        self._descriptor: int | None = None
        self._size_bytes = 0
        self._has_failed = False

    @property
    def is_truncated(self) -> bool:
        """Whether something that was handed over is not in the file."""
        return bool(self._reason)

    def write_at(self, offset: int, content: bytes) -> bool:
        """Write `content` at `offset` some time soon; return False where it was refused. Never blocks."""
        if self._is_closing:
            return False
        if not self._spool.put(len(content), partial(self._write, offset, content)):
            self._reason = self._reason or "spool full"
            return False
        return True

    def close(self) -> Future[FileOutcome]:
        """Write and sync what is waiting, then close. Safe to call twice."""
        if not self._is_closing:
            self._is_closing = True
            self._spool.put_always(self._close)
        return self._outcome

    # --- in the writer thread ---------------------------------------------------------------------------------
    def _write(self, offset: int, content: bytes) -> None:
        if self._has_failed:
            return
        try:
            descriptor = self._opened()
            if self._is_bulk and self._spool.is_nearly_full:
                raise OSError("the space left is reserved for event logs")
            self._write_all(descriptor, offset, content)
        except OSError as error:
            self._give_up(error)
        else:
            self._size_bytes = max(self._size_bytes, offset + len(content))
            self._spool.mark_unsynced(self)

    def _opened(self) -> int:
        if self._descriptor is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._spool.check_space(self.path)
            # Recordings and transcripts are nobody else's: readable by the owner only.
            self._descriptor = os.open(self.path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        return self._descriptor

    @staticmethod
    def _write_all(descriptor: int, offset: int, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            offset += written
            rest = rest[written:]

    def sync(self) -> None:
        """Bring what was written to the disk. For the spool."""
        if self._descriptor is None:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Keep what was wholly written as a valid file, and drop the rest of what comes."""
        self._has_failed = True
        self._reason = error.strerror or str(error)
        _log.error("file_truncated", path=str(self.path), reason=self._reason, size_bytes=self._size_bytes)
        if self._descriptor is not None:
            try:
                os.ftruncate(self._descriptor, self._size_bytes)
            except OSError as second:
                _log.error("file_not_cut_back", path=str(self.path), reason=second.strerror)
            self._close_descriptor()

    def _close_descriptor(self) -> None:
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            os.close(descriptor)
        except OSError as error:  # network file systems report late errors here
            self._reason = error.strerror or str(error)
            _log.error("file_truncated", path=str(self.path), reason=self._reason, size_bytes=self._size_bytes)

    def _close(self) -> None:
        self.sync()
        self._close_descriptor()
        self._spool.mark_synced(self)
        self._outcome.set_result(
            FileOutcome(
                path=self.path, size_bytes=self._size_bytes, is_truncated=self.is_truncated, reason=self._reason
            )
        )


class Spool:
    """The writer thread and its queue. One for the process, closed when the last call has ended."""

    def __init__(
        self,
        *,
        capacity_bytes: int = CAPACITY_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        self.refused = 0
        """Writes that did not fit into the queue."""

        self._capacity_bytes = capacity_bytes
        self._reserve_bytes = reserve_bytes
        self._free_bytes = free_bytes or _free_bytes
        self._queue: deque[tuple[int, Callable[[], None] | None]] = deque()
        self._has_work = threading.Event()
        self._is_urgent = threading.Event()
        # Each counter has one writing thread, so that neither needs a lock.
        self._bytes_in = 0
        self._bytes_out = 0
        self._unsynced: dict[SpooledFile, None] = {}
        self._synced_at = time.monotonic()
        self.is_nearly_full = False
        """Whether the disk has less than the reserve left, as of the last file opened or synced."""

        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def waiting_bytes(self) -> int:
        """Bytes handed over and not yet written."""
        return self._bytes_in - self._bytes_out

    def open(self, path: Path, *, is_bulk: bool = False) -> SpooledFile:
        """Return a file, created (its folders too) at its first write. Bulk files leave the reserve to the others."""
        return SpooledFile(self, path, is_bulk=is_bulk)

    def replace(self, path: Path, content: bytes) -> bool:
        """Write a whole file in one step, so that readers see the old content or the new; False where refused."""
        return self.put(len(content), partial(_replace, path, content))

    def flush(self) -> Future[None]:
        """Have everything that was handed over so far written now; done when the kernel has it."""
        done: Future[None] = Future()
        self.put_always(partial(done.set_result, None))
        return done

    def close(self) -> None:
        """Write everything, sync and stop the thread. Blocks; safe to call twice."""
        if self._thread.is_alive():
            self._enqueue(0, None, is_urgent=True)
            self._thread.join()

    # --- for SpooledFile --------------------------------------------------------------------------------------
    def put(self, size_bytes: int, work: Callable[[], None]) -> bool:
        """Queue `work` if it fits."""
        if self.waiting_bytes + size_bytes > self._capacity_bytes or not self._thread.is_alive():
            self.refused += 1
            return False
        self._bytes_in += size_bytes
        self._enqueue(size_bytes, work)
        return True

    def put_always(self, work: Callable[[], None]) -> None:
        """Queue `work` that costs nothing to keep, without gathering; after the spool was closed it is done at once."""
        if self._thread.is_alive():
            self._enqueue(0, work, is_urgent=True)
        else:
            work()

    def _enqueue(self, size_bytes: int, work: Callable[[], None] | None, *, is_urgent: bool = False) -> None:
        self._queue.append((size_bytes, work))
        if not self._has_work.is_set():
            self._has_work.set()
        if is_urgent:
            self._is_urgent.set()

    def mark_unsynced(self, file: SpooledFile) -> None:
        """Note that a file has to be synced. In the writer thread."""
        self._unsynced[file] = None

    def mark_synced(self, file: SpooledFile) -> None:
        """Note that a file needs no sync any more. In the writer thread."""
        self._unsynced.pop(file, None)

    def check_space(self, path: Path) -> None:
        """Look how much space is left beside `path`. In the writer thread."""
        self.is_nearly_full = self._free_bytes(path) < self._reserve_bytes

    # --- the writer thread ------------------------------------------------------------------------------------
    def _run(self) -> None:
        is_open = True
        while is_open:
            if self._has_work.wait(self._sync_due_s()):
                self._is_urgent.wait(GATHER_S)
            # Cleared before the queue is emptied: what is queued from now on wakes this thread again.
            self._has_work.clear()
            self._is_urgent.clear()
            is_open = self._work_off()
        self._sync()

    def _work_off(self) -> bool:
        """Do everything that is queued; return whether there may be more to come."""
        while self._queue:
            size_bytes, work = self._queue.popleft()
            if work is None:
                return False
            work()
            self._bytes_out += size_bytes
            self._sync_if_due()
        self._sync_if_due()
        return True

    def _sync_if_due(self) -> None:
        if self._sync_due_s() == 0.0:
            self._sync()

    def _sync_due_s(self) -> float | None:
        if not self._unsynced:
            return None
        return max(0.0, self._synced_at + SYNC_S - time.monotonic())

    def _sync(self) -> None:
        for file in tuple(self._unsynced):
            file.sync()
            self.check_space(file.path)
        self._unsynced.clear()
        self._synced_at = time.monotonic()


def _free_bytes(path: Path) -> int:
    try:
        status = os.statvfs(path.parent)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        _log.error("file_not_written", path=str(path), reason=error.strerror)
        new.unlink(missing_ok=True)
