"""Answering-machine detection: what a call's carrier thinks of whoever answered, and when.

Source: https://www.twilio.com/docs/voice/answering-machine-detection. Nothing is listened to: the callee's profile says
what it is.
"""

from typing import Literal

import msgspec

from voice_agent.sandbox.carrier.twiml import Method

Nature = Literal["human", "machine", "fax", "unknown"]


class MachineDetection(msgspec.Struct, frozen=True, kw_only=True):
    """What the request for a call asks for."""

    waits_for_message_end: bool = False
    is_asynchronous: bool = False
    """The document is played at once, and the verdict is told to `callback`; else it is part of the document's request.
    """

    callback: str = ""
    method: Method = "POST"
    timeout_s: float = 30.0


class Verdict(msgspec.Struct, frozen=True):
    """What is told, so long after the answer."""

    answered_by: str
    after_s: float

    def as_parameters(self) -> dict[str, str]:
        """Return the form fields."""
        return {"AnsweredBy": self.answered_by, "MachineDetectionDuration": str(round(self.after_s * 1_000))}


def judge(nature: Nature, *, detection_s: float, message_s: float, asked: MachineDetection) -> Verdict:
    """Return the verdict on a callee that is known after `detection_s` and whose message lasts `message_s`. Pure."""
    is_awaited = nature == "machine" and asked.waits_for_message_end
    after_s = max(detection_s, message_s) if is_awaited else detection_s
    answered_by: str
    if nature != "machine":
        answered_by = nature if after_s <= asked.timeout_s else "unknown"
    elif not asked.waits_for_message_end:
        answered_by = "machine_start" if after_s <= asked.timeout_s else "unknown"
    else:
        answered_by = "machine_end_beep" if after_s <= asked.timeout_s else "machine_end_other"
    return Verdict(answered_by, min(after_s, asked.timeout_s))
