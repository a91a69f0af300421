"""A live call: joins its media stream to its conversation, and both to its record.

The only module that knows both sides. It translates; it decides nothing.
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from voice_agent.calls.record import CallRecord
from voice_agent.errors import CarrierError
from voice_agent.media_stream.connection import CloseReason, MediaStreamConnection
from voice_agent.media_stream.protocol import StreamStarted
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.conversation import Conversation, Mind, Speech
from voice_agent.pipeline.ports import CallControl
from voice_agent.pipeline.turn_settings import TurnSettings

log = structlog.get_logger(__name__)

RECORD_EVERY_FRAMES = 10
"""Frames of the caller between two looks at what the agent was heard saying: 200 ms."""


class CallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a call needs that is decided before it begins."""

    settings: TurnSettings
    speech: Callable[[], Speech]
    """Fresh ears and voice; called once, when the stream has been admitted."""

    mind: Mind
    control: CallControl


class CallSession:
    """One call, from its admitted stream to its last file. A `MediaStreamListener`, and the agent's `CallControl`."""

    def __init__(
        self,
        connection: MediaStreamConnection,
        plan: CallPlan,
        record: CallRecord,
        on_ended: Callable[["CallSession"], None],
    ) -> None:
        self.was_ended_by_us = False
        """Whether hanging up or transferring was the agent's decision: the carrier must not apologise then."""

        self.call_sid = ""
        self._connection = connection
        self._plan = plan
        self._record = record
        self._on_ended = on_ended
        self._frames = 0
        self._conversation: Conversation | None = None
        self.task: asyncio.Task[None] | None = None
        """Runs as long as the call; done when its files are handed over."""

    # --- MediaStreamListener ----------------------------------------------------------------------------------
    def on_started(self, started: StreamStarted) -> None:
        """Begin the conversation."""
        self.call_sid = started.call_sid
        self._conversation = Conversation(
            self._plan.settings,
            self._plan.speech(),
            self._plan.mind,
            loudspeaker=self._connection,
            control=self,
            observer=self._record,
        )
        self.task = asyncio.create_task(self._hold(self._conversation), name=f"call-{started.call_sid}")

    def on_audio(self, mulaw: bytes) -> None:
        """Hot path: the caller's audio."""
        if self._conversation is not None:
            self._conversation.hear(mulaw)
        self._record.hear_caller(mulaw)
        self._frames += 1
        if self._frames % RECORD_EVERY_FRAMES == 0:
            self._record.hear_agent(self._connection.take_played())

    def on_digit(self, digit: str) -> None:
        """The caller pressed a key."""
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
        self._record.hear_agent(self._connection.take_played())
        self._post(lambda at: ev.CallEnded(at=at, reason=reason.value))
        if self.task is None:
            self._finish()  # the conversation could not even begin

    # --- CallControl ------------------------------------------------------------------------------------------
    async def hang_up(self) -> None:
        """End the call; where the carrier cannot be asked, end the stream, which ends the call too."""
        self.was_ended_by_us = True
        try:
            await self._plan.control.hang_up()
        except CarrierError as error:
            log.warning("hang_up_failed", call_sid=self.call_sid, error=str(error))
        self._connection.close()

    async def transfer(self, target: str) -> None:
        """Connect the caller to `target`; the stream ends with it. Raises CarrierError."""
        self.was_ended_by_us = True
        await self._plan.control.transfer(target)

    # --- inside -----------------------------------------------------------------------------------------------
    def _post(self, make: Callable[[float], ev.AnyEvent]) -> None:
        conversation = self._conversation
        if conversation is not None:
            conversation.post(make(conversation.now))

    async def _hold(self, conversation: Conversation) -> None:
        try:
            await conversation.run()
        except Exception:
            # The boundary of a call: whatever went wrong ends this call and no other.
            log.exception("call_failed", call_sid=self.call_sid)
        finally:
            self._conversation = None
            self._connection.close()
            self._finish()

    def _finish(self) -> None:
        self._record.close()
        self._on_ended(self)
