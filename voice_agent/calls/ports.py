"""What calls need of the telephone company, in records of our own: the port `Carrier`.

`integrations.twilio` implements it. It decides nothing: it asks once or patiently, as each method says, and reports.
"""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

CallEvent = Literal["initiated", "ringing", "answered", "completed"]
MachineDetection = Literal["off", "enable", "message_end"]
Language = Literal["en", "es"]


class CallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An outbound call. Exactly one of `url` and `twiml` says what happens when it is answered."""

    to: str
    """E.164."""

    caller: str
    """The number shown, E.164; must belong to the account or be verified."""

    url: str = ""
    """Asked for a document on answer."""

    twiml: str = ""
    """At most 4,000 characters."""

    status_callback: str = ""
    status_events: tuple[CallEvent, ...] = ("initiated", "ringing", "answered", "completed")
    ring_s: int = 30
    time_limit_s: int = 3_600
    machine_detection: MachineDetection = "off"
    """Always asynchronous: the agent speaks while the carrier listens."""

    machine_callback: str = ""
    is_recorded: bool = False
    """By the carrier, in two channels."""

    recording_callback: str = ""


class CarrierCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call as the carrier sees it. Fresh changes may not show yet: callbacks are the truth."""

    call_sid: str
    status: str
    """queued, ringing, in-progress, completed, busy, no-answer, failed or canceled."""

    to: str
    caller: str
    duration_s: int | None = None
    """None until the call has ended."""

    answered_by: str = ""
    price: int | None = None
    """Millionths of a US dollar, positive; None until it is known."""

    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    direction: str = ""
    parent_call_sid: str = ""


class TransferRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How a caller is connected to a person."""

    target: str
    """E.164 number to ring."""

    action_url: str
    """Where the outcome is reported; absolute."""

    language: Language = "en"
    line: str = ""
    """Said to the caller before it rings; empty: nothing is, as where the agent has said so itself."""

    ring_s: int = 20
    """How long the target may ring."""

    whisper_url: str = ""
    """Asked for what is said to whoever answers, before the caller is heard; empty: nothing is."""


class CarrierRecording(msgspec.Struct, frozen=True, kw_only=True):
    """The carrier's own recording of a call."""

    recording_sid: str
    """Empty where the carrier did not name it."""

    call_sid: str
    status: str
    """in-progress, paused, stopped, processing, completed, absent or deleted."""

    duration_s: int | None = None
    channels: int | None = None
    error_code: int = 0
    """Why it is absent, in the carrier's numbers; 0 where that was not told."""


class Carrier(Protocol):
    """The telephone company. Every method raises CarrierError."""

    async def create_call(self, request: CallRequest) -> CarrierCall:
        """Place a call by one request, never repeated but for the answer that it was not processed (429).

        A CarrierError with `is_unclear` may mean a call that rings: it must be looked up, never asked for again.
        """
        ...

    async def fetch_call(self, call_sid: str) -> CarrierCall:
        """Look a call up."""
        ...

    async def list_calls(self, *, to: str, caller: str, started_after: datetime) -> tuple[CarrierCall, ...]:
        """Return the calls between two numbers that were begun after a moment."""
        ...

    async def hang_up(self, call_sid: str) -> None:
        """End a call. One that has ended already, or is not known any more, is no error."""
        ...

    async def cancel(self, call_sid: str) -> None:
        """End a call that was not answered yet; one that was meanwhile is hung up."""
        ...

    async def transfer(self, call_sid: str, request: TransferRequest) -> None:
        """Connect the caller to a person; the media stream ends."""
        ...

    async def pause_recording(self, call_sid: str) -> None:
        """Pause the carrier's own recording of a live call; one that is not recorded is no error."""
        ...

    async def resume_recording(self, call_sid: str) -> None:
        """Go on with it."""
        ...

    async def list_recordings(self, call_sid: str) -> tuple[CarrierRecording, ...]:
        """Return the carrier's own recordings of a call, none where it does not know the call."""
        ...

    def download_recording(self, recording_sid: str) -> AsyncGenerator[bytes, None]:
        """Yield a recording's WAV file in pieces; for a while after its end it may be `gone` still."""
        ...

    async def delete_recording(self, recording_sid: str) -> None:
        """Delete the carrier's copy of a recording; one that is gone already is no error."""
        ...


class CallAddresses(Protocol):
    """Where the carrier reaches us about one call: public URLs."""

    def answer(self, call_id: UUID) -> str:
        """Asked for a document when the call is answered."""
        ...

    def status(self, call_id: UUID) -> str:
        """Told what becomes of the call."""
        ...

    def machine(self, call_id: UUID) -> str:
        """Told who answered."""
        ...

    def recording(self, call_id: UUID) -> str:
        """Told about the carrier's own recording."""
        ...

    def after_dial(self, call_id: UUID) -> str:
        """Asked for a document when a transfer is over."""
        ...

    def whisper(self, call_id: UUID) -> str:
        """Asked what to say to whoever answers a warm transfer."""
        ...
