"""What is done with a call that reaches us: when it comes in, when it is answered, when its media stream has ended.

Answers come in time whatever the database does: an incoming call is answered by the default agent then, and written
down later (`calls.inbox`).
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
import structlog

from voice_agent.calls import repository
from voice_agent.calls.inbox import Inbox
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.model import ACTIVE, CallState, CarrierReport
from voice_agent.calls.patience import PATIENCE_S, Patience
from voice_agent.calls.processor import IncomingCall, Receipt
from voice_agent.errors import DatabaseUnavailable
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow

log = structlog.get_logger(__name__)

MOST_RESUMPTIONS = 3
"""A call whose stream was lost more often is given up: whatever breaks it will again (F25)."""


class Answer(StrEnum):
    """What is done with a call that is there."""

    CONNECT = "connect"
    """To a media stream."""

    SAY_BUSY = "say_busy"
    """All lines are busy."""

    HANG_UP = "hang_up"
    """Nobody wants it any more."""


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a call is answered."""

    answer: Answer
    language: str = ""
    """Of what the carrier itself says; empty for the server's."""

    call_id: UUID | None = None
    """None where the database could not be asked."""


class AfterStream(StrEnum):
    """What follows a media stream's end."""

    HANG_UP = "hang_up"
    """It was meant."""

    RESUME = "resume"
    """It was not: connect another stream."""

    APOLOGISE = "apologise"


class Reception:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        live: LiveCalls,
        inbox: Inbox,
        *,
        clock: Callable[[], datetime],
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`clock` returns the present in UTC; `patience_s` is how long an answer may wait for the database."""
        self._database = database
        self._live = live
        self._inbox = inbox
        self._clock = clock
        self._patience = Patience(patience_s)

    async def close(self) -> None:
        """Break off what the database has not answered yet. Safe to call twice."""
        await self._patience.close()

    async def incoming(self, call_sid: str, incoming: IncomingCall) -> Welcome:
        """Somebody calls one of our numbers."""
        if not self._live.has_room:
            log.warning("call_refused", why="all lines are busy", call_sid=call_sid)
            return Welcome(answer=Answer.SAY_BUSY)
        now = self._clock()
        kept = await self._inbox.put(
            Receipt(
                source="status",
                call_sid=call_sid,
                dedupe_key=f"{call_sid}:incoming",
                event="incoming",
                report=CarrierReport(status="ringing", at=now),
                payload=msgspec.to_builtins(incoming),
                received_at=now,
                incoming=incoming,
            )
        )
        if kept.call is None:
            return Welcome(answer=Answer.CONNECT)
        return Welcome(answer=Answer.CONNECT, language=kept.call.language, call_id=kept.call.id)

    async def answered(self, call_id: UUID, call_sid: str) -> Welcome:
        """Somebody has answered a call of ours. One that was ended meanwhile, or that nobody placed, is not held."""
        if not self._live.has_room:
            log.error("answered_call_refused", why="all lines are busy", call_sid=call_sid)
            return Welcome(answer=Answer.SAY_BUSY)
        now = self._clock()
        kept = await self._inbox.put(
            Receipt(
                source="status",
                call_sid=call_sid,
                dedupe_key=f"{call_sid}:answer",
                event="answer",
                report=CarrierReport(status="in-progress", at=now),
                payload={},
                received_at=now,
                call_id=call_id,
            )
        )
        call = kept.call
        if call is None and kept.is_stored:
            log.error("orphan_call", call_sid=call_sid, call_id=str(call_id))
            return Welcome(answer=Answer.HANG_UP)
        if call is not None and (call.is_ended_by_us or CallState(call.state) not in ACTIVE):
            return Welcome(answer=Answer.HANG_UP, language=call.language, call_id=call_id)
        return Welcome(answer=Answer.CONNECT, language=call.language if call else "", call_id=call_id)

    async def after_stream(self, call_sid: str) -> tuple[AfterStream, str]:
        """A call's media stream has ended; return what follows, and the language of whatever is said then.

        Nobody is asked twice: a resumption is counted when it is promised.
        """
        if self._live.was_ended_by_us(call_sid):
            return AfterStream.HANG_UP, ""
        try:
            return await self._patience.wait_for(self._decide(call_sid))
        except (DatabaseUnavailable, TimeoutError):
            # Nobody can say whether it was meant. Talking on with somebody who said goodbye is the smaller harm.
            return AfterStream.RESUME if self._live.has_line else AfterStream.APOLOGISE, ""

    async def _decide(self, call_sid: str) -> tuple[AfterStream, str]:
        async with self._database.write() as session:
            known = await repository.by_sid(session, call_sid)
            call = None if known is None else await repository.locked(session, known.id)
            if call is None:
                return AfterStream.APOLOGISE, ""
            if call.is_ended_by_us or CallState(call.state) not in ACTIVE:
                return AfterStream.HANG_UP, call.language
            log.warning("stream_lost", call_sid=call_sid, resumptions=call.resumptions)
            if call.resumptions >= MOST_RESUMPTIONS or not self._live.has_line:
                return AfterStream.APOLOGISE, call.language
            call.resumptions += 1
            return AfterStream.RESUME, call.language

    async def briefing(self, call_id: UUID) -> tuple[str, str]:
        """Return what to say to whoever answers a call's warm transfer, and in which language.

        Nothing where the call is not known, or the database does not say in time: they are connected without a word.
        """
        try:
            call = await self._patience.wait_for(self._read(call_id))
        except (DatabaseUnavailable, TimeoutError):
            return "", ""
        return ("", "") if call is None else (call.briefing, call.language)

    async def _read(self, call_id: UUID) -> CallRow | None:
        async with self._database.read() as session:
            return await session.get(CallRow, call_id)
