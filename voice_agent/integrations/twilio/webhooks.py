"""Twilio's webhooks: what it asks for when a call comes in or is answered, and what it tells of calls.

Every request is signed over the configured public URL; an unsigned one is answered 403 and does nothing, and what its
path says is not even read. Answers are TwiML, or 204 where there is nothing to say, and do not wait for a database
that does not answer (`calls.reception`, `calls.inbox`).
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import structlog
from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from voice_agent.calls.inbox import Inbox
from voice_agent.calls.live import LiveCalls
from voice_agent.calls.ports import Language
from voice_agent.calls.processor import IncomingCall, Receipt
from voice_agent.calls.reception import AfterStream, Answer, Reception, Welcome
from voice_agent.integrations.twilio import twiml
from voice_agent.integrations.twilio.addresses import (
    AFTER_DIAL_PATH,
    AFTER_STREAM_PATH,
    CALL_PATH,
    STATUS_PATH,
    STREAM_STATUS_PATH,
    VOICE_PATH,
    TwilioAddresses,
)
from voice_agent.integrations.twilio.receipts import (
    TOKEN_HEADER,
    Delivery,
    machine_receipt,
    recording_receipt,
    status_receipt,
    stream_receipt,
)
from voice_agent.integrations.twilio.signature import WebhookSignature
from voice_agent.media_stream.connection import Upgrade

log = structlog.get_logger(__name__)

SIGNATURE_HEADER = "x-twilio-signature"

LARGEST_BODY_BYTES = 65_536
"""Twilio's largest callbacks have about 2 kB."""

Responder = Callable[[Delivery], Awaitable[str]]


class TwilioWebhooks:
    """The routes."""

    def __init__(
        self,
        reception: Reception,
        inbox: Inbox,
        live: LiveCalls,
        signature: WebhookSignature,
        *,
        addresses: TwilioAddresses,
        language: Language,
    ) -> None:
        """`language` is of what Twilio says where no call's own is known."""
        self._reception = reception
        self._inbox = inbox
        self._live = live
        self._signature = signature
        self._addresses = addresses
        self._language = language
        live.is_signed = self._is_signed_upgrade
        self.router = APIRouter(tags=["twilio"], include_in_schema=False)
        routes: dict[str, Responder] = {
            VOICE_PATH: self._answer_incoming,
            STATUS_PATH: self._note_status,
            AFTER_STREAM_PATH: self._after_stream,
            AFTER_DIAL_PATH: self._after_dial,
            STREAM_STATUS_PATH: self._note_stream_status,
            f"{CALL_PATH}/{{call_id}}/answer": self._answer_outgoing,
            f"{CALL_PATH}/{{call_id}}/status": self._note_status,
            f"{CALL_PATH}/{{call_id}}/machine": self._note_machine,
            f"{CALL_PATH}/{{call_id}}/recording": self._note_recording,
            f"{CALL_PATH}/{{call_id}}/after-dial": self._after_dial,
            f"{CALL_PATH}/{{call_id}}/whisper": self._brief,
        }
        for path, answer in routes.items():
            self.router.add_api_route(path, self._guarded(answer), methods=["POST"])

    # --- who asks ---------------------------------------------------------------------------------------------
    def _is_signed_upgrade(self, upgrade: Upgrade) -> bool:
        return self._signature.check_upgrade(upgrade.path, upgrade.headers.get(SIGNATURE_HEADER))

    def _guarded(self, answer: Responder) -> Callable[[Request], Awaitable[Response]]:
        """Return a route that answers signed requests only. An empty answer is 204: nothing to say."""

        async def route(request: Request) -> Response:
            signed = await self._signed(request)
            if signed is None:
                log.warning("webhook_refused", path=request.url.path)
                return Response(status_code=403)
            document = await answer(signed)
            return Response(document, media_type="text/xml") if document else Response(status_code=204)

        return route

    async def _signed(self, request: Request) -> Delivery | None:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST_BODY_BYTES:
                raise HTTPException(413)
        request._body = body
        try:
            form = await request.form()
        except (MultiPartException, HTTPException, UnicodeDecodeError):
            return None
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if not self._signature.check(target, form, request.headers.get(SIGNATURE_HEADER)):
            return None
        return Delivery(
            # Postgres stores no NUL; what callers choose themselves (their name, a SIP address) may have one.
            form={name: str(value).replace("\0", "") for name, value in form.items()},
            received_at=datetime.now(UTC),
            token=request.headers.get(TOKEN_HEADER, ""),
            call_id=_call_id(request),
        )

    # --- calls that are to be held ----------------------------------------------------------------------------
    async def _answer_incoming(self, delivery: Delivery) -> str:
        """A call comes in: connect it to a media stream, or say that all lines are busy."""
        if not delivery.call_sid:
            return twiml.apologise(self._language)
        incoming = IncomingCall(to=delivery.form.get("To", "")[:40], from_number=delivery.form.get("From", "")[:40])
        return self._welcome(await self._reception.incoming(delivery.call_sid, incoming), delivery.call_sid)

    async def _answer_outgoing(self, delivery: Delivery) -> str:
        """Somebody has answered a call of ours."""
        if delivery.call_id is None or not delivery.call_sid:
            return twiml.hang_up()
        return self._welcome(await self._reception.answered(delivery.call_id, delivery.call_sid), delivery.call_sid)

    def _welcome(self, welcome: Welcome, call_sid: str) -> str:
        language = twiml.language_of(welcome.language, self._language)
        match welcome.answer:
            case Answer.CONNECT:
                return self._connect(call_sid, language)
            case Answer.SAY_BUSY:
                return twiml.refuse_busy(language)
            case Answer.HANG_UP:
                return twiml.hang_up()

    def _connect(self, call_sid: str, language: Language, *, is_resumed: bool = False) -> str:
        return twiml.connect_stream(
            self._addresses.media,
            ticket=self._live.issue_ticket(call_sid),
            action_url=self._addresses.of(AFTER_STREAM_PATH),
            status_callback=self._addresses.of(STREAM_STATUS_PATH),
            language=language,
            is_resumed=is_resumed,
        )

    async def _after_stream(self, delivery: Delivery) -> str:
        """A media stream has ended: hang up where that was meant, else connect another one."""
        follows, spoken = await self._reception.after_stream(delivery.call_sid)
        language = twiml.language_of(spoken, self._language)
        match follows:
            case AfterStream.HANG_UP:
                return twiml.hang_up()
            case AfterStream.RESUME:
                return self._connect(delivery.call_sid, language, is_resumed=True)
            case AfterStream.APOLOGISE:
                return twiml.apologise(language)

    # --- transfers --------------------------------------------------------------------------------------------
    async def _after_dial(self, delivery: Delivery) -> str:
        """A transfer is over."""
        return twiml.after_dial(delivery.form.get("DialCallStatus", ""), self._language)

    async def _brief(self, delivery: Delivery) -> str:
        """Whoever a call is transferred to has answered: say what it is about."""
        if delivery.call_id is None:
            return twiml.say("", self._language)
        text, spoken = await self._reception.briefing(delivery.call_id)
        return twiml.say(text, twiml.language_of(spoken, self._language))

    # --- what Twilio tells ------------------------------------------------------------------------------------
    async def _note_status(self, delivery: Delivery) -> str:
        """What became of a call."""
        return await self._keep(status_receipt(delivery))

    async def _note_machine(self, delivery: Delivery) -> str:
        """Who answered."""
        return await self._keep(machine_receipt(delivery))

    async def _note_recording(self, delivery: Delivery) -> str:
        """What became of Twilio's own recording."""
        return await self._keep(recording_receipt(delivery))

    async def _note_stream_status(self, delivery: Delivery) -> str:
        """What became of a media stream; Twilio's only word on a handshake that failed."""
        if delivery.form.get("StreamEvent") == "stream-error":
            log.error("stream_error", call_sid=delivery.call_sid, error=delivery.form.get("StreamError", ""))
        return await self._keep(stream_receipt(delivery))

    async def _keep(self, receipt: Receipt) -> str:
        if receipt.call_sid:
            await self._inbox.put(receipt)
        return ""


def _call_id(request: Request) -> UUID | None:
    try:
        return UUID(request.path_params["call_id"]) if "call_id" in request.path_params else None
    except ValueError:
        return None
