"""The fields of requests; what they refuse is in test_rest.py as well, through Twilio's SDK."""

from datetime import UTC, datetime

import msgspec
import pytest
from multidict import MultiDict

from voice_agent.sandbox.carrier.forms import RestError, began_within, callback_of, detection_of, seconds_of
from voice_agent.sandbox.carrier.machines import MachineDetection

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ({}, True),
        ({"StartTime": "2026-11-25"}, True),
        ({"StartTime": "2026-11-24"}, False),
        ({"StartTime>": "2026-11-25T00:00:00Z"}, True),
        ({"StartTime>": "2026-11-26"}, False),
        ({"StartTime<": "2026-11-26"}, True),
        ({"StartTime<": "2026-11-25"}, False),
    ],
)
def test_calls_are_filtered_by_whole_days(query: dict[str, str], passes: bool) -> None:
    assert began_within(MultiDict(query), NOON) is passes


def test_a_date_that_is_none_is_refused() -> None:
    with pytest.raises(RestError, match="Invalid date"):
        began_within(MultiDict({"StartTime": "today"}), NOON)


def test_machine_detection_is_off_unless_asked_for_and_where_keys_are_sent() -> None:
    assert detection_of(MultiDict()) is None
    assert detection_of(MultiDict({"MachineDetection": "Enable", "SendDigits": "1"})) is None


def test_machine_detection_is_asynchronous_for_the_documented_text_alone() -> None:
    form = MultiDict(
        {"MachineDetection": "DetectMessageEnd", "AsyncAmd": "true", "AsyncAmdStatusCallback": "http://x/m"}
    )
    asked = MachineDetection(waits_for_message_end=True, is_asynchronous=True, callback="http://x/m")
    assert detection_of(form) == asked
    form["AsyncAmd"] = "True"
    assert detection_of(form) == msgspec.structs.replace(asked, is_asynchronous=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MachineDetection", "On"),
        ("MachineDetectionTimeout", "2"),
        ("MachineDetectionTimeout", "60"),
        ("MachineDetectionSpeechThreshold", "999"),
        ("MachineDetectionSpeechEndThreshold", "5001"),
        ("MachineDetectionSilenceTimeout", "x"),
    ],
)
def test_machine_detection_has_ranges(name: str, value: str) -> None:
    with pytest.raises(RestError) as refused:
        detection_of(MultiDict({"MachineDetection": "Enable"} | {name: value}))
    assert refused.value.status == 400


def test_events_are_named_by_repeated_keys_and_unknown_ones_dropped() -> None:
    form = MultiDict([("Told", "http://x/s"), ("ToldEvent", "a"), ("ToldEvent", "b c"), ("ToldEvent", "z")])
    target = callback_of(form, "Told", known=frozenset("abc"), default=frozenset("a"))
    assert (target.url, target.events) == ("http://x/s", frozenset("abc"))
    assert callback_of(MultiDict(), "Told", known=frozenset("a"), default=frozenset("a")).url == ""


def test_seconds_are_whole() -> None:
    assert seconds_of(MultiDict(), "Timeout", 60.0) == 60.0
    with pytest.raises(RestError):
        seconds_of(MultiDict({"Timeout": "1.5"}), "Timeout", 60.0)


def test_errors_are_written_in_twilios_form_or_as_a_problem() -> None:
    plain = RestError(400, 21211, "not valid").as_response()
    problem = RestError(400, 21211, "not valid", is_problem=True).as_response()
    assert msgspec.json.decode(plain.text or "", type=dict)["message"] == "not valid"
    assert problem.content_type == "application/problem+json"
    assert msgspec.json.decode(problem.text or "", type=dict)["title"] == "not valid"
