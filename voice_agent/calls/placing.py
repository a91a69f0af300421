"""Asks the carrier for calls that were written down: each of them once, ever.

Three transactions and one request: the call is marked as dialling, with the rules asked in the same transaction; then
the request is sent with no transaction open; then its answer is written down. A process that dies in between leaves a
row that says where (docs/decisions/0014). Calls of campaigns wait for their turn first, so that what was decided is
asked again as late as can be.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
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
        self, call_id: UUID, *, calls_per_second: float | None = None, fence: Fence | None = None
    ) -> CallRow:
        """Ask the carrier for a call of a campaign that was admitted, once, ever; return it as it stands then.

        It waits for its turn by the campaign's rate and the account's. Then, in the transaction that marks it as
        dialling, everything is asked again that may have changed since it was admitted: whether this process still
        dials (`fence`), the campaign's state and epoch, the contact's lease, the rules. Where anything has, the call
        is void and nothing is sent.
        """
        async with self._database.read() as session:
            campaign_id = (await session.get_one(CallRow, call_id)).campaign_id
        if calls_per_second is not None:
            await self._turns.wait(f"before {campaign_id}", calls_per_second)
        await self._turns.wait("before", self._calls_per_second)
        call, is_ours = await self._database.transact(lambda session: self._begin(session, call_id, fence))
        if not is_ours:
            self._processor.announce(call)
            return call
        if calls_per_second is not None:
            await self._turns.wait(str(campaign_id), calls_per_second)
        return await self._post(call)

    async def _begin(self, session: AsyncSession, call_id: UUID, fence: Fence | None) -> tuple[CallRow, bool]:
        """Mark an admitted call as dialling, or as void; return whether it is to be asked for."""
        call = await self._existing(session, call_id)
        if CallState(call.state) is not CallState.INTENT:
            return call, False
        now = self._clock()
        if fence is not None and not await fence(session):
            return await self._not_dialled(session, call, Outcome.NOT_PLACED, "another process dials by now"), False
        purpose = Purpose(call.purpose)
        verdict = await self._compliance.ask(
            session, call.org_id, call.to_number, purpose, now, campaign_id=call.campaign_id
        )
        call.verdict = verdict_document(verdict, now)
        if not verdict.is_allowed:
            return await self._not_dialled(session, call, Outcome.BLOCKED, str(CallRefused(verdict.reasons))), False
        if not await admitted.begin(session, call, now):
            why = "the campaign or the contact is not as it was when the call was admitted"
            return await self._not_dialled(session, call, Outcome.CANCELLED, why), False
        await repository.claim_dialing(session, call.id, now)
        await session.refresh(call)
        return call, True

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
