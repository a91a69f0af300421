"""SupabaseStorage: files in a private bucket of Supabase Storage, streamed both ways.

Supabase answers errors with HTTP 400 and says the real status in the body. What was uploaded is read back and hashed
before it counts as stored. The new secret keys are no JWTs: they go into `apikey`, never into `Authorization`.

Source: https://supabase.com/docs/guides/storage and the project's own https://github.com/supabase/storage.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from voice_agent.errors import FileNotStored, StorageError
from voice_agent.settings import SupabaseSettings
from voice_agent.storage.files import LONGEST_LINK_S, PIECE_BYTES, StoredFile, checked_key

CONNECT_S = 5.0
ANSWER_S = 30.0
"""The longest that the other side may say nothing, also in the middle of a file."""

LARGEST_ANSWER_BYTES = 65_536
_ABSENT = {"404", "NoSuchKey", "not_found"}


class SupabaseStorage:
    """One bucket of one project; it must exist and be private. Close it at the end."""

    def __init__(self, settings: SupabaseSettings, bucket: str, *, answer_s: float = ANSWER_S) -> None:
        self._url = f"{settings.url.rstrip('/')}/storage/v1"
        self._key = settings.secret_key.get_secret_value()
        self._bucket = bucket
        self._answer_s = answer_s
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def put_file(self, key: str, path: Path, *, content_type: str) -> StoredFile:
        """Upload a file and read it back; what is not what was sent is deleted."""
        checked_key(key)
        try:
            sent = await asyncio.to_thread(_measure, path)
        except OSError as error:
            raise StorageError(f"the file could not be read: {error.strerror}") from error
        headers = {"Content-Type": content_type, "Content-Length": str(sent[0]), "x-upsert": "true"}
        headers["Cache-Control"] = "no-store"
        async with self._ask("POST", self._object(key), headers=headers, data=_pieces(path)) as answer:
            await answer.read()
        digest, size_bytes = hashlib.sha256(), 0
        async for piece in self.read(key):
            digest.update(piece)
            size_bytes += len(piece)
        if (size_bytes, digest.hexdigest()) != sent:
            await self.delete(key)
            raise StorageError("what was stored is not what was sent")
        return StoredFile(key=key, size_bytes=sent[0], sha256=sent[1])

    async def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield a part of a file in pieces."""
        checked_key(key)
        if end is not None and end <= start:
            return
        is_part = start > 0 or end is not None
        headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if is_part else {}
        async with self._ask("GET", self._object(key), headers=headers) as answer:
            async for piece in answer.content.iter_chunked(PIECE_BYTES):
                yield piece

    async def stat(self, key: str) -> StoredFile:
        """Return a file's size."""
        path = f"/object/info/{self._bucket}/{checked_key(key)}"
        found = await self._ask_json("GET", path)
        size = found.get("size")
        if not isinstance(size, int):
            raise StorageError("Supabase Storage told no size")
        return StoredFile(key=key, size_bytes=size)

    async def delete(self, key: str) -> None:
        """Delete a file."""
        try:
            async with self._ask("DELETE", self._object(checked_key(key))) as answer:
                await answer.read()
        except FileNotStored:
            return

    async def signed_url(self, key: str, *, ttl_s: int = LONGEST_LINK_S) -> str:
        """Return an address of the project."""
        path = f"/object/sign/{self._bucket}/{checked_key(key)}"
        lifetime_s = max(1, min(ttl_s, LONGEST_LINK_S))
        signed = (await self._ask_json("POST", path, {"expiresIn": lifetime_s})).get("signedURL")
        # Relative to /storage/v1, unlike what the name says.
        if not isinstance(signed, str) or not signed.startswith("/object/sign/"):
            raise StorageError("Supabase Storage signed no address")
        return f"{self._url}{signed}&download="

    # --- HTTP -------------------------------------------------------------------------------------------------
    def _object(self, key: str) -> str:
        return f"/object/{self._bucket}/{key}"

    async def _ask_json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        async with self._ask(method, path, json=body) as answer:
            try:
                return msgspec.json.decode(await answer.content.read(LARGEST_ANSWER_BYTES), type=dict[str, Any])
            except msgspec.MsgspecError as error:
                raise StorageError("Supabase Storage answered something else than JSON") from error

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, data: Any = None, json: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make a request; its failures, and those of reading the answer, are ours."""
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=self._answer_s)
            self._http = aiohttp.ClientSession(timeout=timeout, headers={"apikey": self._key})
        try:
            async with self._http.request(
                method, self._url + path, headers=headers, data=data, json=json, allow_redirects=False
            ) as answer:
                if answer.status >= 300:
                    raise _failure(answer.status, await answer.content.read(LARGEST_ANSWER_BYTES))
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StorageError(f"Supabase Storage could not be used: {type(error).__name__}") from error


class _Refusal(msgspec.Struct):
    """The body of an error."""

    status: str | int = msgspec.field(default="", name="statusCode")
    error: str = ""
    code: str = ""


def _failure(status: int, body: bytes) -> StorageError:
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except msgspec.MsgspecError:
        refusal = _Refusal()
    names = {str(refusal.status), refusal.code, refusal.error}
    # A bucket that is not there is a mistake of the settings, not a file that is not there.
    if names & _ABSENT and "NoSuchBucket" not in names and "Bucket not found" not in body.decode(errors="replace"):
        return FileNotStored("there is no such file")
    return StorageError(f"Supabase Storage refused: {refusal.status or status} {refusal.code or refusal.error}")


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece


def _measure(path: Path) -> tuple[int, str]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    return size_bytes, digest.hexdigest()
