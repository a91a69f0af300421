"""Copies the event logs of calls from this machine's disk to the database: every line once, in order.

How it works
------------
The file is the source (`event_log`, through the spool); the database is behind it by a quarter of a second. Lines come
from memory, as they are handed to the spool, and leave in batches: one transaction for all calls of the process. Nobody
in a call ever waits for it.

While the database is away (F40, F41) lines wait. What waits is bounded: beyond it they are forgotten, and read from the
file again when the database is back. A line's key is (call, segment, line), so that one whose commit was not confirmed
is sent again without harm.

A process that was killed leaves logs of which the database has a part, or nothing. Every minute whoever runs on this
machine looks for logs that nobody has written to for a while and ships them; beside each that is wholly copied lies a
mark with its size. Logs of calls that the database does not know wait until it does.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import repository
from voice_agent.calls.record import CallFiles, call_segments
from voice_agent.errors import DatabaseUnavailable
from voice_agent.storage.database import Database

BATCH_LINES = 100
"""Lines that are sent at once, without waiting for more."""

BATCH_S = 0.25
"""The longest that a line waits for others while the database keeps up."""

MOST_LINES = 1_000
"""Of one transaction."""

MEMORY_BYTES = 8 * 1024 * 1024
"""Lines of all calls that wait in memory: minutes of 80 calls. Beyond, the files keep them."""

READ_BYTES = 256 * 1024
"""Of a file, at a time."""

TRANSACTION_S = 10.0
"""The longest transaction: a database that is slower counts as away."""

RETRY_S = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Waits between tries while the database is away."""

UNKNOWN_S = 1.0
"""Until a call that the database does not know yet is looked for again; twice as long each time, a minute at most."""

MOST_TRIES = 8
"""For a call that is over: four minutes. Whoever starts next on this machine tries again."""

SCAN_S = 60.0
"""Between two looks for logs that others have left."""

UNTOUCHED_S = 60.0
"""A log to which nothing was written for so long belongs to no live call, or to one that says nothing: a copy of what
there is does no harm."""

MOST_SCANNED = 200
"""Logs taken up by one look."""

CLOSE_S = 3.0
"""How long the end of the process waits for the last lines; the next start finds the rest."""

log = structlog.get_logger(__name__)


class _Identity(msgspec.Struct, frozen=True):
    call_id: UUID
    org_id: UUID


class LogCopy:
    """One log on its way to the database. Used on the event loop's thread; `EventShipper` makes it."""

    def __init__(self, shipper: "EventShipper", call_sid: str, files: CallFiles, *, first: int = 0) -> None:
        self.call_sid = call_sid
        self.files = files
        self.identity: _Identity | None = None
        self.shipped = 0
        """Lines that the database has."""
        self.offset = 0
        """Bytes of the file that they take."""
        self.waiting: deque[bytes] = deque()
        """Lines in memory, in order."""
        self.first = first
        """Lines before those: where there are more than were shipped, the rest is in the file alone."""
        self.is_closed = False
        self.is_given_up = False
        self.tries = 0
        """How often it could not be shipped, since it last could."""
        self.not_before = 0.0
        """On the event loop's clock; it is of no use to try earlier."""
        self._shipper = shipper

    @property
    def written(self) -> int:
        """Lines of the log."""
        return self.first + len(self.waiting)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_given_up or (self.is_closed and self.shipped >= self.written)

    @property
    def is_waiting(self) -> bool:
        """Whether there are lines that can be shipped, as far as anybody knows."""
        return not self.is_given_up and self.shipped < self.written

    def add(self, line: bytes) -> None:
        """Take a line that was handed to the spool, line feed included. Hot path: never blocks."""
        if not self.is_given_up:
            self.waiting.append(line)
            self._shipper.note_line(len(line))

    def close(self) -> None:
        """No more lines follow."""
        self.is_closed = True
        self._shipper.wake()

    def put_off(self, now: float) -> None:
        """The database does not know the call, or the file cannot be read: try again later, at last not at all."""
        self.not_before = now + UNKNOWN_S * 2 ** min(self.tries, 6)
        self.tries += 1
        self.is_given_up = self.is_closed and self.tries >= MOST_TRIES

    def forget(self) -> None:
        """Keep no line in memory; the file has them."""
        self.first += len(self.waiting)
        self.waiting.clear()

    def advance(self, lines: Sequence[bytes]) -> int:
        """Note that the database has these lines, the next ones; return how many bytes of memory that frees."""
        self.tries = 0
        self.shipped += len(lines)
        self.offset += sum(map(len, lines))
        freed = 0
        while self.waiting and self.first < self.shipped:
            freed += len(self.waiting.popleft())
            self.first += 1
        return freed


class _Batch(msgspec.Struct, frozen=True):
    copy: LogCopy
    lines: list[bytes]

    def rows(self) -> list[dict[str, object]]:
        """Return the lines as the table has them."""
        identity = self.copy.identity
        if identity is None:
            return []
        return [
            {
                "call_id": identity.call_id,
                "org_id": identity.org_id,
                "segment": self.copy.files.segment,
                "line": number,
                "body": line.rstrip(b"\n").decode(),
            }
            for number, line in enumerate(self.lines, start=self.copy.shipped + 1)
        ]


class EventShipper:
    """One for the process. `open` it in the event loop that holds the calls, `close` it after the last one."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._data_dir = data_dir
        self._copies: set[LogCopy] = set()
        self._known: dict[Path, int] = {}
        """Logs that need no more looking at while their size stays the same."""
        self._waiting_bytes = 0
        self._waiting_lines = 0
        self._has_work = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self._failures = 0
        self._is_closing = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting_bytes(self) -> int:
        """Bytes in memory that the database does not have."""
        return self._waiting_bytes

    @property
    def backlog(self) -> int:
        """Lines that the database does not have, of the logs that are known to this process."""
        return sum(copy.written - copy.shipped for copy in self._copies)

    async def open(self) -> None:
        """Begin to ship, what others have left included."""
        self._tasks = [
            asyncio.create_task(self._run(), name="event-shipper"),
            asyncio.create_task(self._look_around(), name="event-shipper-scan"),
        ]

    async def close(self) -> None:
        """Ship what can be shipped within moments, then stop. Safe to call twice."""
        self._is_closing = True
        self.wake()
        if self._tasks:
            shipping, scanning = self._tasks
            scanning.cancel()
            await asyncio.wait([shipping], timeout=CLOSE_S)
            shipping.cancel()
            await asyncio.gather(shipping, scanning, return_exceptions=True)
            self._tasks = []

    def copy(self, call_sid: str, files: CallFiles) -> LogCopy:
        """Return the copy of a log that is begun now."""
        copy = LogCopy(self, call_sid, files)
        self._copies.add(copy)
        return copy

    async def adopt(self, call_sid: str) -> None:
        """Ship at once what another process on this machine has left of a call."""
        folder = self._data_dir / "calls" / call_sid
        self._take_up(await asyncio.to_thread(_left_in, folder, self._known, 0.0))

    # --- for LogCopy ------------------------------------------------------------------------------------------
    def note_line(self, size_bytes: int) -> None:
        """Note that a line is waiting."""
        self._waiting_bytes += size_bytes
        self._waiting_lines += 1
        if self._waiting_bytes > MEMORY_BYTES:
            self._spill()
        self._has_work.set()
        if self._waiting_lines >= BATCH_LINES:
            self._is_urgent.set()

    def wake(self) -> None:
        """Ship at once."""
        self._has_work.set()
        self._is_urgent.set()

    def _spill(self) -> None:
        log.info("events_left_to_files", bytes=self._waiting_bytes)
        for copy in self._copies:
            copy.forget()
        self._waiting_bytes = 0

    # --- shipping ---------------------------------------------------------------------------------------------
    async def _run(self) -> None:
        while not (self._is_closing and self._is_idle()):
            await self._wait()
            self._waiting_lines = 0
            try:
                async with asyncio.timeout(TRANSACTION_S):
                    await self._ship()
            except (DatabaseUnavailable, SQLAlchemyError, TimeoutError) as error:
                await self._fail(error)
            else:
                self._recover()
            await self._finish()

    def _is_idle(self) -> bool:
        return not any(copy.is_waiting and copy.tries == 0 for copy in self._copies)

    async def _wait(self) -> None:
        """Return when there is something to do: lines that have gathered, or a call to look for again."""
        now = asyncio.get_running_loop().time()
        ready = [copy.not_before for copy in self._copies if copy.is_waiting]
        if not ready:
            await self._has_work.wait()
        elif (left_s := min(ready) - now) > 0:
            await _set_within(self._has_work, left_s)
        await _set_within(self._is_urgent, BATCH_S)
        self._has_work.clear()
        self._is_urgent.clear()

    async def _ship(self) -> None:
        """Send the next lines of every log, in one transaction; more of them at once where there are more."""
        while batches := await self._next():
            async with self._database.write() as session:
                await self._identify(session, batches)
                rows = [row for batch in batches for row in batch.rows()]
                await repository.add_event_lines(session, rows)
            for batch in batches:
                if batch.copy.identity is not None:
                    self._waiting_bytes -= batch.copy.advance(batch.lines)
            if len(rows) < MOST_LINES:
                return

    async def _next(self) -> list[_Batch]:
        now = asyncio.get_running_loop().time()
        batches: list[_Batch] = []
        left = MOST_LINES
        for copy in tuple(self._copies):
            if left <= 0 or not copy.is_waiting or copy.not_before > now:
                continue
            lines = await self._lines(copy, left)
            if lines:
                batches.append(_Batch(copy, lines))
                left -= len(lines)
        return batches

    async def _lines(self, copy: LogCopy, most: int) -> list[bytes]:
        if copy.first <= copy.shipped:
            return [line for line, _ in zip(copy.waiting, range(most), strict=False)]
        wanted = copy.first - copy.shipped
        lines = await asyncio.to_thread(_read_lines, copy.files.event_log, copy.offset, min(wanted, most))
        if not lines:
            copy.put_off(asyncio.get_running_loop().time())  # the spool is behind, or the disk has lost them
        return lines

    async def _identify(self, session: AsyncSession, batches: Iterable[_Batch]) -> None:
        """Find out which calls these are."""
        unknown = [batch.copy for batch in batches if batch.copy.identity is None]
        if not unknown:
            return
        rows = await repository.identities(session, [copy.call_sid for copy in unknown])
        found = {row.call_sid: row for row in rows}
        for copy in unknown:
            row = found.get(copy.call_sid)
            if row is None:
                copy.put_off(asyncio.get_running_loop().time())
            elif row.erased_at is None:
                copy.identity = _Identity(row.id, row.org_id)
            else:
                copy.is_given_up = True

    async def _fail(self, error: Exception) -> None:
        if isinstance(error, IntegrityError):  # a call that has been deleted
            for copy in self._copies:
                copy.identity = None
        level = log.warning if self._failures == 0 else log.debug
        level("events_not_shipped", error=type(error).__name__, backlog=self.backlog)
        delay_s = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1
        if not self._is_closing:
            await asyncio.sleep(delay_s)
        self._has_work.set()

    def _recover(self) -> None:
        if self._failures:
            log.info("events_shipped_again", backlog=self.backlog)
            self._failures = 0

    async def _finish(self) -> None:
        """Mark the logs of which the database has everything, and forget them."""
        done = [copy for copy in self._copies if copy.is_done]
        self._copies.difference_update(done)
        for copy in done:
            if copy.is_given_up:
                log.info("events_not_wanted", call_sid=copy.call_sid, is_known=copy.tries == 0)
                self._waiting_bytes -= sum(map(len, copy.waiting))
            else:
                await asyncio.to_thread(_mark, copy.files, copy.offset)
            self._known[copy.files.event_log] = copy.offset

    # --- what others have left ----------------------------------------------------------------------------------
    async def _look_around(self) -> None:
        while True:
            self._take_up(await asyncio.to_thread(_left_behind, self._data_dir, self._known))
            await asyncio.sleep(SCAN_S)

    def _take_up(self, found: Iterable["_Left"]) -> None:
        taken = {copy.files.event_log for copy in self._copies}
        for left in found:
            if left.files.event_log not in taken:
                copy = LogCopy(self, left.call_sid, left.files, first=left.lines)
                copy.is_closed = True
                self._copies.add(copy)
        self._has_work.set()


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


# --- files, in a thread -------------------------------------------------------------------------------------------
class _Left(msgspec.Struct, frozen=True):
    """A log that somebody has left."""

    call_sid: str
    files: CallFiles
    lines: int


def _read_lines(path: Path, offset: int, most: int) -> list[bytes]:
    """Return at most so many whole lines from `offset` on, line feeds included; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(READ_BYTES)
            while content and b"\n" not in content and (more := file.read(READ_BYTES)):
                content += more
    except OSError as error:
        log.warning("event_log_not_read", path=str(path), reason=error.strerror)
        return []
    whole, _, _ = content.rpartition(b"\n")
    return [line + b"\n" for line in whole.split(b"\n")[:most]] if whole else []


def _left_behind(data_dir: Path, known: dict[Path, int]) -> list[_Left]:
    """Return logs to which nobody writes and of which the database may not have everything."""
    try:
        folders = sorted((data_dir / "calls").iterdir())
    except OSError:
        return []
    found: list[_Left] = []
    for folder in folders:
        found += _left_in(folder, known, UNTOUCHED_S)
        if len(found) >= MOST_SCANNED:
            break
    return found


def _left_in(folder: Path, known: dict[Path, int], untouched_s: float) -> list[_Left]:
    found: list[_Left] = []
    for files in call_segments(folder):
        path = files.event_log
        try:
            status = path.stat()
            if known.get(path) == status.st_size:
                if not files.shipped.exists():  # the lines were faster in the database than the file on the disk
                    _mark(files, status.st_size)
                continue
            if time.time() - status.st_mtime < untouched_s:
                continue
            whole = path.read_bytes().rpartition(b"\n")[0]
            if _marked(files) == len(whole) + 1:
                known[path] = status.st_size
            elif whole:
                found.append(_Left(folder.name, files, whole.count(b"\n") + 1))
        except OSError as error:
            log.warning("event_log_not_read", path=str(path), reason=error.strerror)
    return found


def _mark(files: CallFiles, size_bytes: int) -> None:
    try:
        files.shipped.write_text(str(size_bytes), "ascii")
    except OSError as error:  # the folder was erased, or the disk is full: shipped again some day
        log.info("event_log_not_marked", path=str(files.shipped), reason=error.strerror)


def _marked(files: CallFiles) -> int:
    try:
        return int(files.shipped.read_text("ascii"))
    except (OSError, ValueError):
        return -1
