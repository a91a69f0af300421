"""Twilio's inbound messages as its servers write them, for tests."""

import base64
import json
from collections.abc import Mapping

STREAM = "MZ00000000000000000000000000000001"
CALL = "CA00000000000000000000000000000001"


def encode(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode()


def connected() -> bytes:
    return encode({"event": "connected", "protocol": "Call", "version": "1.0.0"})


def start(
    number: int = 1, *, parameters: dict[str, str] | None = None, stream: str = STREAM, call: str = CALL
) -> bytes:
    details: dict[str, object] = {
        "accountSid": "AC1",
        "streamSid": stream,
        "callSid": call,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    if parameters is not None:
        details["customParameters"] = parameters
    return encode({"event": "start", "sequenceNumber": str(number), "streamSid": stream, "start": details})


def media(
    number: int, mulaw: bytes = b"\x7f" * 160, *, at_ms: int | None = None, stream: str = STREAM, track: str = "inbound"
) -> bytes:
    """A media message; with 20 ms frames, number 2 is the first, at 0 ms."""
    details = {
        "track": track,
        "chunk": str(number - 1),
        "timestamp": str((number - 2) * 20 if at_ms is None else at_ms),
        "payload": base64.b64encode(mulaw).decode(),
    }
    return encode({"event": "media", "sequenceNumber": str(number), "streamSid": stream, "media": details})


def mark(number: int, name: str) -> bytes:
    return encode({"event": "mark", "sequenceNumber": str(number), "streamSid": STREAM, "mark": {"name": name}})


def dtmf(number: int, digit: str) -> bytes:
    details = {"track": "inbound_track", "digit": digit}
    return encode({"event": "dtmf", "sequenceNumber": str(number), "streamSid": STREAM, "dtmf": details})


def stop(number: int) -> bytes:
    details = {"accountSid": "AC1", "callSid": CALL}
    return encode({"event": "stop", "sequenceNumber": str(number), "streamSid": STREAM, "stop": details})
