"""Status callbacks of one call: which events are told, in which order, with which fields.

Source: https://www.twilio.com/docs/voice/api/call-resource#statuscallbackevent. In order unless the carrier's fault
plan says otherwise.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from voice_agent.sandbox.carrier.record import SIP_RESPONSES, CallRecord, rfc2822
from voice_agent.sandbox.carrier.services import CallbackFaults, Services
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
    return parameters


class StatusCallbacks:
    """Tells the server what becomes of one call."""

    def __init__(self, record: CallRecord, target: StatusCallback, services: Services) -> None:
        self._record = record
        self._target = target
        self._services = services
        self._sequence = 0
        self._latest: asyncio.Task[None] | None = None
        faults = services.settings.callback_faults
        self._chance = _chances(faults, record.sid)

    def tell(self, event: CallEvent) -> None:
        """Send one event, after those before it."""
        if not self._target.url or event not in self._target.events:
            return
        parameters = parameters_of(event, self._record, self._sequence)
        self._sequence += 1
        faults = self._services.settings.callback_faults
        if self._chance() < faults.lost:
            return
        copies = 2 if self._chance() < faults.duplicated else 1
        if self._chance() < faults.delayed:
            self._services.background.spawn(self._send_late(parameters, copies, faults.delay_s))
        else:
            self._latest = self._services.background.spawn(self._send_in_turn(self._latest, parameters, copies))

    async def _send_in_turn(self, before: asyncio.Task[None] | None, parameters: dict[str, str], copies: int) -> None:
        if before is not None:
            await asyncio.wait({before})
        await self._send(parameters, copies)

    async def _send_late(self, parameters: dict[str, str], copies: int, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await self._send(parameters, copies)

    async def _send(self, parameters: dict[str, str], copies: int) -> None:
        for _ in range(copies):
            await self._services.webhooks.request(
                self._target.url, parameters, method=self._target.method, call_sid=self._record.sid
            )


def _chances(faults: CallbackFaults, call_sid: str) -> Callable[[], float]:
    return random.Random(f"{faults.seed}{call_sid}").random
