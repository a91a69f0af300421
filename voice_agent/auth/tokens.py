"""Access tokens of local accounts, refresh tokens and API keys: how they are made and recognised.

An access token is a JWT (RFC 7519), HS256 with a key derived for nothing else; the algorithm is pinned, so a token that
names another one is refused whatever it is signed with. Refresh tokens and API keys are 256 random bits: only their
SHA-256 is kept.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

import jwt
import msgspec

from voice_agent.errors import NotAuthenticated

ISSUER = "voice-agent"
AUDIENCE = "voice-agent-api"
ALGORITHM = "HS256"
API_KEY_PREFIX = "va_"
SHOWN_CHARACTERS = 11
"""Of an API key: enough to tell one's own apart."""

LEEWAY_S = 10
"""Between the clocks of processes."""


class AccessClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What an access token says."""

    user_id: UUID
    epoch: int
    """The user's `token_epoch` when it was issued: a raised one makes it worthless."""


def issue_access_token(key: bytes, claims: AccessClaims, *, now: datetime, lifetime_s: int) -> str:
    """Return a token that is good for `lifetime_s` seconds."""
    content = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(claims.user_id),
        "epoch": claims.epoch,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(seconds=lifetime_s)).timestamp()),
        "jti": secrets.token_urlsafe(12),
    }
    return jwt.encode(content, key, algorithm=ALGORITHM)


def read_access_token(key: bytes, token: str) -> AccessClaims:
    """Return what a token of ours says. Raises NotAuthenticated."""
    try:
        content = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )
        return AccessClaims(user_id=UUID(content["sub"]), epoch=int(content["epoch"]))
    except jwt.ExpiredSignatureError:
        raise NotAuthenticated("the token has expired") from None
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        raise NotAuthenticated("the token is not valid") from None


def new_secret(prefix: str = "") -> str:
    """Return 256 random bits as text."""
    return prefix + secrets.token_urlsafe(32)


def fingerprint(secret: str) -> str:
    """Return what is kept of a refresh token or an API key: SHA-256, hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
