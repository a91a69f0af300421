"""Asks the carrier for calls that were written down: each of them once, ever.

Three transactions and one request: the call is marked as dialling, with the rules asked in the same transaction; then
the request is sent with no transaction open; then its answer is written down. A process that dies in between leaves a
row that says where (docs/decisions/0014). Calls of campaigns wait for their turn first, so that what was decided is
asked again as late as can be.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import admitted, repository
from voice_agent.calls.judging import LONGEST_ERROR, judge, verdict_document
from voice_agent.calls.model import CallState, Outcome, moved
from voice_agent.calls.ports import CallAddresses, CallRequest, Carrier, CarrierCall, MachineDetection
from voice_agent.calls.processor import CallProcessor
from voice_agent.calls.turns import DialTurns
from voice_agent.compliance.model import CallRefused, Purpose
from voice_agent.compliance.rules import may_call
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import CarrierError, NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow

log = structlog.get_logger(__name__)

Fence = Callable[[AsyncSession], Awaitable[bool]]
"""Tells, in a transaction, whether this process is still the one that dials for campaigns."""


class PlacingPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What placing calls needs."""

    database: Database
    compliance: ComplianceService
    carrier: Carrier
    addresses: CallAddresses
    processor: CallProcessor


MOST_TOGETHER = 50
"""Calls of one transaction that marks them as dialling."""


class _Batch(msgspec.Struct, kw_only=True, eq=False):
    """Calls that are to be marked as dialling together."""

    call_ids: list[UUID]
    fence: Fence | None
    task: "asyncio.Task[dict[UUID, tuple[CallRow, bool]]] | None" = None


def _whose(call: CallRow) -> tuple[UUID, UUID]:
    return call.org_id, call.campaign_id or call.id


class CallPlacing:
    """One for the process."""

    def __init__(
        self,
        ports: PlacingPorts,
        *,
        clock: Callable[[], datetime],
        calls_per_second: float = 1.0,
        turns: DialTurns | None = None,
    ) -> None:
        """`clock` returns the present in UTC; `calls_per_second` is what the carrier's account allows."""
        self._database = ports.database
        self._compliance = ports.compliance
        self._carrier = ports.carrier
        self._addresses = ports.addresses
        self._processor = ports.processor
        self._clock = clock
        self._calls_per_second = calls_per_second
        self._turns = turns or DialTurns()
        self._filling: _Batch | None = None
        self._one_at_a_time = asyncio.Lock()

    async def place(self, call_id: UUID) -> CallRow:
        """Ask the carrier for a call that was written down, once, ever; return the call as it stands then.

        Raises CallRefused where the rules forbid it, which are asked in the transaction that marks it as dialling.
        """
        async with self._database.write() as session:
            call = await self._existing(session, call_id)
            if CallState(call.state) is not CallState.INTENT:
                return call
            verdict = await judge(session, self._compliance, call, self._clock())
        if not verdict.is_allowed:
            self._processor.announce(call)
            raise CallRefused(verdict.reasons)
        return await self._post(call)

    async def place_admitted(
        self,
        call_id: UUID,
        *,
        campaign_id: UUID | None = None,
        calls_per_second: float | None = None,
        fence: Fence | None = None,
    ) -> CallRow:
        """Ask the carrier for a call of a campaign that was admitted, once, ever; return it as it stands then.

        It waits for its turn by the rate of `campaign_id` and the account's. Then, in the transaction that marks it as
        dialling, everything is asked again that may have changed since it was admitted: whether this process still
        dials (`fence`), the campaign's state and epoch, the contact's lease, the rules. Where anything has, the call
        is void and nothing is sent. Raises NotFound.
        """
        if calls_per_second is not None:
            await self._turns.wait(f"before {campaign_id}", calls_per_second)
        await self._turns.wait("before", self._calls_per_second)
        call, is_ours = await self._begun(call_id, fence)
        if not is_ours:
            self._processor.announce(call)
            return call
        if calls_per_second is not None:
            await self._turns.wait(str(campaign_id), calls_per_second)
        return await self._post(call)

    async def _begun(self, call_id: UUID, fence: Fence | None) -> tuple[CallRow, bool]:
        """Mark a call as dialling, or as void; return whether it is to be asked for.

        Calls that come while a transaction is under way are marked in the next one together: what decides about them
        is asked for all of them with as many queries as for one.
        """
        batch = self._filling
        # Who asks for the same call a second time comes into the next batch: in one both would find that it is theirs.
        if batch is None or call_id in batch.call_ids or batch.fence != fence or len(batch.call_ids) >= MOST_TOGETHER:
            batch = self._filling = _Batch(call_ids=[], fence=fence)
            batch.task = asyncio.create_task(self._begin_batch(batch), name="begin-calls")
        batch.call_ids.append(call_id)
        assert batch.task is not None  # noqa: S101 - made with the batch
        begun = await asyncio.shield(batch.task)
        if call_id not in begun:
            raise NotFound("there is no such call")
        return begun[call_id]

    async def _begin_batch(self, batch: "_Batch") -> dict[UUID, tuple[CallRow, bool]]:
        async with self._one_at_a_time:
            if self._filling is batch:
                self._filling = None
            return await self._database.transact(lambda session: self._begin(session, batch.call_ids, batch.fence))

    async def _begin(
        self, session: AsyncSession, call_ids: Sequence[UUID], fence: Fence | None
    ) -> dict[UUID, tuple[CallRow, bool]]:
        calls = await admitted.locked(session, call_ids)
        # Before anything is looked at: what is committed from now on may come too late, what was before is seen.
        now = self._clock()
        waiting = [call for call in calls if CallState(call.state) is CallState.INTENT]
        dialled: set[UUID] = set()
        if fence is not None and waiting and not await fence(session):
            for call in waiting:
                await self._not_dialled(session, call, Outcome.NOT_PLACED, "another process dials by now")
        else:
            allowed = await self._allowed(session, waiting, now)
            dialled = await admitted.begin(session, allowed, now)
            for call in allowed:
                if call.id in dialled:
                    call.state, call.requested_at = CallState.DIALING.value, now
                    call.revision += 1
                else:
                    why = "the campaign or the contact is not as it was when the call was admitted"
                    await self._not_dialled(session, call, Outcome.CANCELLED, why)
        return {call.id: (call, call.id in dialled) for call in calls}

    async def _allowed(self, session: AsyncSession, calls: Sequence[CallRow], now: datetime) -> list[CallRow]:
        """Return the calls that the rules allow; the others are void, with every reason."""
        allowed = []
        for (org_id, campaign_id), group in groupby(sorted(calls, key=_whose), key=_whose):
            some = list(group)
            numbers = [call.to_number for call in some]
            callees = await self._compliance.callees(session, org_id, numbers, campaign_id=campaign_id)
            for call in some:
                # A number that cannot exist was never admitted: of every other one there is a callee.
                verdict = may_call(callees[call.to_number], Purpose(call.purpose), now, self._compliance.packs)
                call.verdict = verdict_document(verdict, now)
                if verdict.is_allowed:
                    allowed.append(call)
                else:
                    await self._not_dialled(session, call, Outcome.BLOCKED, str(CallRefused(verdict.reasons)))
        return allowed

    async def _not_dialled(self, session: AsyncSession, call: CallRow, outcome: Outcome, why: str) -> CallRow:
        before = repository.facts_of(call)
        after = moved(before, CallState.VOID, at=self._clock(), outcome=outcome)
        call.error = why[:LONGEST_ERROR]
        await self._processor.store(session, call, before, after)
        log.info("admitted_call_not_dialled", call_id=str(call.id), outcome=outcome.value)
        return call

    async def _post(self, call: CallRow) -> CallRow:
        """Ask the carrier for a call that is marked as dialling, and write down what it answers."""
        call_id = call.id
        answer: CarrierCall | CarrierError
        try:
            answer = await self._carrier.create_call(self._request(call))
        except CarrierError as error:
            answer = error
            log.warning("call_not_placed", call_id=str(call_id), code=error.code, status=error.status)
        async with self._database.write() as session:
            call = await self._note_answer(session, call_id, answer)
        self._processor.announce(call)
        return call

    def _request(self, call: CallRow) -> CallRequest:
        asks_who = call.machine_detection != "off"
        return CallRequest(
            to=call.to_number,
            caller=call.from_number,
            url=self._addresses.answer(call.id),
            status_callback=self._addresses.status(call.id),
            ring_s=call.ring_s,
            time_limit_s=call.time_limit_s,
            machine_detection=msgspec.convert(call.machine_detection, MachineDetection),
            machine_callback=self._addresses.machine(call.id) if asks_who else "",
            is_recorded=call.is_carrier_recorded,
            recording_callback=self._addresses.recording(call.id) if call.is_carrier_recorded else "",
        )

    async def _note_answer(self, session: AsyncSession, call_id: UUID, answer: CarrierCall | CarrierError) -> CallRow:
        """Write down what the carrier answered. Its callbacks may have been faster: then they are right."""
        if isinstance(answer, CarrierCall):
            await repository.lock_sid(session, answer.call_sid)
        call = await self._existing(session, call_id)
        if isinstance(answer, CarrierCall):
            await self._processor.adopt(session, call, answer.call_sid)
            return call
        if CallState(call.state) is not CallState.DIALING:
            return call
        facts = repository.facts_of(call)
        if answer.is_unclear:
            repository.store_facts(call, moved(facts, CallState.UNKNOWN, at=self._clock()))
            return call
        outcome = Outcome.INVALID_NUMBER if answer.kind == "invalid_number" else Outcome.CARRIER_FAILED
        if answer.is_not_processed:
            outcome = Outcome.NOT_PLACED
        call.error = str(answer)[:LONGEST_ERROR]
        failed = moved(facts, CallState.FAILED, at=self._clock(), outcome=outcome)
        failed = msgspec.structs.replace(failed, error_code=answer.code)
        await self._processor.store(session, call, facts, failed)
        return call

    async def _existing(self, session: AsyncSession, call_id: UUID) -> CallRow:
        call = await repository.locked(session, call_id)
        if call is None:
            raise NotFound("there is no such call")
        return call
