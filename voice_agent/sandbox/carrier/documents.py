"""Where a call goes on, and how the documents that say so are fetched."""

import msgspec

from voice_agent.sandbox.carrier import twiml
from voice_agent.sandbox.carrier.leg import Leg

RETRIEVAL_FAILED = 11200
DOCUMENT_INVALID = 12100
CONTENT_TYPE_INVALID = 12300

_CONTENT_TYPES = frozenset({"text/xml", "application/xml", "text/html", ""})


class Fetch(msgspec.Struct, frozen=True):
    """Go on with the document at `url`; `parameters` join those of the call."""

    url: str
    method: twiml.Method = "POST"
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


class HangUp(msgspec.Struct, frozen=True):
    """End the call: by a verb that says so (`is_ordered`), or because there is none left."""

    is_ordered: bool = False


Step = Fetch | HangUp


async def fetch_document(leg: Leg, source: Fetch) -> tuple[twiml.Document | None, int]:
    """Return the document at `source`, or None and Twilio's code of what is wrong with it, which is also written down.

    An answer of 204 or without a body is an empty document.
    """
    answer = await leg.services.webhooks.request(
        source.url, leg.record.webhook_parameters() | source.parameters, method=source.method, call_sid=leg.record.sid
    )
    if not answer.is_ok:
        code, reason = RETRIEVAL_FAILED, f"status {answer.status} {answer.text[:200]}"
    elif answer.content_type not in _CONTENT_TYPES:
        code, reason = CONTENT_TYPE_INVALID, f"content type {answer.content_type!r}"
    else:
        try:
            return twiml.parse(answer.text, base_url=source.url), 0
        except twiml.TwimlError as error:
            code, reason = DOCUMENT_INVALID, str(error)
    leg.warn(code, f"{source.url}: {reason}")
    return None, code
