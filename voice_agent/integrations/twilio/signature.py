"""Proof that a request comes from Twilio: the signature over the address that Twilio was given.

That address is always built from PUBLIC_BASE_URL. What a proxy writes into Host, X-Forwarded-Proto or X-Forwarded-Host
decides nothing, so it cannot be forged. A signature proves origin and content, not freshness: Twilio's own retries
repeat it, so what a webhook does has to be idempotent.

Source: https://www.twilio.com/docs/usage/security#validating-requests; the computation is the SDK's RequestValidator.
"""

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

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

        `path_and_query` is the request's own, such as "/twilio/voice?x=1", as it was received and not decoded; `form` the
        framework's multi-dict (`await request.form()`), empty for GET. A plain dict would lose repeated names.
        """
        return self._is_signed(self._http_base + path_and_query, form, header)

    def check_upgrade(self, path: str, header: str | None) -> bool:
        """Tell whether Twilio signed this WebSocket upgrade: over the wss:// address of the TwiML, without parameters."""
        return self._is_signed(self._socket_base + path, {}, header)

    def _is_signed(self, url: str, form: Mapping[str, object], header: str | None) -> bool:
        # Files never come from Twilio, and the SDK cannot sign them.
        if self._validator is None or not header or not all(isinstance(value, str) for value in form.values()):
            return False
        received = header.encode()
        # Every form is computed and compared, so that the time taken says nothing about which one came close.
        matches = [
            hmac.compare_digest(self._validator.compute_signature(form_of_url, form).encode(), received)
            for form_of_url in _with_and_without_port(url)
        ]
        return any(matches)


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
