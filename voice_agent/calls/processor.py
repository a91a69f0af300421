"""What the carrier tells us of calls, by webhook or because we asked: kept once, applied once, in any order.

How it works
------------
Everything that comes is a `Receipt`. In one transaction it is stored (a second copy only counts) and applied to the
call by the pure machine of `calls.model`, under the call's lock; so ten copies at once, or the last event before the
first, end alike. What the end of a call entails (its money settled, its follow-up work requested) happens in the
transaction that made the call final, and so exactly once; so does what a message about the carrier's own recording
entails (`calls.carrier_recordings`).

A receipt of a call that nobody knows yet is parked: `completed` may come before the answer to the request that placed
the call. `adopt` gives a call the carrier's name and applies what was parked for it. Both hold that name's lock, so
that nothing falls between them.

Source: campaigns.md 4.4 steps 7 and 9; reliability.md F20-F22.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import admitted, repository, spending
from voice_agent.calls.model import ACTIVE, CallFacts, CallState, CarrierReport, Outcome, applied, moved
from voice_agent.calls.policy import CallPolicy
from voice_agent.calls.ports import Carrier, CarrierRecording
from voice_agent.errors import CarrierError
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, CarrierEventRow

log = structlog.get_logger(__name__)

Source = Literal["status", "machine_detection", "recording", "stream", "poll"]

MACHINES = frozenset({"machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other", "fax"})


class IncomingCall(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody calls one of our numbers."""

    to: str
    from_number: str


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers an incoming call."""

    org_id: UUID
    version_id: UUID | None
    agent_name: str
    language: str


class Switchboard(Protocol):
    """Who answers which number."""

    async def answering(self, session: AsyncSession, number: str) -> Answering:
        """Return who answers calls to `number`: for a number that is nobody's, the default agent."""
        ...


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the carrier."""

    source: Source
    call_sid: str
    dedupe_key: str
    """The same for every copy of the message, for no other of its source."""

    event: str
    report: CarrierReport
    payload: dict[str, Any]
    """As received."""

    received_at: datetime
    call_id: UUID | None = None
    """Ours, where the address that the message came to names it."""

    sequence: int | None = None
    recording: CarrierRecording | None = None
    """Where the message is about the carrier's own recording."""

    incoming: IncomingCall | None = None
    """Where the message is that somebody calls: the call is written down by it."""


OnRecording = Callable[[AsyncSession, CallRow, CarrierRecording], Awaitable[None]]

Follower = Callable[[AsyncSession, CallRow], Awaitable[None]]
"""Brings what depends on a call in step with it: a locked call, each time that its facts have changed."""

SUPERSEDED = "superseded"
"""`end_reason` of a call that was taken for none, while another one to the same person goes on."""


class CallProcessor:
    """One for the process."""

    def __init__(
        self,
        database: Database,
        carrier: Carrier,
        switchboard: Switchboard,
        *,
        policy: CallPolicy,
        on_changed: Callable[[CallRow], None] = lambda _: None,
        on_ended: Callable[[AsyncSession, CallRow], Any] | None = None,
        on_recording: OnRecording | None = None,
    ) -> None:
        """`on_changed` is told of a call after its change is committed; `on_ended` works in the ending transaction.

        `on_recording` works in the transaction that keeps, or adopts, a message about the carrier's own recording.
        `policy` has the price of a minute, for calls whose price the carrier has not told.
        """
        self._database = database
        self._carrier = carrier
        self._switchboard = switchboard
        self._policy = policy
        self._on_changed = on_changed
        self._on_ended = on_ended
        self._on_recording = on_recording
        self.follow: Follower | None = None
        """Works in each transaction that has changed a call; set where there are campaigns."""
        self.tell_holder: Callable[[str, str], Awaitable[bool]] | None = None
        """Has the process that holds a call, by its SID, take a verdict on who answered; returns whether there is one.
        Set where calls are held; without it nobody but the carrier is told to end a call with a machine."""
        self._orders: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for what the carrier is being asked for."""
        await asyncio.gather(*self._orders, return_exceptions=True)

    def announce(self, call: CallRow) -> None:
        """Tell those who watch how a call stands, once that is committed."""
        self._on_changed(call)
        if call.end_reason == SUPERSEDED:
            self._order(self._hang_up(call), "hang-up-superseded")

    def _order(self, work: Coroutine[Any, Any, None], name: str) -> None:
        order = asyncio.create_task(work, name=name)
        self._orders.add(order)
        order.add_done_callback(self._orders.discard)

    async def take(self, receipt: Receipt) -> CallRow | None:
        """Store and apply a receipt in a transaction of its own; return the call, None where it was parked.

        Raises DatabaseUnavailable; then nothing was stored, and the same receipt may come again.
        """
        call, is_new = await self._database.transact(lambda session: self._stored(session, receipt))
        if call is not None and is_new:
            self.announce(call)
            if _is_verdict_wanted(call, receipt):
                self._order(self._act_on(call, receipt), "verdict-on-who-answered")
        return call

    async def _act_on(self, call: CallRow, receipt: Receipt) -> None:
        """Have the conversation take a verdict: it knows whether a person has talked meanwhile. Else end the call."""
        answered_by = receipt.report.answered_by
        if self.tell_holder is not None and await self.tell_holder(receipt.call_sid, answered_by):
            return
        if answered_by in MACHINES and call.on_machine == "hang_up":
            await self.change(call.id, _mark_ended_by_machine)
            await self._hang_up(call)

    async def _stored(self, session: AsyncSession, receipt: Receipt) -> tuple[CallRow | None, bool]:
        await repository.lock_sid(session, receipt.call_sid)
        call = await self._find(session, receipt)
        if call is None and receipt.incoming is not None:
            call = await self._write_down(session, receipt, receipt.incoming)
        if not await _keep(session, receipt, None if call is None else call.id):
            return call, False
        if call is None:
            log.info("carrier_event_parked", call_sid=receipt.call_sid, event_name=receipt.event)
            return None, True
        if call.call_sid is None:
            await self._name(session, call, receipt.call_sid)
        await self._apply(session, call, receipt.report)
        if receipt.recording is not None and self._on_recording is not None:
            await self._on_recording(session, call, receipt.recording)
        return call, True

    async def _find(self, session: AsyncSession, receipt: Receipt) -> CallRow | None:
        """Return the call, locked. An address that names another call than the message is believed less."""
        known = await repository.by_sid(session, receipt.call_sid)
        call_id = receipt.call_id if known is None else known.id
        call = None if call_id is None else await repository.locked(session, call_id)
        if call is not None and call.call_sid not in (None, receipt.call_sid):
            log.warning("carrier_event_of_another_call", call_id=str(call.id), call_sid=receipt.call_sid)
            return None
        return call

    async def _write_down(self, session: AsyncSession, receipt: Receipt, incoming: IncomingCall) -> CallRow:
        who = await self._switchboard.answering(session, incoming.to)
        call = CallRow(
            id=new_id(),
            org_id=who.org_id,
            direction="inbound",
            state=CallState.ACCEPTED.value,
            agent_version_id=who.version_id,
            agent_name=who.agent_name,
            language=who.language,
            from_number=incoming.from_number,
            to_number=incoming.to,
            created_at=receipt.received_at,
        )
        session.add(call)
        await session.flush()
        await self._name(session, call, receipt.call_sid)
        return call

    async def adopt(self, session: AsyncSession, call: CallRow, call_sid: str) -> None:
        """Give a locked call the carrier's name, which proves that it was accepted, and apply what was parked for it.

        Whoever calls it holds the name's lock (`repository.lock_sid`) since before the call's.
        """
        if call.call_sid is None:
            await self._name(session, call, call_sid)

    async def _name(self, session: AsyncSession, call: CallRow, call_sid: str) -> None:
        call.call_sid = call_sid
        await session.flush()
        await self._apply(session, call, CarrierReport(status="queued", at=call.requested_at))
        query = select(CarrierEventRow).where(CarrierEventRow.call_sid == call_sid, CarrierEventRow.call_id.is_(None))
        for parked in await session.scalars(query.order_by(CarrierEventRow.received_at)):
            parked.call_id = call.id
            await self._apply(session, call, msgspec.convert(parked.payload["report"], CarrierReport))
            told = msgspec.convert(parked.payload.get("recording"), CarrierRecording | None)
            if told is not None and self._on_recording is not None:
                await self._on_recording(session, call, told)

    async def _apply(self, session: AsyncSession, call: CallRow, report: CarrierReport) -> None:
        before = repository.facts_of(call)
        await self.store(session, call, before, applied(before, report))

    async def store(self, session: AsyncSession, call: CallRow, before: CallFacts, after: CallFacts) -> None:
        """Write a locked call's new facts, with what an end entails where this is it."""
        if before.is_final and not after.is_final and await repository.is_called_otherwise(session, call):
            after = self._superseded(call, after)
        is_new = repository.store_facts(call, after)
        is_ending = after.is_final and not before.is_final
        if is_ending and call.end_reason is None and after.answered_at is not None:
            call.end_reason = "caller_hung_up"
        if is_ending or (after.is_final and (after.price, after.talk_s) != (before.price, before.talk_s)):
            await session.flush()
            await spending.settle(session, call, self._policy)
        if is_ending and self._on_ended is not None:
            await self._on_ended(session, call)
        if is_new and self.follow is not None:
            await self.follow(session, call)

    def _superseded(self, call: CallRow, after: CallFacts) -> CallFacts:
        """Return the facts of a call that is there after all, and has to end: its person is being called again."""
        log.error("superseded_call_is_hung_up", call_id=str(call.id), call_sid=call.call_sid)
        call.is_ended_by_us, call.end_reason = True, SUPERSEDED
        ended_at = after.answered_at or after.ringing_at or after.accepted_at or call.requested_at
        return msgspec.structs.replace(
            after, state=CallState.CANCELLED, outcome=Outcome.CANCELLED, ended_at=after.ended_at or ended_at
        )

    async def change(
        self, call_id: UUID, work: Callable[[AsyncSession, CallRow], Awaitable[bool]], *, call_sid: str = ""
    ) -> bool:
        """Have `work` change a call under its lock, in a transaction of its own, and tell of it where it says so.

        With a `call_sid` that name's lock is held too: `work` may adopt.
        """

        async def locked(session: AsyncSession) -> CallRow | None:
            if call_sid:
                await repository.lock_sid(session, call_sid)
            call = next(iter(await admitted.locked(session, [call_id])), None)
            return call if call is not None and await work(session, call) else None

        changed = await self._database.transact(locked)
        if changed is not None:
            self._on_changed(changed)
        return changed is not None

    async def end(
        self, session: AsyncSession, call: CallRow, *, at: datetime, outcome: Outcome | None, reason: str
    ) -> None:
        """End a locked call by our own hand, where the carrier says nothing any more."""
        before = repository.facts_of(call)
        state = CallState.ENDED if before.state is CallState.IN_PROGRESS else CallState.CANCELLED
        call.end_reason = call.end_reason or reason
        await self.store(session, call, before, moved(before, state, at=at, outcome=outcome))

    async def _hang_up(self, call: CallRow) -> None:
        try:
            await self._carrier.hang_up(str(call.call_sid))
        except CarrierError as error:
            log.warning("machine_not_hung_up", call_sid=call.call_sid, code=error.code, status=error.status)


def _is_verdict_wanted(call: CallRow, receipt: Receipt) -> bool:
    return receipt.source == "machine_detection" and call.on_machine != "continue" and CallState(call.state) in ACTIVE


async def _mark_ended_by_machine(_: AsyncSession, call: CallRow) -> bool:
    call.is_ended_by_us = True
    call.end_reason = "machine"
    return True


async def _keep(session: AsyncSession, receipt: Receipt, call_id: UUID | None) -> bool:
    """Store a receipt; return whether it is the first copy."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(CarrierEventRow).values(
        id=new_id(),
        call_id=call_id,
        call_sid=receipt.call_sid,
        source=receipt.source,
        dedupe_key=receipt.dedupe_key,
        event=receipt.event,
        sequence=receipt.sequence,
        at=receipt.report.at,
        received_at=receipt.received_at,
        copies=1,
        payload={
            "received": receipt.payload,
            "report": msgspec.to_builtins(receipt.report),
            "recording": msgspec.to_builtins(receipt.recording),
        },
    )
    counted = statement.on_conflict_do_update(
        index_elements=[CarrierEventRow.source, CarrierEventRow.dedupe_key],
        set_={"copies": CarrierEventRow.copies + 1},
    ).returning(CarrierEventRow.copies)
    return (await session.execute(counted)).scalar_one() == 1
