"""The life of a call: its states, what the carrier reports, and what comes of a report. Pure.

How it works
------------
A call is a set of facts. `applied(facts, report)` returns the facts after one report; it never raises and the order,
number and lateness of reports do not matter for where it ends:

    intent ──► dialing ──► accepted ──► ringing ──► in_progress ──► ended
       │          ├──► unknown ──► accepted (adopted: the carrier has it after all)
       │          │       └──────► not_placed (looked for, and never found)
       │          └──► failed (the carrier refused, with a reason)
       └──► void (no request was made)              accepted, ringing ──► cancelled, ended (busy, no answer ...)

- Each state has a rank. A report of a lower or equal rank changes no state: it only fills in what was not known yet
  (when it rang, who answered, what it cost).
- A final state stays, with two exceptions: `not_placed` and `void` say that there was no call, so a report of one
  proves them wrong; and a verdict on who answered, which may come after the end, corrects the outcome.
- An inbound call begins at `ringing`.

Source: campaigns.md section 5, "Call attempt"; https://www.twilio.com/docs/voice/api/call-resource for the statuses.
"""

from datetime import datetime
from enum import StrEnum

import msgspec


class CallState(StrEnum):
    """Where a call is."""

    INTENT = "intent"
    """Written down; no request made."""

    DIALING = "dialing"
    """The request may have been sent."""

    UNKNOWN = "unknown"
    """The request was sent and its answer did not come: the call may be there or not."""

    ACCEPTED = "accepted"
    RINGING = "ringing"
    IN_PROGRESS = "in_progress"
    ENDED = "ended"
    FAILED = "failed"
    CANCELLED = "cancelled"
    VOID = "void"
    NOT_PLACED = "not_placed"


class Outcome(StrEnum):
    """How a call came out, once it has ended. A closed set: what it meant for the business is another thing."""

    HUMAN = "human"
    VOICEMAIL = "voicemail"
    FAX = "fax"
    SILENT = "silent"
    """Answered, and nobody said a word."""

    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    INVALID_NUMBER = "invalid_number"
    CARRIER_FAILED = "carrier_failed"
    CANCELLED = "cancelled"
    NOT_PLACED = "not_placed"
    BLOCKED = "blocked"
    """A rule of ours forbade it after it had been written down."""


RANKS: dict[CallState, int] = {
    CallState.INTENT: 0,
    CallState.VOID: 1,
    CallState.DIALING: 2,
    CallState.UNKNOWN: 3,
    CallState.NOT_PLACED: 4,
    CallState.ACCEPTED: 5,
    CallState.RINGING: 6,
    CallState.IN_PROGRESS: 7,
    CallState.ENDED: 8,
    CallState.FAILED: 8,
    CallState.CANCELLED: 8,
}
"""A report moves a call only upwards. That there was no call ranks below every sign that there is one."""

ACTIVE = frozenset(
    {
        CallState.INTENT,
        CallState.DIALING,
        CallState.UNKNOWN,
        CallState.ACCEPTED,
        CallState.RINGING,
        CallState.IN_PROGRESS,
    }
)
"""A call that is going on, or may be."""

FINAL = frozenset(CallState) - ACTIVE

_STATES: dict[str, CallState] = {
    "queued": CallState.ACCEPTED,
    "initiated": CallState.ACCEPTED,
    "ringing": CallState.RINGING,
    "in-progress": CallState.IN_PROGRESS,
    "answered": CallState.IN_PROGRESS,
    "completed": CallState.ENDED,
    "busy": CallState.ENDED,
    "no-answer": CallState.ENDED,
    "failed": CallState.ENDED,
    "canceled": CallState.CANCELLED,
}
"""Twilio's CallStatus. A status that is not here (a new one) changes nothing."""

_OUTCOMES: dict[str, Outcome] = {
    "busy": Outcome.BUSY,
    "no-answer": Outcome.NO_ANSWER,
    "canceled": Outcome.CANCELLED,
}

_INVALID_NUMBER_SIP = frozenset({404, 410, 484, 485, 604})
_REJECTED_SIP = frozenset({403, 603, 607, 608})
"""Answers of the far end to an INVITE. RFC 3261 section 21; 607 and 608: RFC 8197, RFC 8688."""


class CarrierReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the carrier said of a call: a callback's content, or an answer to our question."""

    status: str = ""
    """Twilio's CallStatus or REST status; empty where the report is not about it."""

    at: datetime | None = None
    """The carrier's time, ours where it gave none."""

    answered_by: str = ""
    """human, machine_start, machine_end_beep, machine_end_silence, machine_end_other, fax or unknown."""

    sip_code: int | None = None
    error_code: int | None = None
    duration_s: int | None = None
    price: int | None = None
    """Millionths of a US dollar."""


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call; `calls.repository` reads it from a row and writes it back."""

    state: CallState
    outcome: Outcome | None = None
    answered_by: str | None = None
    sip_code: int | None = None
    error_code: int | None = None
    accepted_at: datetime | None = None
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    talk_s: int | None = None
    price: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether the call is over."""
        return self.state in FINAL


def applied(facts: CallFacts, report: CarrierReport) -> CallFacts:
    """Return the facts after a report."""
    reported = _STATES.get(report.status)
    if reported is not None and facts.state in {CallState.VOID, CallState.NOT_PLACED}:
        facts = msgspec.structs.replace(facts, ended_at=None, outcome=None)
    state = facts.state
    if reported is not None and RANKS[reported] > RANKS[state]:
        state = reported
    known = _filled_in(facts, report, reported)
    return msgspec.structs.replace(known, state=state, outcome=_outcome(known, state, report))


def _filled_in(facts: CallFacts, report: CarrierReport, reported: CallState | None) -> CallFacts:
    """Return the facts with what the report adds; what was known before stays, but for who answered and the price."""
    moments = {
        CallState.ACCEPTED: "accepted_at",
        CallState.RINGING: "ringing_at",
        CallState.IN_PROGRESS: "answered_at",
        CallState.ENDED: "ended_at",
        CallState.CANCELLED: "ended_at",
    }
    changes: dict[str, object] = {}
    field = moments.get(reported) if reported is not None else None
    if field is not None and getattr(facts, field) is None:
        changes[field] = report.at
    if report.answered_by and _is_better(report.answered_by, facts.answered_by):
        changes["answered_by"] = report.answered_by
    for name, value in (
        ("sip_code", report.sip_code),
        ("error_code", report.error_code),
        ("talk_s", report.duration_s),
    ):
        if value is not None and getattr(facts, name) is None:
            changes[name] = value
    if report.price is not None:  # the carrier knows it some time after the end, and corrects it
        changes["price"] = report.price
    return msgspec.structs.replace(facts, **changes) if changes else facts


def _is_better(verdict: str, known: str | None) -> bool:
    return known is None or (known == "unknown" and verdict != "unknown")


def _outcome(facts: CallFacts, state: CallState, report: CarrierReport) -> Outcome | None:
    """Return how the call came out. Settled once, except that a later verdict on who answered corrects it."""
    if facts.outcome is Outcome.HUMAN:
        return answered_outcome(facts.answered_by)
    if facts.outcome is not None or state not in {CallState.ENDED, CallState.CANCELLED}:
        return facts.outcome
    return _first_outcome(facts, report)


def _first_outcome(facts: CallFacts, report: CarrierReport) -> Outcome:
    if report.status in _OUTCOMES:
        return _OUTCOMES[report.status]
    if report.status == "failed":
        return failed_outcome(facts.sip_code)
    return answered_outcome(facts.answered_by)


def failed_outcome(sip_code: int | None) -> Outcome:
    """Return what a failed call means by the far end's answer."""
    if sip_code in _INVALID_NUMBER_SIP:
        return Outcome.INVALID_NUMBER
    if sip_code in _REJECTED_SIP:
        return Outcome.REJECTED
    return Outcome.CARRIER_FAILED


def answered_outcome(answered_by: str | None) -> Outcome:
    """Return who was reached; without a verdict a person."""
    if answered_by is None or answered_by in {"human", "unknown"}:
        return Outcome.HUMAN
    return Outcome.FAX if answered_by == "fax" else Outcome.VOICEMAIL


def moved(facts: CallFacts, state: CallState, *, at: datetime, outcome: Outcome | None = None) -> CallFacts:
    """Return the facts after a step of our own: a request made, given up, refused, or a call ended by our hand.

    Raises ValueError for a step that `STEPS` does not have: a fault of the caller, never of the carrier.
    """
    if state not in STEPS.get(facts.state, frozenset()):
        raise ValueError(f"a call does not go from {facts.state} to {state}")
    changes: dict[str, object] = {"state": state}
    if state is CallState.ACCEPTED:
        changes["accepted_at"] = facts.accepted_at or at
    if state is CallState.IN_PROGRESS:
        changes["answered_at"] = facts.answered_at or at
    if state in FINAL:
        changes |= {"ended_at": facts.ended_at or at, "outcome": outcome or _DEFAULT_OUTCOMES[state]}
    return msgspec.structs.replace(facts, **changes)


STEPS: dict[CallState, frozenset[CallState]] = {
    CallState.INTENT: frozenset({CallState.DIALING, CallState.VOID}),
    CallState.DIALING: frozenset({CallState.ACCEPTED, CallState.FAILED, CallState.UNKNOWN, CallState.INTENT}),
    CallState.UNKNOWN: frozenset({CallState.ACCEPTED, CallState.NOT_PLACED}),
    CallState.ACCEPTED: frozenset({CallState.IN_PROGRESS, CallState.CANCELLED, CallState.ENDED}),
    CallState.RINGING: frozenset({CallState.IN_PROGRESS, CallState.CANCELLED, CallState.ENDED}),
    CallState.IN_PROGRESS: frozenset({CallState.ENDED}),
}
"""Steps that we take. Back to intent: the carrier said that it had not processed the request (429)."""

_DEFAULT_OUTCOMES: dict[CallState, Outcome] = {
    CallState.VOID: Outcome.BLOCKED,
    CallState.FAILED: Outcome.CARRIER_FAILED,
    CallState.NOT_PLACED: Outcome.NOT_PLACED,
    CallState.CANCELLED: Outcome.CANCELLED,
    CallState.ENDED: Outcome.HUMAN,
}
