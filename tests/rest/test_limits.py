"""Rate limits."""

import pytest

from voice_agent.errors import TooManyRequests
from voice_agent.rest.limits import RateLimit, check
from voice_agent.storage.cache import InProcessCache


async def test_whoever_asks_too_often_is_told_when_to_come_again_and_nobody_else_is() -> None:
    cache = InProcessCache(clock=lambda: 0.0)
    limit = RateLimit(name="test", requests=2, window_s=10.0)
    for _ in range(2):
        await check(cache, limit, "ana")

    with pytest.raises(TooManyRequests) as refused:
        await check(cache, limit, "ana")
    assert refused.value.retry_after_s == 5.0
    await check(cache, limit, "eva")
