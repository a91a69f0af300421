"""Twilio's REST interface: place, look up, steer and end calls.

It decides nothing about dialling: `create_call` posts once and reports what happened, an unknown outcome included,
because Twilio has no idempotency key and a second POST may be a second call. Everything else may be repeated, and is,
where Twilio answers that it is busy. Source: https://www.twilio.com/docs/voice/api/call-resource; error codes:
https://www.twilio.com/docs/api/errors.

The SDK is typed by hand here, in `_call` and `_account`: it ships no types. Its own time-out is ignored by its
asynchronous client (seen in 9.13), so every request runs under `asyncio.timeout`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Self

import aiohttp
import msgspec
import structlog
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.base.values import unset
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from voice_agent.errors import CarrierError
from voice_agent.integrations.twilio import twiml
from voice_agent.settings import TwilioSettings

log = structlog.get_logger(__name__)

CallEvent = Literal["initiated", "ringing", "answered", "completed"]

CALL_NOT_IN_PROGRESS = 21220
NOT_FOUND = 20404
TOO_MANY_REQUESTS = 429

_RETRY_DELAYS_S = (0.25, 0.5, 1.0)
"""Waits before the second to fourth try: enough for a burst of requests, short against a caller who waits."""


class CallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An outbound call. Exactly one of `url` and `twiml` says what happens when it is answered."""

    to: str
    """E.164."""

    caller: str
    """The number shown, E.164; must belong to the account or be verified."""

    url: str = ""
    """Asked for TwiML on answer."""

    twiml: str = ""
    """At most 4,000 characters."""

    status_callback: str = ""
    status_events: tuple[CallEvent, ...] = ("initiated", "ringing", "answered", "completed")
    ring_s: int = 30
    time_limit_s: int = 3_600


class CarrierCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call as Twilio sees it. Fresh changes may not show yet: callbacks are the truth."""

    call_sid: str
    status: str
    """queued, ringing, in-progress, completed, busy, no-answer, failed or canceled."""

    to: str
    caller: str
    duration_s: int | None = None
    """None until the call has ended."""


class CarrierAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The account that the credentials open."""

    account_sid: str
    status: str
    """active, suspended or closed."""

    kind: str
    """Trial or Full."""


class _BasicCredentials:
    """The credentials as a header; the SDK's own way goes through aiohttp's BasicAuth, deprecated since 3.14."""

    def __init__(self, account_sid: str, token: str) -> None:
        self._header = aiohttp.encode_basic_auth(account_sid, token)

    def to_auth_strategy(self) -> Self:
        """Return what the SDK asks for the header."""
        return self

    def get_auth_string(self) -> str:
        """Return the Authorization header."""
        return self._header


class TwilioService:
    """One account. Open it at start-up, inside the running loop: the SDK loads 300 modules on first use."""

    def __init__(
        self,
        settings: TwilioSettings,
        *,
        timeout_s: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._http: AsyncTwilioHttpClient | None = None
        self._client: Any = None

    async def open(self) -> None:
        """Build the client."""
        self._http = AsyncTwilioHttpClient()
        account_sid, token = self._settings.account_sid, self._settings.auth_token.get_secret_value()
        self._client = Client(
            account_sid,
            token,
            http_client=self._http,
            credential_provider=_BasicCredentials(account_sid, token),
            # Not empty, or the SDK would read TWILIO_EDGE and TWILIO_REGION: TWILIO_BASE_URL alone names the host.
            environment={"TWILIO_EDGE": ""},
        )
        self._client.api.base_url = self._settings.base_url
        _ = self._client.calls

    async def close(self) -> None:
        """Release the connections. Safe to call twice."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create_call(self, request: CallRequest) -> CarrierCall:
        """Place a call, once.

        Raises CarrierError; with status 0 or 5xx the call may have been placed all the same and must be looked up,
        with 429 it has not been and may be asked for again.
        """
        post = self._client.calls.create_async
        created = await self._once(
            lambda: post(
                to=request.to,
                from_=request.caller,
                url=request.url or unset,
                twiml=request.twiml or unset,
                status_callback=request.status_callback or unset,
                status_callback_event=list(request.status_events) if request.status_callback else unset,
                timeout=request.ring_s,
                time_limit=request.time_limit_s,
            )
        )
        return _call(created)

    async def fetch_call(self, call_sid: str) -> CarrierCall:
        """Look a call up. Raises CarrierError."""
        return _call(await self._patiently(self._client.calls(call_sid).fetch_async, repeat=_may_work_later))

    async def fetch_account(self) -> CarrierAccount:
        """Look the account up: proves the credentials. Raises CarrierError."""
        account = self._client.api.v2010.accounts(self._settings.account_sid)
        return _account(await self._once(account.fetch_async))

    async def hang_up(self, call_sid: str) -> None:
        """End a call. One that has ended already, or is not known any more, is no error. Raises CarrierError."""
        update = self._client.calls(call_sid).update_async
        try:
            await self._patiently(lambda: update(status="completed"), repeat=_may_work_later)
        except CarrierError as error:
            if not _is_over(error):
                raise

    async def replace_twiml(self, call_sid: str, document: str) -> None:
        """Make a live call do what `document` says now; its media stream ends. Raises CarrierError."""
        update = self._client.calls(call_sid).update_async
        await self._patiently(lambda: update(twiml=document), repeat=_was_not_processed)

    async def transfer(self, call_sid: str, plan: twiml.TransferPlan) -> None:
        """Connect the caller to a person; the media stream ends. Raises CarrierError."""
        await self.replace_twiml(call_sid, twiml.transfer(plan))

    async def _patiently(self, request: Callable[[], Awaitable[Any]], *, repeat: Callable[[CarrierError], bool]) -> Any:
        for delay_s in _RETRY_DELAYS_S:
            try:
                return await self._once(request)
            except CarrierError as error:
                if not repeat(error):
                    raise
                log.info("carrier_request_repeated", code=error.code, status=error.status, delay_s=delay_s)
            await self._sleep(delay_s)
        return await self._once(request)

    async def _once(self, request: Callable[[], Awaitable[Any]]) -> Any:
        if self._http is None:
            raise CarrierError("Twilio is not connected")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await request()
        except TimeoutError:
            raise CarrierError(f"Twilio did not answer within {self._timeout_s:g} s") from None
        except TwilioException as error:
            raise _translated(error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise CarrierError(f"Twilio cannot be reached: {type(error).__name__}") from error


class TwilioCallControl:
    """One call's `pipeline.ports.CallControl`: what an agent can do to the call that it holds."""

    def __init__(
        self, service: TwilioService, call_sid: str, *, dial_action_url: str, language: twiml.Language
    ) -> None:
        self._service = service
        self._call_sid = call_sid
        self._dial_action_url = dial_action_url
        self._language = language

    async def hang_up(self) -> None:
        """End the call. Raises CarrierError."""
        await self._service.hang_up(self._call_sid)

    async def transfer(self, target: str) -> None:
        """Connect the caller to `target` (E.164). Raises CarrierError."""
        plan = twiml.TransferPlan(target=target, action_url=self._dial_action_url, language=self._language)
        await self._service.transfer(self._call_sid, plan)


def _is_over(error: CarrierError) -> bool:
    return error.code in {CALL_NOT_IN_PROGRESS, NOT_FOUND} or error.status == 404


def _was_not_processed(error: CarrierError) -> bool:
    return error.status == TOO_MANY_REQUESTS


def _may_work_later(error: CarrierError) -> bool:
    return error.status in {0, TOO_MANY_REQUESTS} or error.status >= 500


def _translated(error: TwilioException) -> CarrierError:
    """Return our error for the SDK's; its text may quote phone numbers, so it goes no further than the exception."""
    match error:
        case TwilioRestException():
            return CarrierError(f"Twilio refused: {error.msg}", code=error.code or 0, status=error.status)
        case TwilioServiceException():
            return CarrierError(f"Twilio refused: {error.title}", code=error.code, status=error.status)
        case _:
            return CarrierError("Twilio's answer could not be read")


def _call(instance: Any) -> CarrierCall:
    return CarrierCall(
        call_sid=instance.sid or "",
        status=instance.status or "",
        to=instance.to or "",
        caller=instance._from or "",
        duration_s=int(instance.duration) if instance.duration else None,
    )


def _account(instance: Any) -> CarrierAccount:
    return CarrierAccount(account_sid=instance.sid or "", status=instance.status or "", kind=instance.type or "")
