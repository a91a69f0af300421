"""Work that waits for its database."""

from voice_agent.errors import DatabaseUnavailable
from voice_agent.jobs.persistence import persistently


async def test_it_is_done_again_until_the_database_is_there() -> None:
    tries = 0

    async def work() -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise DatabaseUnavailable("away")
        return tries

    assert await persistently(work, pause_s=0.0) == 3
