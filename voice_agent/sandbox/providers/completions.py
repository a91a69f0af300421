"""What the chat doubles share: the tokens of a reply at the model's pace, and OpenAI's error body."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import msgspec

from voice_agent.sandbox.providers.config import Timings
from voice_agent.sandbox.providers.dialogue import Reply
from voice_agent.sandbox.providers.faults import FaultKind
from voice_agent.sandbox.providers.visit import Visit

HUGE_TOKEN_CHARS = 50_000


async def paced(guest: Visit, reply: Reply, asked_s: float) -> AsyncIterator[str]:
    """Yield the reply's tokens when the model would have them; one empty token where there is no text.

    `asked_s` is the `monotonic` moment of the request.
    """
    timings: Timings = guest.world.timings
    due_s = asked_s + timings.first_token_s
    for token in reply.tokens or ("",):
        wait_s = due_s - monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        yield token
        due_s += timings.token_s
    if guest.fault is not None and guest.fault.kind is FaultKind.HUGE:
        for _ in range(guest.fault.size_bytes // HUGE_TOKEN_CHARS):
            yield " na" * (HUGE_TOKEN_CHARS // 3)


def fragments(arguments: str) -> tuple[str, ...]:
    """Cut a tool call's arguments into the pieces in which OpenAI streams them."""
    return tuple(arguments[at : at + 8] for at in range(0, len(arguments), 8))


class _ErrorFields(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class _ErrorBody(msgspec.Struct):
    error: _ErrorFields


_CODES = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", "server_overloaded"),
}


def openai_error(status: int, code: str = "", message: str = "The double was told to fail.") -> bytes:
    """Return OpenAI's error body for an HTTP status."""
    kind, usual_code = _CODES.get(status, ("invalid_request_error", None))
    return msgspec.json.encode(_ErrorBody(_ErrorFields(message, kind, None, code or usual_code)))
