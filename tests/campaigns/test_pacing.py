"""No cap is ever passed, no room stays empty while somebody waits for it, and everybody gets a share by weight."""

import math
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calls.stored_calls import NOW
from voice_agent.campaigns.pacing import Blocker, Claimant, Decisions, Ground, Scope, Turns, decide, ramp
from voice_agent.campaigns.plan import Pacing

A, B, C = (UUID(int=number) for number in (1, 2, 3))
HARBOUR, MILL = UUID(int=100), UUID(int=101)
FAST = Pacing(calls_per_second=100.0, max_calls=1_000)


def claimant(campaign_id: UUID = A, **said: Any) -> Claimant:
    default: dict[str, Any] = {
        "org_id": HARBOUR, "weight": 1, "pacing": FAST, "active": 0, "starting": 0, "due": 50,
        "agents": ("anna",), "numbers": ("+1",),
    }  # fmt: skip
    return Claimant(campaign_id=campaign_id, **(default | said))


def ground(**said: Any) -> Ground:
    default: dict[str, Any] = {
        "everything": Scope(limit=None, active=0), "calls_per_second": 1_000.0, "starting": 0,
        "agents": {"anna": Scope(limit=None, active=0)}, "numbers": {"+1": Scope(limit=None, active=0)},
    }  # fmt: skip
    return Ground(**(default | said))


def places(decisions: Decisions, campaign_id: UUID = A) -> int:
    return decisions.places.get(campaign_id, 0)


NOTHING = Turns()


@pytest.mark.parametrize(
    ("campaign", "around", "given_", "blocker"),
    [
        ({"due": 0}, {}, 0, Blocker.NOBODY_DUE),
        ({"due": 7}, {}, 7, Blocker.NOBODY_DUE),
        ({"active": 990}, {}, 10, Blocker.CAMPAIGN_FULL),
        ({"active": 90, "ramp": 0.1}, {}, 10, Blocker.CAMPAIGN_FULL),
        ({"ramp": 0.1}, {}, 10, Blocker.CAMPAIGN_RATE),
        ({"pacing": Pacing(calls_per_second=0.2, max_calls=9)}, {}, 1, Blocker.CAMPAIGN_RATE),
        ({"starting": 100}, {}, 0, Blocker.CAMPAIGN_RATE),
        ({}, {"calls_per_second": 4.0, "starting": 1}, 3, Blocker.CARRIER_RATE),
        ({}, {"everything": Scope(limit=10, active=4), "kept_free": 3}, 3, Blocker.GLOBAL_FULL),
        ({}, {"everything": Scope(limit=10, active=14)}, 0, Blocker.GLOBAL_FULL),
        ({}, {"organisations": {HARBOUR: Scope(limit=5, active=3)}}, 2, Blocker.ORGANISATION_FULL),
        ({}, {"agents": {"anna": Scope(limit=5, active=1)}}, 4, Blocker.AGENTS_FULL),
        ({}, {"numbers": {"+1": Scope(limit=5, active=0)}}, 5, Blocker.NUMBERS_FULL),
        ({"numbers": ()}, {}, 0, Blocker.NO_NUMBER),
        ({"agents": ()}, {}, 0, Blocker.NO_AGENT),
    ],
)
def test_each_scope_holds_back_and_is_named(
    campaign: dict[str, Any], around: dict[str, Any], given_: int, blocker: Blocker
) -> None:
    decisions = decide([claimant(**campaign)], ground(**around), NOTHING)

    assert places(decisions) == given_
    assert blocker in decisions.blockers[A]


def test_of_several_agents_and_numbers_one_with_room_is_enough() -> None:
    around = ground(
        agents={"anna": Scope(limit=1, active=1), "ben": Scope(limit=3, active=0)},
        numbers={"+1": Scope(limit=2, active=0), "+2": Scope(limit=2, active=0)},
    )

    decisions = decide([claimant(agents=("anna", "ben"), numbers=("+1", "+2"))], around, NOTHING)
    assert places(decisions) == 3


def test_promised_callbacks_come_before_everybody_else() -> None:
    around = ground(everything=Scope(limit=3, active=0))

    decisions = decide([claimant(A), claimant(B, callbacks=2)], around, Turns(campaigns={A: 0.0, B: 5.0}))
    assert (places(decisions, A), places(decisions, B)) == (1, 2)


def test_organisations_share_alike_however_many_campaigns_they_have() -> None:
    around = ground(everything=Scope(limit=8, active=0))
    mill = claimant(C, org_id=MILL)

    decisions = decide([claimant(A), claimant(B), mill], around, NOTHING)
    assert decisions.places == {A: 2, B: 2, C: 4}


def rounds(count: int, claimants: list[Claimant], around: Ground) -> Counter[UUID]:
    turns, given_ = NOTHING, Counter[UUID]()
    for _ in range(count):
        decisions = decide(claimants, around, turns)
        turns = decisions.turns
        given_.update(decisions.places)
    return given_


def test_one_place_at_a_time_is_shared_by_weight() -> None:
    around = ground(everything=Scope(limit=1, active=0))

    assert rounds(400, [claimant(A, weight=1), claimant(B, weight=3)], around) == {A: 100, B: 300}


def test_who_could_not_call_meanwhile_does_not_save_turns_up() -> None:
    around = ground(everything=Scope(limit=1, active=0))
    turns = NOTHING
    for _ in range(100):  # A has nobody due, or is at a limit of its own
        turns = decide([claimant(A, active=1_000), claimant(B)], around, turns).turns
    both, given_ = [claimant(A), claimant(B)], Counter[UUID]()
    for _ in range(10):
        decisions = decide(both, around, turns)
        turns = decisions.turns
        given_.update(decisions.places)

    assert abs(given_[A] - given_[B]) <= 2  # one place ahead at the most


def test_who_is_gone_is_forgotten() -> None:
    turns = decide([claimant(A), claimant(B)], ground(), NOTHING).turns

    assert set(decide([claimant(B)], ground(), turns).turns.campaigns) == {B}


@pytest.mark.parametrize(
    ("seconds", "share"), [(0, 0.1), (59, 0.1), (60, 0.2), (120, 0.4), (180, 0.8), (240, 1.0), (1e9, 1.0), (-5, 0.1)]
)
def test_the_ramp_doubles_each_step(seconds: float, share: float) -> None:
    assert ramp(Pacing(), NOW, NOW + timedelta(seconds=seconds)) == pytest.approx(share)


def test_a_ramp_from_nothing_begins_all_the_same() -> None:
    assert 0 < ramp(Pacing(ramp_from=0.0), NOW, NOW) < 0.01
    assert claimant(ramp=0.001).max_calls == 1
    assert claimant(ramp=0.001).calls_per_second == 1.0


scopes = st.builds(
    Scope, limit=st.none() | st.integers(min_value=0, max_value=9), active=st.integers(min_value=0, max_value=9)
)
AGENTS, NUMBERS = ("anna", "ben"), ("+1", "+2", "+3")


def subset(keys: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(keys), unique=True).map(tuple)


@st.composite
def states(draw: st.DrawFn) -> tuple[list[Claimant], Ground, Turns]:
    def pacing() -> Pacing:
        return Pacing(calls_per_second=draw(st.sampled_from([0.2, 1.0, 2.5, 10.0])), max_calls=draw(st.integers(1, 12)))

    claimants = [
        Claimant(
            campaign_id=UUID(int=number + 1),
            org_id=draw(st.sampled_from([HARBOUR, MILL])),
            weight=draw(st.integers(1, 5)),
            pacing=pacing(),
            ramp=draw(st.sampled_from([0.1, 0.5, 1.0])),
            active=draw(st.integers(0, 9)),
            starting=draw(st.integers(0, 3)),
            due=draw(st.integers(0, 12)),
            callbacks=draw(st.integers(0, 3)),
            agents=draw(subset(AGENTS)),
            numbers=draw(subset(NUMBERS)),
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    around = Ground(
        everything=draw(scopes),
        kept_free=draw(st.integers(0, 3)),
        calls_per_second=draw(st.sampled_from([1.0, 5.0, 50.0])),
        starting=draw(st.integers(0, 6)),
        organisations=draw(st.fixed_dictionaries({HARBOUR: scopes})),
        agents={key: draw(scopes) for key in AGENTS},
        numbers={key: draw(scopes) for key in NUMBERS},
    )
    turns = Turns(
        organisations=draw(st.dictionaries(st.sampled_from([HARBOUR, MILL]), st.floats(0, 9))),
        campaigns=draw(st.dictionaries(st.sampled_from([A, B, C]), st.floats(0, 9))),
    )
    return claimants, around, turns


def room(scope: Scope | None) -> float:
    return math.inf if scope is None else scope.room


@given(states())
def test_no_cap_is_ever_passed(state: tuple[list[Claimant], Ground, Turns]) -> None:
    claimants, around, turns = state
    given_ = decide(claimants, around, turns).places

    total = sum(given_.values())
    assert total <= max(0, around.everything.room - around.kept_free)
    assert total == 0 or total + around.starting <= math.ceil(around.calls_per_second)
    by_org: Counter[UUID] = Counter()
    for each in claimants:
        number = given_.get(each.campaign_id, 0)
        by_org[each.org_id] += number
        assert number <= each.due
        assert number == 0 or each.active + number <= max(1, each.pacing.max_calls * each.ramp)
        assert number == 0 or each.starting + number <= math.ceil(each.calls_per_second)
        assert number <= sum(room(around.agents[key]) for key in each.agents)
        assert number <= sum(room(around.numbers[key]) for key in each.numbers)
    assert all(number <= room(around.organisations.get(org_id)) for org_id, number in by_org.items())
    for scopes_, keys_of in ((around.agents, "agents"), (around.numbers, "numbers")):
        assert fits(claimants, given_, scopes_, keys_of)


def fits(claimants: list[Claimant], given_: Mapping[UUID, int], scopes_: Mapping[str, Scope], name: str) -> bool:
    """Hall's condition: whatever set of keys, who has no other ones fits into their room."""
    for mask in range(1, 2 ** len(scopes_)):
        keys = {key for n, key in enumerate(scopes_) if mask >> n & 1}
        bound = sum(given_.get(each.campaign_id, 0) for each in claimants if set(getattr(each, name)) <= keys)
        if bound > sum(scopes_[key].room for key in keys):
            return False
    return True


@given(states())
def test_no_room_stays_empty_while_somebody_fits_into_it(state: tuple[list[Claimant], Ground, Turns]) -> None:
    claimants, around, turns = state
    decisions = decide(claimants, around, turns)

    assert all(decisions.blockers[each.campaign_id] for each in claimants)
    assert decide(claimants, around, turns) == decisions


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.integers(1, 4))
def test_shares_follow_the_weights_within_one_place(weights: list[int], limit: int) -> None:
    claimants = [claimant(UUID(int=number + 1), weight=weight) for number, weight in enumerate(weights)]
    given_ = rounds(60, claimants, ground(everything=Scope(limit=limit, active=0)))

    normal = [given_[UUID(int=number + 1)] / weight for number, weight in enumerate(weights)]
    assert max(normal) - min(normal) <= 1 + 1e-6
