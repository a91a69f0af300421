"""Every failure of a provider, as one of the four `ProviderError` leaves.

One mapping for all vendors: an HTTP status decides where there is one, the exception's class otherwise. It reads
exceptions by their attributes, so that no vendor's SDK is imported here. Messages never carry request headers.
"""

import asyncio
from collections.abc import Mapping

from voice_agent.errors import ProviderBusy, ProviderError, ProviderMisbehaved, ProviderRefused, ProviderUnavailable

BUSY_STATUSES = frozenset({408, 409, 425, 429, 503, 529})
"""It may work later. 529 is what overloaded gateways answer in place of 503."""

REFUSED_CODES = frozenset({"insufficient_quota", "quota_exceeded", "invalid_api_key", "model_not_found"})
"""Machine codes that outrank the status: an exhausted quota is a 429, yet waiting does not help
(https://platform.openai.com/docs/guides/error-codes)."""

MESSAGE_CHARS = 300


def from_status(
    provider: str, status: int, message: str = "", *, code: str = "", headers: Mapping[str, str] | None = None
) -> ProviderError:
    """Return the error for an HTTP answer with `status` 300 to 599; `code` is the provider's machine code, if any."""
    text = f"HTTP {status} {code} {message}".replace("  ", " ").strip()[:MESSAGE_CHARS]
    if code in REFUSED_CODES:
        return ProviderRefused(provider, text)
    if status in BUSY_STATUSES:
        return ProviderBusy(provider, text, retry_after_s=_retry_after_s(headers or {}))
    if status >= 500:
        return ProviderUnavailable(provider, text)
    return ProviderRefused(provider, text)


def from_exception(provider: str, error: Exception) -> ProviderError:
    """Return the error for whatever a vendor's SDK, an HTTP client or a socket has raised."""
    if isinstance(error, ProviderError):
        return error
    status = _status(error)
    text = f"{type(error).__name__}: {error}"[:MESSAGE_CHARS]
    if status is not None:
        code = getattr(error, "code", None)
        headers = getattr(getattr(error, "response", None), "headers", None)
        return from_status(provider, status, text, code=code if isinstance(code, str) else "", headers=headers)
    if _is_connection_failure(error):
        return ProviderUnavailable(provider, text)
    return ProviderMisbehaved(provider, text)


def _status(error: Exception) -> int | None:
    """OpenAI's and httpx's errors say status_code, google.genai's say code, aiohttp's say status."""
    for name in ("status_code", "code", "status"):
        value = getattr(error, name, None)
        if isinstance(value, int) and 300 <= value <= 599:
            return value
    # langchain-google-genai wraps the vendor's error and keeps it as the cause.
    cause = error.__cause__
    return _status(cause) if isinstance(cause, Exception) else None


def _is_connection_failure(error: BaseException | None) -> bool:
    if error is None:
        return False
    if isinstance(error, OSError | EOFError | asyncio.TimeoutError):
        return True
    # aiohttp, httpx, httpx2 and openai share no base class; their connection errors share these names.
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"TransportError", "APIConnectionError", "ClientConnectionError", "ClientPayloadError", "WSError"}:
        return True
    return _is_connection_failure(error.__cause__)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the Retry-After header in seconds; its date form counts as absent (no provider here sends it)."""
    for name, value in headers.items():
        if name.lower() == "retry-after":
            try:
                return max(0.0, float(value))
            except ValueError:
                return None
    return None
