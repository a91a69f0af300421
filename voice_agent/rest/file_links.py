"""The route behind signed addresses of local files: whoever has the address may read, for as long as it is good.

Ranges (RFC 9110 section 14) are honoured, so that a player can jump. Nothing is cached, nothing is guessed about types.
"""

import re
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from voice_agent.storage.files import LinkOffice, StorageService

PREFIX = "/api/v1/files"

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TYPES = {".wav": "audio/wav", ".json": "application/json", ".csv": "text/csv"}


def files_router(storage: StorageService, links: LinkOffice) -> APIRouter:
    """Return the route `/api/v1/files/{token}`."""
    router = APIRouter(prefix=PREFIX, tags=["files"], include_in_schema=False)

    @router.get("/{token}")
    async def read_file(token: str, request: Request) -> Response:
        """Return a file, or the part of it that the request asks for."""
        key = links.read(token)
        size = (await storage.stat(key)).size_bytes
        part = _part(request.headers.get("Range", ""), size)
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f'attachment; filename="{key.rpartition("/")[2]}"',
        }
        if part is None:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
        start, end = part
        headers["Content-Length"] = str(end - start)
        is_whole = (start, end) == (0, size)
        if not is_whole:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        media_type = _TYPES.get("." + key.rpartition(".")[2], "application/octet-stream")
        content: AsyncIterator[bytes] = storage.read(key, start=start, end=end)
        return StreamingResponse(content, status_code=200 if is_whole else 206, headers=headers, media_type=media_type)

    return router


def _part(header: str, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte plus one that a Range header asks for; None where it cannot be had."""
    match = _RANGE.fullmatch(header)
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    return (start, end) if start < end else None
