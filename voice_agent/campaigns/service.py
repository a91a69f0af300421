"""What people and programs do with campaigns: make, change, look at, launch, pause, stop, copy, archive.

Works in the caller's transaction, but for the test call, which takes more than one. Every change of a state goes
through `life`; every edit makes a revision, and attempts point at the one under which they were admitted.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.campaigns import audience, repository
from voice_agent.campaigns.audience import Entry
from voice_agent.campaigns.life import CampaignLife, Cause
from voice_agent.campaigns.model import AT_THE_PHONE, TERMINAL, CampaignEvent, CampaignState, ContactState, moved
from voice_agent.campaigns.plan import Plan, differences, document_of, is_looked_at_again, read_plan, stored_plan
from voice_agent.campaigns.preflight import Preflight
from voice_agent.campaigns.repository import ContactFilter
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import AgentRow, CampaignRevisionRow, CampaignRow, NumberPoolRow

MOST_DELETED = 20_000
"""Contacts of a draft that is deleted at once; one with more is archived."""

REOPENED_AT_ONCE = 10_000

_E, _S = CampaignEvent, CampaignState
_TAKES_CONTACTS = frozenset({_S.DRAFT, _S.READY, _S.SCHEDULED, _S.RUNNING, _S.PAUSING, _S.PAUSED, _S.HELD})
_LAUNCHED = frozenset({_S.RUNNING, _S.PAUSING, _S.PAUSED, _S.HELD})
_REOPENABLE = TERMINAL - {ContactState.SUPPRESSED}


class CampaignService:
    """One for the process."""

    def __init__(self, life: CampaignLife, preflight: Preflight, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._life = life
        self._preflight = preflight
        self._clock = clock

    # --- looking ----------------------------------------------------------------------------------------------
    async def find(self, session: AsyncSession, org_id: UUID, campaign_id: UUID) -> CampaignRow:
        """Return a campaign. Raises NotFound."""
        row = await repository.find(session, org_id, campaign_id)
        if row is None:
            raise NotFound("there is no such campaign")
        return row

    async def locked(self, session: AsyncSession, org_id: UUID, campaign_id: UUID) -> CampaignRow:
        """Return a campaign for a change. Raises NotFound."""
        row = await repository.locked(session, org_id, campaign_id)
        if row is None:
            raise NotFound("there is no such campaign")
        return row

    async def find_revision(self, session: AsyncSession, campaign: CampaignRow, number: int) -> CampaignRevisionRow:
        """Return a revision. Raises NotFound."""
        row = await repository.revision(session, campaign, number)
        if row is None:
            raise NotFound("there is no such revision")
        return row

    async def compare(
        self, session: AsyncSession, campaign: CampaignRow, number: int, other: int
    ) -> dict[str, tuple[Any, Any]]:
        """Return what differs between two revisions: dotted field to its value in each. Raises NotFound."""
        old = await self.find_revision(session, campaign, number)
        new = await self.find_revision(session, campaign, other)
        return differences(old.plan, new.plan)

    # --- making and changing ----------------------------------------------------------------------------------
    async def create(
        self, session: AsyncSession, principal: Principal, name: str, document: dict[str, Any]
    ) -> CampaignRow:
        """Return a new campaign, a draft. Raises InvalidRequest, or Conflict for a name in use."""
        return await self._create(session, principal, name, read_plan(document))

    async def _create(
        self, session: AsyncSession, principal: Principal, name: str, plan: Plan, *, cloned_from: UUID | None = None
    ) -> CampaignRow:
        await self._check_references(session, principal.org_id, plan)
        now = self._clock()
        row = CampaignRow(
            id=new_id(),
            org_id=principal.org_id,
            name=name,
            state=CampaignState.DRAFT.value,
            epoch=1,
            revision=1,
            plan=document_of(plan),
            committed=0,
            reason="",
            hold_code="",
            cloned_from=cloned_from,
            created_by=principal.name,
            created_at=now,
            updated_at=now,
        )
        session.add(row)
        await self._flush(session)
        self._keep_revision(session, row, principal, now)
        await self._record(session, principal, row, "campaign.create", after={"name": name})
        await repository.note(session, row, "edit", "made", None, principal.name, now)
        return row

    async def edit(
        self, session: AsyncSession, principal: Principal, row: CampaignRow, *, name: str, document: dict[str, Any]
    ) -> CampaignRow:
        """Replace name and plan of a campaign that is `locked`: a new revision.

        One that is ready or scheduled is a draft again where its audience or what the law looks at changes. Raises
        InvalidRequest, or Conflict where its state does not allow it.
        """
        old, plan = stored_plan(row.plan), read_plan(document)
        await self._check_references(session, principal.org_id, plan)
        event = _E.REDRAFT if is_looked_at_again(old, plan) else _E.EDIT
        moved(CampaignState(row.state), event)
        before = {"name": row.name, "plan": row.plan}
        row.name, row.plan = name, document_of(plan)
        row.revision += 1
        await self._flush(session)
        now = self._clock()
        self._keep_revision(session, row, principal, now)
        changes = differences(before, {"name": row.name, "plan": row.plan})
        details = {"revision": row.revision, "changed": sorted(changes)[:50]}
        await repository.note(session, row, "edit", f"revision {row.revision}", details, principal.name, now)
        return await self._life.move(session, row, event, Cause(by=principal), now)

    async def clone(self, session: AsyncSession, principal: Principal, campaign_id: UUID, name: str) -> CampaignRow:
        """Return a new draft with the plan of a campaign, whatever its state. Raises NotFound or Conflict."""
        source = await self.find(session, principal.org_id, campaign_id)
        plan = msgspec.structs.replace(stored_plan(source.plan), starts_at=None, ends_at=None)
        return await self._create(session, principal, name, plan, cloned_from=source.id)

    async def delete(self, session: AsyncSession, principal: Principal, campaign_id: UUID) -> None:
        """Delete a draft that was never launched. Raises NotFound or Conflict."""
        row = await self.locked(session, principal.org_id, campaign_id)
        if row.state != CampaignState.DRAFT:
            raise Conflict("only drafts are deleted: archive it")
        if await audience.count(session, row) > MOST_DELETED:
            raise Conflict("it has very many contacts: archive it")
        await self._record(session, principal, row, "campaign.delete", before={"name": row.name})
        await session.delete(row)

    async def _check_references(self, session: AsyncSession, org_id: UUID, plan: Plan) -> None:
        await audience.check_audience(session, org_id, plan)
        for variant in plan.variants:
            agent = await session.get(AgentRow, variant.agent_id)
            if agent is None or agent.org_id != org_id or agent.archived_at is not None:
                raise InvalidRequest(f"plan: variants: there is no agent {variant.agent_id}")
        for pool_id in {plan.pool_id, *(variant.pool_id for variant in plan.variants)} - {None}:
            pool = await session.get(NumberPoolRow, pool_id)
            if pool is None or pool.org_id != org_id:
                raise InvalidRequest(f"plan: there is no pool of numbers {pool_id}")

    async def _flush(self, session: AsyncSession) -> None:
        try:
            await session.flush()
        except IntegrityError:
            raise Conflict("there is a campaign of this name already") from None

    def _keep_revision(self, session: AsyncSession, row: CampaignRow, principal: Principal, now: datetime) -> None:
        session.add(
            CampaignRevisionRow(
                campaign_id=row.id,
                number=row.revision,
                org_id=row.org_id,
                plan=row.plan,
                created_by=principal.name,
                created_at=now,
            )
        )

    # --- its life ---------------------------------------------------------------------------------------------
    async def validate(self, session: AsyncSession, principal: Principal, campaign_id: UUID) -> CampaignRow:
        """Have a campaign looked at (`preflight`). Raises NotFound or Conflict."""
        row = await self.locked(session, principal.org_id, campaign_id)
        return await self._preflight.begin(session, row, Cause(by=principal))

    async def schedule(self, session: AsyncSession, principal: Principal, campaign_id: UUID) -> CampaignRow:
        """Have a campaign start by itself at its plan's `starts_at`. Raises NotFound or Conflict."""
        row = await self.locked(session, principal.org_id, campaign_id)
        starts_at = stored_plan(row.plan).starts_at
        if starts_at is None or starts_at <= self._clock():
            raise Conflict("its plan has no starts_at in the future: start it, or give it one")
        return await self._launch(session, row, _E.SCHEDULE, Cause(by=principal))

    async def start(self, session: AsyncSession, principal: Principal, campaign_id: UUID) -> CampaignRow:
        """Begin to dial now. Raises NotFound, or Conflict without a fresh look that let it pass."""
        row = await self.locked(session, principal.org_id, campaign_id)
        return await self._launch(session, row, _E.START, Cause(by=principal))

    async def _launch(self, session: AsyncSession, row: CampaignRow, event: CampaignEvent, cause: Cause) -> CampaignRow:
        moved(CampaignState(row.state), event)
        if why := await self._preflight.why_stale(session, row):
            raise Conflict(f"the campaign cannot {event.value.replace('_', ' ')}: {why}")
        return await self._life.move(session, row, event, cause, self._clock())

    async def unschedule(self, session: AsyncSession, principal: Principal, campaign_id: UUID) -> CampaignRow:
        """Have a scheduled campaign not start by itself. Raises NotFound or Conflict."""
        row = await self.locked(session, principal.org_id, campaign_id)
        return await self._life.move(session, row, _E.UNSCHEDULE, Cause(by=principal), self._clock())

    async def pause(
        self, session: AsyncSession, principal: Principal, campaign_id: UUID, reason: str = ""
    ) -> CampaignRow:
        """Place no new calls from this commit on; live calls go on. Raises NotFound or Conflict."""
        row = await self.locked(session, principal.org_id, campaign_id)
        now = self._clock()
        row = await self._life.move(session, row, _E.PAUSE, Cause(by=principal, reason=reason), now)
        if await repository.count_active(session, row):
            return row
        return await self._life.move(session, row, _E.DRAINED, Cause(by=principal, reason=reason), now)

    async def resume(self, session: AsyncSession, principal: Principal, campaign_id: UUID) -> CampaignRow:
        """Dial on, after a pause or a hold. Raises NotFound, or Conflict where it was changed and not looked at."""
        row = await self.locked(session, principal.org_id, campaign_id)
        event = _E.RELEASE if row.state == CampaignState.HELD else _E.RESUME
        return await self._launch(session, row, event, Cause(by=principal))

    async def stop(
        self,
        session: AsyncSession,
        principal: Principal,
        campaign_id: UUID,
        *,
        reason: str = "",
        is_emergency: bool = False,
    ) -> CampaignRow:
        """Place no new calls, ever; in an emergency live calls are hung up, too. Raises NotFound or Conflict."""
        row = await self.locked(session, principal.org_id, campaign_id)
        cause = Cause(by=principal, reason=reason, is_emergency=is_emergency)
        return await self._life.move(session, row, _E.STOP, cause, self._clock())

    async def archive(self, session: AsyncSession, principal: Principal, campaign_id: UUID) -> CampaignRow:
        """Put a campaign away, for good. Raises NotFound or Conflict."""
        row = await self.locked(session, principal.org_id, campaign_id)
        return await self._life.move(session, row, _E.ARCHIVE, Cause(by=principal), self._clock())

    # --- its contacts -----------------------------------------------------------------------------------------
    async def add_contacts(
        self, session: AsyncSession, principal: Principal, campaign_id: UUID, contact_ids: Sequence[UUID]
    ) -> int:
        """Have contacts join a campaign; return how many are new. Raises NotFound or Conflict.

        Whoever is in it already, by contact or by number, is left as they are. Those of a campaign that dials are due
        at once; before a launch they are looked at with the others, by the next look.
        """
        row = await self.locked(session, principal.org_id, campaign_id)
        state = CampaignState(row.state)
        if state not in _TAKES_CONTACTS:
            raise Conflict(f"a campaign that is {state} takes no more contacts")
        now = self._clock()
        entry = Entry(state=ContactState.DUE if state in _LAUNCHED else ContactState.PENDING, now=now)
        new = await audience.add(session, row, stored_plan(row.plan), contact_ids, entry)
        if new:
            await repository.note(session, row, "audience", f"{new} contacts added", {"new": new}, principal.name, now)
            await self._record(session, principal, row, "campaign.add_contacts", after={"new": new})
        return new

    async def reopen(
        self, session: AsyncSession, principal: Principal, campaign_id: UUID, wanted: ContactFilter
    ) -> int:
        """Make contacts whose part is over due again, 10,000 at the most; return how many. Raises NotFound or Conflict.

        Whoever is not to be called any more stays so. The rules and caps are asked before each call as ever.
        """
        row = await self.locked(session, principal.org_id, campaign_id)
        if CampaignState(row.state) not in _LAUNCHED:
            raise Conflict(f"contacts of a campaign that is {row.state} are not called again: make a new one of them")
        states = (wanted.states or _REOPENABLE) & _REOPENABLE
        if not states:
            raise InvalidRequest("states: none of these is one that is over and can be opened again")
        assert not states & AT_THE_PHONE  # noqa: S101 - a call that goes on keeps its contact
        now = self._clock()
        these = msgspec.structs.replace(wanted, states=frozenset(states))
        opened = await repository.move_contacts(session, row, these, now, limit=REOPENED_AT_ONCE)
        details = {"contacts": opened, "states": sorted(states), "outcomes": sorted(wanted.outcomes)}
        await repository.note(session, row, "reopen", f"{opened} contacts opened again", details, principal.name, now)
        await self._record(session, principal, row, "campaign.reopen", after=details)
        return opened

    async def _record(
        self,
        session: AsyncSession,
        principal: Principal,
        row: CampaignRow,
        action: str,
        *,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        await audit.record(
            session, principal, action, target_kind="campaign", target_id=str(row.id), before=before, after=after
        )
