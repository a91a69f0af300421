"""Twilio's callbacks as receipts."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.calls.stored_calls import NOW, SID
from voice_agent.integrations.twilio.receipts import (
    Delivery,
    machine_receipt,
    recording_receipt,
    status_receipt,
    stream_receipt,
)

COMPLETED = {
    "CallSid": SID,
    "CallStatus": "completed",
    "CallbackSource": "call-progress-events",
    "SequenceNumber": "3",
    "Timestamp": "Wed, 25 Nov 2026 11:59:58 +0000",
    "CallDuration": "61",
    "Duration": "2",
    "SipResponseCode": "200",
    "AnsweredBy": "human",
}


def delivery(form: dict[str, str], *, token: str = "") -> Delivery:
    return Delivery(form=form, received_at=NOW, token=token)


def test_a_status_callback_says_what_became_of_the_call() -> None:
    receipt = status_receipt(delivery(COMPLETED))

    assert (receipt.source, receipt.call_sid, receipt.event, receipt.sequence) == ("status", SID, "completed", 3)
    assert receipt.report.at == datetime(2026, 11, 25, 11, 59, 58, tzinfo=UTC)
    assert (receipt.report.status, receipt.report.duration_s, receipt.report.sip_code) == ("completed", 61, 200)
    assert (receipt.report.answered_by, receipt.payload) == ("human", COMPLETED)


def test_f20_copies_are_known_by_twilios_token_or_by_what_they_say() -> None:
    with_token = [status_receipt(delivery(COMPLETED, token="t1")).dedupe_key for _ in range(2)]
    assert with_token == ["t1", "t1"]
    assert status_receipt(delivery(COMPLETED)).dedupe_key == f"{SID}:completed:3"
    ringing = {**COMPLETED, "CallStatus": "ringing", "SequenceNumber": "1"}
    assert status_receipt(delivery(ringing)).dedupe_key != status_receipt(delivery(COMPLETED)).dedupe_key


@pytest.mark.parametrize(
    ("field", "value"),
    [("CallDuration", "x"), ("CallDuration", "-1"), ("CallDuration", "1" * 30), ("CallDuration", "٣"),
     ("SipResponseCode", ""), ("SequenceNumber", "first"), ("Timestamp", "soon"), ("Timestamp", "Wed, 99 Nov")],
)  # fmt: skip
def test_f27_what_cannot_be_read_is_not_known(field: str, value: str) -> None:
    receipt = status_receipt(delivery({**COMPLETED, field: value}))

    assert receipt.report.status == "completed"
    known = {
        "CallDuration": receipt.report.duration_s,
        "SipResponseCode": receipt.report.sip_code,
        "SequenceNumber": receipt.sequence,
        "Timestamp": None if receipt.report.at == NOW else receipt.report.at,
    }
    assert known[field] is None


def test_f27_an_empty_form_is_a_receipt_of_nothing() -> None:
    receipt = status_receipt(delivery({}))
    assert (receipt.call_sid, receipt.event, receipt.report.status, receipt.report.at) == ("", "", "", NOW)


def test_f27_long_fields_fit_their_columns() -> None:
    receipt = status_receipt(delivery({"CallSid": "C" * 500, "CallStatus": "s" * 500}, token="t" * 500))
    assert (len(receipt.call_sid), len(receipt.event), len(receipt.dedupe_key)) == (64, 40, 200)


def test_a_moment_without_a_zone_is_utc() -> None:
    receipt = status_receipt(delivery({**COMPLETED, "Timestamp": "2026-11-25T11:00:00"}))
    assert receipt.report.at == datetime(2026, 11, 25, 11, tzinfo=UTC)


def test_a_verdict_says_who_answered_and_nothing_else() -> None:
    form = {"CallSid": SID, "AnsweredBy": "machine_end_beep", "MachineDetectionDuration": "4100"}
    receipt = machine_receipt(delivery(form))
    assert (receipt.source, receipt.event, receipt.report.status) == ("machine_detection", "machine_end_beep", "")
    assert receipt.report.answered_by == "machine_end_beep"


def test_each_recording_and_each_of_its_states_is_a_message_of_its_own() -> None:
    keys = {
        recording_receipt(delivery({"CallSid": SID, "RecordingSid": sid, "RecordingStatus": status})).dedupe_key
        for sid in ("RE1", "RE2")
        for status in ("in-progress", "completed")
    }
    assert len(keys) == 4


@pytest.mark.parametrize(("event", "status"), [("stream-started", "in-progress"), ("stream-stopped", "")])
def test_a_stream_that_has_started_proves_an_answer(event: str, status: str) -> None:
    receipt = stream_receipt(delivery({"CallSid": SID, "StreamSid": "MZ1", "StreamEvent": event}))
    assert (receipt.source, receipt.event, receipt.report.status) == ("stream", event, status)


def test_the_paths_key_is_passed_on() -> None:
    call_id = uuid4()
    receipt = status_receipt(Delivery(form=COMPLETED, received_at=NOW, call_id=call_id))
    assert receipt.call_id == call_id


RECORDED = {
    "CallSid": SID,
    "RecordingSid": "RE" + "a" * 32,
    "RecordingStatus": "completed",
    "RecordingDuration": "61",
    "RecordingChannels": "2",
    "ErrorCode": "0",
}


def test_a_recording_callback_says_which_it_is_and_how_long() -> None:
    told = recording_receipt(delivery(RECORDED)).recording
    assert told is not None
    assert (told.recording_sid, told.call_sid, told.status) == (RECORDED["RecordingSid"], SID, "completed")
    assert (told.duration_s, told.channels, told.error_code) == (61, 2, 0)


@pytest.mark.parametrize("sid", ["", "RE1", "../Accounts", "RE" + "z" * 32, "RE" + "a" * 32 + "/x"])
def test_f27_what_is_no_name_of_a_recording_becomes_part_of_no_address(sid: str) -> None:
    told = recording_receipt(delivery({**RECORDED, "RecordingSid": sid, "RecordingDuration": "-1"})).recording
    assert told is not None
    assert (told.recording_sid, told.status, told.duration_s) == ("", "completed", None)
