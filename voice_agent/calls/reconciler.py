"""What became of calls of which nothing more is heard: the carrier is asked, and what it says counts.

How it works
------------
Every few seconds one pass looks for calls that stand still:

| state | stood still | then |
|---|---|---|
| intent | a minute | void: no request was made |
| dialing | longer than any request takes | unknown: its process is gone |
| unknown | a minute | looked up by numbers and time: found, adopted; not found twice, not placed |
| at the carrier | its lease has ended, or it never had one | the carrier is asked (`source=poll`) |

A call that the carrier says is going on, though no process holds its stream, is dead and is hung up: by its liveness,
never by its age. It is hung up only where a second look, a while later, finds the same lease: when the database was
away, every lease has ended, and the processes that hold the calls renew them first. A call whose end was meant (it was
transferred, or hung up just now) is only asked about.

A call that the carrier tells of and nobody has written down is an orphan: it is hung up, and somebody is told.

Nothing here ever places a call. Passes of several processes at once do no harm: each step is taken under the call's
lock and only from the state it was meant for.

Source: campaigns.md 4.4 steps 6, 8 and 10; reliability.md section 4, F22, F26, F37.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import repository
from voice_agent.calls.model import ACTIVE, CallState, CarrierReport, Outcome, moved
from voice_agent.calls.ports import Carrier, CarrierCall
from voice_agent.calls.processor import CallProcessor, Receipt
from voice_agent.errors import CarrierError, DatabaseUnavailable
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow

log = structlog.get_logger(__name__)

LIVE_STATUSES = frozenset({"queued", "ringing", "in-progress"})
"""Of a call that is not over, in the carrier's words."""

TRANSPORT_LOST = "transport_lost"

OUR_ENDS = frozenset({"api", "machine", TRANSPORT_LOST})
"""Reasons of an end that we asked for and that the carrier may not have heard of. A transfer is none of them."""

CLOCK_SKEW = timedelta(seconds=5)
"""The carrier's clock and ours; it tells whole seconds."""

NOT_FOUND_TWICE = 2


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """How long something may stand still. Seconds."""

    intent_s: float = 60.0
    dialing_s: float = 300.0
    """A request waits for its turn (TWILIO_CALLS_PER_SECOND) and is given ten seconds then."""

    unknown_s: float = 60.0
    """Longer than a request's own time-out, and than the carrier needs to show the call."""

    again_s: float = 30.0
    """Between two looks for the same call; doubled each time for a call that is merely going on."""

    longest_s: float = 900.0
    """Between two such looks at the most."""

    lease_s: float = 30.0
    """After the end of a lease: the stream may be on its way to another process."""

    silent_s: float = 180.0
    """For a call that never had a lease: it may ring for a minute."""

    orphan_s: float = 120.0
    memory_s: float = 86_400.0
    """How long ago the carrier may have told of an orphan."""

    pass_s: float = 10.0
    """Between two passes."""


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What this process remembers of a call that it has looked for."""

    due: datetime
    looks: int
    lease_until: datetime | None = None
    is_suspect: bool = False
    """Whether it was seen going on with nobody holding it."""


def matched(
    requests: Sequence[tuple[UUID, datetime]], found: Sequence[CarrierCall], *, within: timedelta
) -> dict[UUID, CarrierCall]:
    """Return which of the carrier's calls is whose: those whose moments are nearest belong together. Pure.

    A call that began longer than `within` after a request, or before it, is not the request's; one without a moment
    could be anybody's, and is left for last.
    """
    pairs = []
    for call_id, requested_at in requests:
        for call in found:
            # Whole seconds, as the carrier tells them: else one of the next second would be nearer than one's own.
            asked_at = requested_at.replace(microsecond=0)
            late = timedelta() if call.created_at is None else call.created_at - asked_at
            if -CLOCK_SKEW <= late <= within:
                pairs.append((call.created_at is None, abs(late), requested_at, call_id, call))
    result: dict[UUID, CarrierCall] = {}
    taken: set[str] = set()
    for *_, call_id, call in sorted(pairs, key=lambda pair: pair[:3]):
        if call_id not in result and call.call_sid not in taken:
            result[call_id] = call
            taken.add(call.call_sid)
    return result


class Reconciler:
    """One for the process. `reconcile` is one pass; `open` begins to make them."""

    def __init__(
        self,
        database: Database,
        carrier: Carrier,
        processor: CallProcessor,
        *,
        clock: Callable[[], datetime],
        waits: Waits | None = None,
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._carrier = carrier
        self._processor = processor
        self._clock = clock
        self._waits = waits or Waits()
        self._unknown: dict[UUID, Watch] = {}
        self._unheld: dict[UUID, Watch] = {}
        self._orphans: dict[str, datetime] = {}
        """Names that have been asked about, and when."""

        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="reconciler")

    async def close(self) -> None:
        """Stop; what was begun goes on with the next pass of any process. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._waits.pass_s)
            try:
                await self.reconcile()
            except (DatabaseUnavailable, SQLAlchemyError) as error:
                log.warning("reconciler_waits_for_the_database", error=type(error).__name__)

    async def reconcile(self) -> None:
        """Make one pass. Raises DatabaseUnavailable; a carrier that does not answer is asked again in the next."""
        await self._void_intents()
        await self._doubt_requests()
        await self._look_up_unknown()
        await self._ask_about_unheld()
        await self._hang_up_orphans()

    # --- calls that the carrier may not have ------------------------------------------------------------------
    async def _stale(self, state: CallState, wait_s: float) -> Sequence[CallRow]:
        async with self._database.read() as session:
            return await repository.stale(session, state, before=self._ago(wait_s))

    async def _void_intents(self) -> None:
        for call in await self._stale(CallState.INTENT, self._waits.intent_s):
            await self._step(call.id, CallState.INTENT, CallState.VOID, Outcome.NOT_PLACED)

    async def _doubt_requests(self) -> None:
        for call in await self._stale(CallState.DIALING, self._waits.dialing_s):
            await self._step(call.id, CallState.DIALING, CallState.UNKNOWN)

    async def _look_up_unknown(self) -> None:
        calls = await self._stale(CallState.UNKNOWN, self._waits.unknown_s)
        ids = {call.id for call in calls}
        self._unknown = {call_id: watch for call_id, watch in self._unknown.items() if call_id in ids}
        due = [call for call in calls if call.requested_at is not None and self._is_due(self._unknown, call.id)]
        by_numbers = sorted(due, key=_numbers)
        for (to, caller), group in groupby(by_numbers, key=_numbers):
            await self._look_up(to, caller, tuple(group))

    async def _look_up(self, to: str, caller: str, calls: Sequence[CallRow]) -> None:
        since = min(call.requested_at for call in calls if call.requested_at is not None) - CLOCK_SKEW
        try:
            listed = await self._carrier.list_calls(to=to, caller=caller, started_after=since)
        except CarrierError as error:
            log.warning("unknown_calls_not_looked_up", calls=len(calls), status=error.status, code=error.code)
            return
        async with self._database.read() as session:
            known = {each.call_sid for each in await repository.identities(session, [each.call_sid for each in listed])}
            unnamed = await repository.unnamed(session, to, caller, since=since)
        requests = [(call.id, call.requested_at) for call in unnamed if call.requested_at is not None]
        free = [each for each in listed if each.call_sid not in known and not each.parent_call_sid]
        found = matched(requests, free, within=timedelta(seconds=self._waits.dialing_s))
        for call in calls:
            if call.id in found:
                await self._adopt(call.id, found[call.id])
            else:
                await self._miss(call.id)

    async def _adopt(self, call_id: UUID, seen: CarrierCall) -> None:
        async def adopt(session: AsyncSession, call: CallRow) -> bool:
            is_free = await repository.by_sid(session, seen.call_sid) is None
            if not is_free or call.call_sid is not None or call.state != CallState.UNKNOWN:
                return False
            await self._processor.adopt(session, call, seen.call_sid)
            return True

        if await self._processor.change(call_id, adopt, call_sid=seen.call_sid):
            log.info("unknown_call_found", call_id=str(call_id), call_sid=seen.call_sid, status=seen.status)
            await self._processor.take(self._receipt(seen))

    async def _miss(self, call_id: UUID) -> None:
        looks = self._unknown[call_id].looks + 1 if call_id in self._unknown else 1
        if looks < NOT_FOUND_TWICE:
            self._unknown[call_id] = Watch(due=self._in(self._waits.again_s), looks=looks)
        elif await self._step(call_id, CallState.UNKNOWN, CallState.NOT_PLACED):
            log.info("unknown_call_not_placed", call_id=str(call_id), looks=looks)

    async def _step(self, call_id: UUID, origin: CallState, target: CallState, outcome: Outcome | None = None) -> bool:
        async def step(session: AsyncSession, call: CallRow) -> bool:
            before = repository.facts_of(call)
            if before.state is not origin:
                return False
            after = moved(before, target, at=self._clock(), outcome=outcome)
            await self._processor.store(session, call, before, after)
            return True

        return await self._processor.change(call_id, step)

    # --- calls that the carrier has ---------------------------------------------------------------------------
    async def _ask_about_unheld(self) -> None:
        async with self._database.read() as session:
            calls = await repository.unheld(
                session, lease_before=self._ago(self._waits.lease_s), silent_before=self._ago(self._waits.silent_s)
            )
        ids = {call.id for call in calls}
        self._unheld = {call_id: watch for call_id, watch in self._unheld.items() if call_id in ids}
        for call in calls:
            if self._is_due(self._unheld, call.id):
                await self._ask_about(call)

    async def _ask_about(self, call: CallRow) -> None:
        try:
            await self._judge(call, await self._carrier.fetch_call(str(call.call_sid)))
        except CarrierError as error:
            if error.kind == "gone":
                await self._end(call)
            else:
                log.warning("call_not_asked_about", call_sid=call.call_sid, status=error.status, code=error.code)

    async def _judge(self, call: CallRow, seen: CarrierCall) -> None:
        """Take what the carrier says of a call that nobody holds. Raises CarrierError."""
        await self._processor.take(self._receipt(seen))
        if seen.status not in LIVE_STATUSES:
            return
        watch = self._unheld.get(call.id)
        is_nobodys = seen.status == "in-progress" and not call.is_ended_by_us
        if call.is_ended_by_us and call.end_reason in OUR_ENDS:
            await self._carrier.hang_up(seen.call_sid)
        if is_nobodys and watch is not None and watch.is_suspect and watch.lease_until == call.lease_until:
            await self._reap(call)
            return
        looks = 0 if watch is None or is_nobodys else watch.looks + 1
        wait_s = min(self._waits.again_s * 2**looks, self._waits.longest_s)
        self._unheld[call.id] = Watch(
            due=self._in(wait_s), looks=looks, lease_until=call.lease_until, is_suspect=is_nobodys
        )

    async def _reap(self, call: CallRow) -> None:
        """Hang up a call that nobody holds, unless somebody does after all. Raises CarrierError: then again later."""

        async def give_up(_: AsyncSession, row: CallRow) -> bool:
            if CallState(row.state) not in ACTIVE or row.lease_until != call.lease_until or row.is_ended_by_us:
                return False
            row.is_ended_by_us, row.end_reason = True, TRANSPORT_LOST
            return True

        if await self._processor.change(call.id, give_up):
            log.warning("dead_call_hung_up", call_sid=call.call_sid, worker=call.worker)
            await self._carrier.hang_up(str(call.call_sid))
            await self._end(call)

    async def _end(self, call: CallRow) -> None:
        async def end(session: AsyncSession, row: CallRow) -> bool:
            if CallState(row.state) not in ACTIVE:
                return False
            await self._processor.end(session, row, at=self._clock(), outcome=None, reason=TRANSPORT_LOST)
            return True

        await self._processor.change(call.id, end)

    def _receipt(self, seen: CarrierCall) -> Receipt:
        now = self._clock()
        is_over = seen.status not in LIVE_STATUSES
        report = CarrierReport(
            status=seen.status,
            at=(seen.ended_at if is_over else seen.started_at) or now,
            answered_by=seen.answered_by,
            duration_s=seen.duration_s if is_over else None,
            price=seen.price,
        )
        return Receipt(
            source="poll",
            call_sid=seen.call_sid,
            dedupe_key=f"{seen.call_sid}:{seen.status}:{seen.price}",
            event=seen.status,
            report=report,
            payload=msgspec.to_builtins(seen),
            received_at=now,
        )

    # --- calls that nobody knows ------------------------------------------------------------------------------
    async def _hang_up_orphans(self) -> None:
        since = self._ago(self._waits.memory_s)
        self._orphans = {sid: asked_at for sid, asked_at in self._orphans.items() if asked_at >= since}
        async with self._database.read() as session:
            parked = await repository.parked_sids(session, since=since, before=self._ago(self._waits.orphan_s))
        for call_sid in parked:
            if call_sid not in self._orphans:
                await self._hang_up_orphan(call_sid)

    async def _hang_up_orphan(self, call_sid: str) -> None:
        """An incoming call that nobody knows may have been answered while the database was away: it is left alone."""
        try:
            seen = await self._carrier.fetch_call(call_sid)
            if seen.status in LIVE_STATUSES and seen.direction == "outbound-api":
                log.error("orphan_call_hung_up", call_sid=call_sid)
                await self._carrier.hang_up(call_sid)
        except CarrierError as error:
            if error.kind != "gone":
                log.warning("orphan_not_asked_about", call_sid=call_sid, status=error.status, code=error.code)
                return
        self._orphans[call_sid] = self._clock()

    # --- time -------------------------------------------------------------------------------------------------
    def _ago(self, seconds: float) -> datetime:
        return self._clock() - timedelta(seconds=seconds)

    def _in(self, seconds: float) -> datetime:
        return self._clock() + timedelta(seconds=seconds)

    def _is_due(self, watches: dict[UUID, Watch], call_id: UUID) -> bool:
        watch = watches.get(call_id)
        return watch is None or watch.due <= self._clock()


def _numbers(call: CallRow) -> tuple[str, str]:
    return call.to_number, call.from_number
