"""`Idempotency-Key`, on SQLite and on Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from tests.contracts.eventually import eventually
from voice_agent.api.errors import install_error_handlers
from voice_agent.errors import Conflict, NotAuthenticated
from voice_agent.rest.idempotency import HEADER, KEPT, LONGEST_KEY, REPLAYED_HEADER, idempotent_route, purge
from voice_agent.rest.transactions import Transactions
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import IdempotencyRow, OrganisationRow


class Order(BaseModel):
    what: str


class Shop:
    """An application that makes things, and counts what it made."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.made: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.app = FastAPI()
        install_error_handlers(self.app)
        router = APIRouter(prefix="/orders", route_class=idempotent_route(database, self._org_of))

        @router.post("", status_code=201)
        async def make(order: Order, response: Response) -> dict[str, object]:
            self.waiting += 1
            await self.gate.wait()
            if order.what == "sold out":
                raise Conflict("none left")
            if order.what == "fire":
                raise RuntimeError("fire")
            self.made.append(order.what)
            response.headers["Location"] = f"/orders/{len(self.made)}"
            return {"number": len(self.made), "what": order.what}

        @router.post("/branches", status_code=201)
        async def branch(
            session: Annotated[AsyncSession, Depends(Transactions(database).writing, scope="function")],
        ) -> str:
            row = OrganisationRow(id=new_id(), name="Branch", created_at=datetime.now(UTC))
            session.add(row)
            return str(row.id)

        @router.get("")
        async def look() -> int:
            return len(self.made)

        self.app.include_router(router)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://shop.test")

    async def _org_of(self, request: Request) -> UUID:
        if "X-Org" not in request.headers:
            raise NotAuthenticated("who is it?")
        return UUID(request.headers["X-Org"])

    async def organisation(self) -> str:
        row = OrganisationRow(id=new_id(), name="Shop", created_at=datetime.now(UTC))
        async with self.database.write() as session:
            session.add(row)
        return str(row.id)

    async def order(self, org: str, key: str, what: object = "tea") -> httpx.Response:
        return await self.http.post("/orders", headers={HEADER: key, "X-Org": org}, json={"what": what})


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    shop = Shop(database)
    yield shop
    await shop.http.aclose()


async def test_a_request_that_comes_again_is_answered_again_and_not_done_again(shop: Shop) -> None:
    org = await shop.organisation()
    first, second = await shop.order(org, "k"), await shop.order(org, "k")

    assert shop.made == ["tea"]
    assert (second.status_code, second.content) == (first.status_code, first.content) == (201, first.content)
    assert second.headers["Location"] == first.headers["Location"] == "/orders/1"
    assert second.headers["Content-Type"] == first.headers["Content-Type"]
    assert (first.headers.get(REPLAYED_HEADER), second.headers[REPLAYED_HEADER]) == (None, "true")


async def test_a_key_is_good_for_one_request(shop: Shop) -> None:
    org = await shop.organisation()
    await shop.order(org, "k")

    assert (await shop.order(org, "k", "coffee")).status_code == 422
    assert (await shop.order(org, "k2", "coffee")).status_code == 201
    assert shop.made == ["tea", "coffee"]


async def test_keys_of_other_organisations_are_other_keys(shop: Shop) -> None:
    first, second = await shop.organisation(), await shop.organisation()
    await shop.order(first, "k")

    assert REPLAYED_HEADER not in (await shop.order(second, "k")).headers
    assert len(shop.made) == 2


async def test_while_the_first_is_on_its_way_the_second_is_told_so(shop: Shop) -> None:
    org = await shop.organisation()
    shop.gate.clear()
    first = asyncio.create_task(shop.order(org, "k"))
    await eventually(lambda: shop.waiting)
    second = await shop.order(org, "k")
    shop.gate.set()

    assert second.status_code == 409
    assert (await first).status_code == 201
    assert (await shop.order(org, "k")).headers[REPLAYED_HEADER] == "true"


async def test_twenty_at_once_are_done_once(shop: Shop) -> None:
    org = await shop.organisation()
    answers = await asyncio.gather(*(shop.order(org, "k") for _ in range(20)))

    assert shop.made == ["tea"]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1


async def test_a_refused_request_gives_its_key_back(shop: Shop) -> None:
    org = await shop.organisation()
    assert (await shop.order(org, "k", "sold out")).status_code == 409
    assert (await shop.order(org, "k", 7)).status_code == 422

    assert (await shop.order(org, "k")).status_code == 201


async def test_what_failed_unexpectedly_is_not_done_again(shop: Shop) -> None:
    org = await shop.organisation()
    assert (await shop.order(org, "k", "fire")).status_code == 500

    again = await shop.order(org, "k", "fire")
    assert again.status_code == 409
    assert shop.waiting == 1


async def test_a_key_is_forgotten_after_a_day(shop: Shop) -> None:
    org = await shop.organisation()
    await shop.order(org, "old")
    async with shop.database.write() as session:
        await session.execute(update(IdempotencyRow).values(created_at=datetime.now(UTC) - KEPT))
    await shop.order(org, "new")

    assert REPLAYED_HEADER not in (await shop.order(org, "old", "coffee")).headers
    assert shop.made == ["tea", "tea", "coffee"]
    async with shop.database.write() as session:
        assert await purge(session, datetime.now(UTC)) == 0
        assert await purge(session, datetime.now(UTC) + KEPT + timedelta(seconds=1)) == 2


async def test_other_requests_are_as_they_were(shop: Shop) -> None:
    org = await shop.organisation()
    for _ in range(2):
        assert (await shop.http.post("/orders", json={"what": "tea"})).status_code == 201
        assert (await shop.http.get("/orders", headers={HEADER: "k", "X-Org": org})).status_code == 200
    assert len(shop.made) == 2


async def test_nobody_uses_a_key_without_saying_who_it_is(shop: Shop) -> None:
    assert (await shop.http.post("/orders", headers={HEADER: "k"}, json={"what": "tea"})).status_code == 401
    assert not shop.made


async def test_a_key_has_a_greatest_length(shop: Shop) -> None:
    org = await shop.organisation()
    assert (await shop.order(org, "k" * LONGEST_KEY)).status_code == 201
    assert (await shop.order(org, "k" * (LONGEST_KEY + 1))).status_code == 422


async def test_an_answer_is_kept_once_what_it_tells_is_committed(shop: Shop) -> None:
    org = await shop.organisation()
    headers = {HEADER: "branch", "X-Org": org}

    first = await shop.http.post("/orders/branches", headers=headers)
    again = await shop.http.post("/orders/branches", headers=headers)
    assert (first.status_code, again.json()) == (201, first.json())
    assert again.headers[REPLAYED_HEADER] == "true"
    async with shop.database.read() as session:
        assert await session.get(OrganisationRow, UUID(first.json())) is not None
