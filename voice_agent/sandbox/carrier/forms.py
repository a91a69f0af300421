"""The fields of requests to the REST interface, and the errors that refuse them."""

import re
from datetime import UTC, datetime, timedelta

from aiohttp import web
from multidict import MultiMapping

from voice_agent.sandbox.carrier import twiml
from voice_agent.sandbox.carrier.callbacks import StatusCallback
from voice_agent.sandbox.carrier.documents import Fetch
from voice_agent.sandbox.carrier.machines import MachineDetection
from voice_agent.sandbox.carrier.recorder import RecordingOrder

MAX_TWIML_CHARACTERS = 4_000
CALLBACK_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})
RECORDING_EVENTS = frozenset({"in-progress", "completed", "absent"})

_E164 = re.compile(r"\+[1-9]\d{6,14}")

Form = MultiMapping[str]


class RestError(Exception):
    """An error of the interface: Twilio's code, message and HTTP status; `is_problem` writes it as RFC 9457 does."""

    def __init__(self, status: int, code: int, message: str, *, is_problem: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.is_problem = is_problem

    def as_response(self) -> web.Response:
        """Return the answer."""
        reference = f"https://www.twilio.com/docs/errors/{self.code}"
        if self.is_problem:
            problem = {"type": reference, "title": str(self), "status": self.status, "code": self.code}
            return web.json_response(problem, status=self.status, content_type="application/problem+json")
        body = {"code": self.code, "message": str(self), "more_info": reference, "status": self.status}
        return web.json_response(body, status=self.status)


def missing(request: web.Request) -> RestError:
    """Return the error of a resource that there is not."""
    return RestError(404, 20404, f"The requested resource {request.path} was not found")


async def read_form(request: web.Request) -> Form:
    """Return the fields of a request. Raises RestError where one is a file."""
    fields = await request.post()
    if not all(isinstance(value, str) for value in fields.values()):
        raise RestError(400, 20001, "Form fields are text")
    return fields  # type: ignore[return-value] # checked above: no field is a file


def number_of(form: Form, name: str, *, missing: int, invalid: int) -> str:
    """Return an E.164 number. Raises RestError."""
    number = form.get(name, "")
    if not number:
        raise RestError(400, missing, f"No '{name}' number is specified")
    if not _E164.fullmatch(number):
        raise RestError(400, invalid, f"The phone number you are attempting to call, {number}, is not valid.")
    return number


def seconds_of(form: Form, name: str, default: float) -> float:
    """Return whole seconds. Raises RestError."""
    return float(_count(form, name, int(default)))


def source_of(form: Form, url: str, method: str) -> Fetch | None:
    """Return the address in a field and how it is asked. Raises RestError."""
    address = form.get(url, "")
    if not address:
        return None
    if not address.startswith(("http://", "https://")):
        raise RestError(400, 21205, f"{url} is not a valid URL: {address}")
    return Fetch(address, "GET" if form.get(method, "POST").upper() == "GET" else "POST")


def document_of(form: Form) -> Fetch | twiml.Document | None:
    """Return what `Url` or `Twiml` says; with both, `Twiml` is ignored, as documented. Raises RestError."""
    source = source_of(form, "Url", "Method")
    text = form.get("Twiml", "")
    if source is not None or not text:
        return source
    if len(text) > MAX_TWIML_CHARACTERS:
        raise RestError(400, 21623, "The Twiml parameter has at most 4,000 characters.")
    try:
        return twiml.parse(text)
    except twiml.TwimlError as error:
        raise RestError(400, 12100, f"Document parse failure: {error}") from error


def callback_of(form: Form, prefix: str, *, known: frozenset[str], default: frozenset[str]) -> StatusCallback:
    """Return where events are told that the fields `prefix`, `prefix`Method and `prefix`Event name."""
    target = source_of(form, prefix, f"{prefix}Method")
    if target is None:
        return StatusCallback()
    named = {event for value in form.getall(f"{prefix}Event", []) for event in value.split()}
    return StatusCallback(target.url, target.method, frozenset(named & known) or default)


def status_callback_of(form: Form) -> StatusCallback:
    """Return where a call's own events are told."""
    return callback_of(form, "StatusCallback", known=CALLBACK_EVENTS, default=frozenset({"completed"}))


def recording_of(form: Form) -> RecordingOrder | None:
    """Return how a call is to be recorded, None where it is not. Raises RestError."""
    if form.get("Record", "").lower() != "true":
        return None
    channels = form.get("RecordingChannels", "mono")
    if channels not in ("mono", "dual"):
        raise RestError(400, 20001, f"Invalid RecordingChannels: {channels}")
    callback = callback_of(form, "RecordingStatusCallback", known=RECORDING_EVENTS, default=frozenset({"completed"}))
    return RecordingOrder(channels=2 if channels == "dual" else 1, callback=callback)


def detection_of(form: Form) -> MachineDetection | None:
    """Return how the answering side is to be listened to, None where it is not. Raises RestError."""
    mode = form.get("MachineDetection", "")
    # Keys that are sent after the answer would be heard as speech: they switch detection off, as documented.
    if not mode or form.get("SendDigits"):
        return None
    if mode not in ("Enable", "DetectMessageEnd"):
        raise RestError(400, 20001, f"Invalid MachineDetection: {mode}")
    timeout_s = _count(form, "MachineDetectionTimeout", 30, least=3, most=59)
    _count(form, "MachineDetectionSpeechThreshold", 2_400, least=1_000, most=6_000)
    _count(form, "MachineDetectionSpeechEndThreshold", 1_200, least=500, most=5_000)
    _count(form, "MachineDetectionSilenceTimeout", 5_000, least=2_000, most=10_000)
    target = source_of(form, "AsyncAmdStatusCallback", "AsyncAmdStatusCallbackMethod")
    return MachineDetection(
        waits_for_message_end=mode == "DetectMessageEnd",
        # The text "true": Python's True, which the SDK sends as "True", is not what Twilio documents.
        is_asynchronous=form.get("AsyncAmd") == "true",
        callback=target.url if target is not None else "",
        method=target.method if target is not None else "POST",
        timeout_s=float(timeout_s),
    )


def began_within(query: MultiMapping[str], moment: datetime) -> bool:
    """Whether `moment` passes the filters StartTime, StartTime> and StartTime<, which count whole days (GMT)."""
    on, since, until = (_day(query.get(name, "")) for name in ("StartTime", "StartTime>", "StartTime<"))
    return (
        (on is None or on <= moment < on + timedelta(days=1))
        and (since is None or moment >= since)
        and (until is None or moment <= until)
    )


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text[:10]).replace(tzinfo=UTC)
    except ValueError:
        raise RestError(400, 20001, f"Invalid date: {text}") from None


def _count(form: Form, name: str, default: int, *, least: int = 0, most: int = 10**9) -> int:
    text = form.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        raise RestError(400, 20001, f"{name} is not a whole number in its range")
    return int(text)
