"""Status callbacks of one call: which events are told, in which order, with which fields.

Source: https://www.twilio.com/docs/voice/api/call-resource#statuscallbackevent. In order unless the carrier's fault
plan says otherwise.
"""

import asyncio
import random
from datetime import UTC, datetime
from typing import Literal

import msgspec

from voice_agent.sandbox.carrier.record import SIP_RESPONSES, CallRecord, new_sid, rfc2822
from voice_agent.sandbox.carrier.services import Services
from voice_agent.sandbox.carrier.twiml import Method

CallEvent = Literal["initiated", "ringing", "answered", "completed"]

_CALL_STATUS: dict[CallEvent, str] = {"initiated": "initiated", "ringing": "ringing", "answered": "in-progress"}


class StatusCallback(msgspec.Struct, frozen=True):
    """Where events go, and which; no `url`, no events."""

    url: str = ""
    method: Method = "POST"
    events: frozenset[str] = frozenset({"completed"})


def parameters_of(event: CallEvent, record: CallRecord, sequence: int) -> dict[str, str]:
    """Return the form fields of one status callback."""
    parameters = record.webhook_parameters() | {
        "CallStatus": _CALL_STATUS.get(event, record.status),
        "CallbackSource": "call-progress-events",
        "SequenceNumber": str(sequence),
        "Timestamp": rfc2822(datetime.now(UTC)),
    }
    if event == "completed":
        parameters |= {"CallDuration": str(record.duration_s), "SipResponseCode": SIP_RESPONSES[record.status]}
        if record.status == "completed":
            parameters["Duration"] = str(-(-record.duration_s // 60))
        if record.error_code:
            parameters["ErrorCode"] = str(record.error_code)
    if record.answered_by:
        parameters |= {"AnsweredBy": record.answered_by, "MachineDetectionDuration": str(record.detection_ms)}
    return parameters


class Messages:
    """Sends messages about one thing to one address, with what the carrier's plan lets go wrong on their way."""

    def __init__(self, target: StatusCallback, services: Services, *, call_sid: str, about: str) -> None:
        """`about` names the thing: what happens to its messages is drawn from that and the plan's seed."""
        self._target = target
        self._services = services
        self._call_sid = call_sid
        self._latest: asyncio.Task[None] | None = None
        self._held: list[tuple[dict[str, str], int]] = []
        self._faults = services.settings.callback_faults
        self._chance = random.Random(f"{self._faults.seed}{about}").random

    def send(self, parameters: dict[str, str], *, is_last: bool) -> None:
        """Send one message, after those before it."""
        faults = self._faults
        if self._chance() < faults.lost:
            return
        copies = faults.copies if self._chance() < faults.duplicated else 1
        if self._chance() < faults.delayed:
            self._services.background.spawn(self._send_late(parameters, copies, faults.delay_s))
        elif self._chance() < faults.reordered and not is_last:
            self._held.append((parameters, copies))
        else:
            self._queue(parameters, copies)
            for late_parameters, late_copies in self._held:
                self._queue(late_parameters, late_copies)
            self._held.clear()

    def _queue(self, parameters: dict[str, str], copies: int) -> None:
        self._latest = self._services.background.spawn(self._send_in_turn(self._latest, parameters, copies))

    async def _send_in_turn(self, before: asyncio.Task[None] | None, parameters: dict[str, str], copies: int) -> None:
        if before is not None:
            await asyncio.wait({before})
        await self._send(parameters, copies)

    async def _send_late(self, parameters: dict[str, str], copies: int, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await self._send(parameters, copies)

    async def _send(self, parameters: dict[str, str], copies: int) -> None:
        """Send all copies at once: they are one message to Twilio, with one token."""
        request, token = self._services.webhooks.request, new_sid("")
        url, method = self._target.url, self._target.method
        await asyncio.gather(
            *(request(url, parameters, method=method, call_sid=self._call_sid, token=token) for _ in range(copies))
        )


class StatusCallbacks:
    """Tells the server what becomes of one call."""

    def __init__(self, record: CallRecord, target: StatusCallback, services: Services) -> None:
        self._record = record
        self._target = target
        self._sequence = 0
        self._messages = Messages(target, services, call_sid=record.sid, about=record.sid)

    def tell(self, event: CallEvent) -> None:
        """Send one event, after those before it."""
        if not self._target.url or event not in self._target.events:
            return
        parameters = parameters_of(event, self._record, self._sequence)
        self._sequence += 1
        self._messages.send(parameters, is_last=event == "completed")
