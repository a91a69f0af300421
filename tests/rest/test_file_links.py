"""The route behind signed addresses."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from voice_agent.api.errors import install_error_handlers
from voice_agent.rest.file_links import PREFIX, files_router
from voice_agent.storage.files import LinkOffice, LocalStorage

CONTENT = bytes(range(100))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    links = LinkOffice(b"s" * 32, PREFIX)
    storage = LocalStorage(tmp_path / "files", links)
    (tmp_path / "x").write_bytes(CONTENT)
    await storage.put_file("a/1.wav", tmp_path / "x", content_type="audio/wav")
    app = FastAPI()
    install_error_handlers(app)
    app.include_router(files_router(storage, links))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        yield client


def address(key: str = "a/1.wav") -> str:
    return LinkOffice(b"s" * 32, PREFIX).sign(key, 300)


async def test_a_file_is_not_cached_not_guessed_at_and_saved_under_its_name(client: httpx.AsyncClient) -> None:
    answer = await client.get(address())

    assert (answer.status_code, answer.content) == (200, CONTENT)
    headers = answer.headers
    assert (headers["content-type"], headers["cache-control"]) == ("audio/wav", "no-store")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"] == 'attachment; filename="1.wav"'


@pytest.mark.parametrize(
    ("wanted", "part", "status"),
    [
        ("bytes=0-9", CONTENT[:10], 206),
        ("bytes=90-", CONTENT[90:], 206),
        ("bytes=-5", CONTENT[95:], 206),
        ("bytes=50-999", CONTENT[50:], 206),
        ("bytes=-999", CONTENT, 200),
        ("bytes=0-", CONTENT, 200),
        ("bytes=-", CONTENT, 200),
        ("lines=1-2", CONTENT, 200),
        ("bytes=100-", b"", 416),
        ("bytes=9-3", b"", 416),
    ],
)
async def test_a_player_may_jump(client: httpx.AsyncClient, wanted: str, part: bytes, status: int) -> None:
    answer = await client.get(address(), headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (status, part)
    if status == 206:
        start = CONTENT.index(part[:1])
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(part) - 1}/100"


async def test_an_address_of_nothing_and_one_that_is_forged(client: httpx.AsyncClient) -> None:
    assert (await client.get(address("a/2.wav"))).status_code == 404
    assert (await client.get(PREFIX + "/forged")).status_code == 403
    assert (await client.get(PREFIX + "/..%2f..%2fetc%2fpasswd")).status_code in {403, 404}
