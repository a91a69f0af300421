"""Calls and what they leave behind."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint, text
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

_IS_CARRIER_RECORDED = text("is_carrier_recorded")
_ACTIVE = "state IN ('intent','dialing','unknown','accepted','ringing','in_progress')"
_IS_ACTIVE = text(_ACTIVE)
_IS_OF_A_CAMPAIGN = text("campaign_contact_id IS NOT NULL")
_IS_ACTIVE_OF_A_CAMPAIGN = text(f"campaign_contact_id IS NOT NULL AND {_ACTIVE}")
_IS_IN_A_CAMPAIGN = text("campaign_id IS NOT NULL")


class CallRow(Row):
    """One call, inbound or outbound. Its states and their order: `calls.model`."""

    __tablename__ = "call"
    __table_args__ = (
        Index("ix_call_org_id_created_at", "org_id", "created_at", "id"),
        Index("ix_call_org_id_to_number", "org_id", "to_number"),
        Index("ix_call_org_id_from_number", "org_id", "from_number"),
        Index(
            "ix_call_carrier_recorded",
            "ended_at",
            sqlite_where=_IS_CARRIER_RECORDED,
            postgresql_where=_IS_CARRIER_RECORDED,
        ),
        Index(
            "uq_call_campaign_contact_id_attempt",
            "campaign_contact_id",
            "attempt",
            unique=True,
            sqlite_where=_IS_OF_A_CAMPAIGN,
            postgresql_where=_IS_OF_A_CAMPAIGN,
        ),
        # A contact of a campaign has one call at a time.
        Index(
            "uq_call_campaign_contact_id_active",
            "campaign_contact_id",
            unique=True,
            sqlite_where=_IS_ACTIVE_OF_A_CAMPAIGN,
            postgresql_where=_IS_ACTIVE_OF_A_CAMPAIGN,
        ),
        Index(
            "ix_call_campaign_id_created_at",
            "campaign_id",
            "created_at",
            "id",
            sqlite_where=_IS_IN_A_CAMPAIGN,
            postgresql_where=_IS_IN_A_CAMPAIGN,
        ),
        Index("ix_call_from_number_requested_at", "from_number", "requested_at"),
        Index("ix_call_active", "state", "lease_until", sqlite_where=_IS_ACTIVE, postgresql_where=_IS_ACTIVE),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    direction: Mapped[Word]
    """inbound or outbound."""

    state: Mapped[Word]
    outcome: Mapped[Word | None]
    """How it ended: `calls.model.Outcome`."""

    end_reason: Mapped[Word | None]
    """Who or what ended it: caller_hung_up, agent_hung_up, transferred, transport_lost, api, machine."""

    agent_version_id: Mapped[Reference | None] = mapped_column(
        ForeignKey("agent_version.id", ondelete="SET NULL"), index=True
    )
    agent_name: Mapped[Name] = mapped_column(default="")
    language: Mapped[str] = mapped_column(String(10), default="")
    from_number: Mapped[str] = mapped_column(String(40))
    to_number: Mapped[str] = mapped_column(String(40))
    call_sid: Mapped[str | None] = mapped_column(String(64), unique=True)
    """The carrier's name for it; None until it is known."""

    variables: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """What the agent's prompt and lines are filled with: names to text."""

    machine_detection: Mapped[Word] = mapped_column(default="off")
    """off, enable or message_end."""

    on_machine: Mapped[Word] = mapped_column(default="continue")
    """What is done where a machine answers: `campaigns.plan.OnMachine`."""

    is_carrier_recorded: Mapped[bool] = mapped_column(default=False)
    is_recording_paused: Mapped[bool] = mapped_column(default=False)
    """Whether silence is recorded, for card numbers and the like."""

    ring_s: Mapped[int] = mapped_column(default=30)
    time_limit_s: Mapped[int] = mapped_column(default=3_600)
    answered_by: Mapped[Word | None]
    """Twilio's AnsweredBy."""

    error_code: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(500))
    sip_code: Mapped[int | None]

    created_at: Mapped[Moment]
    requested_at: Mapped[Moment | None]
    """The POST was about to be sent."""

    accepted_at: Mapped[Moment | None]
    ringing_at: Mapped[Moment | None]
    answered_at: Mapped[Moment | None]
    first_audio_at: Mapped[Moment | None]
    """The caller heard the agent's first sound."""

    disclosed_at: Mapped[Moment | None]
    """The caller had heard the disclosure to its end; None where there is none, or they hung up before."""

    ended_at: Mapped[Moment | None]
    talk_s: Mapped[int | None]
    """Answer to end, as the carrier counts it."""

    price: Mapped[Micros | None]
    worker: Mapped[str | None] = mapped_column(String(64))
    """Who holds its media stream."""

    lease_until: Mapped[Moment | None]
    """Until when that worker counts as alive without another word."""

    resumptions: Mapped[int] = mapped_column(default=0)
    is_ended_by_us: Mapped[bool] = mapped_column(default=False)
    """Whether the agent or the API meant the stream to end: nobody is to resume it."""

    revision: Mapped[int] = mapped_column(default=1)
    """Of this row; its ETag."""

    created_by: Mapped[Name] = mapped_column(default="")
    purpose: Mapped[Word] = mapped_column(default="service")
    """Of an outbound call, what it is for: `compliance.model.Purpose`."""

    verdict: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    """Of an outbound call, what the rules said when it was to be dialled, when that was, and which rules they were."""

    campaign_id: Mapped[Reference | None]
    campaign_contact_id: Mapped[Reference | None]
    """Of a campaign: `CampaignContactRow.id`, kept when that row is gone. Then the call is one of its attempts."""

    campaign_revision: Mapped[int | None]
    """`CampaignRevisionRow.number` under which it was admitted."""

    campaign_epoch: Mapped[int | None]
    """`CampaignRow.epoch` when it was admitted: under another one it is not placed."""

    attempt: Mapped[int | None]
    """Which one of the contact it is, from 1, without gaps."""

    variant: Mapped[str | None] = mapped_column(String(40))
    local_weekday: Mapped[int | None]
    """In the contact's own time when it was admitted: 0 is Monday; likewise local_hour."""

    local_hour: Mapped[int | None]
    machine_message: Mapped[str] = mapped_column(String(1_000), default="")
    """What is said to a machine after its beep."""

    message_left_at: Mapped[Moment | None]
    """A machine had taken all of it."""

    disposition: Mapped[Word | None]
    """What it meant for the business: `DispositionRow.key`."""

    noted: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """What the agent wrote down in it: names to text."""

    is_opted_out: Mapped[bool] = mapped_column(default=False)
    """Whether the callee asked in it not to be called again."""

    callback_at: Mapped[Moment | None]
    """When the callee asked in it to be called again."""

    briefing: Mapped[str] = mapped_column(String(500), default="")
    """What is said to whoever answers a warm transfer."""

    erased_at: Mapped[Moment | None]
    """What was said and heard has been deleted."""


class CarrierEventRow(Row):
    """Something the carrier told us, by webhook or because we asked; kept as received, applied once."""

    __tablename__ = "carrier_event"
    __table_args__ = (
        UniqueConstraint("source", "dedupe_key"),
        Index("ix_carrier_event_call_sid", "call_sid"),
        Index("ix_carrier_event_call_id", "call_id"),
    )

    id: Mapped[Key]
    call_id: Mapped[Reference | None] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))
    """None while nobody knows the call: parked."""

    call_sid: Mapped[str] = mapped_column(String(64))
    source: Mapped[Word]
    """status, machine_detection, recording, stream or poll."""

    dedupe_key: Mapped[str] = mapped_column(String(200))
    event: Mapped[Word]
    sequence: Mapped[int | None]
    at: Mapped[Moment | None]
    """The carrier's time stamp."""

    received_at: Mapped[Moment]
    copies: Mapped[int] = mapped_column(default=1)
    """How often it came."""

    payload: Mapped[Document]


class ConversationEventRow(Row):
    """One line of a call's event log (`calls.event_log`), copied from the worker's disk."""

    __tablename__ = "conversation_event"

    call_id: Mapped[Reference] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"), primary_key=True)
    segment: Mapped[int] = mapped_column(primary_key=True)
    """0 for the first media stream, 1 after the first resumption, and so on."""

    line: Mapped[int] = mapped_column(primary_key=True)
    """Counted from 1; line 1 is the header."""

    org_id: Mapped[Reference]
    body: Mapped[LongText]
    """The line as it stands, without line feed."""


class TranscriptEntryRow(Row):
    """Something that was said or done in a call (`calls.transcript`)."""

    __tablename__ = "transcript_entry"

    call_id: Mapped[Reference] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[Reference]
    kind: Mapped[Word]
    """caller, agent, tool or keys."""

    started_at: Mapped[float]
    """Seconds since the first media stream began; likewise ended_at."""

    ended_at: Mapped[float]
    turn: Mapped[int | None]
    text: Mapped[LongText]
    heard: Mapped[LongText | None]
    is_interrupted: Mapped[bool] = mapped_column(default=False)
    details: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    """Of a tool: call_id, name, arguments, result, is_error."""


class TurnLatencyRow(Row):
    """How long one answer took, and where the time went (`pipeline.latency.TurnLatency`), in milliseconds."""

    __tablename__ = "turn_latency"

    call_id: Mapped[Reference] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"), primary_key=True)
    segment: Mapped[int] = mapped_column(primary_key=True)
    turn: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[Reference]
    voice_to_voice_ms: Mapped[float]
    parts: Mapped[Document]


class RecordingRow(Row):
    """A recording, from the first byte on a worker's disk to the storage that keeps it."""

    __tablename__ = "recording"
    __table_args__ = (
        UniqueConstraint("call_id", "kind", "segment"),
        Index("ix_recording_state", "state"),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference]
    call_id: Mapped[Reference] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))
    kind: Mapped[Word]
    """stream (ours, two channels) or carrier (Twilio's own)."""

    segment: Mapped[int] = mapped_column(default=0)
    """Of the media stream; of the carrier's, which one of the call, from 0."""

    state: Mapped[Word]
    """recording, pending (on disk, or still at the carrier), stored, failed or deleted."""

    is_partial: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[str] = mapped_column(String(200), default="")
    """Why it is partial or failed."""

    storage_key: Mapped[str | None] = mapped_column(String(500))
    """Where it is once it is stored; likewise peaks_key."""

    peaks_key: Mapped[str | None] = mapped_column(String(500))
    local_path: Mapped[str | None] = mapped_column(String(1_000))
    worker: Mapped[str | None] = mapped_column(String(64))
    carrier_sid: Mapped[str | None] = mapped_column(String(64), unique=True)
    """The carrier's name for it."""

    channels: Mapped[int | None]
    """1, or 2: the caller and the agent; None until it is known."""

    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    duration_s: Mapped[float | None]
    loudness_db: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    """By channel, caller and agent: level of what is not silence, in dB below full scale."""

    created_at: Mapped[Moment]
    stored_at: Mapped[Moment | None]


class SpendRow(Row):
    """Money of a call: reserved before the dial, settled after it. An organisation's spend is the sum."""

    __tablename__ = "spend"
    __table_args__ = (
        Index("ix_spend_org_id_at", "org_id", "at"),
        Index(
            "ix_spend_campaign_id",
            "campaign_id",
            sqlite_where=_IS_IN_A_CAMPAIGN,
            postgresql_where=_IS_IN_A_CAMPAIGN,
        ),
    )

    call_id: Mapped[Reference] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"), primary_key=True)
    org_id: Mapped[Reference]
    at: Mapped[Moment]
    """When it was reserved: the day it counts for."""

    reserved: Mapped[Micros]
    settled: Mapped[Micros | None]
    """What it cost in the end; counts in place of what was reserved."""

    campaign_id: Mapped[Reference | None]
    """Whose budget it is of."""
