"""Proof that a request comes from Twilio: the signature over the address that Twilio was given.

That address is always built from PUBLIC_BASE_URL. What a proxy writes into Host, X-Forwarded-Proto or X-Forwarded-Host
decides nothing, so it cannot be forged. A signature proves origin and content, not freshness: Twilio's own retries
repeat it, so what a webhook does has to be idempotent.

Source: https://www.twilio.com/docs/usage/security#validating-requests; the computation is the SDK's RequestValidator.
"""

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from starlette.datastructures import ImmutableMultiDict
from twilio.request_validator import RequestValidator

SIGNATURE_HEADER = "X-Twilio-Signature"

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class WebhookSignature:
    """Checks the signatures of one account. Without a token it refuses everything."""

    def __init__(self, auth_token: str, public_base_url: str) -> None:
        self._validator = RequestValidator(auth_token) if auth_token else None
        self._http_base = public_base_url.rstrip("/")
        self._socket_base = "ws" + self._http_base.removeprefix("http")

    def check(self, path_and_query: str, form: Mapping[str, object], header: str | None) -> bool:
        """Tell whether Twilio signed this webhook.

        `path_and_query` is the request's own, such as "/twilio/voice?x=1", as received and not decoded; `form` is the
        framework's multi-dict (`await request.form()`), empty for GET. A plain dict would lose repeated names.
        """
        return self._is_signed(self._http_base + path_and_query, form, header)

    def check_upgrade(self, path: str, header: str | None) -> bool:
        """Tell whether Twilio signed this WebSocket upgrade: over the TwiML's wss:// address, without parameters."""
        return self._is_signed(self._socket_base + path, {}, header)

    def _is_signed(self, url: str, form: Mapping[str, object], header: str | None) -> bool:
        fields = _Fields(form)
        if self._validator is None or not self._http_base or not header or not fields.are_text:
            return False
        received = header.encode()
        # Both spellings are computed and compared, so that the time taken does not say which one came close.
        matches = [
            hmac.compare_digest(self._validator.compute_signature(spelling, fields).encode(), received)
            for spelling in _with_and_without_port(url)
        ]
        return any(matches)


class _Fields(dict[str, list[str]]):
    """A form as the SDK's validator reads it: every value of every name."""

    def __init__(self, form: Mapping[str, object]) -> None:
        super().__init__()
        pairs = form.multi_items() if isinstance(form, ImmutableMultiDict) else form.items()
        self.are_text = True
        for name, value in pairs:
            # An uploaded file: never from Twilio, and nothing that can be signed.
            self.are_text &= isinstance(value, str)
            self.setdefault(name, []).append(str(value))

    def getlist(self, name: str) -> list[str]:
        return self[name]


def _with_and_without_port(url: str) -> tuple[str, ...]:
    """Return the ways Twilio may write this address: its default port is sometimes spelled out."""
    parts = urlsplit(url)
    host, default = parts.hostname or "", _DEFAULT_PORTS[parts.scheme]
    if parts.port not in (None, default):
        return (url,)
    name = f"[{host}]" if ":" in host else host
    return (
        urlunsplit(parts._replace(netloc=name)),
        urlunsplit(parts._replace(netloc=f"{name}:{default}")),
    )
