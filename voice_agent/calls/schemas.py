"""What the REST interface of calls takes and gives. Names and units are those of the domain; money is in US dollars."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from voice_agent.calls.model import CallState, Outcome
from voice_agent.calls.policy import MICROS
from voice_agent.compliance.model import Purpose
from voice_agent.pipeline.latency import TurnLatency
from voice_agent.rest.inputs import WHOLE, RequestBody
from voice_agent.storage.tables import CallRow, RecordingRow, TranscriptEntryRow, TurnLatencyRow

Number = Annotated[str, StringConstraints(min_length=2, max_length=40)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
VariableText = Annotated[str, StringConstraints(max_length=500)]


class NewCall(RequestBody):
    """A call to place."""

    to: Number = Field(description="Number to call, with + and country code.", examples=["+34612345678"])
    purpose: Purpose = Field(
        Purpose.SERVICE, strict=False, description="What it is for: the rules ask for more where it is marketing."
    )
    from_number: Number | None = Field(
        None, alias="from", description="Number to show, one of the organisation's; by default its first."
    )
    agent_id: UUID | None = Field(None, strict=False, description="Who speaks; by default the oldest published agent.")
    variables: dict[VariableName, VariableText] = Field(
        default_factory=dict, max_length=50, description="What the agent's prompt and lines are filled with."
    )
    machine_detection: Literal["off", "enable", "message_end"] = Field(
        "off", description="Ask the carrier whether a person or a machine answered, while the agent speaks already."
    )
    on_machine: Literal["continue", "hang_up"] = Field("continue", description="What to do where a machine answered.")
    carrier_recording: bool = Field(default=False, description="Have the carrier record, beside our own recording.")
    ring_s: Annotated[int, Field(ge=5, le=600), WHOLE] = Field(30, description="Seconds to let it ring.")


class Transfer(RequestBody):
    """Where a live call is to go."""

    target: Number = Field(description="Number to connect the caller to.")
    mode: Literal["cold", "warm"] = Field("cold", description="warm: whoever answers is briefed before the caller.")
    briefing: str = Field("", max_length=500, description="What is said to whoever answers, where the mode is warm.")

    @model_validator(mode="after")
    def _has_what_it_says(self) -> Self:
        if self.mode == "warm" and not self.briefing.strip():
            raise ValueError("a warm transfer needs a briefing")
        return self


class Erasure(RequestBody):
    """Whose calls to erase."""

    number: Number = Field(description="Telephone number at either end of the calls.")


class Erased(BaseModel):
    """What came of an erasure."""

    erased: int
    """Calls whose content is deleted."""

    active: int
    """Calls of the number that are still going on: end them and ask again."""


class CallOut(BaseModel):
    """A call."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    direction: Literal["inbound", "outbound"]
    state: CallState
    outcome: Outcome | None
    end_reason: str | None
    from_number: str = Field(alias="from")
    to: str
    purpose: Purpose = Field(description="Of an outbound call.")
    agent_version_id: UUID | None
    agent_name: str
    language: str
    call_sid: str | None
    answered_by: str | None
    error_code: int | None
    error: str | None
    created_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    duration_s: int | None
    cost: float | None = Field(description="US dollars, once the carrier has told it.")
    resumptions: int
    is_recording_paused: bool
    created_by: str
    is_erased: bool

    @classmethod
    def of(cls, row: CallRow) -> Self:
        """Return what the interface shows of a row."""
        return cls(
            id=row.id,
            direction="inbound" if row.direction == "inbound" else "outbound",
            state=CallState(row.state),
            outcome=None if row.outcome is None else Outcome(row.outcome),
            end_reason=row.end_reason,
            from_number=row.from_number,
            to=row.to_number,
            purpose=Purpose(row.purpose),
            agent_version_id=row.agent_version_id,
            agent_name=row.agent_name,
            language=row.language,
            call_sid=row.call_sid,
            answered_by=row.answered_by,
            error_code=row.error_code,
            error=row.error,
            created_at=row.created_at,
            answered_at=row.answered_at,
            ended_at=row.ended_at,
            duration_s=row.talk_s,
            cost=None if row.price is None else row.price / MICROS,
            resumptions=row.resumptions,
            is_recording_paused=row.is_recording_paused,
            created_by=row.created_by,
            is_erased=row.erased_at is not None,
        )


class EntryOut(BaseModel):
    """Something that was said or done in a call."""

    kind: Literal["caller", "agent", "tool", "keys"]
    started_at: float = Field(description="Seconds since the media stream began.")
    ended_at: float
    turn: int | None
    text: str
    heard: str | None = Field(description="What the caller heard of an interrupted reply.")
    is_interrupted: bool
    details: dict[str, Any] | None = Field(description="Of a tool: its name, arguments and result.")


class TranscriptEntryOut(EntryOut):
    """An entry of a call's transcript. Its times count from the call's first media stream."""

    n: int

    @classmethod
    def of(cls, row: TranscriptEntryRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class TurnTiming(BaseModel):
    """How long an answer took; the parts are shares of the critical path, in milliseconds."""

    turn: int
    voice_to_voice_ms: float
    parts: dict[str, Any]

    @classmethod
    def of_turn(cls, timed: TurnLatency) -> Self:
        """Return what the interface shows of a turn."""
        return cls(turn=timed.turn, voice_to_voice_ms=timed.voice_to_voice_ms, parts=timed.parts)


class TurnOut(TurnTiming):
    """The timing of an answer, once the call is filed."""

    segment: int

    @classmethod
    def of(cls, row: TurnLatencyRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class RecordingOut(BaseModel):
    """A recording, without its sound."""

    id: UUID
    kind: Literal["stream", "carrier"]
    segment: int
    state: Literal["recording", "pending", "stored", "failed", "deleted"]
    is_partial: bool
    reason: str
    duration_s: float | None
    channels: int | None = Field(description="1: both sides mixed; 2: the caller, then the agent.")
    size_bytes: int | None
    sha256: str | None
    loudness_db: dict[str, Any] | None
    created_at: datetime
    stored_at: datetime | None

    @classmethod
    def of(cls, row: RecordingRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


class CallDetail(CallOut):
    """A call and what was said in it."""

    disclosed_at: datetime | None = Field(description="When the caller had heard the disclosure to its end.")
    verdict: dict[str, Any] | None = Field(
        description="What the rules said when it was to be dialled, and which rules they were; null of inbound calls."
    )
    variables: dict[str, Any]
    transcript: list[TranscriptEntryOut]
    turns: list[TurnOut]
    recordings: list[RecordingOut]


class EventOut(BaseModel):
    """A line of the event log."""

    segment: int
    line: int
    body: dict[str, Any]


class Link(BaseModel):
    """Where something can be fetched for a short while."""

    url: str
    expires_at: datetime
