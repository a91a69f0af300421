"""What holds of campaigns whatever happens, in whatever order: a model-based test over the real parts, on SQLite.

Two campaigns share people. Calls are admitted and placed; the carrier takes them, refuses them, loses its answers, and
reports in any order and number; the process dies between two steps; campaigns are paused, resumed and held; people opt
out and ask for callbacks; the clock jumps; sweeps and reconciliations come when they come. After every step the
invariants of campaigns.md section 5 are looked at: 1 to 3, 5, 6, 8 and 9; and that every contact shows what its call
does. In the end everything that goes on comes to an end, and nobody is lost.
"""

import asyncio
import itertools
import shutil
from collections import Counter
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import URL, func, select

from tests.campaigns.dialling_world import DiallingWorld, dialling_world
from tests.campaigns.settling_world import Exchange
from tests.fakes.carrier import FakeCarrier
from voice_agent.auth.principal import system
from voice_agent.calls.model import ACTIVE, CallState
from voice_agent.calls.ports import CallRequest, CarrierCall
from voice_agent.campaigns.life import Cause
from voice_agent.campaigns.model import AT_THE_PHONE, TERMINAL, WAITING, CampaignEvent, CampaignState, ContactState
from voice_agent.campaigns.opt_outs import withdraw
from voice_agent.campaigns.plan import stored_plan
from voice_agent.errors import CarrierError, InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CallRow, CampaignContactRow, CampaignRow, SpendRow

STEPS = 20
EXAMPLES = 6
PEOPLE = 3
_OVER = ("completed", "busy", "no-answer", "failed", "canceled")
_T = TypeVar("_T")
MOODS = st.sampled_from(["takes", "refuses", "is busy", "is away", "loses its answer", "loses its answer"])
_E, _S = CampaignEvent, CampaignState


class LosingCarrier(FakeCarrier):
    """A telephone company that may take a call and lose its answer, and that knows what has become of each."""

    def __init__(self, world: DiallingWorld) -> None:
        super().__init__()
        self.world = world
        self.mood = "takes"
        self.posts: list[tuple[UUID, str]] = []
        """Of every request: the call that it was for, and to whom."""

        self.sids: dict[UUID, str] = {}

    async def create_call(self, request: CallRequest) -> CarrierCall:
        call_id = UUID(request.status_callback.split("/")[-2])
        self.posts.append((call_id, request.to))
        if self.mood == "refuses":
            raise CarrierError("no such number", code=21211, status=400, kind="invalid_number")
        if self.mood == "is busy":
            raise CarrierError("too many", code=20429, status=429)
        if self.mood == "is away":
            raise CarrierError("no answer")
        call = msgspec.structs.replace(await super().create_call(request), created_at=self.world.now)
        self.calls[call.call_sid] = call
        self.sids[call_id] = call.call_sid
        if self.mood == "loses its answer":
            raise CarrierError("no answer")
        return call

    async def hang_up(self, call_sid: str) -> None:
        await super().hang_up(call_sid)
        self.note(call_sid, "completed")

    def note(self, call_sid: str, status: str) -> None:
        """Remember how a call stands, once it is over for good."""
        known = self.calls.get(call_sid)
        if known is not None and known.status not in _OVER:
            self.calls[call_sid] = msgspec.structs.replace(known, status=status)


class Campaigns(RuleBasedStateMachine):
    """Everything that may happen."""

    template: Path
    folder: Path
    org_id: UUID
    agent_id: UUID
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        path = self.folder / f"{next(self.numbers)}.db"
        shutil.copy(self.template, path)
        self.runner = asyncio.Runner()
        self.runner.get_loop()
        self.database = self.run(self._opened(path))
        self.world = DiallingWorld(self.database, self.org_id, self.agent_id)
        self.carrier = LosingCarrier(self.world)
        self.line = Exchange(self.world, self.carrier)
        self.opted_out: dict[str, int] = {}
        """Numbers, and how often they had been asked for by then."""

        self.stopped: dict[UUID, int] = {}
        """Campaigns that are paused or held, and how often they had asked by then."""

        self.seen: frozenset[str] = frozenset()
        """The states of calls after the last step."""

    async def _opened(self, path: Path) -> Database:
        return Database(URL.create("sqlite+aiosqlite", database=str(path)))

    def run(self, work: Awaitable[_T]) -> _T:
        async def run() -> _T:
            return await work

        return self.runner.run(run())

    # --- looking ------------------------------------------------------------------------------------------------
    async def _all(self, kind: type[_T]) -> list[_T]:
        async with self.database.read() as session:
            return list((await session.scalars(select(kind).order_by(kind.id))).all())  # type: ignore[attr-defined]

    def campaigns(self) -> list[CampaignRow]:
        return self.run(self._all(CampaignRow))

    def calls(self, *states: CallState) -> list[CallRow]:
        return [call for call in self.run(self._all(CallRow)) if not states or call.state in states]

    def posts_of(self, campaign_id: UUID) -> int:
        known = {call.id: call.campaign_id for call in self.calls()}
        return sum(known[call_id] == campaign_id for call_id, _ in self.carrier.posts)

    # --- what may happen ----------------------------------------------------------------------------------------
    @initialize(mood=MOODS)
    def begin(self, mood: str) -> None:
        self.dial(0, 2)
        self.dial_with_trouble(1, 1, mood)

    @rule(which=st.integers(0, 1), places=st.integers(1, 3))
    def dial(self, which: int, places: int) -> None:
        self.carrier.mood = "takes"
        for call in self.admitted(which, places):
            self.run(self.line.placing.place_admitted(call.id))

    @rule(which=st.integers(0, 1), places=st.integers(1, 3), mood=MOODS)
    def dial_with_trouble(self, which: int, places: int, mood: str) -> None:
        self.carrier.mood = mood
        for call in self.admitted(which, places):
            self.run(self.line.placing.place_admitted(call.id))

    @rule(which=st.integers(0, 1), places=st.integers(1, 3))
    def die_after_the_admission(self, which: int, places: int) -> None:
        self.admitted(which, places)

    def admitted(self, which: int, places: int) -> list[CallRow]:
        return self.run(self.world.admit(self.campaigns()[which], places))

    @precondition(lambda self: CallState.INTENT in self.seen)
    @rule(mood=MOODS, which=st.integers(0, 5))
    def place_late_and_twice(self, mood: str, which: int) -> None:
        waiting = self.calls(CallState.INTENT)
        self.carrier.mood = mood
        for _ in range(2):
            self.run(self.line.placing.place_admitted(waiting[which % len(waiting)].id))

    @precondition(lambda self: CallState.INTENT in self.seen)
    @rule(which=st.integers(0, 5))
    def die_before_the_request(self, which: int) -> None:
        waiting = self.calls(CallState.INTENT)
        call_id = waiting[which % len(waiting)].id
        self.run(self.database.transact(lambda session: self.line.placing._begin(session, [call_id], None)))

    @precondition(lambda self: self.carrier.sids)
    @rule(
        which=st.integers(0, 5), status=st.sampled_from(["initiated", "ringing", "in-progress", *_OVER]),
        verdict=st.sampled_from(["", "", "human", "machine_start", "fax"]),
    )  # fmt: skip
    def hear_anything(self, which: int, status: str, verdict: str) -> None:
        there = [call for call in self.calls() if call.id in self.carrier.sids]
        self.hear(there[which % len(there)], status, verdict)

    @precondition(lambda self: self.carrier.sids)
    @rule(which=st.integers(0, 5), status=st.sampled_from(["in-progress", *_OVER]))
    def hear_of_a_call_that_goes_on(self, which: int, status: str) -> None:
        there = [call for call in self.calls(*ACTIVE) if call.id in self.carrier.sids]
        if there:
            self.hear(there[which % len(there)], status, "")

    def hear(self, call: CallRow, status: str, verdict: str) -> None:
        call.call_sid = self.carrier.sids[call.id]
        self.carrier.note(call.call_sid, status)
        self.run(self.line.hear(call, status, answered_by=verdict, duration_s=60 if status in _OVER else None))
        self.run(self.line.processor.close())

    @rule(which=st.integers(0, 1), event=st.sampled_from([_E.PAUSE, _E.HOLD, _E.RESUME, _E.RELEASE, _E.RESUME]))
    def move(self, which: int, event: CampaignEvent) -> None:
        campaign = self.campaigns()[which]
        allowed = {
            _E.PAUSE: {_S.RUNNING, _S.HELD},
            _E.HOLD: {_S.RUNNING},
            _E.RESUME: {_S.PAUSING, _S.PAUSED},
            _E.RELEASE: {_S.HELD},
        }
        if campaign.state in allowed[event]:
            self.run(self._move(campaign, event))
            if event in (_E.PAUSE, _E.HOLD):
                self.stopped[campaign.id] = self.posts_of(campaign.id)
            else:
                self.stopped.pop(campaign.id, None)

    async def _move(self, campaign: CampaignRow, event: CampaignEvent) -> None:
        async with self.database.write() as session:
            await self.line.life.move(session, campaign, event, Cause(by=system(self.org_id, "test")), self.world.now)

    @precondition(lambda self: len(self.carrier.posts) > 2 + 2 * len(self.opted_out))
    @rule(person=st.integers(0, PEOPLE - 1))
    def opt_out(self, person: int) -> None:
        number = f"+3461200{person:04d}"
        self.run(self.world.suppress(number))
        self.run(self.database.transact(lambda each: withdraw(each, self.org_id, number, self.world.now)))
        self.opted_out.setdefault(number, sum(to == number for _, to in self.carrier.posts))

    @precondition(lambda self: CallState.IN_PROGRESS in self.seen)
    @rule(which=st.integers(0, 5), minutes=st.integers(5, 3_000))
    def ask_for_a_callback(self, which: int, minutes: int) -> None:
        live = self.calls(CallState.IN_PROGRESS)
        self.run(self._agree(live[which % len(live)].id, minutes))

    async def _agree(self, call_id: UUID, minutes: int) -> None:
        wanted = self.world.now + timedelta(minutes=minutes)
        async with self.database.write() as session:
            call = await session.get_one(CallRow, call_id)
            try:
                call.callback_at = await self.line.callbacks.book_in_call(session, call, wanted, self.world.now)
            except InvalidRequest:
                return  # the campaign is over

    @rule(minutes=st.sampled_from([0.6, 6, 300, 1_500]))
    def pass_time(self, minutes: float) -> None:
        self.world.pass_time(minutes=minutes)

    @precondition(lambda self: self.seen & ACTIVE)
    @rule()
    def sweep(self) -> None:
        self.run(self.line.sweeper.sweep())

    @rule()
    def complete(self) -> None:
        self.run(self.line.completion.complete())

    @precondition(lambda self: self.seen & ACTIVE)
    @rule()
    def reconcile(self) -> None:
        self.run(self.line.reconciler.reconcile())

    # --- what always holds --------------------------------------------------------------------------------------
    @invariant()
    def everything_holds(self) -> None:
        calls, contacts, campaigns, money = self.run(self._seen())
        self.seen = frozenset(call.state for call in calls)
        active = [call for call in calls if call.state in ACTIVE]
        self._each_call_was_asked_for_once()
        self._nobody_is_called_twice_at_once_or_against_their_will(active)
        self._attempts_have_no_gaps_and_contacts_show_what_their_calls_do(calls, contacts)
        self._a_campaign_that_is_stopped_asks_for_nobody(calls)
        for campaign in campaigns:
            budget = stored_plan(campaign.plan).budget
            assert budget is not None
            assert campaign.committed == money.get(campaign.id, 0) <= budget
        assert len(contacts) == 2 * PEOPLE

    async def _seen(
        self,
    ) -> tuple[list[CallRow], list[CampaignContactRow], list[CampaignRow], dict[UUID | None, int]]:
        counted = func.sum(func.coalesce(SpendRow.settled, SpendRow.reserved))
        async with self.database.read() as session:
            calls = list((await session.scalars(select(CallRow))).all())
            contacts = list((await session.scalars(select(CampaignContactRow))).all())
            campaigns = list((await session.scalars(select(CampaignRow))).all())
            sums = await session.execute(select(SpendRow.campaign_id, counted).group_by(SpendRow.campaign_id))
            return calls, contacts, campaigns, {campaign_id: int(total) for campaign_id, total in sums}

    def _each_call_was_asked_for_once(self) -> None:
        assert all(count == 1 for count in Counter(call_id for call_id, _ in self.carrier.posts).values())

    def _nobody_is_called_twice_at_once_or_against_their_will(self, active: list[CallRow]) -> None:
        assert all(count == 1 for count in Counter(call.to_number for call in active).values())
        for number, posts in self.opted_out.items():
            assert sum(to == number for _, to in self.carrier.posts) == posts

    def _attempts_have_no_gaps_and_contacts_show_what_their_calls_do(
        self, calls: list[CallRow], contacts: list[CampaignContactRow]
    ) -> None:
        of_contact: dict[UUID | None, list[CallRow]] = {row.id: [] for row in contacts}
        for call in calls:
            of_contact[call.campaign_contact_id].append(call)
        for row in contacts:
            numbers = sorted(call.attempt or 0 for call in of_contact[row.id])
            going_on = [call.id for call in of_contact[row.id] if call.state in ACTIVE]
            assert numbers == list(range(1, row.calls + 1))
            assert going_on == ([] if row.call_id is None else [row.call_id])
            assert (row.state in AT_THE_PHONE) == bool(going_on)
            assert row.attempts <= row.calls
            assert (row.next_attempt_at is not None) or row.state not in WAITING

    def _a_campaign_that_is_stopped_asks_for_nobody(self, calls: list[CallRow]) -> None:
        whose = {call.id: call.campaign_id for call in calls}
        for campaign_id, posts in self.stopped.items():
            assert sum(whose[call_id] == campaign_id for call_id, _ in self.carrier.posts) == posts

    # --- the end ------------------------------------------------------------------------------------------------
    def teardown(self) -> None:
        try:
            for _ in range(4):
                for sid in list(self.carrier.calls):
                    self.carrier.note(sid, "completed")
                self.world.pass_time(seconds=301)
                self.sweep()
                self.reconcile()
            assert self.calls(*ACTIVE) == []
            contacts = self.run(self._all(CampaignContactRow))
            assert all(ContactState(row.state) in WAITING | TERMINAL for row in contacts)
            self.complete()
            assert all(row.state != _S.PAUSING for row in self.campaigns())
        finally:
            self.run(self.line.processor.close())
            self.run(self.database.close())
            self.runner.close()


@pytest.fixture
def template(tmp_path: Path, _migrated_sqlite: Path) -> Path:
    """A database with two campaigns of the same people."""
    path = tmp_path / "campaigns.db"
    shutil.copy(_migrated_sqlite, path)

    async def fill() -> None:
        database = Database(URL.create("sqlite+aiosqlite", database=str(path)))
        world = await dialling_world(database)
        await world.number("+34910000001")
        reserved = world.policy.reservation(4_000)
        for _ in range(2):
            campaign = await world.campaign(budget=int(3.5 * reserved), caps={"gap_min": 5.0, "per_day": 20})
            await world.contacts(campaign, PEOPLE)
        Campaigns.org_id, Campaigns.agent_id = world.org_id, world.agent_id
        await database.close()

    asyncio.run(fill())
    Campaigns.template, Campaigns.folder = path, tmp_path
    return path


@pytest.mark.usefixtures("template")
def test_the_invariants_hold_whatever_happens() -> None:
    run_state_machine_as_test(
        Campaigns,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
