"""A database that is there and does not answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from voice_agent.storage.database import Database


@asynccontextmanager
async def stalled(database: Database) -> AsyncIterator[None]:
    """Let whoever writes calls or what the carrier tells wait, until the end: another connection holds the locks."""
    other = Database(database.url)
    try:
        async with other.write() as session:
            if not other.is_sqlite:  # there the transaction alone holds the only lock
                await session.execute(text("LOCK TABLE call, carrier_event IN ACCESS EXCLUSIVE MODE"))
            yield
    finally:
        await other.close()
