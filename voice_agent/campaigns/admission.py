"""Admits calls: whose turn it is, whether they may be called, with which number, for which money; in one transaction.

How it works
------------
`Admission.admit` works in the caller's transaction, under a lock that one admission at a time holds. It counts again
what the pacing has counted, so that no cap is passed whatever happened in between; it takes contacts in the order in
which they are called; it asks of each `eligibility`, which fails closed; and it writes for each who may be called:

- a `CallRow` in the state intent: the next attempt of the contact, with the epoch and revision of the campaign,
- the contact as leased to this process, so that nobody else calls this person (a unique index says so),
- what the call may cost at the most, out of the campaign's budget and the organisation's day.

Who may not be called now is put off to when they may be, or is over, with the reason. So each contact that is looked at
moves on, and nobody stands in the way of those behind them.

At the end the campaign's money is raised by a statement that holds only while the campaign runs under the same epoch: a
pause that was committed meanwhile undoes all of it. Then `CallService.place_admitted` asks the carrier.

Source: campaigns.md 4.4 steps 2 and 3; invariants 2, 3, 4, 7 and 8 of section 5.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.calls import spending
from voice_agent.calls.model import CallState
from voice_agent.calls.policy import CallPolicy
from voice_agent.campaigns import claim
from voice_agent.campaigns.caller_numbers import Destination, NumberUse, choose
from voice_agent.campaigns.calling_hours import zone_of
from voice_agent.campaigns.claim import ActiveCalls, Lease, Past
from voice_agent.campaigns.eligibility import Answer, Candidate, Go, Later, Over, eligibility
from voice_agent.campaigns.limits import Limits
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.campaigns.pacing import Scope
from voice_agent.campaigns.plan import OnMachine, Plan, stored_plan
from voice_agent.campaigns.voices import Voice, voices_of
from voice_agent.compliance.model import Callee, Purpose
from voice_agent.compliance.rules import duties_of
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import Conflict, InvalidRequest
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow, OrganisationRow, SpendRow

log = structlog.get_logger(__name__)

MOST_LOOKED_AT = 100
"""Contacts of one transaction: some 50 ms, in which others that write to a SQLite database wait."""

LEASE_S = 30.0
"""How long an admitted call may wait for its turn at the carrier; far longer than `pacing.LOOKAHEAD_S`."""

SOON = timedelta(seconds=5)
"""Until somebody is looked at again for whom there was no number or no agent free."""

LONGEST_REASON = 200
_PLACEHOLDER = re.compile(r"\{\{?\s*([a-z][a-z0-9_]{0,39})\s*\}?\}")

Policies = Callable[[AsyncSession, UUID], Awaitable[CallPolicy]]
"""Returns an organisation's limits; `CallService.policy` is one."""

Fence = Callable[[AsyncSession], Awaitable[bool]]
"""Tells, in a transaction, whether this process is still the one that admits."""


async def _unfenced(_: AsyncSession) -> bool:
    return True


class Admission:
    """Admits calls for one process."""

    def __init__(
        self,
        compliance: ComplianceService,
        policies: Policies,
        *,
        owner: str,
        limits: Limits | None = None,
        fence: Fence = _unfenced,
        most_looked_at: int = MOST_LOOKED_AT,
    ) -> None:
        """`owner` is this run of this process, unlike any other: its leases are in this name."""
        self._compliance = compliance
        self._policies = policies
        self._owner = owner
        self._limits = limits or Limits()
        self._fence = fence
        self._most_looked_at = most_looked_at

    async def admit(self, session: AsyncSession, campaign: CampaignRow, now: datetime, places: int) -> list[CallRow]:
        """Write down at most `places` calls of a campaign that are to be placed now, and return them.

        None where the campaign does not run, or where this process is not the one that admits any more. Raises
        Conflict where it was stopped while this was at work: then the transaction is to be rolled back.
        """
        await claim.lock_admission(session)
        if not await self._fence(session):
            log.warning("admission_fenced_out", owner=self._owner)
            return []
        row = await session.get(CampaignRow, campaign.id, populate_existing=True)
        if row is None or row.org_id != campaign.org_id or row.state != CampaignState.RUNNING:
            return []
        desk = await self._desk(session, row, now)
        wanted = min(places, desk.room())
        admitted: list[CallRow] = []
        looked_at = 0
        while len(admitted) < wanted and looked_at < self._most_looked_at:
            batch = min(2 * (wanted - len(admitted)), self._most_looked_at - looked_at)
            contacts = await claim.claim(session, row.id, now, batch)
            if not contacts:
                break
            looked_at += len(contacts)
            admitted += await self._admitted(session, desk, contacts, wanted - len(admitted))
        await session.flush()
        amount = sum(desk.reserved.values())
        if admitted and not await claim.commit_money(session, row, amount, desk.plan.budget):
            raise Conflict("the campaign was stopped, or its budget used up, while its calls were admitted")
        return admitted

    async def _desk(self, session: AsyncSession, row: CampaignRow, now: datetime) -> "_Desk":
        plan = stored_plan(row.plan)
        policy = await self._policies(session, row.org_id)
        organisation = await session.get_one(OrganisationRow, row.org_id)
        active = await claim.active_calls(session)
        voices = await voices_of(session, row.org_id, plan)
        pools = frozenset(voice.variant.pool_id or plan.pool_id for voice in voices.values())
        return _Desk(
            row=row,
            plan=plan,
            policy=policy,
            now=now,
            limits=self._limits,
            settings=organisation.settings,
            active=active,
            voices=voices,
            numbers=await claim.numbers_of(session, row.org_id, pools, active, now),
            money=await spending.room(session, row.org_id, policy, now),
        )

    async def _admitted(
        self, session: AsyncSession, desk: "_Desk", contacts: Sequence[CampaignContactRow], places: int
    ) -> list[CallRow]:
        """Look at claimed contacts in their order; return the calls of those who are called."""
        numbers = [contact.e164 for contact in contacts]
        org_id = desk.row.org_id
        callees = await self._compliance.callees(session, org_id, numbers, campaign_id=desk.row.id)
        there = await claim.contacts_there(session, org_id, [each.contact_id for each in contacts if each.contact_id])
        past = await claim.past_calls(session, org_id, numbers, desk.now)
        busy = past.called_now | await claim.at_the_phone(session, org_id, numbers)
        chosen: list[_Chosen] = []
        for contact in contacts:
            if len(chosen) == places:
                break  # the others keep their turn
            candidate = _candidate(contact, callees, there, past, is_called_now=contact.e164 in busy)
            answer = eligibility(candidate, desk.plan, desk.policy, self._compliance.packs, desk.now)
            callee = callees.get(contact.e164)
            taken = desk.take(contact, callee, self._compliance) if isinstance(answer, Go) and callee else answer
            if isinstance(taken, CallRow):
                chosen.append((contact, taken))
            else:
                _put_down(contact, taken, desk.now)
        return await self._written(session, desk, chosen)

    async def _written(self, session: AsyncSession, desk: "_Desk", chosen: Sequence["_Chosen"]) -> list[CallRow]:
        """Write down the calls of those who are called; return them, without those that somebody else calls already."""
        try:
            async with session.begin_nested():
                await self._lease(session, desk, chosen)
        except IntegrityError:
            # Only where another process admits although it is not the one that does: then one by one.
            return [call for each in chosen for call in await self._written_alone(session, desk, each)]
        return [call for _, call in chosen]

    async def _written_alone(self, session: AsyncSession, desk: "_Desk", each: "_Chosen") -> list[CallRow]:
        contact, call = each
        await session.refresh(contact)
        try:
            async with session.begin_nested():
                await self._lease(session, desk, [each])
        except IntegrityError:
            desk.give_back(call)
            log.info("contact_called_by_another_campaign", campaign_id=str(desk.row.id))
            await session.refresh(contact)
            _put_down(contact, Later(at=desk.now + SOON, reason="at_the_phone: they are called already"), desk.now)
            return []
        return [call]

    async def _lease(self, session: AsyncSession, desk: "_Desk", chosen: Sequence["_Chosen"]) -> None:
        """Raises IntegrityError where a campaign is calling one of these numbers already."""
        lease = Lease(owner=self._owner, until=desk.now + timedelta(seconds=LEASE_S))
        for contact, call in chosen:
            claim.lease(contact, call, lease)
            session.add(call)
        await session.flush()
        session.add_all(desk.spend(call) for _, call in chosen)


_Chosen = tuple[CampaignContactRow, CallRow]


class _Desk(msgspec.Struct, kw_only=True):
    """What one admission has before it, and what of it is taken already."""

    row: CampaignRow
    plan: Plan
    policy: CallPolicy
    now: datetime
    limits: Limits
    settings: Mapping[str, Any]
    """Of the organisation."""

    active: ActiveCalls
    voices: dict[str, Voice]
    numbers: dict[UUID | None, list[NumberUse]]
    money: int
    """What the organisation's day leaves, in millionths of a dollar."""

    reserved: dict[UUID, int] = msgspec.field(default_factory=dict)
    """By call."""

    by_agent: dict[UUID, int] = msgspec.field(default_factory=dict)
    """Calls of this admission."""

    def room(self) -> int:
        """Return how many calls the caps allow now."""
        everything = self.limits.everything(self.active.all)
        organisation = self.limits.organisation(self.settings, self.active.by_organisation[self.row.org_id])
        campaign = Scope(limit=self.plan.pacing.max_calls, active=self.active.by_campaign[self.row.id])
        room = min(everything.room - self.limits.kept_free, organisation.room, campaign.room)
        if self.plan.ends_at is not None and self.now >= self.plan.ends_at:
            return 0
        return max(0, int(room)) if self.voices else 0

    def take(self, contact: CampaignContactRow, callee: Callee, compliance: ComplianceService) -> CallRow | Answer:
        """Return the call of somebody who may be called, or why there is none after all."""
        voice = self.voices.get(contact.variant) or self.voices.get(self.plan.variants[0].key)
        if voice is None:
            return Later(at=self.now + SOON, reason="no_agent: the agent of this variant is not published")
        try:
            told = voice.told(contact.variables)
        except InvalidRequest as error:
            return Over(state=ContactState.SKIPPED, reason=f"variables: {error}")
        in_use = self.active.by_agent[voice.agent_id] + self.by_agent.get(voice.agent_id, 0)
        if self.limits.agent(self.settings, in_use).room < 1:
            return Later(at=self.now + SOON, reason="agents_full: the agent has as many calls as it may")
        amount = self.policy.reservation(voice.time_limit_s)
        if (short := self._short_of(amount)) is not None:
            return short
        number = self._number(contact, callee, voice, compliance)
        if number is None:
            return Later(at=self.now + SOON, reason="numbers_full: no number can be shown to them now")
        call = self._call(contact, callee, voice, compliance)
        call.from_number, call.time_limit_s, call.variables = number.e164, voice.time_limit_s, told
        call.machine_message = _filled(call.machine_message, {**contact.variables, **voice.variant.variables})
        self.reserved[call.id] = amount
        self.by_agent[voice.agent_id] = self.by_agent.get(voice.agent_id, 0) + 1
        return call

    def _short_of(self, amount: int) -> Later | None:
        reserved = sum(self.reserved.values())
        if self.plan.budget is not None and self.row.committed + reserved + amount > self.plan.budget:
            return Later(at=self.now + SOON, reason="budget: the campaign's budget does not allow another call")
        if reserved + amount > self.money:
            return Later(at=self.now + SOON, reason="spend_cap: the organisation's day does not allow another call")
        return None

    def _number(
        self, contact: CampaignContactRow, callee: Callee, voice: Voice, compliance: ComplianceService
    ) -> NumberUse | None:
        pool = self.numbers[voice.variant.pool_id or self.plan.pool_id]
        duties = duties_of(callee, Purpose(self.plan.purpose), self.now, compliance.packs)
        retry = self.plan.retries.get(contact.last_outcome or "")
        destination = Destination(
            e164=contact.e164,
            country=callee.country,
            regions=callee.regions,
            forbidden_callers=tuple(prefix for _, duty in duties for prefix in duty.forbidden_callers),
            known_number=contact.from_number,
            wants_other=retry is not None and retry.is_other_number,
        )
        number = choose(pool, destination, self.now)
        if number is not None:
            self._show(number)
        return number

    def _show(self, number: NumberUse) -> None:
        shown = msgspec.structs.replace(
            number,
            live=number.live + 1,
            last_hour=number.last_hour + 1,
            last_day=number.last_day + 1,
            last_used_at=self.now,
        )
        for pool in self.numbers.values():
            pool[:] = [shown if each.id == number.id else each for each in pool]

    def _call(
        self, contact: CampaignContactRow, callee: Callee, voice: Voice, compliance: ComplianceService
    ) -> CallRow:
        rules = self.plan.machines.by_attempt
        attempt = contact.calls + 1
        on_machine = rules[min(attempt, len(rules)) - 1]
        waits = on_machine in (OnMachine.DROP, OnMachine.SPEAK)
        detection = ("message_end" if waits else "enable") if self.plan.detects_machines else "off"
        zone = zone_of(callee, compliance.packs)
        local = None if zone is None else self.now.astimezone(zone)
        return CallRow(
            id=new_id(),
            org_id=self.row.org_id,
            direction="outbound",
            state=CallState.INTENT.value,
            purpose=self.plan.purpose,
            agent_version_id=voice.version_id,
            agent_name=voice.definition.name,
            language=voice.definition.language,
            to_number=contact.e164,
            machine_detection=detection,
            on_machine=on_machine.value if self.plan.detects_machines else OnMachine.CONTINUE.value,
            machine_message=self.plan.machines.message if waits else "",
            is_carrier_recorded=self.plan.is_carrier_recorded,
            ring_s=self.plan.ring_s,
            created_at=self.now,
            created_by=f"campaign {self.row.name}"[:200],
            campaign_id=self.row.id,
            campaign_contact_id=contact.id,
            campaign_revision=self.row.revision,
            campaign_epoch=self.row.epoch,
            attempt=attempt,
            variant=voice.variant.key,
            local_weekday=None if local is None else local.weekday(),
            local_hour=None if local is None else local.hour,
        )

    def spend(self, call: CallRow) -> SpendRow:
        """Return the money that is set aside for a call."""
        return SpendRow(
            call_id=call.id,
            org_id=call.org_id,
            at=self.now,
            reserved=self.reserved[call.id],
            campaign_id=self.row.id,
        )

    def give_back(self, call: CallRow) -> None:
        """Do not place a call after all."""
        del self.reserved[call.id]


def _candidate(
    contact: CampaignContactRow,
    callees: Mapping[str, Callee],
    there: frozenset[UUID],
    past: Past,
    *,
    is_called_now: bool,
) -> Candidate:
    return Candidate(
        e164=contact.e164,
        callee=callees.get(contact.e164),
        is_there=contact.contact_id is not None and contact.contact_id in there,
        attempts=contact.attempts,
        past=past.calls[contact.e164],
        is_called_now=is_called_now,
        is_callback=contact.callback_at is not None,
    )


def _put_down(contact: CampaignContactRow, answer: Answer, now: datetime) -> None:
    """Write down why somebody is not called now."""
    if isinstance(answer, Later):
        contact.next_attempt_at, contact.skip_reason = answer.at, answer.reason[:LONGEST_REASON]
    elif isinstance(answer, Over):
        contact.state, contact.skip_reason = answer.state.value, answer.reason[:LONGEST_REASON]
        contact.settled_at, contact.next_attempt_at = now, None


def _filled(text: str, variables: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: str(variables.get(match[1], "")), text)[:1_000]
