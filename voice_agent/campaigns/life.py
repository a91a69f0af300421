"""The one place where a campaign's state changes, and what a change brings with it.

Whoever moves a campaign (people over REST, the scheduler, holds, completion) calls `CampaignLife.move`: the row is
locked, `campaigns.model` is asked, and everything that belongs to the change is written in the same transaction:

| what | when |
|---|---|
| the epoch rises | pause, hold, stop, end: what was admitted before and not placed yet is not placed any more |
| calls that were only written down are void, their contacts due again, their money free | likewise |
| a job cancels what the carrier has queued (pause), lets ring (stop), or has live (emergency) | pause, stop, end |
| contacts of the audience become due, by a job where they are many | start, resume |
| a line in the campaign's log, an event for webhooks | always |
| a line in the audit log | where a person or a program did it |
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal, system
from voice_agent.calls.model import CallState
from voice_agent.campaigns import repository
from voice_agent.campaigns.model import EPOCH_RAISED, CampaignEvent, CampaignState, ContactState, HoldCode, moved
from voice_agent.campaigns.ports import Calls, JobRequests, Publish
from voice_agent.campaigns.repository import ContactFilter
from voice_agent.errors import Conflict, NotFound
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignRow

log = structlog.get_logger(__name__)

STATE_CHANGED = "campaign.state_changed"
"""Topic of the event."""

END_REACHED = "end_reached"
"""`hold_code` of a campaign that is stopping because its end was reached: its contacts expire, and it completes."""

CANCEL_CALLS = "campaign.cancel_calls"
OPEN_CONTACTS = "campaign.open_contacts"
OPENED_AT_ONCE = 5_000
"""Contacts that one statement makes due: some 0.2 s of a database."""

LONGEST_REASON = 500
ROUND_S = 2.0
ROUNDS = 60
"""So often it is looked for calls whose place at the carrier was not known yet; then the reconciler has found out."""

_E, _S = CampaignEvent, CampaignState
_DIALS_AGAIN = frozenset({_E.START, _E.RESUME, _E.RELEASE})


class Depth(StrEnum):
    """Which of a campaign's calls are ended."""

    QUEUED = "queued"
    RINGING = "ringing"
    """Those that ring, too."""

    LIVE = "live"
    """Every one."""


_ENDED: dict[Depth, frozenset[CallState]] = {
    Depth.QUEUED: frozenset({CallState.ACCEPTED}),
    Depth.RINGING: frozenset({CallState.ACCEPTED, CallState.RINGING}),
    Depth.LIVE: frozenset({CallState.ACCEPTED, CallState.RINGING, CallState.IN_PROGRESS}),
}
_NOT_KNOWN_YET = frozenset({CallState.DIALING, CallState.UNKNOWN})


class CallsToCancel(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of `CANCEL_CALLS`."""

    org_id: UUID
    campaign_id: UUID
    epoch: int
    depth: Depth
    round: int = 1


class ContactsToOpen(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of `OPEN_CONTACTS`."""

    org_id: UUID
    campaign_id: UUID


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Who or what moves a campaign, and why."""

    by: Principal
    """A person's or a program's; of a part of this system `auth.principal.system`."""

    reason: str = ""
    """In words for people."""

    hold_code: HoldCode | None = None
    """Of a hold."""

    release_at: datetime | None = None
    """Of a hold: when the campaign goes on by itself; None: when somebody says so."""

    is_emergency: bool = False
    """Of a stop: live calls are hung up."""


class _Change(msgspec.Struct, frozen=True, kw_only=True):
    event: CampaignEvent
    before: CampaignState
    given_back: int


class CampaignLife:
    """Moves campaigns. One for the process."""

    def __init__(self, jobs: JobRequests, publish: Publish, *, opened_at_once: int = OPENED_AT_ONCE) -> None:
        self._jobs = jobs
        self._publish = publish
        self._opened_at_once = opened_at_once

    async def move(
        self,
        session: AsyncSession,
        campaign: CampaignRow,
        event: CampaignEvent,
        cause: Cause,
        now: datetime,
    ) -> CampaignRow:
        """Have an event happen to a campaign; return its row, locked and read again.

        Raises NotFound, or Conflict where the campaign's state does not allow it.
        """
        row = await repository.locked(session, campaign.org_id, campaign.id)
        if row is None:
            raise NotFound("there is no such campaign")
        before = CampaignState(row.state)
        after = moved(before, event)
        row.updated_at = now
        if after is not before:
            row.state, row.reason, row.hold_code = after.value, cause.reason[:LONGEST_REASON], _code(event, cause)
            row.release_at = cause.release_at if event is _E.HOLD else None
        _stamp(row, event, after, now)
        given_back = 0
        if event in EPOCH_RAISED:
            row.epoch += 1
            given_back = await repository.give_back(session, row, now)
        await session.flush()
        await self._order_work(session, row, event, is_emergency=cause.is_emergency)
        await self._tell(session, row, _Change(event=event, before=before, given_back=given_back), cause, now)
        return row

    async def _order_work(
        self, session: AsyncSession, row: CampaignRow, event: CampaignEvent, *, is_emergency: bool
    ) -> None:
        if event in (_E.PAUSE, _E.STOP, _E.END_REACHED):
            depth = Depth.LIVE if is_emergency else Depth.QUEUED if event is _E.PAUSE else Depth.RINGING
            work = CallsToCancel(org_id=row.org_id, campaign_id=row.id, epoch=row.epoch, depth=depth)
            await self._jobs.request(session, CANCEL_CALLS, work, job_id=_cancel_id(work))
        if event in (_E.START, _E.RESUME):
            await self.open_contacts(session, row)

    async def open_contacts(self, session: AsyncSession, row: CampaignRow) -> None:
        """Make the contacts of a launched campaign that wait in its audience due; a job does what is left of many."""
        pending = ContactFilter(states=frozenset({ContactState.PENDING}))
        now = row.updated_at
        opened = await repository.move_contacts(session, row, pending, now, limit=self._opened_at_once)
        if opened == self._opened_at_once:
            work = ContactsToOpen(org_id=row.org_id, campaign_id=row.id)
            moment = int(now.timestamp() * 1_000)
            await self._jobs.request(session, OPEN_CONTACTS, work, job_id=f"campaign-open-{row.id}-{moment}")

    async def _tell(
        self,
        session: AsyncSession,
        row: CampaignRow,
        change: _Change,
        cause: Cause,
        now: datetime,
    ) -> None:
        event, before, by, reason = change.event, change.before, cause.by, cause.reason[:LONGEST_REASON]
        details = {"event": event.value, "from": before.value, "to": row.state, "epoch": row.epoch}
        if change.given_back:
            details["given_back"] = change.given_back
        if row.hold_code:
            details["code"] = row.hold_code
        await repository.note(session, row, "state", reason or _WORDS[event], details, by.name, now)
        if row.state != before:
            payload = {
                "campaign_id": str(row.id), "name": row.name, "event": event.value, "before": before.value,
                "state": row.state, "reason": reason, "code": row.hold_code, "by": by.name, "at": now.isoformat(),
            }  # fmt: skip
            await self._publish(session, row.org_id, STATE_CHANGED, str(row.id), payload, now)
        if by.kind != "system":
            after = {"name": row.name, "state": row.state} | ({"reason": reason} if reason else {})
            await audit.record(
                session,
                by,
                f"campaign.{event.value}",
                target_kind="campaign",
                target_id=str(row.id),
                before={"state": before.value},
                after=after,
            )


_WORDS: dict[CampaignEvent, str] = {
    _E.VALIDATE: "the look before the launch began",
    _E.FOUND_READY: "ready: nothing speaks against the launch",
    _E.FOUND_WANTING: "back in draft: something speaks against the launch",
    _E.SCHEDULE: "scheduled",
    _E.UNSCHEDULE: "not scheduled any more",
    _E.START: "dialling began",
    _E.PAUSE: "paused: no new calls",
    _E.RESUME: "dialling goes on",
    _E.HOLD: "held by the system",
    _E.RELEASE: "released: dialling goes on",
    _E.EDIT: "edited",
    _E.REDRAFT: "audience or rules were changed: it has to be looked at again",
    _E.STOP: "stopped: no new calls, ever",
    _E.END_REACHED: "its end was reached: no new calls",
    _E.DRAINED: "no call is under way any more",
    _E.FINISHED: "no call is under way any more, and its end was reached",
    _E.ARCHIVE: "archived",
}


def _code(event: CampaignEvent, cause: Cause) -> str:
    if event is _E.END_REACHED:
        return END_REACHED
    return cause.hold_code.value if event is _E.HOLD and cause.hold_code is not None else ""


def _stamp(row: CampaignRow, event: CampaignEvent, after: CampaignState, now: datetime) -> None:
    if event is _E.START and row.launched_at is None:
        row.launched_at = now
    if event in _DIALS_AGAIN:
        row.resumed_at = now
    if event in (_E.VALIDATE, _E.REDRAFT):
        row.preflight = None
    if after in (_S.STOPPED, _S.COMPLETED) and row.finished_at is None:
        row.finished_at = now
    if after is _S.ARCHIVED:
        row.archived_at = now


def _cancel_id(work: CallsToCancel) -> str:
    return f"campaign-cancel-{work.campaign_id}-{work.epoch}-{work.depth}-{work.round}"


class CampaignChores:
    """The jobs that follow a change of state. One for the process."""

    def __init__(
        self, database: Database, life: CampaignLife, jobs: JobRequests, calls: Calls, clock: Callable[[], datetime]
    ) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._life = life
        self._jobs = jobs
        self._calls = calls
        self._clock = clock

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do. Before `Jobs.open`."""
        jobs.register(CANCEL_CALLS, CallsToCancel, self.cancel_calls)
        jobs.register(OPEN_CONTACTS, ContactsToOpen, self.open_contacts, timeout_s=3_600.0)

    async def open_contacts(self, work: ContactsToOpen, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """Make what is left of a launched audience due."""
        pending = ContactFilter(states=frozenset({ContactState.PENDING}))
        opened = OPENED_AT_ONCE
        while opened == OPENED_AT_ONCE:
            async with self._database.write() as session:
                row = await repository.locked(session, work.org_id, work.campaign_id)
                if row is None or row.state not in (_S.RUNNING, _S.HELD):  # paused: the resume goes on with it
                    return
                opened = await repository.move_contacts(session, row, pending, self._clock(), limit=OPENED_AT_ONCE)

    async def cancel_calls(self, work: CallsToCancel, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """End the calls that a pause or a stop ends, and look again for those of which the carrier has said nothing.

        Raises CarrierError where it does not end one: the job is tried again.
        """
        async with self._database.read() as session:
            row = await repository.find(session, work.org_id, work.campaign_id)
            calls = [] if row is None or row.epoch != work.epoch else await repository.active_calls(session, row)
        if row is None or row.state == _S.RUNNING:  # resumed meanwhile
            return
        by = system(work.org_id, "campaign")
        for call in calls:
            if CallState(call.state) in _ENDED[work.depth]:
                try:
                    await self._calls.end(by, call.id)
                except Conflict:  # it has moved on: the next round sees it as it is then
                    log.info("call_not_cancelled", call_id=str(call.id))
        if work.round < ROUNDS and any(CallState(call.state) in _NOT_KNOWN_YET for call in calls):
            following = msgspec.structs.replace(work, round=work.round + 1)
            async with self._database.write() as session:
                await self._jobs.request(
                    session, CANCEL_CALLS, following, job_id=_cancel_id(following), delay_s=ROUND_S
                )
