"""Twilio's webhooks: what it asks for when a call comes in, when its stream has ended, when a transfer is over.

Every request is signed over the configured public URL; an unsigned one is answered 403 and does nothing. Answers are
TwiML and come without waiting for anybody else.
"""

from collections.abc import Awaitable, Callable

import structlog
from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData

from voice_agent.calls.live import LiveCalls
from voice_agent.integrations.twilio import twiml
from voice_agent.integrations.twilio.signature import WebhookSignature
from voice_agent.media_stream.connection import Upgrade

log = structlog.get_logger(__name__)

VOICE_PATH = "/twilio/voice"
MEDIA_PATH = "/twilio/media"
AFTER_STREAM_PATH = "/twilio/after-stream"
AFTER_DIAL_PATH = "/twilio/after-dial"
STREAM_STATUS_PATH = "/twilio/stream-status"

SIGNATURE_HEADER = "x-twilio-signature"


class TwilioWebhooks:
    """The routes, bound to the calls of this process."""

    def __init__(
        self, calls: LiveCalls, signature: WebhookSignature, *, public_base_url: str, language: twiml.Language
    ) -> None:
        self._calls = calls
        self._signature = signature
        self._base_url = public_base_url.rstrip("/")
        self._language = language
        calls.is_signed = self._is_signed_upgrade
        self.router = APIRouter(tags=["twilio"], include_in_schema=False)
        for path, answer in (
            (VOICE_PATH, self._answer_call),
            (AFTER_STREAM_PATH, self._after_stream),
            (AFTER_DIAL_PATH, self._after_dial),
            (STREAM_STATUS_PATH, self._note_stream_status),
        ):
            self.router.add_api_route(path, self._guarded(answer), methods=["POST"])

    def _is_signed_upgrade(self, upgrade: Upgrade) -> bool:
        return self._signature.check_upgrade(upgrade.path, upgrade.headers.get(SIGNATURE_HEADER))

    def _guarded(self, answer: Callable[[FormData], str]) -> Callable[[Request], Awaitable[Response]]:
        """Return a route that answers signed requests only. An empty answer is 204: nothing to say."""

        async def route(request: Request) -> Response:
            form = await request.form()
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            if not self._signature.check(target, form, request.headers.get(SIGNATURE_HEADER)):
                log.warning("webhook_refused", path=request.url.path)
                return Response(status_code=403)
            document = answer(form)
            return Response(document, media_type="text/xml") if document else Response(status_code=204)

        return route

    def _answer_call(self, form: FormData) -> str:
        """A call comes in: connect it to a media stream, or say that all lines are busy."""
        call_sid = str(form.get("CallSid", ""))
        if not call_sid:
            return twiml.apologise(self._language)
        if not self._calls.has_room:
            log.warning("call_refused", why="all lines are busy", call_sid=call_sid)
            return twiml.refuse_busy(self._language)
        return twiml.connect_stream(
            "ws" + self._base_url.removeprefix("http") + MEDIA_PATH,
            ticket=self._calls.issue_ticket(call_sid),
            action_url=self._base_url + AFTER_STREAM_PATH,
            status_callback=self._base_url + STREAM_STATUS_PATH,
            language=self._language,
        )

    def _after_stream(self, form: FormData) -> str:
        """The stream has ended: hang up where the agent meant it, else say that something went wrong."""
        call_sid = str(form.get("CallSid", ""))
        if self._calls.was_ended_by_us(call_sid):
            return twiml.hang_up()
        log.warning("stream_lost", call_sid=call_sid)
        return twiml.apologise(self._language)

    def _after_dial(self, form: FormData) -> str:
        """A transfer is over."""
        return twiml.after_dial(str(form.get("DialCallStatus", "")), self._language)

    def _note_stream_status(self, form: FormData) -> str:
        """Twilio's only word on a handshake that failed."""
        event = str(form.get("StreamEvent", ""))
        if event == "stream-error":
            log.error("stream_error", call_sid=str(form.get("CallSid", "")), error=str(form.get("StreamError", "")))
        return ""
