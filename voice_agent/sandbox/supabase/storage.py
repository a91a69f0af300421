"""A double of Supabase Storage on a real port: objects of private buckets, ranges, signed addresses, and faults.

Objects lie in a folder, so that large ones cost no memory. Errors come as Supabase sends them: HTTP 400 with the real
status in the body. It knows no public buckets, no policies and no resumable uploads.

Source: https://github.com/supabase/storage (routes and error codes).
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

PREFIX = "/storage/v1"
PIECE_BYTES = 262_144


class StorageFault(StrEnum):
    """What goes wrong with the next requests."""

    ERROR = "error"
    """HTTP 500, with a body that says so."""
    STALL = "stall"
    """No answer."""
    PARTIAL = "partial"
    """An upload is said to be stored, and its last byte is missing."""
    CUT = "cut"
    """A download is cut off before its last byte."""


class StorageFailure(Exception):
    """What Supabase answers instead; `status` stands in the body."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class SupabaseStorageDouble:
    """`async with SupabaseStorageDouble(folder, buckets={...}) as double`; `double.url` is the project's address."""

    def __init__(
        self, folder: Path, *, buckets: frozenset[str], secret_key: str, clock: Callable[[], float] = time.time
    ) -> None:
        self.url = ""
        self.fault: StorageFault | None = None
        """Of every request from now on."""

        self.types: dict[str, str] = {}
        """Content type by bucket and key."""

        self._folder = folder
        self._buckets = buckets
        self._secret_key = secret_key
        self._clock = clock
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard])
        place = PREFIX + "/object/{bucket}/{key:.+}"
        app.router.add_get(PREFIX + "/object/info/{bucket}/{key:.+}", self._info)
        app.router.add_get(PREFIX + "/object/sign/{bucket}/{key:.+}", self._give_signed)
        app.router.add_post(PREFIX + "/object/sign/{bucket}/{key:.+}", self._sign)
        app.router.add_get(place, self._give)
        app.router.add_post(place, self._take)
        app.router.add_delete(place, self._delete)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Let faults and refusals take the form that Supabase gives them."""
        try:
            if self.fault is StorageFault.STALL:
                await self._closing.wait()
            if self.fault is StorageFault.ERROR:
                raise StorageFailure(500, "InternalError", "Internal Server Error")
            is_signed = request.method == "GET" and "token" in request.query
            if not is_signed and request.headers.get("apikey") != self._secret_key:
                raise StorageFailure(403, "AccessDenied", "Invalid key")
            answer: web.StreamResponse = await handler(request)
            return answer
        except StorageFailure as failure:
            body = {
                "statusCode": str(failure.status),
                "error": failure.code,
                "code": failure.code,
                "message": str(failure),
            }
            return web.json_response(body, status=500 if failure.status >= 500 else 400)

    # --- objects ----------------------------------------------------------------------------------------------
    def _path(self, request: web.Request) -> Path:
        bucket, key = request.match_info["bucket"], request.match_info["key"]
        if bucket not in self._buckets:
            raise StorageFailure(404, "NoSuchBucket", "Bucket not found")
        if any(part in {"", ".", ".."} for part in key.split("/")):
            raise StorageFailure(400, "InvalidKey", "Invalid key")
        return self._folder / bucket / hashlib.sha256(key.encode()).hexdigest()

    def _existing(self, request: web.Request) -> Path:
        path = self._path(request)
        if not path.is_file():
            raise StorageFailure(404, "NoSuchKey", "Object not found")
        return path

    async def _take(self, request: web.Request) -> web.Response:
        path = self._path(request)
        if path.exists() and request.headers.get("x-upsert") != "true":
            raise StorageFailure(409, "KeyAlreadyExists", "The resource already exists")
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{id(request)}")
        with new.open("wb") as file:
            async for piece in request.content.iter_chunked(PIECE_BYTES):
                file.write(piece)
            if self.fault is StorageFault.PARTIAL:
                file.truncate(max(0, file.tell() - 1))
        new.replace(path)
        name = f"{request.match_info['bucket']}/{request.match_info['key']}"
        self.types[name] = request.headers.get("Content-Type", "text/plain;charset=UTF-8")
        return web.json_response({"Id": path.name, "Key": name})

    async def _give(self, request: web.Request) -> web.StreamResponse:
        path = self._existing(request)
        if self.fault is StorageFault.CUT:
            return await self._give_cut(request, path)
        return web.FileResponse(path, headers={"Cache-Control": "no-store"})

    async def _give_cut(self, request: web.Request, path: Path) -> web.StreamResponse:
        content = await asyncio.to_thread(path.read_bytes)
        response = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[:-1])
        if request.transport is not None:
            request.transport.close()
        return response

    async def _info(self, request: web.Request) -> web.Response:
        path = self._existing(request)
        return web.json_response({"name": request.match_info["key"], "size": path.stat().st_size})

    async def _delete(self, request: web.Request) -> web.Response:
        self._existing(request).unlink()
        return web.json_response({"message": "Successfully deleted"})

    # --- signed addresses -------------------------------------------------------------------------------------
    async def _sign(self, request: web.Request) -> web.Response:
        self._existing(request)
        expires_at = int(self._clock()) + int((await request.json())["expiresIn"])
        place = f"{request.match_info['bucket']}/{request.match_info['key']}"
        return web.json_response(
            {"signedURL": f"/object/sign/{place}?token={expires_at}.{self._tag(place, expires_at)}"}
        )

    async def _give_signed(self, request: web.Request) -> web.StreamResponse:
        expires_at, _, tag = request.query["token"].partition(".")
        place = f"{request.match_info['bucket']}/{request.match_info['key']}"
        if not expires_at.isdecimal() or not hmac.compare_digest(tag, self._tag(place, int(expires_at))):
            raise StorageFailure(400, "InvalidSignature", "signature verification failed")
        if int(expires_at) <= self._clock():
            raise StorageFailure(400, "InvalidJWT", '"exp" claim timestamp check failed')
        return await self._give(request)

    def _tag(self, place: str, expires_at: int) -> str:
        return hmac.new(self._secret_key.encode(), f"{place} {expires_at}".encode(), hashlib.sha256).hexdigest()
