"""The calls of this process: who may stream, which are live, and how each came to its end."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from voice_agent.calls.ledger import CallLedger
from voice_agent.calls.live_feed import LiveFeed
from voice_agent.calls.record import CallFiles, CallIdentity, CallRecord, call_files
from voice_agent.calls.resumption import restored
from voice_agent.calls.session import (
    CallPlan,
    CallSession,
    CallSurroundings,
    EndReason,
    OptOutRecorder,
    Prepared,
    nobody_opts_out,
)
from voice_agent.calls.spool import Spool
from voice_agent.calls.stored_events import StoredCall, StoredEvents
from voice_agent.errors import MediaStreamError
from voice_agent.media_stream.connection import MediaStreamConnection, Upgrade
from voice_agent.media_stream.protocol import StreamStarted
from voice_agent.media_stream.tickets import TicketOffice, Verdict

log = structlog.get_logger(__name__)

TICKET_PARAMETER = "ticket"
"""Name of the `<Parameter>` that carries a stream's ticket."""

RESUME_PARAMETER = "resume"
"""Name of the `<Parameter>` that says, by being there, that the call's last stream was lost."""

REMEMBERED_ENDINGS = 10_000
"""Calls whose ending is kept for Twilio's last question, which comes within seconds."""


class LiveCalls:
    """Issues tickets, admits streams, keeps track of live calls. One for each process."""

    def __init__(
        self,
        *,
        tickets: TicketOffice,
        plan: Callable[[StreamStarted], Awaitable[CallPlan]],
        spool: Spool,
        data_dir: Path,
        max_calls: int,
        ledger: CallLedger | None = None,
        feed: LiveFeed | None = None,
    ) -> None:
        """`plan` returns what a call needs, in three seconds; without a `ledger` no other process knows of calls.

        `feed` is told what is said in them.
        """
        self._tickets = tickets
        self._plan = plan
        self._spool = spool
        self._data_dir = data_dir
        self._max_calls = max_calls
        self._ledger = ledger
        self._feed = feed
        self._stored = StoredEvents(data_dir, None if ledger is None else ledger.database)
        self._live: dict[str, CallSession] = {}
        self._unfinished: set[CallSession] = set()
        """Live ones, and those whose files are still at work."""
        self._writing: set[asyncio.Future[None]] = set()
        """For each of the latter, done when the spool has written all that it left."""
        self._endings: OrderedDict[str, bool] = OrderedDict()
        self._is_draining = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.is_signed: Callable[[Upgrade], bool] = lambda _: True
        """Whether the carrier signed an upgrade request; set by the carrier's integration."""
        self.on_written: Callable[[str], None] = lambda _: None
        """Told, by its SID, of each call whose files are complete; set by whoever files them."""
        self.opt_out: OptOutRecorder = nobody_opts_out
        """Has whoever is called never called again; set to `OptOuts.record` where there is one."""

    def __len__(self) -> int:
        """Return how many calls are live."""
        return len(self._live)

    @property
    def has_line(self) -> bool:
        """Whether there is a line for one more stream: of a call that is to be resumed, also while draining."""
        return len(self._live) < self._max_calls

    @property
    def has_room(self) -> bool:
        """Whether another call may come in."""
        return self.has_line and not self._is_draining

    @property
    def is_draining(self) -> bool:
        """Whether this process takes no new calls any more."""
        return self._is_draining

    def why_not_ready(self) -> str:
        """Say why no call can be taken, "" where one can."""
        if self._is_draining:
            return "draining"
        return "" if self.has_line else "all lines are busy"

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
        former = self._live.get(started.call_sid)
        if former is not None and not former.is_over and RESUME_PARAMETER not in started.parameters:
            log.warning("stream_refused", why="call is live already", call_sid=started.call_sid)
            return None
        if former is None and not self.has_line:
            log.warning("stream_refused", why="all lines are busy", call_sid=started.call_sid)
            return None
        return self._begin(started, connection, former)

    def _begin(
        self, started: StreamStarted, connection: MediaStreamConnection, former: CallSession | None
    ) -> CallSession | None:
        try:
            call_files(self._data_dir, started.call_sid)
        except MediaStreamError as error:
            log.warning("stream_refused", why=str(error))
            return None
        if former is not None:
            former.supersede()
        surroundings = CallSurroundings(
            prepare=self._prepare, note_end=self._note_end, on_ended=self._forget, opt_out=self.opt_out
        )
        session = self._live[started.call_sid] = CallSession(started.call_sid, connection, surroundings)
        self._unfinished.add(session)
        self._is_idle.clear()
        if self._ledger is not None:
            self._ledger.leases.take(started.call_sid)
        return session

    async def _prepare(self, started: StreamStarted) -> Prepared:
        """Get together what the call needs: the agent, and what was said before a line was lost."""
        started_at = datetime.now(UTC)
        plan, stored = await asyncio.gather(self._plan(started), self._find(started))
        completed = plan.settings.lines.completed(plan.settings.language)
        plan = msgspec.structs.replace(plan, settings=msgspec.structs.replace(plan.settings, lines=completed))
        identity = CallIdentity(
            call_sid=started.call_sid, stream_sid=started.stream_sid, agent=plan.agent, started_at=started_at
        )
        # A long call takes tens of milliseconds to put together, which the other calls' audio does not have.
        before = await asyncio.to_thread(restored, stored.logs, started_at) if stored.next_segment else None
        files = call_files(self._data_dir, started.call_sid, stored.next_segment)
        return Prepared(plan=plan, record=self._record(files, identity, plan), before=before)

    async def _find(self, started: StreamStarted) -> StoredCall:
        is_resumed = RESUME_PARAMETER in started.parameters
        if is_resumed:
            await asyncio.wrap_future(self._spool.flush())  # the lost stream may have been this process's own
        if is_resumed and self._ledger is not None:
            await self._ledger.shipper.adopt(started.call_sid)
        return await self._stored.of_call(started.call_sid, is_resumed=is_resumed)

    def _record(self, files: CallFiles, identity: CallIdentity, plan: CallPlan) -> CallRecord:
        copy = None if self._ledger is None else self._ledger.shipper.copy(identity.call_sid, files)
        feed = None
        if self._feed is not None and plan.stored is not None:
            feed = self._feed.of_call(plan.stored.org_id, plan.stored.call_id, files.segment)
        return CallRecord(self._spool, files, identity, plan.settings, copy, is_recorded=plan.is_recorded, feed=feed)

    async def _note_end(self, call_sid: str, reason: EndReason) -> None:
        if self._ledger is not None:
            await self._ledger.leases.mark_ended_by_us(call_sid, reason)

    def _forget(self, session: CallSession) -> None:
        # The files are handed over, and nobody may look at them before they are written.
        writing = asyncio.wrap_future(self._spool.flush())
        self._writing.add(writing)
        writing.add_done_callback(lambda done: self._finish(session, done))
        if self._live.get(session.call_sid) is not session:
            return  # superseded
        del self._live[session.call_sid]
        if self._ledger is not None:
            self._ledger.leases.release(session.call_sid)
        if not self._live:
            self._is_idle.set()
        self._endings[session.call_sid] = session.was_ended_by_us
        while len(self._endings) > REMEMBERED_ENDINGS:
            self._endings.popitem(last=False)

    def _finish(self, session: CallSession, writing: asyncio.Future[None]) -> None:
        self._writing.discard(writing)
        self._unfinished.discard(session)
        self.on_written(session.call_sid)

    def is_at_work(self, call_sid: str) -> bool:
        """Whether a call is live here, or its files are not finished yet."""
        return any(session.call_sid == call_sid for session in self._unfinished)

    def pause_recording(self, call_sid: str, *, is_paused: bool) -> bool:
        """Have a call's recording go on as silence, or as sound again; False where the call is not live here."""
        session = self._live.get(call_sid)
        if session is None or session.is_over:
            return False
        session.pause_recording(is_paused=is_paused)
        return True

    def note_answered_by(self, call_sid: str, answered_by: str) -> bool:
        """Have a call take the carrier's verdict on who answered; False where the call is not live here."""
        session = self._live.get(call_sid)
        if session is None or session.is_over:
            return False
        session.note_answered_by(answered_by)
        return True

    def was_ended_by_us(self, call_sid: str) -> bool:
        """Whether a call's stream ended because the agent hung up or transferred; False for an unknown call."""
        live = self._live.get(call_sid)
        return live.was_ended_by_us if live is not None else self._endings.get(call_sid, False)

    # --- the end of the process ---------------------------------------------------------------------------------
    def drain(self) -> None:
        """Take no new calls from now on. Live ones go on, and may come back if their line is lost."""
        self._is_draining = True

    async def until_idle(self) -> None:
        """Return when no call is live."""
        await self._is_idle.wait()

    def say_goodbye(self, reason: str) -> None:
        """End every live call with a word to its caller."""
        for session in tuple(self._live.values()):
            session.say_goodbye(reason)

    async def close(self) -> None:
        """Wait for the calls whose streams are closed already to finish their files."""
        tasks = [session.task for session in self._unfinished if session.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._writing)
