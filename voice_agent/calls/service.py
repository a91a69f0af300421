"""What can be done with calls from outside: start, end, transfer, list, look up, delete.

Looking and deleting happen in the caller's transaction. What involves the carrier (start, end, transfer) opens its own,
because it takes more than one: what is meant is written down and committed, then the carrier is asked with no
transaction open, then its answer is written down. A process that dies in between leaves a row that says where.

Starting a call posts once. An answer that is not clear (none, or a 5xx) leaves the call `unknown`: the reconciler finds
out, and nobody ever posts again for it (reliability.md section 4). Everything is bound to the organisation of whoever
asks; what belongs to another is not found.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.calls import erasure, repository, spending
from voice_agent.calls.holder import Command, NoHolders
from voice_agent.calls.model import ACTIVE, CallState, Outcome, moved
from voice_agent.calls.placing import CallPlacing, Fence, PlacingPorts
from voice_agent.calls.policy import CallPolicy, check_destination, normalised, policy_of
from voice_agent.calls.ports import CallAddresses, Carrier, Language, TransferRequest
from voice_agent.calls.processor import CallProcessor
from voice_agent.calls.repository import CallFilter
from voice_agent.calls.turns import DialTurns
from voice_agent.compliance.model import Purpose
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import CarrierError, Conflict, NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, OrganisationRow

log = structlog.get_logger(__name__)


class ChosenAgent(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to speak."""

    version_id: UUID
    name: str
    language: str
    duration_s: float
    """The longest call."""


class AgentDirectory(Protocol):
    """What calls need to know of agents."""

    async def choose(
        self, session: AsyncSession, org_id: UUID, agent_id: UUID | None, variables: Mapping[str, str]
    ) -> ChosenAgent:
        """Return the agent's published version, of the oldest agent where none is named.

        Raises NotFound where there is none, InvalidRequest where a variable is missing or unknown.
        """
        ...

    async def caller_number(self, session: AsyncSession, org_id: UUID, wanted: str) -> str:
        """Return the organisation's number to show: the wanted one, or its first. Raises InvalidRequest."""
        ...

    async def connecting_line(self, session: AsyncSession, call: CallRow) -> str:
        """Return what a call's agent says before it hands the caller over."""
        ...


class JobRequests(Protocol):
    """Where work for later is written down."""

    async def request(self, session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str) -> None:
        """Have a job run once the session's transaction is committed."""
        ...


class CallOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A call to place, as it was asked for."""

    to: str
    purpose: Purpose = Purpose.SERVICE
    from_number: str = ""
    agent_id: UUID | None = None
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)
    machine_detection: str = "off"
    on_machine: str = "continue"
    is_carrier_recorded: bool = False
    ring_s: int = 30


class Holders(Protocol):
    """The processes that hold calls."""

    async def ask(self, call_sid: str, command: Command) -> None:
        """Have the one that holds a call do something with it. Raises HolderUnreachable."""
        ...


class CallPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What calls need of the rest of the system."""

    database: Database
    compliance: ComplianceService
    carrier: Carrier
    agents: AgentDirectory
    addresses: CallAddresses
    jobs: JobRequests
    holders: Holders = msgspec.field(default_factory=NoHolders)


class CallService:
    """One for the process."""

    def __init__(
        self,
        ports: CallPorts,
        processor: CallProcessor,
        *,
        default_policy: CallPolicy,
        clock: Callable[[], datetime],
        calls_per_second: float = 1.0,
        turns: DialTurns | None = None,
    ) -> None:
        """`clock` returns the present in UTC; `calls_per_second` is what the carrier's account allows."""
        self._database = ports.database
        self._carrier = ports.carrier
        self._agents = ports.agents
        self._addresses = ports.addresses
        self._jobs = ports.jobs
        self._holders = ports.holders
        self._processor = processor
        self._default_policy = default_policy
        self._clock = clock
        self._placing = CallPlacing(
            PlacingPorts(
                database=ports.database,
                compliance=ports.compliance,
                carrier=ports.carrier,
                addresses=ports.addresses,
                processor=processor,
            ),
            clock=clock,
            calls_per_second=calls_per_second,
            turns=turns,
        )

    @property
    def database(self) -> Database:
        """Where the calls are."""
        return self._database

    # --- starting ---------------------------------------------------------------------------------------------
    async def start(self, principal: Principal, order: CallOrder) -> CallRow:
        """Place a call and return it as it stands: accepted, failed (the carrier refused) or unknown.

        Raises InvalidRequest, NotPermitted (country, kind of number), NotFound (agent) or Conflict (spend cap); then
        nothing was written down and nobody is called. Raises CallRefused where the rules forbid it: then it stays
        written down as void, with every reason.
        """
        async with self._database.write() as session:
            call = await self._write_intent(session, principal, order)
        self._processor.announce(call)
        return await self.place(call.id)

    async def _write_intent(self, session: AsyncSession, principal: Principal, order: CallOrder) -> CallRow:
        org_id = principal.org_id
        policy = await self.policy(session, org_id)
        to = check_destination(order.to, policy)
        agent = await self._agents.choose(session, org_id, order.agent_id, order.variables)
        now = self._clock()
        call = CallRow(
            id=new_id(),
            org_id=org_id,
            direction="outbound",
            state=CallState.INTENT.value,
            agent_version_id=agent.version_id,
            agent_name=agent.name,
            language=agent.language,
            from_number=await self._agents.caller_number(session, org_id, order.from_number),
            to_number=to,
            purpose=order.purpose.value,
            variables=dict(order.variables),
            machine_detection=order.machine_detection,
            on_machine=order.on_machine,
            is_carrier_recorded=order.is_carrier_recorded,
            ring_s=order.ring_s,
            time_limit_s=int(agent.duration_s) + TIME_LIMIT_MARGIN_S,
            created_at=now,
            created_by=principal.name,
        )
        session.add(call)
        await session.flush()
        await spending.reserve(session, call, policy, amount=policy.reservation(call.time_limit_s), now=now)
        await audit.record(session, principal, "call.start", target_kind="call", target_id=str(call.id))
        return call

    async def place(self, call_id: UUID) -> CallRow:
        """Ask the carrier for a call that was written down, as `CallPlacing.place`."""
        return await self._placing.place(call_id)

    async def place_admitted(
        self,
        call_id: UUID,
        *,
        campaign_id: UUID | None = None,
        calls_per_second: float | None = None,
        fence: Fence | None = None,
    ) -> CallRow:
        """Ask the carrier for a call of a campaign, as `CallPlacing.place_admitted`."""
        return await self._placing.place_admitted(
            call_id, campaign_id=campaign_id, calls_per_second=calls_per_second, fence=fence
        )

    async def _existing(self, session: AsyncSession, call_id: UUID) -> CallRow:
        call = await repository.locked(session, call_id)
        if call is None:
            raise NotFound("there is no such call")
        return call

    async def policy(self, session: AsyncSession, org_id: UUID) -> CallPolicy:
        """Return the organisation's limits. Raises NotFound."""
        organisation = await session.get(OrganisationRow, org_id)
        if organisation is None:
            raise NotFound("there is no such organisation")
        return policy_of(organisation.settings, self._default_policy)

    # --- steering ---------------------------------------------------------------------------------------------
    async def end(self, principal: Principal, call_id: UUID) -> CallRow:
        """End a call, wherever it is; one that is over stays as it is. Raises NotFound, Conflict or CarrierError."""
        async with self._database.write() as session:
            call = await self._locked(session, principal.org_id, call_id)
            state = CallState(call.state)
            if state not in ACTIVE:
                return call
            if state is CallState.INTENT:
                await self._void(session, call)
            elif call.call_sid is None:
                raise Conflict("the carrier has not said yet whether it took this call: it can be ended once it has")
            call.is_ended_by_us = True
            call.end_reason = "api"
            await audit.record(session, principal, "call.end", target_kind="call", target_id=str(call.id))
        self._processor.announce(call)
        if call.call_sid is not None:
            end = self._carrier.hang_up if state is CallState.IN_PROGRESS else self._carrier.cancel
            await end(call.call_sid)
        return call

    async def _void(self, session: AsyncSession, call: CallRow) -> None:
        before = repository.facts_of(call)
        after = moved(before, CallState.VOID, at=self._clock(), outcome=Outcome.CANCELLED)
        await self._processor.store(session, call, before, after)

    async def transfer(self, principal: Principal, call_id: UUID, target: str, *, briefing: str = "") -> CallRow:
        """Connect a live call's caller to `target`; the agent's part is over. The caller is told, then it rings.

        With a briefing, whoever answers hears that before the caller.

        Raises NotFound, Conflict, InvalidRequest, NotPermitted or CarrierError; after a CarrierError the agent goes on.
        """
        async with self._database.write() as session:
            number = check_destination(target, await self.policy(session, principal.org_id))
            call = await self._locked(session, principal.org_id, call_id)
            if CallState(call.state) is not CallState.IN_PROGRESS or call.call_sid is None:
                raise Conflict("only a call in progress can be transferred")
            call.is_ended_by_us = True
            call.end_reason = "transferred"
            call.briefing = briefing
            line = await self._agents.connecting_line(session, call)
            await audit.record(
                session,
                principal,
                "call.transfer",
                target_kind="call",
                target_id=str(call.id),
                after={"target": number},
            )
        plan = TransferRequest(
            target=number,
            language=msgspec.convert(call.language, Language),
            line=line,
            action_url=self._addresses.after_dial(call.id),
            whisper_url=self._addresses.whisper(call.id) if briefing else "",
        )
        try:
            await self._carrier.transfer(call.call_sid, plan)
        except CarrierError:
            await self._take_back_the_end(call.id)
            raise
        return call

    async def pause_recording(self, principal: Principal, call_id: UUID, *, is_paused: bool) -> CallRow:
        """Have every recording of a live call go on as silence, or as sound again: twice is once.

        It is written down first, so that a call whose process is killed comes back as it was. Raises NotFound,
        Conflict where the call is not in progress, HolderUnreachable or CarrierError: then it is to be asked for again.
        """
        async with self._database.write() as session:
            call = await self._locked(session, principal.org_id, call_id)
            if CallState(call.state) is not CallState.IN_PROGRESS or call.call_sid is None:
                raise Conflict("only the recording of a call in progress can be paused")
            call.is_recording_paused = is_paused
            action = "recording.pause" if is_paused else "recording.resume"
            await audit.record(session, principal, action, target_kind="call", target_id=str(call.id))
        await self._holders.ask(call.call_sid, "pause_recording" if is_paused else "resume_recording")
        if call.is_carrier_recorded:
            change = self._carrier.pause_recording if is_paused else self._carrier.resume_recording
            await change(call.call_sid)
        self._processor.announce(call)
        return call

    async def _take_back_the_end(self, call_id: UUID) -> None:
        async with self._database.write() as session:
            call = await self._existing(session, call_id)
            call.is_ended_by_us = False
            call.end_reason = None

    async def _locked(self, session: AsyncSession, org_id: UUID, call_id: UUID) -> CallRow:
        call = await repository.locked(session, call_id)
        if call is None or call.org_id != org_id:
            raise NotFound("there is no such call")
        return call

    # --- looking ----------------------------------------------------------------------------------------------
    async def find(self, session: AsyncSession, org_id: UUID, call_id: UUID) -> CallRow:
        """Return a call. Raises NotFound."""
        call = await repository.of_organisation(session, org_id, call_id)
        if call is None:
            raise NotFound("there is no such call")
        return call

    async def page(
        self,
        session: AsyncSession,
        org_id: UUID,
        wanted: CallFilter,
        *,
        before: tuple[datetime, UUID] | None,
        limit: int,
    ) -> Sequence[CallRow]:
        """Return calls, newest first."""
        if wanted.number:
            wanted = msgspec.structs.replace(wanted, number=normalised(wanted.number))
        return await repository.page(session, org_id, wanted, before=before, limit=limit)

    # --- forgetting -------------------------------------------------------------------------------------------
    async def delete(self, session: AsyncSession, principal: Principal, call_id: UUID) -> CallRow:
        """Delete what was said and heard in a call, and whose it was; that it took place and what it cost stays.

        Raises NotFound, or Conflict while it is going on.
        """
        call = await self._locked(session, principal.org_id, call_id)
        if CallState(call.state) in ACTIVE:
            raise Conflict("a call that is going on cannot be deleted: end it first")
        await self._erase(session, call)
        await audit.record(session, principal, "call.delete", target_kind="call", target_id=str(call.id))
        return call

    async def erase_number(self, session: AsyncSession, principal: Principal, number: str) -> tuple[int, int]:
        """Delete the content of every call with this number; return how many, and how many are still going on."""
        wanted = normalised(number)
        org_id = principal.org_id
        calls = await erasure.calls_of_number(session, org_id, wanted)
        for call in calls:
            await self._erase(session, call)
        # The number itself is what is to be forgotten: the log says only how much was.
        await audit.record(
            session, principal, "call.erase", target_kind="number", target_id="", after={"erased_calls": len(calls)}
        )
        return len(calls), len(await repository.active_of_number(session, org_id, wanted))

    async def erase_past_their_time(self, session: AsyncSession, org_id: UUID) -> int:
        """Delete the content of calls that the organisation does not keep any longer; return how many, 100 at most."""
        retention_days = (await self.policy(session, org_id)).retention_days
        if retention_days == 0:
            return 0
        calls = await erasure.calls_past_their_time(
            session, org_id, retention_days, now=self._clock(), limit=ERASED_AT_ONCE
        )
        for call in calls:
            await self._erase(session, call)
        return len(calls)

    async def _erase(self, session: AsyncSession, call: CallRow) -> None:
        files = await erasure.erase(session, call, now=self._clock())
        await self._jobs.request(session, DELETE_FILES, files, job_id=f"{DELETE_FILES}-{call.id}")


DELETE_FILES = "call.delete_files"
"""The job that deletes `ErasedFiles`."""

ERASED_AT_ONCE = 100
"""Calls of one transaction: a few hundred milliseconds."""

TIME_LIMIT_MARGIN_S = 120
"""The carrier ends a call that much later than the agent would: a bound on what a lost call can cost."""
