"""Receipts on their way into the database, also while it is away.

A webhook must be answered at once, whatever the database does. What cannot be stored in time goes to a file on disk and
is stored, in order, as soon as the database answers again; a process that was killed meanwhile leaves the file to the
next one. Storing twice is storing once (`CallProcessor.take`), so the file may be read again from its beginning. A
receipt that the database itself refuses is put aside, and keeps no other one waiting.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from voice_agent.calls.patience import PATIENCE_S, Patience
from voice_agent.calls.processor import Receipt
from voice_agent.errors import DatabaseUnavailable, VoiceAgentError
from voice_agent.storage.tables import CallRow

log = structlog.get_logger(__name__)

RETRY_S = 1.0
FILE_NAME = "receipts.jsonl"
REFUSED_NAME = "refused.jsonl"
"""Receipts that could not be stored although the database answers: for somebody to look at."""

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Receipt)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Where a receipt is."""

    is_stored: bool
    """Whether the database has it already."""

    call: CallRow | None = None
    """Its call as it is stored now; None where it is not stored yet, or no call is known for it."""


class Inbox:
    """One for the process. `open` takes over what earlier processes left; `close` leaves what is not stored yet."""

    def __init__(
        self,
        take: Callable[[Receipt], Awaitable[CallRow | None]],
        folder: Path,
        *,
        patience_s: float = PATIENCE_S,
        retry_s: float = RETRY_S,
    ) -> None:
        """`take` is `CallProcessor.take`; `folder` is of this machine's processes alone."""
        self._take = take
        self._path = folder / f"{os.getpid()}-{FILE_NAME}"
        self._refused_path = folder / REFUSED_NAME
        self._patience = Patience(patience_s)
        self._retry_s = retry_s
        self._drain: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Store, in the background, what processes that are gone have left."""
        left = await asyncio.to_thread(_left_behind, self._path)
        if left:
            log.info("receipts_taken_over", files=len(left))
            self._begin_to_work_off(left)

    async def close(self) -> None:
        """Stop. What is on disk stays there for the next process. Safe to call twice."""
        await self._patience.close()
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)
            self._drain = None

    @property
    def is_behind(self) -> bool:
        """Whether receipts wait on disk."""
        return self._drain is not None and not self._drain.done()

    async def put(self, receipt: Receipt) -> Kept:
        """Store a receipt, or keep it on disk where that takes too long.

        While older ones wait, a new one waits behind them: order is not needed, but the database is not pressed either.
        """
        if not self.is_behind:
            try:
                return Kept(is_stored=True, call=await self._patience.wait_for(self._taken(receipt)))
            except (VoiceAgentError, SQLAlchemyError, TimeoutError) as error:
                log.warning("receipt_kept_on_disk", error=type(error).__name__, event_name=receipt.event)
        try:
            async with self._lock:
                await asyncio.to_thread(_append, self._path, _ENCODER.encode(receipt))
        except OSError as error:  # the caller is answered all the same; the reconciler asks the carrier later
            log.error("receipt_lost", error=str(error), call_sid=receipt.call_sid, event_name=receipt.event)
        else:
            self._begin_to_work_off(())
        return Kept(is_stored=False)

    async def _taken(self, receipt: Receipt) -> CallRow | None:
        return await self._take(receipt)

    def _begin_to_work_off(self, files: tuple[Path, ...]) -> None:
        if not self.is_behind:
            # This process's own file comes last: it may have grown while the others were worked off.
            self._drain = asyncio.create_task(self._work_off((*files, self._path)), name="inbox")

    async def _work_off(self, files: tuple[Path, ...]) -> None:
        for path in files:
            stored = 0
            while True:
                lines = await asyncio.to_thread(_lines, path)
                for line in lines[stored:]:
                    await self._store(path, line)
                    stored += 1
                async with self._lock:  # nothing is appended between the last look and the end of the file
                    if len(await asyncio.to_thread(_lines, path)) == stored:
                        await asyncio.to_thread(path.unlink, missing_ok=True)
                        break

    async def _store(self, path: Path, line: bytes) -> None:
        try:
            receipt = _DECODER.decode(line)
        except msgspec.DecodeError:  # torn by a power cut
            log.error("receipt_unreadable", path=str(path), size_bytes=len(line))
            return
        while True:
            try:
                await self._take(receipt)
            except DatabaseUnavailable:
                await asyncio.sleep(self._retry_s)
            except (VoiceAgentError, SQLAlchemyError) as error:
                log.error("receipt_refused", error=f"{type(error).__name__}: {error}"[:300], event_name=receipt.event)
                await asyncio.to_thread(_append, self._refused_path, line)
                return
            else:
                return


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600), "ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _left_behind(own: Path) -> tuple[Path, ...]:
    """Return the files of processes that are gone: a process that is there works off its own."""
    return tuple(path for path in sorted(own.parent.glob(f"*-{FILE_NAME}")) if not _is_running(path))


def _is_running(path: Path) -> bool:
    process_id = path.name.partition("-")[0]
    if not process_id.isdigit() or int(process_id) == os.getpid():
        return False
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
