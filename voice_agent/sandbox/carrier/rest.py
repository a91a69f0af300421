"""The carrier's REST interface: the Calls resource of Twilio's 2010-04-01 API. Recordings are in `rest_recordings`.

Source: https://www.twilio.com/docs/voice/api/call-resource; errors: https://www.twilio.com/docs/api/errors. Not
here: queues, conferences.
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from voice_agent.sandbox.carrier.call import Application, Call
from voice_agent.sandbox.carrier.callbacks import StatusCallback
from voice_agent.sandbox.carrier.faults import CreateFault
from voice_agent.sandbox.carrier.forms import (
    RestError,
    began_within,
    detection_of,
    document_of,
    missing,
    number_of,
    read_form,
    recording_of,
    seconds_of,
    source_of,
    status_callback_of,
)
from voice_agent.sandbox.carrier.journal import CallAccepted, CreateFaulted, Journal, RestAnswered
from voice_agent.sandbox.carrier.machines import MachineDetection
from voice_agent.sandbox.carrier.record import API_VERSION, CallRecord
from voice_agent.sandbox.carrier.recorder import RecordingOrder
from voice_agent.sandbox.carrier.recordings import RecordingShelf
from voice_agent.sandbox.carrier.rest_recordings import RecordingRoutes

MAX_RING_S = 600.0
PAGE_SIZE = 50


class _ConnectionLost(Exception):
    """The fault plan ends the connection here: there is no answer."""


class Exchange(Protocol):
    """What the interface needs from the carrier."""

    recordings: RecordingShelf

    def create_call(
        self,
        record: CallRecord,
        application: Application,
        callback: StatusCallback,
        *,
        ring_timeout_s: float,
        time_limit_s: float,
        detection: MachineDetection | None,
        recording: RecordingOrder | None,
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

    def next_create_fault(self) -> tuple[CreateFault | None, float]:
        """Return what goes wrong with this request for a call, and for how many seconds where it is slow."""
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
                *RecordingRoutes(exchange, journal, account_sid).under(account),
            ]
        )

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        status, code = 0, 0
        try:
            self._authenticate(request)
            refusal = self._exchange.next_refusal()
            if refusal is not None:
                raise refusal
            response = await handler(request)
            status = response.status
        except web.HTTPNotFound:
            response = missing(request).as_response()
            status, code = 404, 20404
        except RestError as error:
            response = error.as_response()
            status, code = error.status, error.code
        except _ConnectionLost:
            response = web.Response()
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._note_answer(request, status, code)
        return response

    def _note_answer(self, request: web.Request, status: int, code: int) -> None:
        """`status` is 0 where no answer was sent: by plan, or because the client would not wait for it."""
        self._journal.write(
            RestAnswered(
                at=self._journal.now,
                call_sid=request.match_info.get("call_sid", ""),
                method=request.method,
                path=request.path,
                status=status,
                code=code,
            )
        )

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
            raise missing(request)
        return call

    async def _create(self, request: web.Request) -> web.Response:
        if request.match_info["account_sid"] != self._account_sid:
            raise missing(request)
        form = await read_form(request)
        record = CallRecord(
            account_sid=self._account_sid,
            to=number_of(form, "To", missing=21201, invalid=21211),
            from_=number_of(form, "From", missing=21213, invalid=21212),
            direction="outbound-api",
        )
        start = document_of(form)
        if start is None:
            raise RestError(400, 21205, "Url or Twiml parameter is required.")
        application = Application(start, source_of(form, "FallbackUrl", "FallbackMethod"))
        callback, detection, recording = status_callback_of(form), detection_of(form), recording_of(form)
        ring_timeout_s, time_limit_s = seconds_of(form, "Timeout", 60.0), seconds_of(form, "TimeLimit", 14_400.0)
        fault, slow_s = self._exchange.next_create_fault()
        if fault is not None:
            self._note_fault(fault, record.sid if fault in _CREATED else "")
        _fail_before(fault)
        call = self._exchange.create_call(
            record,
            application,
            callback,
            ring_timeout_s=min(ring_timeout_s, MAX_RING_S),
            time_limit_s=time_limit_s,
            detection=detection,
            recording=recording,
        )
        answer = web.json_response(call.record.as_resource(), status=201)
        self._journal.write(
            CallAccepted(
                at=self._journal.now,
                call_sid=record.sid,
                to=record.to,
                from_=record.from_,
                url=form.get("Url", ""),
                fault=fault or "",
            )
        )
        await _fail_after(fault, slow_s)
        return answer

    def _note_fault(self, fault: CreateFault, call_sid: str) -> None:
        self._journal.write(CreateFaulted(at=self._journal.now, call_sid=call_sid, fault=fault))

    async def _list(self, request: web.Request) -> web.Response:
        wanted = [
            call.record.as_resource()
            for call in self._exchange.list_calls()
            if request.query.get("To", call.record.to) == call.record.to
            and request.query.get("From", call.record.from_) == call.record.from_
            and request.query.get("Status", call.record.status) == call.record.status
            and began_within(request.query, call.record.created_at)
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
        form = await read_form(request)
        status = form.get("Status", "")
        document = document_of(form)
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


_CREATED = frozenset({CreateFault.REPLY_LOST, CreateFault.FAILED_AFTER, CreateFault.SLOW})


def _fail_before(fault: CreateFault | None) -> None:
    match fault:
        case CreateFault.RESET:
            raise _ConnectionLost
        case CreateFault.FAILED_BEFORE:
            raise RestError(500, 20500, "Internal Server Error")
        case CreateFault.BUSY:
            raise RestError(429, 20429, "Too Many Requests")
        case _:
            return


async def _fail_after(fault: CreateFault | None, slow_s: float) -> None:
    match fault:
        case CreateFault.REPLY_LOST:
            raise _ConnectionLost
        case CreateFault.FAILED_AFTER:
            raise RestError(500, 20500, "Internal Server Error")
        case CreateFault.SLOW:
            await asyncio.sleep(slow_s)
        case _:
            return
