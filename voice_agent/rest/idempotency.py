"""`Idempotency-Key`: a POST that comes twice is done once, and its first answer is given again.

How it works: the key is claimed by a row of its own before the handler runs, so of two requests at once one is told
that the other is on its way (409). What the handler answers is kept with the row for `KEPT`. A request that was refused
before it did anything gives its key back. One that failed unexpectedly does not: whether it was done is not known, and
doing it again is what the key is there to prevent; whoever repeats it is told to look.

Source: draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from voice_agent.errors import Conflict, InvalidRequest, RequestError
from voice_agent.storage.database import Database
from voice_agent.storage.tables import IdempotencyRow

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
LONGEST_KEY = 200
KEPT = timedelta(hours=24)
_EXIT_STACK = "fastapi_function_astack"
_KEPT_HEADERS = ("content-type", "etag", "location")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def idempotent_route(database: Database, org_of: Callable[[Request], Awaitable[UUID]]) -> type[APIRoute]:
    """Return the `route_class` of routers whose POSTs honour the header. `org_of` says whose key it is, or raises."""

    class IdempotentRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def once(request: Request) -> Response:
                key = request.headers.get(HEADER, "")
                if not key or request.method != "POST":
                    return await handle(request)
                return await _Attempt(database, await org_of(request), key).run(request, handle)

            return once

    return IdempotentRoute


class _Attempt:
    """One request that named a key."""

    def __init__(self, database: Database, org_id: UUID, key: str) -> None:
        if len(key) > LONGEST_KEY:
            raise InvalidRequest(f"{HEADER}: has at most {LONGEST_KEY} characters")
        self._database = database
        self._org_id = org_id
        self._key = key

    async def run(self, request: Request, handle: Handler) -> Response:
        mark = await _mark(request)
        if (known := await self._claim(mark)) is not None:
            return _again(known, mark)
        try:
            response = await _committed(request, handle)
        except (RequestError, RequestValidationError, HTTPException):
            await self._give_back()
            raise
        await self._keep(response)
        return response

    async def _claim(self, mark: str) -> IdempotencyRow | None:
        """Claim the key; return the row of whoever was here before."""
        now = datetime.now(UTC)
        try:
            async with self._database.write() as session:
                known = await session.get(IdempotencyRow, (self._org_id, self._key))
                if known is not None and known.created_at > now - KEPT:
                    return known
                if known is not None:
                    await session.delete(known)
                    await session.flush()
                session.add(IdempotencyRow(org_id=self._org_id, key=self._key, request_hash=mark, created_at=now))
        except IntegrityError:  # somebody claimed it between our look and our insert
            async with self._database.read() as session:
                known = await session.get(IdempotencyRow, (self._org_id, self._key))
            if known is None:
                raise Conflict(f"{HEADER}: another request with this key was refused just now: try again") from None
            return known
        return None

    async def _give_back(self) -> None:
        async with self._database.write() as session:
            await session.execute(
                delete(IdempotencyRow).where(IdempotencyRow.org_id == self._org_id, IdempotencyRow.key == self._key)
            )

    async def _keep(self, response: Response) -> None:
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        async with self._database.write() as session:
            row = await session.get_one(IdempotencyRow, (self._org_id, self._key))
            row.status = response.status_code
            row.headers = orjson.dumps(headers).decode()
            row.body = bytes(response.body)


async def _committed(request: Request, handle: Handler) -> Response:
    """Return the handler's answer once its transaction (`rest.transactions`) is committed: only then is it to be kept.

    FastAPI ends what handlers depend on after the route's answer is there, by an exit stack that it puts into the
    request's scope; this one is ended here.
    """
    outer = request.scope.get(_EXIT_STACK)
    try:
        async with AsyncExitStack() as stack:
            request.scope[_EXIT_STACK] = stack
            return await handle(request)
    finally:
        request.scope[_EXIT_STACK] = outer


async def _mark(request: Request) -> str:
    body = await request.body()
    request_line = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(request_line + body).hexdigest()


def _again(known: IdempotencyRow, mark: str) -> Response:
    if known.request_hash != mark:
        raise InvalidRequest(f"{HEADER}: was used for another request")
    if known.status is None:
        raise Conflict(f"{HEADER}: the first request with this key has no answer yet: look whether it was done")
    headers = orjson.loads(known.headers) | {REPLAYED_HEADER: "true"}
    return Response(known.body, status_code=known.status, headers=headers)


async def purge(session: AsyncSession, now: datetime) -> int:
    """Forget the keys that are not kept any more; return how many."""
    forgotten = await session.execute(
        delete(IdempotencyRow).where(IdempotencyRow.created_at < now - KEPT).returning(IdempotencyRow.key)
    )
    return len(forgotten.all())
