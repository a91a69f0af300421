"""The carrier's REST interface: the Calls resource of Twilio's 2010-04-01 API.

Source: https://www.twilio.com/docs/voice/api/call-resource; errors: https://www.twilio.com/docs/api/errors. Not
here: recordings, queues, conferences, answering-machine detection (its parameters are accepted and ignored).
"""

import base64
import binascii
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web
from multidict import MultiMapping

from voice_agent.sandbox.carrier import twiml
from voice_agent.sandbox.carrier.call import Application, Call
from voice_agent.sandbox.carrier.callbacks import StatusCallback
from voice_agent.sandbox.carrier.interpreter import Fetch
from voice_agent.sandbox.carrier.journal import Journal, RestAnswered
from voice_agent.sandbox.carrier.record import API_VERSION, CallRecord

MAX_TWIML_CHARACTERS = 4_000
CALLBACK_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})
MAX_RING_S = 600.0
PAGE_SIZE = 50

_E164 = re.compile(r"\+[1-9]\d{6,14}")

Form = MultiMapping[str]


class RestError(Exception):
    """An error body of the interface: Twilio's code, message and HTTP status."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Exchange(Protocol):
    """What the interface needs from the carrier."""

    def create_call(
        self,
        record: CallRecord,
        application: Application,
        callback: StatusCallback,
        *,
        ring_timeout_s: float,
        time_limit_s: float,
    ) -> Call:
        """Begin an outbound call."""
        ...

    def find_call(self, call_sid: str) -> Call | None:
        """Return a call by its SID."""
        ...

    def list_calls(self) -> tuple[Call, ...]:
        """Return every call, newest first."""
        ...

    def next_refusal(self) -> RestError | None:
        """Return the error that the fault plan has for this request."""
        ...


class RestInterface:
    """The routes. `application` is what a web server runs."""

    def __init__(self, exchange: Exchange, journal: Journal, *, account_sid: str, auth_token: str) -> None:
        self._exchange = exchange
        self._journal = journal
        self._account_sid = account_sid
        self._auth_token = auth_token
        self.application = web.Application(middlewares=[self._guard])
        account = f"/{API_VERSION}/Accounts/{{account_sid}}"
        self.application.add_routes(
            [
                web.post(f"{account}/Calls.json", self._create),
                web.get(f"{account}/Calls.json", self._list),
                web.get(f"{account}/Calls/{{call_sid}}.json", self._fetch),
                web.post(f"{account}/Calls/{{call_sid}}.json", self._update),
            ]
        )

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        code = 0
        try:
            self._authenticate(request)
            refusal = self._exchange.next_refusal()
            if refusal is not None:
                raise refusal
            response = await handler(request)
        except web.HTTPNotFound:
            response = _error(RestError(404, 20404, f"The requested resource {request.path} was not found"))
            code = 20404
        except RestError as error:
            response = _error(error)
            code = error.code
        self._journal.write(
            RestAnswered(
                at=self._journal.now,
                call_sid=request.match_info.get("call_sid", ""),
                method=request.method,
                path=request.path,
                status=response.status,
                code=code,
            )
        )
        return response

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(credentials, validate=True) if scheme.lower() == "basic" else b""
        except binascii.Error:
            given = b""
        if not hmac.compare_digest(given, f"{self._account_sid}:{self._auth_token}".encode()):
            raise RestError(401, 20003, "Authenticate")

    def _call_of(self, request: web.Request) -> Call:
        call = self._exchange.find_call(request.match_info["call_sid"])
        if call is None or request.match_info["account_sid"] != self._account_sid:
            raise RestError(404, 20404, f"The requested resource {request.path} was not found")
        return call

    async def _create(self, request: web.Request) -> web.Response:
        if request.match_info["account_sid"] != self._account_sid:
            raise RestError(404, 20404, f"The requested resource {request.path} was not found")
        form = await _form(request)
        record = CallRecord(
            account_sid=self._account_sid,
            to=_number(form, "To", missing=21201, invalid=21211),
            from_=_number(form, "From", missing=21213, invalid=21212),
            direction="outbound-api",
        )
        start = _document(form)
        if start is None:
            raise RestError(400, 21205, "Url or Twiml parameter is required.")
        call = self._exchange.create_call(
            record,
            Application(start, _source(form, "FallbackUrl", "FallbackMethod")),
            _callback(form),
            ring_timeout_s=min(_seconds(form, "Timeout", 60.0), MAX_RING_S),
            time_limit_s=_seconds(form, "TimeLimit", 14_400.0),
        )
        return web.json_response(call.record.as_resource(), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        wanted = [
            call.record.as_resource()
            for call in self._exchange.list_calls()
            if request.query.get("To", call.record.to) == call.record.to
            and request.query.get("From", call.record.from_) == call.record.from_
            and request.query.get("Status", call.record.status) == call.record.status
        ]
        size = int(request.query.get("PageSize", str(PAGE_SIZE)))
        page = int(request.query.get("Page", "0"))
        following = str(request.rel_url.update_query(Page=str(page + 1))) if len(wanted) > (page + 1) * size else None
        return web.json_response(
            {
                "calls": wanted[page * size : (page + 1) * size],
                "page": page,
                "page_size": size,
                "uri": str(request.rel_url),
                "first_page_uri": str(request.rel_url.update_query(Page="0")),
                "next_page_uri": following,
                "previous_page_uri": None,
                "start": page * size,
                "end": min(len(wanted), (page + 1) * size) - 1,
            }
        )

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._call_of(request).record.as_resource())

    async def _update(self, request: web.Request) -> web.Response:
        call = self._call_of(request)
        form = await _form(request)
        status = form.get("Status", "")
        document = _document(form)
        if call.record.is_over or (status == "canceled" and call.leg.is_answered):
            raise RestError(400, 21220, "Call is not in-progress. Cannot redirect.")
        if status in ("completed", "canceled"):
            call.hang_up()
        elif status:
            raise RestError(400, 21218, f"Invalid Status: {status}")
        elif document is not None:
            if not call.leg.is_answered:
                raise RestError(400, 21220, "Call is not in-progress. Cannot redirect.")
            call.redirect(document)
        return web.json_response(call.record.as_resource())


async def _form(request: web.Request) -> Form:
    fields = await request.post()
    if not all(isinstance(value, str) for value in fields.values()):
        raise RestError(400, 20001, "Form fields are text")
    return fields  # type: ignore[return-value] # checked above: no field is a file


def _number(form: Form, name: str, *, missing: int, invalid: int) -> str:
    number = form.get(name, "")
    if not number:
        raise RestError(400, missing, f"No '{name}' number is specified")
    if not _E164.fullmatch(number):
        raise RestError(400, invalid, f"The phone number you are attempting to call, {number}, is not valid.")
    return number


def _seconds(form: Form, name: str, default: float) -> float:
    text = form.get(name, "")
    if text and not text.isdecimal():
        raise RestError(400, 20001, f"{name} is not a number of seconds")
    return float(text) if text else default


def _source(form: Form, url: str, method: str) -> Fetch | None:
    address = form.get(url, "")
    if not address:
        return None
    if not address.startswith(("http://", "https://")):
        raise RestError(400, 21205, f"{url} is not a valid URL: {address}")
    return Fetch(address, "GET" if form.get(method, "POST").upper() == "GET" else "POST")


def _document(form: Form) -> Fetch | twiml.Document | None:
    """Return what `Url` or `Twiml` says; with both, `Twiml` is ignored, as documented."""
    source = _source(form, "Url", "Method")
    text = form.get("Twiml", "")
    if source is not None or not text:
        return source
    if len(text) > MAX_TWIML_CHARACTERS:
        raise RestError(400, 21623, "The Twiml parameter has at most 4,000 characters.")
    try:
        return twiml.parse(text)
    except twiml.TwimlError as error:
        raise RestError(400, 12100, f"Document parse failure: {error}") from error


def _callback(form: Form) -> StatusCallback:
    target = _source(form, "StatusCallback", "StatusCallbackMethod")
    if target is None:
        return StatusCallback()
    named = {event for value in form.getall("StatusCallbackEvent", []) for event in value.split()}
    return StatusCallback(target.url, target.method, frozenset(named & CALLBACK_EVENTS) or frozenset({"completed"}))


def _error(error: RestError) -> web.Response:
    body = {
        "code": error.code,
        "message": str(error),
        "more_info": f"https://www.twilio.com/docs/errors/{error.code}",
        "status": error.status,
    }
    return web.json_response(body, status=error.status)
