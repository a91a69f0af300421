"""Rate limits: how many requests somebody may make in a while."""

import msgspec

from voice_agent.errors import TooManyRequests
from voice_agent.storage.cache import CacheService


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests in a time, which may come at once."""

    name: str
    requests: int
    window_s: float


REQUESTS = RateLimit(name="requests", requests=600, window_s=60.0)
"""Of one user or API key: ten a second in the long run, which no console reaches."""

SIGN_INS_BY_ADDRESS = RateLimit(name="sign-in-address", requests=20, window_s=300.0)
SIGN_INS_BY_ACCOUNT = RateLimit(name="sign-in-account", requests=10, window_s=600.0)
"""Guessing a password of twelve characters at this rate takes longer than there are years."""


async def check(cache: CacheService, limit: RateLimit, who: str) -> None:
    """Count a request of `who`. Raises TooManyRequests, which says when to come again."""
    wait_s = await cache.take(f"{limit.name}:{who}", limit=limit.requests, window_s=limit.window_s)
    if wait_s > 0:
        raise TooManyRequests("too many requests", retry_after_s=wait_s)
