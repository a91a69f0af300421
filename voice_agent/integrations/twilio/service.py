"""Twilio's REST interface: place, look up, steer and end calls.

It decides nothing about dialling: `create_call` posts once and reports what happened, an unknown outcome included,
because Twilio has no idempotency key and a second POST may be a second call. Everything else may be repeated, and is,
where Twilio answers that it is busy. Source: https://www.twilio.com/docs/voice/api/call-resource; error codes:
https://www.twilio.com/docs/api/errors.

The SDK is typed by hand here, in `_call` and `_account`: it ships no types. Its own time-out is ignored by its
asynchronous client (seen in 9.13), so every request runs under `asyncio.timeout`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Self

import aiohttp
import msgspec
import structlog
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.base.values import unset
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from voice_agent.calls.ports import CallRequest, CarrierCall, CarrierRecording, Language, TransferRequest
from voice_agent.calls.turns import DialTurns
from voice_agent.errors import CarrierError
from voice_agent.integrations.twilio import twiml
from voice_agent.settings import TwilioSettings

log = structlog.get_logger(__name__)

CALL_NOT_IN_PROGRESS = 21220
NOT_FOUND = 20404
TOO_MANY_REQUESTS = 429

LISTED = 1_000
"""Most calls of one look-up: of a number that was called more often in a day the newest are seen."""

PIECE_BYTES = 262_144

_MACHINE_DETECTION = {"enable": "Enable", "message_end": "DetectMessageEnd"}

_RETRY_DELAYS_S = (0.25, 0.5, 1.0)
"""Waits before the second to fourth try: enough for a burst of requests, short against a caller who waits."""


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
        self._turns = DialTurns(sleep=sleep)
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
        """Place a call, once; asked for again only where Twilio says that it has not been processed (429).

        Raises CarrierError; one that `is_unclear` may mean a call that rings, and must be looked up.
        """
        asks_who = request.machine_detection != "off"

        def post() -> Awaitable[Any]:
            created: Awaitable[Any] = self._client.calls.create_async(
                to=request.to,
                from_=request.caller,
                url=request.url or unset,
                twiml=request.twiml or unset,
                status_callback=request.status_callback or unset,
                status_callback_event=list(request.status_events) if request.status_callback else unset,
                timeout=request.ring_s,
                time_limit=request.time_limit_s,
                machine_detection=_MACHINE_DETECTION.get(request.machine_detection, unset),
                async_amd="true" if asks_who else unset,
                async_amd_status_callback=request.machine_callback if asks_who else unset,
                record=True if request.is_recorded else unset,
                recording_channels="dual" if request.is_recorded else unset,
                # Twilio's default cuts silence off at both ends: what was said when would be unknown.
                trim="do-not-trim" if request.is_recorded else unset,
                recording_status_callback=request.recording_callback if request.is_recorded else unset,
                recording_status_callback_event=["completed", "absent"] if request.is_recorded else unset,
            )
            return created

        # Twilio queues what comes faster, for up to a day.
        await self._turns.wait("calls", self._settings.calls_per_second)
        return _call(await self._patiently(post, repeat=_was_not_processed))

    async def fetch_call(self, call_sid: str) -> CarrierCall:
        """Look a call up. Raises CarrierError."""
        return _call(await self._patiently(self._client.calls(call_sid).fetch_async, repeat=_may_work_later))

    async def list_calls(self, *, to: str, caller: str, started_after: datetime) -> tuple[CarrierCall, ...]:
        """Return the calls between two numbers that were begun after a moment. Raises CarrierError."""
        # Twilio filters by day alone, so the days from then on are asked for and looked through.
        day = started_after.astimezone(UTC).date()

        async def ask() -> list[Any]:
            found: list[Any] = await self._client.calls.list_async(
                to=to, from_=caller, start_time_after=day, limit=LISTED
            )
            return found

        calls = [_call(instance) for instance in await self._patiently(ask, repeat=_may_work_later)]
        return tuple(call for call in calls if (begun := _begun(call)) is None or begun >= started_after)

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

    async def cancel(self, call_sid: str) -> None:
        """End a call that was not answered yet; one that was meanwhile is hung up. Raises CarrierError."""
        update = self._client.calls(call_sid).update_async
        try:
            await self._patiently(lambda: update(status="canceled"), repeat=_may_work_later)
        except CarrierError as error:
            if not _is_over(error):
                raise
            await self.hang_up(call_sid)

    async def replace_twiml(self, call_sid: str, document: str) -> None:
        """Make a live call do what `document` says now; its media stream ends. Raises CarrierError."""
        update = self._client.calls(call_sid).update_async
        await self._patiently(lambda: update(twiml=document), repeat=_was_not_processed)

    async def transfer(self, call_sid: str, request: TransferRequest) -> None:
        """Connect the caller to a person; the media stream ends. Raises CarrierError."""
        await self.replace_twiml(call_sid, twiml.transfer(request))

    # --- Twilio's own recordings ------------------------------------------------------------------------------
    async def pause_recording(self, call_sid: str) -> None:
        """Pause the recording of a live call; one that is not recorded is no error. Raises CarrierError."""
        await self._change_recording(call_sid, "paused")

    async def resume_recording(self, call_sid: str) -> None:
        """Go on with it. Raises CarrierError."""
        await self._change_recording(call_sid, "in-progress")

    async def _change_recording(self, call_sid: str, status: str) -> None:
        # Twilio.CURRENT stands for whichever recording is running.
        recording = self._client.calls(call_sid).recordings("Twilio.CURRENT")
        try:
            await self._patiently(lambda: recording.update_async(status=status), repeat=_may_work_later)
        except CarrierError as error:
            if not _is_over(error):
                raise

    async def list_recordings(self, call_sid: str) -> tuple[CarrierRecording, ...]:
        """Return Twilio's recordings of a call, none where it does not know the call. Raises CarrierError."""
        recordings = self._client.calls(call_sid).recordings
        try:
            found = await self._patiently(lambda: recordings.list_async(limit=LISTED), repeat=_may_work_later)
        except CarrierError as error:
            if not _is_over(error):
                raise
            return ()
        return tuple(_recording(instance) for instance in found)

    async def download_recording(self, recording_sid: str) -> AsyncGenerator[bytes, None]:
        """Yield a recording's WAV file in pieces. Raises CarrierError."""
        account = self._settings.account_sid
        url = f"{self._settings.base_url}/2010-04-01/Accounts/{account}/Recordings/{recording_sid}.wav"
        header = _BasicCredentials(account, self._settings.auth_token.get_secret_value()).get_auth_string()
        timeout = aiohttp.ClientTimeout(sock_connect=self._timeout_s, sock_read=self._timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as client,
                client.get(url, headers={"Authorization": header}) as answer,
            ):
                if answer.status == 404:
                    raise CarrierError("Twilio has no such recording", code=NOT_FOUND, status=404, kind="gone")
                if answer.status != 200:
                    raise CarrierError(f"Twilio refused the recording: status {answer.status}", status=answer.status)
                async for piece in answer.content.iter_chunked(PIECE_BYTES):
                    yield piece
        except (TimeoutError, aiohttp.ClientError) as error:
            raise CarrierError(f"the recording broke off: {type(error).__name__}") from error

    async def delete_recording(self, recording_sid: str) -> None:
        """Delete Twilio's copy; one that is gone already is no error. Raises CarrierError."""
        recording = self._client.recordings(recording_sid)
        try:
            await self._patiently(recording.delete_async, repeat=_may_work_later)
        except CarrierError as error:
            if not _is_over(error):
                raise

    # --- requests ---------------------------------------------------------------------------------------------
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
            raise CarrierError("Twilio is not connected", status=400)
        if not self._settings.account_sid:
            # A refusal, so that nobody takes it for a call that may ring.
            raise CarrierError("there is no Twilio account: TWILIO_ACCOUNT_SID is not set", status=401, kind="config")
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

    def __init__(self, service: TwilioService, call_sid: str, *, dial_action_url: str, language: Language) -> None:
        self._service = service
        self._call_sid = call_sid
        self._dial_action_url = dial_action_url
        self._language = language

    async def hang_up(self) -> None:
        """End the call. Raises CarrierError."""
        await self._service.hang_up(self._call_sid)

    async def transfer(self, target: str) -> None:
        """Connect the caller to `target` (E.164). Raises CarrierError."""
        request = TransferRequest(target=target, action_url=self._dial_action_url, language=self._language)
        await self._service.transfer(self._call_sid, request)


def _is_over(error: CarrierError) -> bool:
    return error.code in {CALL_NOT_IN_PROGRESS, NOT_FOUND} or error.status == 404


def _was_not_processed(error: CarrierError) -> bool:
    return error.is_not_processed


def _may_work_later(error: CarrierError) -> bool:
    return error.is_unclear or error.is_not_processed


def _translated(error: TwilioException) -> CarrierError:
    """Return our error for the SDK's; its text may quote phone numbers, so it goes no further than the exception."""
    match error:
        case TwilioRestException():
            message, code, status = f"Twilio refused: {error.msg}", error.code or 0, error.status
        case TwilioServiceException():
            message, code, status = f"Twilio refused: {error.title}", error.code, error.status
        case TwilioException(args=(_, Response() as response)):  # what a refused list raises
            message, code, status = "Twilio refused", 0, response.status_code
        case _:
            return CarrierError("Twilio's answer could not be read")
    kind = KINDS.get(code, "retry_later" if status == TOO_MANY_REQUESTS else "other")
    return CarrierError(message, code=code, status=status, kind=kind)


KINDS: dict[int, str] = {
    20003: "config",
    20404: "gone",
    20429: "retry_later",
    22005: "retry_later",
    10004: "retry_later",
    21201: "invalid_number",
    21210: "config",
    21211: "invalid_number",
    21212: "config",
    21213: "config",
    21214: "unreachable",
    21215: "config",
    21216: "blocked",
    21217: "invalid_number",
    21219: "config",
    21220: "gone",
    13223: "invalid_number",
    13224: "unreachable",
    13227: "config",
    573002: "config",
    573005: "config",
}
"""What Twilio's error codes mean for whoever asked. Source: https://www.twilio.com/docs/api/errors."""


def _call(instance: Any) -> CarrierCall:
    return CarrierCall(
        call_sid=instance.sid or "",
        status=instance.status or "",
        to=instance.to or "",
        caller=instance._from or "",
        duration_s=int(instance.duration) if instance.duration else None,
        answered_by=instance.answered_by or "",
        price=_micros(instance.price, instance.price_unit),
        created_at=instance.date_created,
        started_at=instance.start_time,
        ended_at=instance.end_time,
        direction=instance.direction or "",
        parent_call_sid=instance.parent_call_sid or "",
    )


def _recording(instance: Any) -> CarrierRecording:
    return CarrierRecording(
        recording_sid=instance.sid or "",
        call_sid=instance.call_sid or "",
        status=str(instance.status or ""),
        duration_s=int(instance.duration) if instance.duration else None,
        channels=int(instance.channels) if instance.channels else None,
        error_code=int(instance.error_code or 0),
    )


def _micros(price: str | None, unit: str | None) -> int | None:
    """Return a price in millionths of a dollar; Twilio writes what it takes as a negative number."""
    if not price or (unit or "USD").upper() != "USD":
        return None
    try:
        return round(abs(Decimal(price)) * 1_000_000)
    except InvalidOperation:
        return None


def _begun(call: CarrierCall) -> datetime | None:
    return call.created_at or call.started_at


def _account(instance: Any) -> CarrierAccount:
    return CarrierAccount(account_sid=instance.sid or "", status=instance.status or "", kind=instance.type or "")
