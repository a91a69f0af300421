"""Opt-outs of calls, from the word to where nobody is dialled any more; none is ever lost.

How it works
------------
An opt-out is written to a file on this machine's disk first, then to the database: in one transaction the number is
suppressed, with call, second and words as evidence, the call says so, and everything that was still to be dialled to
that number is withdrawn. Then the file goes. While the database is away, or where the process is killed in between, the
file stays, and whichever process of this machine runs next applies it. Twice is once: a suppression stays as it is.

An opt-out names its call by the carrier's name alone, because nothing else may be known of a call that is held while
the database is away. One whose call is still unknown after a day is put aside, for somebody to look at.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import repository
from voice_agent.calls.patience import Patience
from voice_agent.compliance.model import SuppressionEntry
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import DatabaseUnavailable, VoiceAgentError
from voice_agent.pipeline.ports import HeardOptOut
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.storable import storable
from voice_agent.storage.tables import CallRow

log = structlog.get_logger(__name__)

PATIENCE_S = 2.0
"""How long the caller waits, in silence, for the database; what is on the disk cannot be lost."""

RETRY_S = 1.0
UNKNOWN_FOR = timedelta(days=1)
"""How long an opt-out waits for its call to be known."""

LONGEST_WORDS = 500

Withdraw = Callable[[AsyncSession, UUID, str, datetime], Awaitable[object]]
"""Takes back everything that an organisation was still to dial to a number (E.164), in the caller's transaction."""


class AskedOptOut(msgspec.Struct, frozen=True, kw_only=True):
    """A file's content."""

    call_sid: str
    heard: HeardOptOut
    at: datetime


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(AskedOptOut)


async def withdraw_nothing(session: AsyncSession, org_id: UUID, e164: str, now: datetime) -> None:
    """Be a `Withdraw` where nothing is ever waiting to be dialled."""


class OptOuts:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        compliance: ComplianceService,
        folder: Path,
        *,
        clock: Callable[[], datetime],
        withdraw: Withdraw = withdraw_nothing,
        patience_s: float = PATIENCE_S,
        retry_s: float = RETRY_S,
    ) -> None:
        """`folder` is of this machine's processes alone; `clock` returns the present in UTC."""
        self._database = database
        self._compliance = compliance
        self._folder = folder
        self._clock = clock
        self._withdraw = withdraw
        self._patience = Patience(patience_s)
        self._retry_s = retry_s
        self._drain: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Apply, in the background, what is on the disk already."""
        if await asyncio.to_thread(_files, self._folder):
            self._begin_to_work_off()

    async def close(self) -> None:
        """Stop. What is on the disk stays there for the next process. Safe to call twice."""
        await self._patience.close()
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)
            self._drain = None

    @property
    def is_behind(self) -> bool:
        """Whether opt-outs wait on the disk."""
        return self._drain is not None and not self._drain.done()

    async def record(self, call_sid: str, heard: HeardOptOut) -> bool:
        """Have whoever is in a call never called again; return whether that is in force already. Never raises."""
        words = storable(heard.words)[:LONGEST_WORDS]
        asked = AskedOptOut(call_sid=call_sid, heard=msgspec.structs.replace(heard, words=words), at=self._clock())
        path = self._folder / f"{new_id()}.json"
        try:
            await asyncio.to_thread(_write, path, _ENCODER.encode(asked))
        except OSError as error:  # then the database alone must do
            log.error("opt_out_not_on_disk", call_sid=call_sid, error=str(error))
        try:
            is_applied = await self._patience.wait_for(self._applied(asked, path))
        except (VoiceAgentError, SQLAlchemyError, TimeoutError) as error:
            log.warning("opt_out_kept_on_disk", call_sid=call_sid, error=type(error).__name__)
            is_applied = False
        if not is_applied:
            self._begin_to_work_off()
        return is_applied

    async def _applied(self, asked: AskedOptOut, path: Path) -> bool:
        """Write an opt-out into the database; False where its call is not known. Then the file stays."""
        is_known = await self._database.transact(lambda session: self._apply(session, asked))
        if is_known:
            await asyncio.to_thread(_forget, path)
            log.info("opted_out", call_sid=asked.call_sid, how=asked.heard.how)
        return is_known

    async def _apply(self, session: AsyncSession, asked: AskedOptOut) -> bool:
        known = await repository.by_sid(session, asked.call_sid)
        call = None if known is None else await repository.locked(session, known.id)
        if call is None:
            return False
        call.is_opted_out = True
        call.revision += 1
        number = callee_of(call)
        if number.startswith("+"):  # else it is withheld: there is nothing to suppress
            entry = SuppressionEntry(
                e164=number, source="call", reason="asked for in a call", evidence=_evidence(call, asked)
            )
            await self._compliance.suppress(session, call.org_id, entry, created_by=call.agent_name or "agent")
            await self._withdraw(session, call.org_id, number, self._clock())
        return True

    # --- what is on the disk ----------------------------------------------------------------------------------
    def _begin_to_work_off(self) -> None:
        if not self.is_behind:
            self._drain = asyncio.create_task(self._work_off(), name="opt-outs")

    async def _work_off(self) -> None:
        while files := await asyncio.to_thread(_files, self._folder):
            for path in files:
                await self._take_up(path)
            await asyncio.sleep(self._retry_s)

    async def _take_up(self, path: Path) -> None:
        try:
            asked = _DECODER.decode(await asyncio.to_thread(path.read_bytes))
            if await self._applied(asked, path):
                return
            if self._clock() - asked.at > UNKNOWN_FOR:
                await self._put_aside(path, "its call is not known")
        except (DatabaseUnavailable, FileNotFoundError) as error:  # the latter: another process was faster
            log.debug("opt_out_waits", error=type(error).__name__)
        except (VoiceAgentError, SQLAlchemyError, msgspec.DecodeError) as error:
            await self._put_aside(path, f"{type(error).__name__}: {error}"[:300])

    async def _put_aside(self, path: Path, why: str) -> None:
        log.error("opt_out_put_aside", path=str(path), why=why)
        await asyncio.to_thread(path.rename, path.with_suffix(".aside"))


def callee_of(call: CallRow) -> str:
    """Return the number of whom the agent talks to, as it was given."""
    return call.to_number if call.direction == "outbound" else call.from_number


def _evidence(call: CallRow, asked: AskedOptOut) -> dict[str, object]:
    heard = asked.heard
    return {
        "call_id": str(call.id),
        "second": round(heard.second, 2),
        "words": heard.words,
        "how": heard.how,
        "at": asked.at.isoformat(),
    }


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def _write(path: Path, content: bytes) -> None:
    """Write a file whole, or not at all, onto the disk itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.with_suffix(".begun")
    with open(os.open(begun, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    begun.rename(path)


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # it is applied once more, which changes nothing
        log.warning("opt_out_stays_on_disk", path=str(path), error=str(error))
