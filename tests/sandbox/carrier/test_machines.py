"""Verdicts on who answered."""

import pytest

from voice_agent.sandbox.carrier.machines import MachineDetection, Nature, Verdict, judge


@pytest.mark.parametrize(
    ("nature", "waits", "timeout_s", "verdict"),
    [
        ("human", False, 30.0, Verdict("human", 2.0)),
        ("human", True, 30.0, Verdict("human", 2.0)),
        ("fax", False, 30.0, Verdict("fax", 2.0)),
        ("machine", False, 30.0, Verdict("machine_start", 2.0)),
        ("machine", True, 30.0, Verdict("machine_end_beep", 9.0)),
        ("machine", True, 5.0, Verdict("machine_end_other", 5.0)),
        ("machine", False, 1.0, Verdict("unknown", 1.0)),
        ("human", False, 1.0, Verdict("unknown", 1.0)),
    ],
)
def test_the_verdict_and_when_it_is_told(nature: Nature, waits: bool, timeout_s: float, verdict: Verdict) -> None:
    asked = MachineDetection(waits_for_message_end=waits, timeout_s=timeout_s)
    assert judge(nature, detection_s=2.0, message_s=9.0, asked=asked) == verdict


def test_a_verdict_is_told_in_milliseconds() -> None:
    assert Verdict("human", 1.5).as_parameters() == {"AnsweredBy": "human", "MachineDetectionDuration": "1500"}
