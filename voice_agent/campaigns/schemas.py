"""What the REST interface of campaigns takes and gives. Money is in US dollars; a plan's words are those of `plan`."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from voice_agent.calls.model import Outcome
from voice_agent.calls.policy import MICROS
from voice_agent.calls.schemas import CallOut, Number, VariableName, VariableText
from voice_agent.campaigns.derived import TestCall
from voice_agent.campaigns.model import CampaignState, ContactState, Tally
from voice_agent.campaigns.preflight import Look, look_of
from voice_agent.campaigns.repository import ContactFilter
from voice_agent.rest.inputs import Name, RequestBody
from voice_agent.storage.tables import (
    CallRow,
    CampaignContactRow,
    CampaignNoteRow,
    CampaignRevisionRow,
    CampaignRow,
    DispositionRow,
)

MOST_AT_ONCE = 1_000

Id = Annotated[UUID, Field(strict=False)]
Word = Annotated[str, StringConstraints(max_length=40)]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
PlanBody = Annotated[dict[str, Any], Field(description="What it does: docs/campaigns.md names every field.")]
State = Annotated[ContactState, Field(strict=False)]
Ended = Annotated[Outcome, Field(strict=False)]


class CampaignBody(RequestBody):
    """A campaign to make, or what one becomes."""

    name: Name
    plan: PlanBody


class NewName(RequestBody):
    """What a copy is called."""

    name: Name


class Why(RequestBody):
    """Why somebody does it."""

    reason: str = Field("", max_length=500)


class Stop(RequestBody):
    """How a campaign is stopped."""

    reason: str = Field("", max_length=500)
    mode: Literal["graceful", "emergency"] = Field(
        "graceful", description="graceful: live calls go on to their end; emergency: they are hung up."
    )


class CampaignContacts(RequestBody):
    """Contacts to add."""

    contacts: list[Id] = Field(min_length=1, max_length=MOST_AT_ONCE)


class OutcomeChoice(RequestBody):
    """Contacts of a campaign by what became of them; what is empty filters nothing."""

    states: list[State] = Field(default_factory=list, max_length=20)
    outcomes: list[Ended] = Field(default_factory=list, max_length=20, description="Of their last call.")

    def chosen(self) -> ContactFilter:
        """Return it for the service."""
        return ContactFilter(states=frozenset(self.states), outcomes=frozenset(self.outcomes))


class FromOutcomes(OutcomeChoice):
    """A new campaign of some contacts of another one."""

    name: Name


class Reopening(OutcomeChoice):
    """Contacts to call again."""

    contacts: list[Id] = Field(default_factory=list, max_length=MOST_AT_ONCE, description="Keys of contacts.")

    def chosen(self) -> ContactFilter:
        """Return it for the service."""
        return ContactFilter(
            states=frozenset(self.states), outcomes=frozenset(self.outcomes), contact_ids=tuple(self.contacts)
        )


class TrialCall(RequestBody):
    """A test call: the agent as the campaign has it, to a number of one's own."""

    to: Number
    campaign_contact_id: Id | None = Field(None, description="Whose variables the agent is told.")
    variant: Word = Field("", description="Empty: the contact's, else the first.")
    variables: dict[VariableName, VariableText] = Field(default_factory=dict, max_length=50)

    def wanted(self) -> TestCall:
        """Return it for the service."""
        return TestCall(
            to=self.to,
            campaign_contact_id=self.campaign_contact_id,
            variant=self.variant,
            variables=dict(self.variables),
        )


class CampaignOut(BaseModel):
    """A campaign."""

    id: UUID
    name: str
    state: CampaignState
    reason: str
    hold_code: str
    release_at: datetime | None
    purpose: str
    revision: int
    budget: float | None
    spent: float = Field(description="What its calls cost, and what is set aside for those that go on.")
    starts_at: datetime | None
    ends_at: datetime | None
    launched_at: datetime | None
    resumed_at: datetime | None
    finished_at: datetime | None
    cloned_from: UUID | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    contacts: int = Field(description="All that it has.")
    open: int = Field(description="Those whose part is not over.")

    @classmethod
    def of(cls, row: CampaignRow, tally: Tally) -> Self:
        """Return what the interface shows of a row."""
        return cls(**_shown(row, tally))


def _shown(row: CampaignRow, tally: Tally) -> dict[str, Any]:
    names = (
        "id", "name", "state", "reason", "hold_code", "release_at", "revision", "launched_at", "resumed_at",
        "finished_at", "cloned_from", "created_by", "created_at", "updated_at",
    )  # fmt: skip
    plan = row.plan
    budget = plan.get("budget")
    return {name: getattr(row, name) for name in names} | {
        "purpose": plan["purpose"],
        "budget": None if budget is None else budget / MICROS,
        "spent": row.committed / MICROS,
        "starts_at": plan.get("starts_at"),
        "ends_at": plan.get("ends_at"),
        "contacts": tally.total,
        "open": tally.open,
    }


class FindingOut(BaseModel):
    """Something that speaks against a launch, or that one should know before it."""

    code: str
    severity: Literal["blocks", "warns"]
    text: str
    count: int = Field(description="Contacts that it concerns; 0 where it concerns the campaign.")


class SkippedOut(BaseModel):
    """Contacts that would not be called, for one reason."""

    reason: str
    text: str
    count: int
    samples: list[UUID] = Field(description="Keys of some of the campaign's contacts.")


class PreflightOut(BaseModel):
    """What the look before a launch found."""

    stage: Literal["clearing", "audience", "looking", "done", "failed"]
    progress: float = Field(description="0 to 1, as far as it can be told.")
    revision: int
    started_at: datetime
    finished_at: datetime | None
    error: str
    is_ready: bool = Field(description="Whether nothing blocks the launch.")
    contacts: int
    kept: int = Field(description="Those that would be called.")
    waiting: int = Field(description="Of these, those that have to wait for their hours.")
    skipped: list[SkippedOut]
    countries: dict[str, int]
    findings: list[FindingOut]
    cost_low: float | None = Field(description="Every kept contact once, a minute.")
    cost_high: float | None = Field(description="Every one as often and as long as the plan allows.")
    hours: float | None = Field(description="Of dialling, everybody once.")
    ends_at: datetime | None = Field(description="When everybody would have been called once; null: not in 30 days.")

    @classmethod
    def of(cls, look: Look) -> Self:
        """Return what the interface shows of a look."""
        report = look.report
        counts = look.counts if report is None else report.counts
        return cls(
            stage=look.stage.value,
            progress=round(look.progress, 3),
            revision=look.revision,
            started_at=look.started_at,
            finished_at=look.finished_at,
            error=look.error,
            is_ready=report is not None and report.is_ready,
            contacts=counts.contacts,
            kept=counts.kept,
            waiting=counts.waiting,
            skipped=[
                SkippedOut(reason=reason, text=each.text, count=each.count, samples=list(each.samples))
                for reason, each in sorted(counts.skipped.items(), key=lambda item: -item[1].count)
            ],
            countries=counts.countries,
            findings=[
                FindingOut(code=each.code, severity=each.severity.value, text=each.text, count=each.count)
                for each in (() if report is None else report.findings)
            ],
            cost_low=None if report is None else report.cost_low / MICROS,
            cost_high=None if report is None else report.cost_high / MICROS,
            hours=None if report is None else report.hours,
            ends_at=None if report is None else report.ends_at,
        )


class CampaignDetail(CampaignOut):
    """A campaign with its plan and how far it is."""

    plan: dict[str, Any]
    tally: dict[str, int] = Field(description="How many contacts are in each state.")
    active_calls: int
    done_share: float = Field(description="Contacts whose part is over, of all.")
    preflight: PreflightOut | None = Field(description="null: not looked at since plan or audience were changed.")

    @classmethod
    def shown(cls, row: CampaignRow, tally: Tally, active_calls: int) -> Self:
        """Return what the interface shows of a row."""
        look = look_of(row)
        return cls(
            **_shown(row, tally),
            plan=row.plan,
            tally={state.value: tally.counts.get(state, 0) for state in ContactState},
            active_calls=active_calls,
            done_share=round(1.0 - tally.open / tally.total, 4) if tally.total else 0.0,
            preflight=None if look is None else PreflightOut.of(look),
        )


class RevisionOut(BaseModel):
    """A plan as it was under one revision."""

    number: int
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, row: CampaignRevisionRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class RevisionDetail(RevisionOut):
    """A revision with its plan."""

    plan: dict[str, Any]


class PlanChange(BaseModel):
    """A difference between two revisions."""

    field: str = Field(description="Dotted, such as pacing.max_calls.")
    old: Any
    new: Any


class CampaignContactOut(BaseModel):
    """A contact of a campaign."""

    id: UUID
    contact_id: UUID | None
    e164: str
    state: ContactState
    variant: str
    rank: int
    attempts: int
    calls: int
    next_attempt_at: datetime | None
    callback_at: datetime | None
    last_outcome: str | None
    last_ended_at: datetime | None
    skip_reason: str
    from_number: str
    call_id: UUID | None
    variables: dict[str, Any]
    created_at: datetime
    settled_at: datetime | None

    @classmethod
    def of(cls, row: CampaignContactRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class NoteOut(BaseModel):
    """A line of a campaign's log."""

    id: UUID
    kind: str
    text: str
    details: dict[str, Any] | None
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, row: CampaignNoteRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class AttemptOut(CallOut):
    """A call of a campaign."""

    campaign_contact_id: UUID | None
    campaign_revision: int | None
    attempt: int | None
    variant: str | None
    disposition: str | None
    is_opted_out: bool
    callback_at: datetime | None

    @classmethod
    def of(cls, row: CallRow) -> Self:
        """Return what the interface shows of a row."""
        return cls(
            **CallOut.of(row).model_dump(),
            campaign_contact_id=row.campaign_contact_id,
            campaign_revision=row.campaign_revision,
            attempt=row.attempt,
            variant=row.variant,
            disposition=row.disposition,
            is_opted_out=row.is_opted_out,
            callback_at=row.callback_at,
        )


class Added(BaseModel):
    """What came of adding contacts."""

    added: int = Field(description="Those that were not in the campaign yet, by contact or number.")


class Reopened(BaseModel):
    """What came of reopening contacts."""

    reopened: int


class DispositionBody(RequestBody):
    """What a disposition means."""

    label: Name
    is_goal: bool = Field(default=False, description="Whether it is what campaigns are for: conversions count it.")
    is_retried: bool = Field(default=False, description="Whether the contact is called again.")


class NewDisposition(DispositionBody):
    """A disposition to make."""

    key: Key


class DispositionOut(BaseModel):
    """What a call meant for the business."""

    id: UUID
    key: str
    label: str
    is_goal: bool
    is_retried: bool
    created_at: datetime

    @classmethod
    def of(cls, row: DispositionRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)
