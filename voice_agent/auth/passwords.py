"""Passwords: hashed by argon2id, in a thread, because a hash takes 50 ms on purpose and calls must not wait for it.

Source: OWASP Password Storage Cheat Sheet; parameters are argon2-cffi's (RFC 9106, low-memory profile).
"""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from voice_agent.errors import InvalidRequest

SHORTEST = 12
LONGEST = 200
"""Characters; bounds the work that a stranger can order."""

_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash("nobody has this password")
"""Verified where there is no such account, so that the time taken does not say so."""


async def hashed(password: str) -> str:
    """Return the hash to keep. Raises InvalidRequest for a password that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidRequest(f"password: needs {SHORTEST} to {LONGEST} characters")
    return await asyncio.to_thread(_HASHER.hash, password)


async def is_right(password: str, stored: str | None) -> bool:
    """Tell whether this is the password; takes as long where there is no account (`stored` None)."""
    return await asyncio.to_thread(_verify, password[:LONGEST], stored)


def _verify(password: str, stored: str | None) -> bool:
    try:
        _HASHER.verify(stored or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return bool(stored)
