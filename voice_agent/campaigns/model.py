"""The life of a campaign and of each contact in it: states, what moves them, and what an outcome means. Pure.

How it works
------------
Everything that happens to a campaign is an event in one table, `TRANSITIONS`: from which states, to which one. What is
not in the table is refused (409), and an event changes nothing else. Three verbs stop a campaign, and they differ in
what becomes of calls:

| verb | new calls | queued at the carrier | live calls |
|---|---|---|---|
| pause | none from its commit on | cancelled | go on; `paused` when the last has ended |
| stop | none, ever | cancelled | go on; `stopped` when the last has ended |
| emergency stop | none, ever | cancelled | hung up |

Outside its hours a campaign is `running`: waiting is no state, so it cannot be lost.

A contact of a campaign is in one state of `ContactState`. It is over in a terminal one; only a manager's `reopen`
leaves that again. The campaign is completed when all of its contacts are, and no call is under way.

Source: campaigns.md section 5.
"""

from enum import StrEnum

import msgspec

from voice_agent.errors import Conflict


class CampaignState(StrEnum):
    """Where a campaign is."""

    DRAFT = "draft"
    VALIDATING = "validating"
    READY = "ready"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    HELD = "held"
    """The system stopped dialling, for a reason that is told."""

    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class CampaignEvent(StrEnum):
    """What may happen to a campaign."""

    VALIDATE = "validate"
    FOUND_READY = "found_ready"
    FOUND_WANTING = "found_wanting"
    SCHEDULE = "schedule"
    UNSCHEDULE = "unschedule"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    HOLD = "hold"
    RELEASE = "release"
    EDIT = "edit"
    """Of what the law or the audience does not depend on."""

    REDRAFT = "redraft"
    """An edit of the audience or of what the law looks at."""

    STOP = "stop"
    END_REACHED = "end_reached"
    DRAINED = "drained"
    """No call is under way, and nobody is left who would be called."""

    FINISHED = "finished"
    """The same, after the end of the campaign was reached."""

    ARCHIVE = "archive"


_S, _E = CampaignState, CampaignEvent

TRANSITIONS: dict[tuple[CampaignState, CampaignEvent], CampaignState] = {
    (_S.DRAFT, _E.VALIDATE): _S.VALIDATING,
    (_S.READY, _E.VALIDATE): _S.VALIDATING,
    (_S.VALIDATING, _E.FOUND_READY): _S.READY,
    (_S.VALIDATING, _E.FOUND_WANTING): _S.DRAFT,
    (_S.READY, _E.SCHEDULE): _S.SCHEDULED,
    (_S.SCHEDULED, _E.UNSCHEDULE): _S.READY,
    (_S.READY, _E.START): _S.RUNNING,
    (_S.SCHEDULED, _E.START): _S.RUNNING,
    (_S.RUNNING, _E.PAUSE): _S.PAUSING,
    (_S.HELD, _E.PAUSE): _S.PAUSING,
    (_S.PAUSING, _E.DRAINED): _S.PAUSED,
    (_S.PAUSING, _E.RESUME): _S.RUNNING,
    (_S.PAUSED, _E.RESUME): _S.RUNNING,
    (_S.RUNNING, _E.HOLD): _S.HELD,
    (_S.HELD, _E.RELEASE): _S.RUNNING,
    (_S.DRAFT, _E.EDIT): _S.DRAFT,
    (_S.READY, _E.EDIT): _S.READY,
    (_S.SCHEDULED, _E.EDIT): _S.SCHEDULED,
    (_S.PAUSED, _E.EDIT): _S.PAUSED,
    (_S.HELD, _E.EDIT): _S.HELD,
    (_S.DRAFT, _E.REDRAFT): _S.DRAFT,
    (_S.READY, _E.REDRAFT): _S.DRAFT,
    (_S.SCHEDULED, _E.REDRAFT): _S.DRAFT,
    (_S.PAUSED, _E.REDRAFT): _S.PAUSED,
    (_S.HELD, _E.REDRAFT): _S.HELD,
    (_S.SCHEDULED, _E.STOP): _S.STOPPING,
    (_S.RUNNING, _E.STOP): _S.STOPPING,
    (_S.PAUSING, _E.STOP): _S.STOPPING,
    (_S.PAUSED, _E.STOP): _S.STOPPING,
    (_S.HELD, _E.STOP): _S.STOPPING,
    (_S.STOPPING, _E.DRAINED): _S.STOPPED,
    (_S.STOPPING, _E.FINISHED): _S.COMPLETED,
    (_S.RUNNING, _E.DRAINED): _S.COMPLETED,
    (_S.DRAFT, _E.ARCHIVE): _S.ARCHIVED,
    (_S.STOPPED, _E.ARCHIVE): _S.ARCHIVED,
    (_S.COMPLETED, _E.ARCHIVE): _S.ARCHIVED,
}
"""Campaigns.md section 5, with two additions: a pause may be taken back before the last call has ended, and what is
edited while paused or held stays so, and is looked at again before it goes on. The end of a campaign (`end_reached`) is
a stop whose contacts expire."""

for _state in (_S.RUNNING, _S.HELD, _S.PAUSING, _S.PAUSED, _S.SCHEDULED):
    TRANSITIONS[_state, _E.END_REACHED] = _S.STOPPING

DIALLING = frozenset({CampaignState.RUNNING})
"""Where new calls are placed."""

EPOCH_RAISED = frozenset({_E.PAUSE, _E.HOLD, _E.STOP, _E.END_REACHED})
"""What an attempt that was admitted before it, and not placed yet, is dropped by."""


def moved(state: CampaignState, event: CampaignEvent) -> CampaignState:
    """Return the state after an event. Raises Conflict for one that the state does not allow."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise Conflict(f"a campaign that is {state} cannot {event.replace('_', ' ')}") from None


class HoldCode(StrEnum):
    """Why the system stopped dialling."""

    FAILURES = "failures"
    BUDGET = "budget"
    CARRIER = "carrier"
    """Its account or credentials are refused."""

    NO_NUMBER = "no_number"
    PROVIDER = "provider"
    """Speech or language providers fail."""

    LATENCY = "latency"
    """Our own calls are slow: the process has too much to do."""

    SILENT_AGENT = "silent_agent"
    COMPLIANCE = "compliance"


SELF_HEALING = frozenset({HoldCode.PROVIDER, HoldCode.LATENCY, HoldCode.NO_NUMBER, HoldCode.FAILURES})
"""A campaign that is held for one of these goes on by itself after a while."""


class ContactState(StrEnum):
    """Where a contact of a campaign is."""

    PENDING = "pending"
    """In the audience; the campaign has not been launched."""

    DUE = "due"
    LEASED = "leased"
    DIALING = "dialing"
    IN_CALL = "in_call"
    COOLDOWN = "cooldown"
    """Between two attempts."""

    DONE = "done"
    EXHAUSTED = "exhausted"
    """Every attempt that the plan has was made."""

    SUPPRESSED = "suppressed"
    INVALID = "invalid"
    SKIPPED = "skipped"
    EXPIRED = "expired"
    """The campaign ended before they were reached."""

    CANCELLED = "cancelled"


WAITING = frozenset({ContactState.DUE, ContactState.COOLDOWN})
AT_THE_PHONE = frozenset({ContactState.LEASED, ContactState.DIALING, ContactState.IN_CALL})
TERMINAL = frozenset(
    {
        ContactState.DONE,
        ContactState.EXHAUSTED,
        ContactState.SUPPRESSED,
        ContactState.INVALID,
        ContactState.SKIPPED,
        ContactState.EXPIRED,
        ContactState.CANCELLED,
    }
)


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many contacts of a campaign are in each state."""

    counts: dict[ContactState, int]

    @property
    def total(self) -> int:
        """All that were launched: the same always (invariant 9)."""
        return sum(self.counts.values())

    @property
    def open(self) -> int:
        """Those that are not over yet."""
        return self.total - sum(self.counts.get(state, 0) for state in TERMINAL)
