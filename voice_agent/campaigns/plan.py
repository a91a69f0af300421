"""What a campaign does: whom it calls, as whom, when, how often, and what it may cost. Pure.

A plan is a document, kept whole with each revision. `read_plan` refuses what cannot be right, naming the field; whether
it can be run here and now (numbers, consents, agents) is the preflight's business. What the preflight looked at is told
by `fingerprint`: a plan with another one has to be looked at again.

Source: campaigns.md sections 1A and 5 ("Default retry matrix").
"""

import hashlib
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from voice_agent.calls.model import Outcome
from voice_agent.compliance.model import Purpose
from voice_agent.errors import InvalidRequest
from voice_agent.storage.storable import why_not_storable

Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Minutes = Annotated[float, Meta(ge=0.0, le=60 * 24 * 90)]
ClockTime = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$")]
Key = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Instant = Annotated[datetime, Meta(tz=True)]

FLOOR_MIN = 5.0
"""Between two attempts at a contact, whatever the plan says."""


class Audience(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom it calls: everybody on these lists who fits the filter and is on none of the others."""

    lists: Annotated[tuple[UUID, ...], Meta(max_length=50)] = ()
    without_lists: Annotated[tuple[UUID, ...], Meta(max_length=50)] = ()
    filter: dict[str, Any] | None = None
    """As of `contacts.filters`; alone it chooses among all contacts."""

    is_live: bool = False
    """Whether contacts that fit later are called too, while it runs."""

    daily_new: Positive | None = None
    """Most contacts that join in a day (UTC) while it runs."""

    rank_field: Annotated[str, Meta(max_length=64)] = ""
    """Custom field, a number, by which they are called: lower ones first; empty: all alike. No number counts as 0."""

    @property
    def is_empty(self) -> bool:
        """Whether it names nobody: contacts are then added by hand."""
        return not self.lists and self.filter is None


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several ways to speak; a contact keeps its own."""

    key: Key = "a"
    agent_id: UUID
    agent_version: Positive | None = None
    """None: whatever is published."""

    weight: Annotated[int, Meta(ge=0, le=1_000)] = 1
    pool_id: UUID | None = None
    """Numbers of its own; None: the campaign's."""

    variables: dict[str, str] = {}
    """Added to what the agent is told of everybody."""


class Weekday(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours in which it may call, in the contact's own time. One that closes before it opens lasts past midnight."""

    days: Annotated[tuple[Weekday, ...], Meta(min_length=1, max_length=7)]
    opens: ClockTime
    closes: ClockTime


class Pacing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast, and how many at once."""

    calls_per_second: Annotated[float, Meta(gt=0.0, le=100.0)] = 1.0
    """Twilio starts one call a second unless an account may do more, and queues what is above it for up to a day."""

    max_calls: Positive = 10
    ramp_from: Share = 0.1
    """Share of both that it begins with; doubled each `ramp_step_s` while calls go well."""

    ramp_step_s: Annotated[float, Meta(ge=1.0, le=3_600.0)] = 60.0


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When somebody is called again after an outcome: minutes after the end of the last call, one for each time."""

    after_min: Annotated[tuple[Minutes, ...], Meta(max_length=10)] = ()
    is_other_daypart: bool = False
    """Whether the next one is moved into another part of the day."""

    is_other_number: bool = False
    """Whether another number is shown."""

    is_counted: bool = True
    """Whether the attempt counts against the caps."""


DEFAULT_RETRIES: dict[str, Retry] = {
    "busy": Retry(after_min=(15, 60, 240)),
    "no_answer": Retry(after_min=(240, 1_440, 2_880), is_other_daypart=True),
    "voicemail": Retry(after_min=(1_440, 1_440)),
    "rejected": Retry(after_min=(1_440,)),
    "carrier_failed": Retry(after_min=(2, 10, 60), is_other_number=True),
    "silent": Retry(after_min=(60,)),
    "not_placed": Retry(after_min=(0, 0, 0), is_counted=False),
}
"""Outcomes that are not here end the contact's part in the campaign."""


class Caps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often one person may be called, all campaigns of the organisation taken together."""

    gap_min: Annotated[float, Meta(ge=FLOOR_MIN, le=60 * 24 * 30)] = 240.0
    per_day: Annotated[int, Meta(ge=1, le=20)] = 3
    per_week: Annotated[int, Meta(ge=1, le=50)] = 8
    per_campaign: Annotated[int, Meta(ge=1, le=50)] = 8


class OnMachine(StrEnum):
    """What is done where a machine answers."""

    HANG_UP = "hang_up"
    DROP = "drop"
    """A fixed message after the beep."""

    SPEAK = "speak"
    """A message with the contact's own variables after the beep."""

    CONTINUE = "continue"


class MachineRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens at a machine, by attempt: the last one holds for all that follow."""

    by_attempt: Annotated[tuple[OnMachine, ...], Meta(min_length=1, max_length=10)] = (OnMachine.HANG_UP,)
    message: Annotated[str, Meta(max_length=1_000)] = ""
    """With {variables}, in the agent's voice."""


class HoldRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the system stops dialling by itself."""

    failure_share: Share = 0.5
    """Of the calls that ended within `window_s`; those that the carrier or our own side failed."""

    window_s: Annotated[float, Meta(ge=10.0, le=3_600.0)] = 120.0
    least_calls: Positive = 5
    silent_share: Share = 0.2
    """Of answered calls, those in which the agent was not heard within 2 s."""

    release_after_s: Annotated[float, Meta(ge=10.0, le=86_400.0)] = 300.0


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    purpose: str
    """`compliance.model.Purpose`."""

    audience: Audience
    variants: Annotated[tuple[Variant, ...], Meta(min_length=1, max_length=10)]
    pool_id: UUID | None = None
    """Numbers to show; None: all of the organisation's."""

    windows: Annotated[tuple[Window, ...], Meta(max_length=100)] = ()
    """None: whatever the law allows. They only ever narrow it."""

    black_out: Annotated[tuple[date, ...], Meta(max_length=400)] = ()
    """Days on which it calls nobody, in the contact's own time."""

    holidays: Annotated[tuple[str, ...], Meta(max_length=50)] = ()
    """Calendars whose days are left out, such as ES or ES-MD, beside those of the law."""

    starts_at: Instant | None = None
    ends_at: Instant | None = None
    pacing: Pacing = Pacing()
    retries: dict[str, Retry] = msgspec.field(default_factory=lambda: dict(DEFAULT_RETRIES))
    caps: Caps = Caps()
    ring_s: Annotated[int, Meta(ge=5, le=120)] = 30
    machines: MachineRule = MachineRule()
    detects_machines: bool = True
    holds: HoldRule = HoldRule()
    budget: Annotated[int, Meta(ge=0)] | None = None
    """Most that its calls may cost, in millionths of a US dollar; None: the organisation's own cap alone."""

    weight: Annotated[int, Meta(ge=1, le=100)] = 1
    """Its share beside other campaigns that run."""

    is_carrier_recorded: bool = False


LOOKED_AT = ("purpose", "audience", "variants", "pool_id", "windows", "black_out", "holidays", "budget")
"""What the preflight depends on. The rest (pace, retries, caps, machines, holds, dates, weight) may change freely."""

_RETRIED = frozenset(Outcome) - {Outcome.INVALID_NUMBER, Outcome.HUMAN, Outcome.BLOCKED}
"""Outcomes after which a contact may be called again; after `human` only a callback is."""


def read_plan(document: dict[str, Any]) -> Plan:
    """Return the plan that a document is. Raises InvalidRequest, naming what is wrong."""
    if reason := why_not_storable(document):
        raise InvalidRequest(f"plan: {reason}")
    try:
        plan = msgspec.convert(document, Plan)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"plan: {error}") from None
    if fault := next(filter(None, (_purpose(plan), _variants(plan), _windows(plan), _dates(plan), _retries(plan))), ""):
        raise InvalidRequest(f"plan: {fault}")
    return plan


def stored_plan(document: dict[str, Any]) -> Plan:
    """Return a plan that `read_plan` has let pass before."""
    return msgspec.convert(document, Plan)


def document_of(plan: Plan) -> dict[str, Any]:
    """Return a plan as it is stored."""
    document: dict[str, Any] = msgspec.to_builtins(plan)
    return document


def fingerprint(plan: Plan, *, contacts: int, agents: dict[str, str]) -> str:
    """Return a digest of what a preflight looks at: the plan, how many contacts, and each agent's version."""
    document = document_of(plan)
    looked_at = {name: document[name] for name in LOOKED_AT}
    return hashlib.sha256(msgspec.json.encode([looked_at, contacts, sorted(agents.items())])).hexdigest()


def is_looked_at_again(old: Plan, new: Plan) -> bool:
    """Tell whether a change is one of the audience, or of what the law looks at."""
    return any(getattr(old, name) != getattr(new, name) for name in LOOKED_AT)


def differences(old: Any, new: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return what differs between two documents: dotted name of the field to its old and new value."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return {} if old == new else {prefix: (old, new)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted(old.keys() | new.keys()):
        found |= differences(old.get(name), new.get(name), f"{prefix}.{name}" if prefix else name)
    return found


def _purpose(plan: Plan) -> str:
    if plan.purpose not in set(Purpose) - {Purpose.TEST}:
        return f"purpose: {plan.purpose[:40]!r} is none of {', '.join(sorted(set(Purpose) - {Purpose.TEST}))}"
    return ""


def _variants(plan: Plan) -> str:
    keys = [variant.key for variant in plan.variants]
    if len(set(keys)) < len(keys):
        return "variants: two have the same key"
    if not any(variant.weight for variant in plan.variants):
        return "variants: one of them needs a weight"
    return ""


def _windows(plan: Plan) -> str:
    if any(window.opens in (window.closes, "24:00") for window in plan.windows):
        return "windows: one opens when it closes; the whole day is 00:00 to 24:00"
    return ""


def _dates(plan: Plan) -> str:
    if plan.starts_at is not None and plan.ends_at is not None and plan.ends_at <= plan.starts_at:
        return "ends_at: is not after starts_at"
    return ""


def _retries(plan: Plan) -> str:
    unknown = sorted(set(plan.retries) - _RETRIED)
    return f"retries: nobody is called again after {', '.join(unknown)[:100]}" if unknown else ""
