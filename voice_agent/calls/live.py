"""The calls of this process: who may stream, which are live, and how each came to its end."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog

from voice_agent.calls.record import CallIdentity, CallRecord, call_files
from voice_agent.calls.session import CallPlan, CallSession
from voice_agent.calls.spool import Spool
from voice_agent.errors import MediaStreamError
from voice_agent.media_stream.connection import MediaStreamConnection, Upgrade
from voice_agent.media_stream.protocol import StreamStarted
from voice_agent.media_stream.tickets import TicketOffice, Verdict

log = structlog.get_logger(__name__)

TICKET_PARAMETER = "ticket"
"""Name of the `<Parameter>` that carries a stream's ticket."""

REMEMBERED_ENDINGS = 10_000
"""Calls whose ending is kept for Twilio's last question, which comes within seconds."""


class LiveCalls:
    """Issues tickets, admits streams, keeps track of live calls. One for each process."""

    def __init__(
        self,
        *,
        tickets: TicketOffice,
        plan: Callable[[str], CallPlan],
        spool: Spool,
        data_dir: Path,
        agent: str,
        max_calls: int,
    ) -> None:
        """`plan(call_sid)` returns what a call needs; `agent` is the name of who answers."""
        self._tickets = tickets
        self._plan = plan
        self._spool = spool
        self._data_dir = data_dir
        self._agent = agent
        self._max_calls = max_calls
        self._live: dict[str, CallSession] = {}
        self._endings: OrderedDict[str, bool] = OrderedDict()
        self.is_signed: Callable[[Upgrade], bool] = lambda _: True
        """Whether the carrier signed an upgrade request; set by the carrier's integration."""

    def __len__(self) -> int:
        """Return how many calls are live."""
        return len(self._live)

    @property
    def has_room(self) -> bool:
        """Whether another call may come in."""
        return len(self._live) < self._max_calls

    def why_not_ready(self) -> str:
        """Say why no call can be taken, "" where one can."""
        return "" if self.has_room else "all lines are busy"

    def issue_ticket(self, call_sid: str) -> str:
        """Return the ticket with which the call may open its media stream, once and soon."""
        return self._tickets.issue(call_sid, time.time())

    def admit(self, started: StreamStarted, connection: MediaStreamConnection) -> CallSession | None:
        """Check who wants to stream, before any provider is opened; None to refuse."""
        if not self.is_signed(connection.upgrade):
            log.warning("stream_refused", why="signature", call_sid=started.call_sid)
            return None
        verdict = self._tickets.redeem(started.parameters.get(TICKET_PARAMETER, ""), started.call_sid, time.time())
        if verdict is not Verdict.ACCEPTED:
            log.warning("stream_refused", why=verdict.value, call_sid=started.call_sid)
            return None
        if started.call_sid in self._live or not self.has_room:
            log.warning("stream_refused", why="call is live already" if self.has_room else "all lines are busy")
            return None
        return self._begin(started, connection)

    def _begin(self, started: StreamStarted, connection: MediaStreamConnection) -> CallSession | None:
        try:
            files = call_files(self._data_dir, started.call_sid)
        except MediaStreamError as error:
            log.warning("stream_refused", why=str(error))
            return None
        identity = CallIdentity(
            call_sid=started.call_sid,
            stream_sid=started.stream_sid,
            agent=self._agent,
            started_at=datetime.now(UTC),
        )
        plan = self._plan(started.call_sid)
        record = CallRecord(self._spool, files, identity, plan.settings)
        session = self._live[started.call_sid] = CallSession(connection, plan, record, self._forget)
        return session

    def _forget(self, session: CallSession) -> None:
        self._live.pop(session.call_sid, None)
        self._endings[session.call_sid] = session.was_ended_by_us
        while len(self._endings) > REMEMBERED_ENDINGS:
            self._endings.popitem(last=False)

    def was_ended_by_us(self, call_sid: str) -> bool:
        """Whether a call's stream ended because the agent hung up or transferred; False for an unknown call."""
        live = self._live.get(call_sid)
        return live.was_ended_by_us if live is not None else self._endings.get(call_sid, False)

    async def close(self) -> None:
        """Wait for the calls whose streams are closed already to finish their files."""
        tasks = [session.task for session in self._live.values() if session.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
