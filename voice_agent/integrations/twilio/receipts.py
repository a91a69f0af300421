"""Twilio's callbacks as receipts: which fields say what. Pure.

Source: https://www.twilio.com/docs/voice/api/call-resource#statuscallback, .../voice/answering-machine-detection and
.../voice/api/recording#recordingstatuscallback.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import UUID

import msgspec

from voice_agent.calls.model import CarrierReport
from voice_agent.calls.ports import CarrierRecording
from voice_agent.calls.processor import Receipt, Source

TOKEN_HEADER = "I-Twilio-Idempotency-Token"  # noqa: S105 - the name of a header
"""The same for every delivery of one message."""

_RECORDING_SID = re.compile(r"RE[0-9a-fA-F]{32}")
"""Anything else is no name: it would become part of addresses and keys."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One request of Twilio's that tells something."""

    form: Mapping[str, str]
    received_at: datetime
    token: str = ""
    """Of `TOKEN_HEADER`; empty where there was none."""

    call_id: UUID | None = None
    """Our key of the call, from the path; None where the path has none."""

    @property
    def call_sid(self) -> str:
        """Twilio's name of the call; empty where the request has none."""
        return self.form.get("CallSid", "")


def status_receipt(delivery: Delivery) -> Receipt:
    """Return the receipt of a status callback."""
    form, sequence = delivery.form, delivery.form.get("SequenceNumber", "")
    status = form.get("CallStatus", "")
    report = CarrierReport(
        status=status,
        at=_moment(form.get("Timestamp", "")) or delivery.received_at,
        answered_by=form.get("AnsweredBy", ""),
        sip_code=_number(form.get("SipResponseCode", "")),
        error_code=_number(form.get("ErrorCode", "")),
        duration_s=_number(form.get("CallDuration", "")),
    )
    receipt = _receipt("status", delivery, f"{status}:{sequence}", report)
    return msgspec.structs.replace(receipt, sequence=_number(sequence))


def machine_receipt(delivery: Delivery) -> Receipt:
    """Return the receipt of a verdict on who answered."""
    answered_by = delivery.form.get("AnsweredBy", "")
    return _receipt("machine_detection", delivery, answered_by, CarrierReport(answered_by=answered_by))


def recording_receipt(delivery: Delivery) -> Receipt:
    """Return the receipt of what became of the carrier's own recording."""
    form = delivery.form
    status, sid = form.get("RecordingStatus", ""), form.get("RecordingSid", "")
    receipt = _receipt("recording", delivery, f"{status}:{sid}", CarrierReport())
    told = CarrierRecording(
        recording_sid=sid if _RECORDING_SID.fullmatch(sid) else "",
        call_sid=receipt.call_sid,
        status=status[:40],
        duration_s=_number(form.get("RecordingDuration", "")),
        channels=_number(form.get("RecordingChannels", "")),
        error_code=_number(form.get("ErrorCode", "")) or 0,
    )
    return msgspec.structs.replace(receipt, recording=told)


def stream_receipt(delivery: Delivery) -> Receipt:
    """Return the receipt of what became of a media stream. One that has started proves that somebody answered."""
    event = delivery.form.get("StreamEvent", "")
    is_answer = event == "stream-started"
    report = CarrierReport(status="in-progress", at=delivery.received_at) if is_answer else CarrierReport()
    return _receipt("stream", delivery, f"{event}:{delivery.form.get('StreamSid', '')}", report)


def _receipt(source: Source, delivery: Delivery, mark: str, report: CarrierReport) -> Receipt:
    """`mark` tells apart the messages of one source and call; its first part names the event."""
    return Receipt(
        source=source,
        call_sid=delivery.call_sid[:64],
        # What copies have in common: Twilio's own token, else what they say.
        dedupe_key=(delivery.token or f"{delivery.call_sid}:{mark}")[:200],
        event=mark.partition(":")[0][:40],
        report=report,
        payload=dict(delivery.form),
        received_at=delivery.received_at,
        call_id=delivery.call_id,
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if "," in text else datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
