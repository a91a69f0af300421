"""A live call: joins its media stream to its conversation, and both to its record.

The only module that knows both sides. It translates; it decides nothing. What a call needs may have to be asked for
(which agent, what was said before the line was lost), so it is prepared in the call's own task; what the caller says
meanwhile is kept, and heard then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from voice_agent.audio.mulaw import RATE_HZ
from voice_agent.calls.record import CallRecord
from voice_agent.calls.resumption import Restored
from voice_agent.errors import CarrierError, VoiceAgentError
from voice_agent.media_stream.connection import CloseReason, MediaStreamConnection
from voice_agent.media_stream.protocol import StreamStarted
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.conversation import Conversation, Mind, Opening, Speech
from voice_agent.pipeline.ports import CarrierControl, HeardOptOut, UserMessage
from voice_agent.pipeline.turn_settings import TurnSettings

log = structlog.get_logger(__name__)

RECORD_EVERY_FRAMES = 10
"""Frames of the caller between two looks at what the agent was heard saying: 200 ms."""

PREPARE_S = 4.0
"""The longest that a caller waits for a call to be prepared. What is asked for on the way has shorter deadlines."""

MOST_EARLY_BYTES = 10 * RATE_HZ
"""Of the caller's audio, kept until the conversation begins."""

MOST_EARLY_DIGITS = 64


EndReason = Literal["agent_hung_up", "transferred", "transport_lost", "machine", "opted_out"]
"""Why a call's end is meant by whoever holds it."""

_REASONS: dict[str, EndReason] = {"machine": "machine", "opted_out": "opted_out"}
"""By the reasons of `HangUp`; for any other one the agent hung up."""

LATE_ANSWERS = 2
"""Of a call whose line was lost: somebody who had spoken so often is no machine, whatever the carrier has said."""


OptOutRecorder = Callable[[str, HeardOptOut], Awaitable[bool]]
"""Has whoever is in a call, by its SID, never called again: `calls.opt_outs.OptOuts.record`."""


async def nobody_opts_out(call_sid: str, heard: HeardOptOut) -> bool:
    """Log an opt-out where nothing keeps them: a session without a database."""
    log.error("opt_out_not_recorded", call_sid=call_sid, how=heard.how)
    return False


class StoredAs(msgspec.Struct, frozen=True, kw_only=True):
    """A call's row."""

    org_id: UUID
    call_id: UUID


class CallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a call needs that is decided before it begins."""

    settings: TurnSettings
    speech: Callable[[], Speech]
    """Fresh ears and voice; called once, when the stream has been admitted."""

    mind: Mind
    control: CarrierControl
    agent: str = ""
    """The agent's name."""

    is_recorded: bool = True
    """Whether the call's sound is kept; its event log and transcript always are."""

    is_recording_paused: bool = False
    """Whether the recording begins paused: the call came back while it was."""

    answered_by: str = ""
    """Who answered, where the carrier has said so before the stream began."""

    stored: StoredAs | None = None
    """Which call of the database it is; None where that could not be asked in time."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A call that can begin."""

    plan: CallPlan
    record: CallRecord
    before: Restored | None = None
    """What came before the line was lost; None where the call begins."""


class CallSurroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a session needs of the process that holds it."""

    prepare: Callable[[StreamStarted], Awaitable[Prepared]]
    """Raises VoiceAgentError where the call cannot be held."""

    note_end: Callable[[str, EndReason], Awaitable[None]]
    """Told of a call whose end is meant, and why, before it ends; takes a second at most and never raises."""

    on_ended: Callable[["CallSession"], None]
    """Told once all files are handed over."""

    opt_out: OptOutRecorder


class CallSession:
    """One call, from its admitted stream to its last file. A `MediaStreamListener`, and the agent's `CallControl`."""

    def __init__(self, call_sid: str, connection: MediaStreamConnection, surroundings: CallSurroundings) -> None:
        self.was_ended_by_us = False
        """Whether hanging up or transferring was the agent's decision: the carrier must not apologise then."""

        self.call_sid = call_sid
        self._connection = connection
        self._surroundings = surroundings
        self._prepared: Prepared | None = None
        self._early = bytearray()
        self._early_digits = ""
        self._early_verdict = ""
        self._frames = 0
        self._conversation: Conversation | None = None
        self._is_lost = False
        self._is_recording_paused: bool | None = None
        """None until somebody has said so."""

        self.task: asyncio.Task[None] | None = None
        """Runs as long as the call; done when its files are handed over."""

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended; files may still be at work."""
        return self._connection.is_closed

    def supersede(self) -> None:
        """The carrier has connected the call to another stream: this one is dead, and may not know it yet."""
        self._connection.lost()

    def say_goodbye(self, reason: str) -> None:
        """End the call with a word to the caller; one that has not begun to speak ends without."""
        if self._conversation is None:
            self._connection.close()
        else:
            self._post(lambda at: ev.EndRequested(at=at, reason=reason))

    def note_answered_by(self, answered_by: str) -> None:
        """Take the carrier's verdict on who answered."""
        if self._conversation is None:
            self._early_verdict = answered_by
        else:
            self._post(lambda at: ev.AnsweredBy(at=at, answered_by=answered_by))

    def pause_recording(self, *, is_paused: bool) -> None:
        """Record silence from now on, or sound again."""
        self._is_recording_paused = is_paused
        if self._prepared is not None:
            self._prepared.record.hear_agent(self._connection.take_played())
            self._switch_recording(self._prepared.record)

    def _switch_recording(self, record: CallRecord) -> None:
        if self._is_recording_paused:
            record.pause()
        else:
            record.resume()

    # --- MediaStreamListener ----------------------------------------------------------------------------------
    def on_started(self, started: StreamStarted) -> None:
        """Begin to prepare the conversation."""
        began_at = asyncio.get_running_loop().time()
        self.task = asyncio.create_task(self._hold(started, began_at), name=f"call-{started.call_sid}")
        # Not the task's own last step: one that is cancelled before its first has none.
        self.task.add_done_callback(lambda _: self._finish())

    def on_audio(self, mulaw: bytes) -> None:
        """Hot path: the caller's audio."""
        conversation, prepared = self._conversation, self._prepared
        if conversation is None or prepared is None:
            if len(self._early) < MOST_EARLY_BYTES:
                self._early += mulaw
            return
        conversation.hear(mulaw)
        prepared.record.hear_caller(mulaw)
        self._frames += 1
        if self._frames % RECORD_EVERY_FRAMES == 0:
            prepared.record.hear_agent(self._connection.take_played())

    def on_digit(self, digit: str) -> None:
        """The caller pressed a key."""
        if self._conversation is None:
            self._early_digits = (self._early_digits + digit)[:MOST_EARLY_DIGITS]
        else:
            self._post(lambda at: ev.DigitPressed(at=at, digit=digit))

    def on_playback_started(self, turn: int) -> None:
        """The caller begins to hear a reply."""
        self._post(lambda at: ev.PlaybackStarted(at=at, turn=turn))

    def on_playback_marked(self, turn: int, heard_ms: float) -> None:
        """The caller has heard a part of a reply."""
        self._post(lambda at: ev.PlaybackMarked(at=at, turn=turn, heard_ms=heard_ms))

    def on_playback_stopped(self, turn: int, heard_ms: float, remaining_ms: float) -> None:
        """A reply was cut."""
        self._post(lambda at: ev.PlaybackStopped(at=at, turn=turn, heard_ms=heard_ms, remaining_ms=remaining_ms))

    def on_playback_finished(self, turn: int) -> None:
        """The caller has heard all of a reply."""
        self._post(lambda at: ev.PlaybackFinished(at=at, turn=turn))

    def on_closed(self, reason: CloseReason) -> None:
        """The stream is gone: the conversation ends."""
        if reason is CloseReason.TRANSPORT_LOST:
            # Nobody has been there for half a minute: no line that another stream could bring back (F26).
            self._is_lost = self.was_ended_by_us = True
        if self._conversation is not None and self._prepared is not None:
            self._prepared.record.hear_agent(self._connection.take_played())
            self._post(lambda at: ev.CallEnded(at=at, reason=reason.value))
        elif self.task is not None:
            self.task.cancel()

    # --- CallControl ------------------------------------------------------------------------------------------
    async def hang_up(self, reason: str = "agent") -> None:
        """End the call; where the carrier cannot be asked, end the stream, which ends the call too."""
        await self._note_end(_REASONS.get(reason, "agent_hung_up"))
        await self._ask_to_hang_up()
        self._connection.close()

    async def transfer(self, target: str) -> None:
        """Connect the caller to `target`; the stream ends with it. Raises CarrierError."""
        await self._note_end("transferred")
        if self._prepared is not None:
            await self._prepared.plan.control.transfer(target)

    async def record_opt_out(self, heard: HeardOptOut) -> bool:
        """Have whoever is called never called again."""
        return await self._surroundings.opt_out(self.call_sid, heard)

    # --- inside -----------------------------------------------------------------------------------------------
    async def _note_end(self, reason: EndReason) -> None:
        self.was_ended_by_us = True
        await self._surroundings.note_end(self.call_sid, reason)

    async def _ask_to_hang_up(self) -> None:
        if self._prepared is None:
            return
        try:
            await self._prepared.plan.control.hang_up()
        except CarrierError as error:
            log.warning("hang_up_failed", call_sid=self.call_sid, error=str(error))

    def _post(self, make: Callable[[float], ev.AnyEvent]) -> None:
        conversation = self._conversation
        if conversation is not None:
            conversation.post(make(conversation.now))

    async def _hold(self, started: StreamStarted, began_at: float) -> None:
        try:
            async with asyncio.timeout(PREPARE_S):
                prepared = self._prepared = await self._surroundings.prepare(started)
            if self._is_recording_paused is None:
                self._is_recording_paused = prepared.plan.is_recording_paused
            self._switch_recording(prepared.record)
            await self._converse(prepared, began_at)
            if self._is_lost:
                await self._note_end("transport_lost")
                await self._ask_to_hang_up()
        except (TimeoutError, VoiceAgentError) as error:
            log.error("call_not_held", call_sid=self.call_sid, error=f"{type(error).__name__}: {error}")
        except Exception:
            # The boundary of a call: whatever went wrong ends this call and no other.
            log.exception("call_failed", call_sid=self.call_sid)

    async def _converse(self, prepared: Prepared, began_at: float) -> None:
        plan = prepared.plan
        conversation = Conversation(
            plan.settings,
            plan.speech(),
            plan.mind,
            loudspeaker=self._connection,
            control=self,
            observer=prepared.record,
        )
        heard, self._early = bytes(self._early), bytearray()
        prepared.record.hear_caller(heard)
        self._conversation = conversation
        for digit in self._early_digits:
            asyncio.get_running_loop().call_soon(self.on_digit, digit)
        opening = Opening(began_at=began_at, heard=heard, answered_by=self._early_verdict or plan.answered_by)
        if prepared.before is not None:
            before = prepared.before
            spoken = sum(isinstance(message, UserMessage) for message in before.messages)
            opening = msgspec.structs.replace(
                opening,
                earlier=before.messages,
                resumed=before.event,
                answered_by=opening.answered_by if spoken < LATE_ANSWERS else "",
            )
        await conversation.run(opening)

    def _finish(self) -> None:
        self._conversation = None
        self._connection.close()
        if self._prepared is not None:
            self._prepared.record.close()
        self._surroundings.on_ended(self)
