"""Tickets: who may open a call's media stream.

Twilio connects from any address, and TwiML lies in its logs, so the TwiML of each call carries a ticket in a
`<Parameter>`: good for one stream of one call, for a minute. It is signed (HMAC-SHA256), so that issuing needs no
storage; redeeming remembers used tickets until they expire. That memory is of one process: where several share a
secret, a stolen ticket could be used once more in each, within its minute and for its own call only.

Times are seconds of the wall clock, which all processes share. Random bytes come from the caller.
Source: RFC 2104; https://www.twilio.com/docs/voice/twiml/stream, "Custom parameters".
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from enum import StrEnum

PARAMETER = "ticket"
"""Name of the `<Parameter>`."""

LIFETIME_S = 60
"""Twilio opens the stream within a second or two of reading the TwiML."""

MAX_USED = 100_000
"""Tickets remembered; beyond, none is accepted until some expire. 1,600 calls a second for a minute."""

_NONCE_BYTES = 13
_EXPIRY_BYTES = 6
_TAG_BYTES = 32
_TICKET_CHARS = (_NONCE_BYTES + _EXPIRY_BYTES + _TAG_BYTES) // 3 * 4
"""51 bytes, so that no bit of the text is unused: one ticket has one spelling."""


class Verdict(StrEnum):
    """What became of a ticket."""

    ACCEPTED = "accepted"
    FORGED = "forged"
    """Malformed, of another call, or not signed by us."""
    EXPIRED = "expired"
    REPLAYED = "replayed"
    """Used before, or too many tickets are in memory to be sure."""


class TicketOffice:
    """Issues and redeems tickets. `secret` has at least 16 bytes; `random_bytes(n)` is `secrets.token_bytes`."""

    def __init__(self, secret: bytes, random_bytes: Callable[[int], bytes], lifetime_s: int = LIFETIME_S) -> None:
        if len(secret) < 16:
            raise ValueError("a ticket secret needs at least 16 bytes")
        self._secret = secret
        self._random_bytes = random_bytes
        self._lifetime_s = lifetime_s
        self._used: dict[bytes, int] = {}

    def issue(self, call_sid: str, now: float) -> str:
        """Return a new ticket for one stream of a call: URL-safe text of fixed length."""
        nonce = self._random_bytes(_NONCE_BYTES)
        expiry = (int(now) + self._lifetime_s).to_bytes(_EXPIRY_BYTES, "big")
        return urlsafe_b64encode(nonce + expiry + self._tag(nonce, expiry, call_sid)).decode("ascii")

    def redeem(self, ticket: str, call_sid: str, now: float) -> Verdict:
        """Use up a ticket. The signature is compared in constant time, before anything else is told of it."""
        try:
            opened = urlsafe_b64decode(ticket) if len(ticket) == _TICKET_CHARS else b""
        except ValueError:
            opened = b""
        nonce, rest = opened[:_NONCE_BYTES], opened[_NONCE_BYTES:]
        expiry, tag = rest[:_EXPIRY_BYTES], rest[_EXPIRY_BYTES:]
        if not hmac.compare_digest(tag, self._tag(nonce, expiry, call_sid)):
            return Verdict.FORGED
        expires_at = int.from_bytes(expiry, "big")
        if now >= expires_at:
            return Verdict.EXPIRED
        return self._use_up(nonce, expires_at, now)

    def _use_up(self, nonce: bytes, expires_at: int, now: float) -> Verdict:
        self._forget_expired(now)
        if nonce in self._used or len(self._used) >= MAX_USED:
            return Verdict.REPLAYED
        self._used[nonce] = expires_at
        return Verdict.ACCEPTED

    def _forget_expired(self, now: float) -> None:
        """Forget from the oldest on; tickets redeemed out of order wait for those before them, a lifetime at most."""
        while self._used:
            oldest = next(iter(self._used))
            if self._used[oldest] > now:
                return
            del self._used[oldest]

    def _tag(self, nonce: bytes, expiry: bytes, call_sid: str) -> bytes:
        signed = nonce + expiry + call_sid.encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, signed, hashlib.sha256)
