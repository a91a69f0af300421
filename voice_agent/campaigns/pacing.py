"""How many calls each campaign may begin now: state in, decisions out. Pure.

How it works
------------
Whoever begins calls asks a few times a second. What holds calls back is a *scope*: so many calls at a time in the whole
installation (less what is kept free for people who call us), in an organisation, in a campaign, with an agent, with a
number. A place is one call more in every scope that the campaign is in; of its agents and its numbers it needs one of
each that has room. Places are given one at a time:

1. To callbacks that were promised, then to everybody else.
2. To the organisation that had the fewest so far, within it to the campaign that had the fewest for its weight.
   Who had nothing to call meanwhile does not save its turns up: stride scheduling (Waldspurger and Weihl, 1995).
3. Until nobody who has somebody due fits into all of their scopes any more.

How fast: calls that were admitted and have not been asked for at the carrier yet (`starting`) are bounded by what may
be begun in `LOOKAHEAD_S`, for each campaign and for the carrier's account. The rate itself is kept where the request is
sent (`calls.turns`); admitting further ahead would only make what was decided old.

A campaign begins slowly (`Pacing.ramp_from`) and doubles while its calls go well; trouble begins the ramp anew.

Whom exactly, and with which number, is the admission's business, which counts again in its own transaction.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from voice_agent.campaigns.plan import Pacing

LOOKAHEAD_S = 1.0
"""So much is admitted ahead: a pause drops all of it, and a tick every 250 ms keeps the carrier busy."""

LEAST_PER_SECOND = 1.0
"""With which a ramp begins where its share of the campaign's own rate is less (campaigns.md 1A, "Ramp")."""


class Blocker(StrEnum):
    """Why a campaign does not begin (more) calls."""

    NOBODY_DUE = "nobody_due"
    CAMPAIGN_FULL = "campaign_full"
    """As many calls as the plan allows at a time; on its ramp as many as it allows by now."""

    CAMPAIGN_RATE = "campaign_rate"
    CARRIER_RATE = "carrier_rate"
    GLOBAL_FULL = "global_full"
    ORGANISATION_FULL = "organisation_full"
    AGENTS_FULL = "agents_full"
    NUMBERS_FULL = "numbers_full"
    """Every number is at a limit of its own, rests, or is in quarantine."""

    NO_NUMBER = "no_number"
    NO_AGENT = "no_agent"


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """So many calls at a time."""

    limit: int | None
    """None: any number."""

    active: int

    @property
    def room(self) -> float:
        """How many more there may be."""
        return math.inf if self.limit is None else max(0, self.limit - self.active)


class Claimant(msgspec.Struct, frozen=True, kw_only=True):
    """A running campaign."""

    campaign_id: UUID
    org_id: UUID
    weight: int
    pacing: Pacing
    ramp: float = 1.0
    """Share of its rate and of its calls at a time that it may use by now (`ramp`)."""

    active: int
    """Its calls that go on or may, those that are only admitted included."""

    starting: int
    """Of these, those that have not been asked for at the carrier."""

    due: int
    """Contacts that could be called now, those with a promised callback included; counted up to some bound."""

    callbacks: int = 0
    agents: tuple[str, ...] = ()
    """Keys of `Ground.agents`: one of them has to have room. Likewise numbers."""

    numbers: tuple[str, ...] = ()

    @property
    def max_calls(self) -> int:
        """Calls at a time by now."""
        return max(1, math.floor(self.pacing.max_calls * self.ramp))

    @property
    def calls_per_second(self) -> float:
        """Calls begun in a second by now."""
        whole = self.pacing.calls_per_second
        return min(whole, max(LEAST_PER_SECOND, whole * self.ramp))


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What all campaigns share."""

    everything: Scope
    """Every call of the installation."""

    kept_free: int = 0
    """Of these, what campaigns leave free for people who call us."""

    calls_per_second: float
    """What the carrier's account allows."""

    starting: int
    """Calls that are admitted and were not asked for yet, of all campaigns."""

    organisations: Mapping[UUID, Scope] = {}
    agents: Mapping[str, Scope] = {}
    numbers: Mapping[str, Scope] = {}


class Turns(msgspec.Struct, frozen=True, kw_only=True):
    """Who had how many places: what fairness remembers from one decision to the next."""

    organisations: Mapping[UUID, float] = {}
    campaigns: Mapping[UUID, float] = {}
    """Places divided by weight."""


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """What may be begun now."""

    places: Mapping[UUID, int]
    """Of each campaign that may begin any."""

    blockers: Mapping[UUID, tuple[Blocker, ...]]
    """Of each campaign, what kept it from more."""

    turns: Turns


def decide(claimants: Sequence[Claimant], ground: Ground, turns: Turns) -> Decisions:
    """Return how many calls each campaign may begin now, and what keeps each from more."""
    return _Round(claimants, ground, turns).decided()


class _Round:
    """One decision: what room is left, and who has what."""

    def __init__(self, claimants: Sequence[Claimant], ground: Ground, turns: Turns) -> None:
        self._claimants = claimants
        self._ground = ground
        self._everything = max(0.0, ground.everything.room - ground.kept_free)
        self._carrier = _ahead(ground.calls_per_second) - ground.starting
        self._organisations = {key: scope.room for key, scope in ground.organisations.items()}
        self._agents = {key: scope.room for key, scope in ground.agents.items()}
        self._numbers = {key: scope.room for key, scope in ground.numbers.items()}
        self._given = dict.fromkeys((each.campaign_id for each in claimants), 0)
        fit = [each for each in claimants if each.due > 0 and not _OWN.intersection(self._blockers(each))]
        self._turns = _joined(turns.campaigns, _ids(claimants), present=_ids(fit))
        self._org_turns = _joined(turns.organisations, _organisations(claimants), present=_organisations(fit))

    def decided(self) -> Decisions:
        for is_for_callbacks in (True, False):
            waiting = [each for each in self._claimants if self._wanted(each, is_for_callbacks) > 0]
            while waiting:
                claimant = min(waiting, key=self._turn_of)
                if next(self._blockers(claimant), None) is None:
                    self._give(claimant)
                    if self._wanted(claimant, is_for_callbacks) > 0:
                        continue
                # Room only shrinks: who does not fit now does not fit later in this round.
                waiting.remove(claimant)
        return Decisions(
            places={key: given for key, given in self._given.items() if given},
            blockers={each.campaign_id: tuple(self._why(each)) for each in self._claimants},
            turns=Turns(organisations=self._org_turns, campaigns=self._turns),
        )

    def _wanted(self, claimant: Claimant, is_for_callbacks: bool) -> int:
        wanted = min(claimant.callbacks, claimant.due) if is_for_callbacks else claimant.due
        return wanted - self._given[claimant.campaign_id]

    def _turn_of(self, claimant: Claimant) -> tuple[float, float]:
        return self._org_turns[claimant.org_id], self._turns[claimant.campaign_id]

    def _give(self, claimant: Claimant) -> None:
        self._given[claimant.campaign_id] += 1
        self._everything -= 1
        self._carrier -= 1
        self._organisations[claimant.org_id] = self._organisations.get(claimant.org_id, math.inf) - 1
        for room, keys in ((self._agents, claimant.agents), (self._numbers, claimant.numbers)):
            room[max(keys, key=room.__getitem__)] -= 1
        self._org_turns[claimant.org_id] += 1
        self._turns[claimant.campaign_id] += 1 / claimant.weight

    def _why(self, claimant: Claimant) -> Iterator[Blocker]:
        if self._wanted(claimant, is_for_callbacks=False) <= 0:
            yield Blocker.NOBODY_DUE
        yield from self._blockers(claimant)

    def _blockers(self, claimant: Claimant) -> Iterator[Blocker]:
        """Yield what keeps a campaign from one more call."""
        given = self._given[claimant.campaign_id]
        if claimant.active + given >= claimant.max_calls:
            yield Blocker.CAMPAIGN_FULL
        if claimant.starting + given >= _ahead(claimant.calls_per_second):
            yield Blocker.CAMPAIGN_RATE
        if self._carrier < 1:
            yield Blocker.CARRIER_RATE
        if self._everything < 1:
            yield Blocker.GLOBAL_FULL
        if self._organisations.get(claimant.org_id, math.inf) < 1:
            yield Blocker.ORGANISATION_FULL
        yield from _one_of(claimant.agents, self._agents, Blocker.NO_AGENT, Blocker.AGENTS_FULL)
        yield from _one_of(claimant.numbers, self._numbers, Blocker.NO_NUMBER, Blocker.NUMBERS_FULL)


def _one_of(keys: tuple[str, ...], room: Mapping[str, float], none: Blocker, full: Blocker) -> Iterator[Blocker]:
    if not keys:
        yield none
    elif max(room[key] for key in keys) < 1:
        yield full


def _ahead(calls_per_second: float) -> int:
    """Return how many calls may wait for their turn at the carrier."""
    return max(1, math.ceil(calls_per_second * LOOKAHEAD_S))


_OWN = frozenset(
    {
        Blocker.CAMPAIGN_FULL,
        Blocker.CAMPAIGN_RATE,
        Blocker.ORGANISATION_FULL,
        Blocker.AGENTS_FULL,
        Blocker.NUMBERS_FULL,
        Blocker.NO_NUMBER,
        Blocker.NO_AGENT,
    }
)
"""What keeps a campaign from calling whatever the others do: then its turns pass."""


def _ids(claimants: Sequence[Claimant]) -> frozenset[UUID]:
    return frozenset(each.campaign_id for each in claimants)


def _organisations(claimants: Sequence[Claimant]) -> frozenset[UUID]:
    return frozenset(each.org_id for each in claimants)


def _joined(turns: Mapping[UUID, float], known: frozenset[UUID], *, present: frozenset[UUID]) -> dict[UUID, float]:
    """Return the turns of who is known, the hindmost of those present at 0; who is not present is not behind it.

    Those who are not known any more are forgotten.
    """
    hindmost = min((turns[key] for key in present if key in turns), default=0.0)
    return {key: max(0.0, turns.get(key, hindmost) - hindmost) for key in known}


def ramp(pacing: Pacing, since: datetime, now: datetime) -> float:
    """Return the share of its rate that a campaign may use: doubled each step since it began, or since it had trouble.

    Above 0, at the most 1.
    """
    steps = max(0.0, (now - since).total_seconds()) // pacing.ramp_step_s
    return min(1.0, max(pacing.ramp_from, 0.001) * math.pow(2.0, min(steps, 10.0)))
