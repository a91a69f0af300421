from datetime import UTC, datetime, timedelta

import pytest

from voice_agent.sandbox.carrier.record import SIP_RESPONSES, TERMINAL, CallRecord, Status, new_sid, rfc2822


def record() -> CallRecord:
    return CallRecord(account_sid="AC1", to="+15005550006", from_="+15005550001", direction="outbound-api")


def test_identifiers_have_twilios_form_and_differ() -> None:
    assert len({new_sid("CA") for _ in range(100)}) == 100
    sid = new_sid("MZ")
    assert (sid[:2], len(sid)) == ("MZ", 34)
    int(sid[2:], 16)


def test_dates_are_rfc_2822_in_utc() -> None:
    assert rfc2822(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "Fri, 02 Jan 2026 03:04:05 +0000"


def test_a_queued_call_has_no_times_and_strings_for_numbers() -> None:
    resource = record().as_resource()
    assert (resource["status"], resource["duration"], resource["start_time"], resource["queue_time"]) == (
        "queued",
        None,
        None,
        "0",
    )
    assert resource["uri"] == f"/2010-04-01/Accounts/AC1/Calls/{resource['sid']}.json"


def test_an_ended_call_has_its_duration_in_whole_seconds() -> None:
    call = record()
    call.answered_at = datetime(2026, 1, 2, tzinfo=UTC)
    call.ended_at = call.answered_at + timedelta(seconds=61.4)
    assert (call.duration_s, call.as_resource()["duration"]) == (61, "61")


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_every_terminal_status_has_its_sip_response(status: Status) -> None:
    call = record()
    call.status = status
    assert call.is_over
    assert SIP_RESPONSES[status].isdecimal()


def test_webhooks_carry_both_names_of_each_side_and_empty_places() -> None:
    call = record()
    parameters = call.webhook_parameters()
    assert (parameters["From"], parameters["Caller"]) == (call.from_, call.from_)
    assert (parameters["To"], parameters["Called"]) == (call.to, call.to)
    assert parameters["CallerCountry"] == ""
    assert "ParentCallSid" not in parameters
    call.parent_call_sid = "CAparent"
    assert call.webhook_parameters()["ParentCallSid"] == "CAparent"
