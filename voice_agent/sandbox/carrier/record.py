"""A call as Twilio's REST interface and webhooks show it.

Source: https://www.twilio.com/docs/voice/api/call-resource. Numbers are strings there and dates are RFC 2822.
"""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal

Status = Literal["queued", "ringing", "in-progress", "completed", "busy", "no-answer", "failed", "canceled"]
Direction = Literal["inbound", "outbound-api", "outbound-dial"]

TERMINAL: frozenset[Status] = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})

SIP_RESPONSES: dict[Status, str] = {
    "completed": "200",
    "busy": "486",
    "no-answer": "487",
    "canceled": "487",
    "failed": "404",
}
"""What the terminal callback says under SipResponseCode."""

API_VERSION = "2010-04-01"

PRICE_PER_MINUTE = 0.014
"""Dollars a minute begun: a call to a telephone in the United States."""

_PLACES = ("City", "State", "Zip", "Country")


def new_sid(prefix: str) -> str:
    """Return a fresh identifier: two letters and 32 hexadecimal digits."""
    return prefix + secrets.token_hex(16)


def rfc2822(moment: datetime) -> str:
    """Return a date as Twilio writes it."""
    return format_datetime(moment.astimezone(UTC))


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """One leg of a call."""

    account_sid: str
    to: str
    from_: str
    direction: Direction
    parent_call_sid: str = ""
    sid: str = field(default_factory=lambda: new_sid("CA"))
    status: Status = "queued"
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    queue_ms: int = 0
    """How long the call was expected to wait for its turn when it was created."""

    answered_by: str = ""
    """The verdict of machine detection; empty where there was none."""

    detection_ms: int = 0
    error_code: int = 0
    """Why the call failed, in Twilio's numbers; 0 where it did not."""

    @property
    def path(self) -> str:
        """The resource's path on the REST interface."""
        return f"/{API_VERSION}/Accounts/{self.account_sid}/Calls/{self.sid}.json"

    @property
    def is_over(self) -> bool:
        """Whether the status is a terminal one."""
        return self.status in TERMINAL

    @property
    def duration_s(self) -> int:
        """Whole seconds from the answer to the end, as Twilio counts them."""
        if self.answered_at is None or self.ended_at is None:
            return 0
        return round((self.ended_at - self.answered_at).total_seconds())

    @property
    def price(self) -> str | None:
        """What the call has cost, as Twilio writes it: negative, in dollars; None until it has ended."""
        if self.ended_at is None or self.answered_at is None:
            return None
        return f"-{max(1, -(-self.duration_s // 60)) * PRICE_PER_MINUTE:.5f}"

    def as_resource(self) -> dict[str, object]:
        """Return the JSON of the call resource."""
        return {
            "sid": self.sid,
            "account_sid": self.account_sid,
            "parent_call_sid": self.parent_call_sid or None,
            "to": self.to,
            "to_formatted": self.to,
            "from": self.from_,
            "from_formatted": self.from_,
            "phone_number_sid": None,
            "status": self.status,
            "direction": self.direction,
            "api_version": API_VERSION,
            "date_created": rfc2822(self.created_at),
            "date_updated": rfc2822(self.ended_at or self.answered_at or self.created_at),
            "start_time": rfc2822(self.answered_at) if self.answered_at else None,
            "end_time": rfc2822(self.ended_at) if self.ended_at else None,
            "duration": str(self.duration_s) if self.ended_at else None,
            "queue_time": str(self.queue_ms),
            "price": self.price,
            "price_unit": "USD",
            "answered_by": self.answered_by or None,
            "caller_name": None,
            "forwarded_from": None,
            "group_sid": None,
            "trunk_sid": None,
            "uri": self.path,
            "subresource_uris": {},
        }

    def webhook_parameters(self) -> dict[str, str]:
        """Return the form fields that every webhook of this call carries. Unknown places are sent empty."""
        parameters = {
            "CallSid": self.sid,
            "AccountSid": self.account_sid,
            "From": self.from_,
            "To": self.to,
            "Caller": self.from_,
            "Called": self.to,
            "CallStatus": self.status,
            "Direction": self.direction,
            "ApiVersion": API_VERSION,
        }
        if self.parent_call_sid:
            parameters["ParentCallSid"] = self.parent_call_sid
        places = {f"{side}{place}": "" for side in ("From", "To", "Caller", "Called") for place in _PLACES}
        return parameters | places
