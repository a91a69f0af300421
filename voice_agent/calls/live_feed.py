"""What happens in calls, told to whoever watches now: states, words as they are recognised and said, timing of turns.

It is told on the event bus, by topic: `calls` has every call of an organisation, `call:{id}` one of them. Recognition's
guesses, several a second for each call, are in a call's own topic alone. What is told here is not kept: the same is in
the database once a call is filed.

Times are seconds since the call's media stream began; a call that came back after its line was lost has a further
stream, its next `segment`.
"""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from voice_agent.calls.schemas import CallOut, EntryOut, TurnTiming
from voice_agent.calls.transcript import AnyEntry, EntryChange, details_of, text_of
from voice_agent.pipeline.latency import TurnLatency
from voice_agent.storage.bus import EventBus
from voice_agent.storage.tables import CallRow

CALLS = "calls"
"""The topic of all calls of an organisation."""

CALL = "call"
"""Followed by a colon and the call's id: the topic of one call."""


class CallChanged(BaseModel):
    """A call was placed, answered, ended, recorded; or what is known of it has changed."""

    kind: Literal["call"] = "call"
    call: CallOut


class WordsHeard(BaseModel):
    """What the caller may be saying: recognition's guess so far, which the next one replaces."""

    kind: Literal["words"] = "words"
    call_id: UUID
    segment: int
    at: float
    text: str


class TranscriptChanged(BaseModel):
    """An entry of the transcript came to be, has become another (the agent says more), or was withdrawn."""

    kind: Literal["transcript"] = "transcript"
    call_id: UUID
    segment: int
    number: int = Field(description="Which entry of its segment; it stays the entry's for good.")
    entry: EntryOut | None = Field(description="How it stands now; null where it was withdrawn.")


class TurnTimed(BaseModel):
    """An answer has begun to sound: how long the caller waited for it."""

    kind: Literal["turn"] = "turn"
    call_id: UUID
    segment: int
    turn: TurnTiming


LiveEvent = CallChanged | WordsHeard | TranscriptChanged | TurnTimed


class LiveFeed:
    """Tells of calls. One for the process; nothing here waits or fails."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    def call_changed(self, call: CallRow) -> None:
        """Tell how a call stands, once that is committed."""
        self.tell(call.org_id, call.id, CallChanged(call=CallOut.of(call)))

    def of_call(self, org_id: UUID, call_id: UUID, segment: int) -> "CallFeed":
        """Return what tells of a call's media stream."""
        return CallFeed(self, org_id, call_id, segment)

    def tell(self, org_id: UUID, call_id: UUID, event: LiveEvent) -> None:
        """Publish an event in the topics where it belongs."""
        body = event.model_dump_json(by_alias=True).encode()
        self._bus.publish(f"{org_id}:{CALL}:{call_id}", body)
        if not isinstance(event, WordsHeard):
            self._bus.publish(f"{org_id}:{CALLS}", body)


class CallFeed:
    """Tells of what is said in one media stream. Hot path: it is asked with every guess of recognition."""

    def __init__(self, feed: LiveFeed, org_id: UUID, call_id: UUID, segment: int) -> None:
        self._feed = feed
        self._org_id = org_id
        self._call_id = call_id
        self._segment = segment

    def words(self, at: float, text: str) -> None:
        """Tell what the caller may be saying."""
        self._tell(WordsHeard(call_id=self._call_id, segment=self._segment, at=round(at, 3), text=text))

    def transcript(self, changes: list[EntryChange]) -> None:
        """Tell what has changed in the transcript."""
        for number, entry in changes:
            shown = None if entry is None else _shown(entry)
            self._tell(TranscriptChanged(call_id=self._call_id, segment=self._segment, number=number, entry=shown))

    def turn(self, timed: TurnLatency) -> None:
        """Tell how long an answer took."""
        self._tell(TurnTimed(call_id=self._call_id, segment=self._segment, turn=TurnTiming.of_turn(timed)))

    def _tell(self, event: LiveEvent) -> None:
        self._feed.tell(self._org_id, self._call_id, event)


def _shown(entry: AnyEntry) -> EntryOut:
    kind: Any = type(entry).__struct_config__.tag
    return EntryOut(
        kind=kind,
        started_at=round(entry.started_at, 3),
        ended_at=round(entry.ended_at, 3),
        turn=getattr(entry, "turn", None),
        text=text_of(entry),
        heard=getattr(entry, "heard", None),
        is_interrupted=getattr(entry, "is_interrupted", False),
        details=details_of(entry),
    )
