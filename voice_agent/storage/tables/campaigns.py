"""Campaigns: what is called when, by which rules, and what came of it.

A call of a campaign is a `CallRow`: its columns `campaign_contact_id` and `attempt` make it an attempt. There is no
second table of attempts, so that no two reports can disagree.
"""

from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from voice_agent.storage.tables.columns import (
    Document,
    JsonDocument,
    Key,
    LongText,
    Micros,
    Moment,
    Name,
    Reference,
    Row,
    Word,
)

_IS_IN_USE = text("archived_at IS NULL")
_IS_WAITING = text("state IN ('due','cooldown')")
_IS_LEASED = text("state = 'leased'")
_IS_AT_THE_PHONE = text("state IN ('leased','dialing','in_call')")
_IS_OPEN = text("state = 'pending'")


class CampaignRow(Row):
    """A campaign. Its states and what moves it: `campaigns.model`; what it does: `campaigns.plan`."""

    __tablename__ = "campaign"
    __table_args__ = (
        Index(
            "uq_campaign_org_id_name",
            "org_id",
            "name",
            unique=True,
            sqlite_where=_IS_IN_USE,
            postgresql_where=_IS_IN_USE,
        ),
        Index("ix_campaign_org_id_created_at", "org_id", "created_at", "id"),
        Index("ix_campaign_state", "state"),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    name: Mapped[Name]
    state: Mapped[Word]
    reason: Mapped[str] = mapped_column(String(500), default="")
    """Why it is held, stopped or back in draft, in words for people."""

    hold_code: Mapped[Word] = mapped_column(default="")
    """Of a held one: `campaigns.model.HoldCode`."""

    release_at: Mapped[Moment | None]
    """Of a held one: when it goes on by itself; None: when somebody says so."""

    epoch: Mapped[int] = mapped_column(default=1)
    """Raised by whatever stops the dialling: an attempt of an older epoch is not placed."""

    revision: Mapped[int] = mapped_column(default=1)
    """Number of the `CampaignRevisionRow` that holds now; its ETag."""

    plan: Mapped[Document]
    """A `campaigns.plan.Plan`, as of this revision."""

    preflight: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    """What the last look before the launch found; None where plan or audience have changed since."""

    committed: Mapped[Micros] = mapped_column(default=0)
    """Settled and reserved money of its calls, raised and lowered with their `SpendRow`s in one transaction."""

    launched_at: Mapped[Moment | None]
    resumed_at: Mapped[Moment | None]
    """When dialling last began: the ramp counts from here."""

    finished_at: Mapped[Moment | None]
    cloned_from: Mapped[Reference | None]
    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]
    archived_at: Mapped[Moment | None]


class CampaignRevisionRow(Row):
    """A plan as it was under one revision; attempts point at it by its number."""

    __tablename__ = "campaign_revision"

    campaign_id: Mapped[Reference] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[Reference]
    plan: Mapped[Document]
    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]


class CampaignContactRow(Row):
    """Somebody whom a campaign calls, or would have called."""

    __tablename__ = "campaign_contact"
    __table_args__ = (
        UniqueConstraint("campaign_id", "contact_id"),
        UniqueConstraint("campaign_id", "e164"),
        Index(
            "ix_campaign_contact_waiting",
            "campaign_id",
            "rank",
            "next_attempt_at",
            sqlite_where=_IS_WAITING,
            postgresql_where=_IS_WAITING,
        ),
        Index("ix_campaign_contact_leased", "lease_until", sqlite_where=_IS_LEASED, postgresql_where=_IS_LEASED),
        # One person, one ring, whatever campaigns run.
        Index(
            "uq_campaign_contact_at_the_phone",
            "org_id",
            "e164",
            unique=True,
            sqlite_where=_IS_AT_THE_PHONE,
            postgresql_where=_IS_AT_THE_PHONE,
        ),
        Index("ix_campaign_contact_campaign_id_state", "campaign_id", "state"),
        Index("ix_campaign_contact_org_id_e164", "org_id", "e164"),
        Index("ix_campaign_contact_contact_id", "contact_id"),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference]
    campaign_id: Mapped[Reference] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    contact_id: Mapped[Reference | None] = mapped_column(ForeignKey("contact.id", ondelete="SET NULL"))
    e164: Mapped[str] = mapped_column(String(20))
    variables: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """What the agent is told of them: names to text."""

    variant: Mapped[str] = mapped_column(String(40), default="")
    """Key of a variant of the plan, the same for all attempts."""

    from_number: Mapped[str] = mapped_column(String(20), default="")
    """The number that was shown first, and is again while it may be."""

    state: Mapped[Word]
    """`campaigns.model.ContactState`."""

    rank: Mapped[int] = mapped_column(default=0)
    """Lower ones are called first; a callback that was promised comes before all."""

    next_attempt_at: Mapped[Moment | None]
    attempts: Mapped[int] = mapped_column(default=0)
    """Calls placed that count against the caps."""

    calls: Mapped[int] = mapped_column(default=0)
    """Rows of calls, those included that never left: the number of the last attempt."""

    last_outcome: Mapped[Word | None]
    last_ended_at: Mapped[Moment | None]
    callback_at: Mapped[Moment | None]
    """When they asked to be called again."""

    skip_reason: Mapped[str] = mapped_column(String(200), default="")
    """Why they are suppressed, invalid or skipped, or why the last look put them off."""

    call_id: Mapped[Reference | None]
    """The attempt that is under way."""

    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[Moment | None]
    lease_epoch: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Moment]
    settled_at: Mapped[Moment | None]


class CampaignNoteRow(Row):
    """A line of a campaign's own log: what was done to it, what it did by itself, and why."""

    __tablename__ = "campaign_note"
    __table_args__ = (Index("ix_campaign_note_campaign_id_created_at", "campaign_id", "created_at", "id"),)

    id: Mapped[Key]
    org_id: Mapped[Reference]
    campaign_id: Mapped[Reference] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    kind: Mapped[Word]
    text: Mapped[str] = mapped_column(String(1_000))
    details: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]


class NumberPoolRow(Row):
    """Numbers that campaigns show, together."""

    __tablename__ = "number_pool"
    __table_args__ = (UniqueConstraint("org_id", "name"),)

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    name: Mapped[Name]
    created_at: Mapped[Moment]


class PoolMemberRow(Row):
    """That a number is in a pool."""

    __tablename__ = "pool_member"

    pool_id: Mapped[Reference] = mapped_column(ForeignKey("number_pool.id", ondelete="CASCADE"), primary_key=True)
    number_id: Mapped[Reference] = mapped_column(
        ForeignKey("phone_number.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    org_id: Mapped[Reference]


class LeaderRow(Row):
    """Who does what only one process at a time may do, such as deciding whom to dial."""

    __tablename__ = "leader_lease"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    until: Mapped[Moment]
    fencing: Mapped[int] = mapped_column(BigInteger, default=1)
    """Raised with every change of the owner: what an older one decided is refused."""


class RollupRow(Row):
    """Finished attempts of a campaign, counted. Made from calls, and made again from them at any time."""

    __tablename__ = "campaign_rollup"
    __table_args__ = (Index("ix_campaign_rollup_org_id_day", "org_id", "day"),)

    campaign_id: Mapped[Reference] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    """On which they ended, UTC: YYYY-MM-DD."""

    variant: Mapped[str] = mapped_column(String(40), primary_key=True)
    from_number: Mapped[str] = mapped_column(String(20), primary_key=True)
    local_weekday: Mapped[int] = mapped_column(primary_key=True)
    """In the contact's own time when it was dialled: 0 is Monday."""

    local_hour: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    """Which one of the contact it was, from 1."""

    outcome: Mapped[Word] = mapped_column(primary_key=True)
    disposition: Mapped[Word] = mapped_column(primary_key=True)
    org_id: Mapped[Reference]
    calls: Mapped[int]
    talk_s: Mapped[int] = mapped_column(BigInteger)
    cost: Mapped[Micros]
    abandoned: Mapped[int]
    """Answered by somebody who heard nothing from the agent within 2 s."""

    opted_out: Mapped[int]


class DispositionRow(Row):
    """What a call meant for the business: an organisation's own words."""

    __tablename__ = "disposition"
    __table_args__ = (UniqueConstraint("org_id", "key"),)

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    key: Mapped[Word]
    label: Mapped[Name]
    is_goal: Mapped[bool] = mapped_column(default=False)
    is_retried: Mapped[bool] = mapped_column(default=False)
    """Whether the contact is called again by the plan's callback rule."""

    created_at: Mapped[Moment]


class ReportRow(Row):
    """A report or export that is made by a job."""

    __tablename__ = "report"
    __table_args__ = (Index("ix_report_org_id_created_at", "org_id", "created_at", "id"),)

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    campaign_id: Mapped[Reference | None] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    schedule_id: Mapped[Reference | None]
    kind: Mapped[Word]
    format: Mapped[Word]
    """csv, xlsx or pdf."""

    parameters: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    state: Mapped[Word]
    """waiting, running, done or failed."""

    storage_key: Mapped[str | None] = mapped_column(String(500))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str] = mapped_column(String(500), default="")
    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]
    finished_at: Mapped[Moment | None]


class ReportScheduleRow(Row):
    """A report that is made again and again."""

    __tablename__ = "report_schedule"

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), index=True)
    campaign_id: Mapped[Reference | None] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    name: Mapped[Name]
    kind: Mapped[Word]
    format: Mapped[Word]
    zone: Mapped[str] = mapped_column(String(64))
    """IANA zone of its hour."""

    every: Mapped[Word]
    """day, week or month."""

    hour: Mapped[int]
    due_at: Mapped[Moment]
    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]


class WebhookEndpointRow(Row):
    """An address of a customer's that is told what happens."""

    __tablename__ = "webhook_endpoint"

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(String(2_000))
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """What its messages are signed with."""

    topics: Mapped[list[str]] = mapped_column(JsonDocument, default=list)
    is_enabled: Mapped[bool] = mapped_column(default=True)
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Moment]


class OutboxEventRow(Row):
    """Something that happened, to be told to the endpoints that asked for it. Written with what happened."""

    __tablename__ = "outbox_event"
    __table_args__ = (Index("ix_outbox_event_org_id_created_at", "org_id", "created_at", "id"),)

    id: Mapped[Key]
    org_id: Mapped[Reference]
    topic: Mapped[Word]
    subject: Mapped[str] = mapped_column(String(64))
    """Whom it is about: what is about the same is told in the order in which it happened."""

    payload: Mapped[Document]
    created_at: Mapped[Moment]


class WebhookDeliveryRow(Row):
    """One event on its way to one endpoint."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("ix_webhook_delivery_due_at", "due_at", sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN),
        Index("ix_webhook_delivery_endpoint_id_subject", "endpoint_id", "subject", "event_id"),
    )

    endpoint_id: Mapped[Reference] = mapped_column(
        ForeignKey("webhook_endpoint.id", ondelete="CASCADE"), primary_key=True
    )
    event_id: Mapped[Reference] = mapped_column(ForeignKey("outbox_event.id", ondelete="CASCADE"), primary_key=True)
    org_id: Mapped[Reference]
    subject: Mapped[str] = mapped_column(String(64))
    state: Mapped[Word]
    """pending, delivered or dead."""

    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[Moment]
    status: Mapped[int | None]
    """HTTP status of the last answer."""

    error: Mapped[str] = mapped_column(String(500), default="")
    body: Mapped[LongText] = mapped_column(default="")
    """The beginning of the last answer."""

    duration_ms: Mapped[float | None] = mapped_column(Double)
    delivered_at: Mapped[Moment | None]
