"""Signed addresses over HTTP: whole files and parts of them, and nothing to whoever has no good address."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from voice_agent.api.errors import install_error_handlers
from voice_agent.rest.file_links import PREFIX, files_router
from voice_agent.storage.files import LinkOffice, LocalStorage

KEY = "0190/recordings/call.wav"
CONTENT = b"0123456789"
URL = "http://files.test"


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class World:
    """A storage with one file, behind HTTP."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        links = LinkOffice(b"s" * 32, URL + PREFIX, self.clock)
        self.storage = LocalStorage(folder / "files", links)
        self.source = folder / "source"
        app = FastAPI()
        install_error_handlers(app)
        app.include_router(files_router(self.storage, links))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app))

    async def put(self, key: str, content: bytes) -> str:
        """Store a file and return an address of it."""
        self.source.write_bytes(content)
        await self.storage.put_file(key, self.source, content_type="audio/wav")
        return await self.storage.signed_url(key)

    async def get(self, url: str, part: str = "") -> httpx.Response:
        return await self.http.get(url, headers={"Range": part} if part else {})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.http.aclose()


async def test_a_file_is_given_and_kept_nowhere(world: World) -> None:
    answer = await world.get(await world.put(KEY, CONTENT))

    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["content-length"] == "10"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == 'attachment; filename="call.wav"'
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("part", "expected", "named"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=9-9", b"9", "bytes 9-9/10"),
        ("bytes=5-5000", b"56789", "bytes 5-9/10"),
    ],
)
async def test_a_part_is_given(world: World, part: str, expected: bytes, named: str) -> None:
    answer = await world.get(await world.put(KEY, CONTENT), part)

    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["content-range"] == named
    assert answer.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize(
    "part", ["bytes=0-", "bytes=0-9", "bytes=-10", "bytes=-99", "bytes=-", "bytes=0-1,3-4", "x=0-1"]
)
async def test_the_whole_file_is_given_where_that_is_asked_or_nothing_that_is_understood(
    world: World, part: str
) -> None:
    answer = await world.get(await world.put(KEY, CONTENT), part)

    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("part", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=5-4"])
async def test_a_part_that_does_not_exist_cannot_be_had(world: World, part: str) -> None:
    answer = await world.get(await world.put(KEY, CONTENT), part)

    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == "bytes */10"


async def test_an_empty_file_is_a_file(world: World) -> None:
    answer = await world.get(await world.put("a/empty.bin", b""))

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_an_expired_or_edited_address_is_refused(world: World) -> None:
    url = await world.put(KEY, CONTENT)

    edited = await world.get(url[:-1] + ("A" if url[-1] != "A" else "B"))
    world.clock.now_s += 301
    expired = await world.get(url)

    assert edited.status_code == expired.status_code == 403
    assert CONTENT not in edited.content + expired.content


async def test_a_file_that_has_been_deleted_is_not_there(world: World) -> None:
    url = await world.put(KEY, CONTENT)
    await world.storage.delete(KEY)

    assert (await world.get(url)).status_code == 404
