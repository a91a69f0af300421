"""A request's transaction: committed before its answer leaves, dropped where its handler raises."""

from typing import Annotated

import httpx
from fastapi import Depends, FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.calls.stored_calls import NOW
from voice_agent.api.errors import install_error_handlers
from voice_agent.errors import Conflict
from voice_agent.rest.transactions import Transactions
from voice_agent.storage.database import Database
from voice_agent.storage.tables import OrganisationRow


async def test_what_was_answered_is_there_and_what_failed_is_not(database: Database) -> None:
    transactions = Transactions(database)
    app = FastAPI()
    install_error_handlers(app)
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]

    @app.post("/{name}")
    async def make(name: str, session: Writing) -> str:
        session.add(OrganisationRow(name=name, created_at=NOW))
        await session.flush()
        if name == "bad":
            raise Conflict("no")
        return name

    @app.get("/count")
    async def count(session: Reading) -> int:
        return int((await session.execute(select(func.count()).select_from(OrganisationRow))).scalar_one())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        for number in range(5):
            assert (await client.post("/good")).status_code == 200
            assert (await client.post("/bad")).status_code == 409
            assert (await client.get("/count")).json() == number + 1
