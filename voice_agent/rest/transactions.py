"""The transaction of a request: opened before its handler, committed after it and before the answer leaves.

Use it as `session: Annotated[AsyncSession, Depends(transactions.writing, scope="function")]`. Without the scope FastAPI
would commit after the answer: a client that was told "created" could look and find nothing.
"""

from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.database import Database


class Transactions:
    """The two dependencies, bound to a database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Yield a session that only reads."""
        async with self.database.read() as session:
            yield session

    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Yield a session whose changes are committed when the handler returns, and dropped when it raises."""
        async with self.database.write() as session:
            yield session
