"""S3Storage on moto's server, and on one that fails as servers do (F46)."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from tests.contracts.storage_service import KEY, LARGE_BYTES, Fetch, StorageServiceContract, read, source
from voice_agent.errors import FileNotStored, SettingsError, StorageError
from voice_agent.integrations.s3.storage import PART_BYTES, S3Storage
from voice_agent.settings import S3Settings
from voice_agent.storage.files import PIECE_BYTES, StorageService

BUCKET = "recordings"
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCY"


def settings(endpoint_url: str) -> S3Settings:
    return S3Settings(
        endpoint_url=endpoint_url, region="eu-west-1", access_key_id="key", secret_access_key=SecretStr(SECRET)
    )


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def opened(moto_url: str) -> S3Storage:
    """Made once: boto3 reads its description of S3 for half a second. It opens connections again after `close`."""
    return S3Storage(settings(moto_url), BUCKET)


@pytest.fixture
async def s3(moto_url: str, opened: S3Storage) -> AsyncIterator[S3Storage]:
    where = {"LocationConstraint": "eu-west-1"}
    await asyncio.to_thread(lambda: opened._client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where))
    yield opened
    async with aiohttp.ClientSession() as http, http.post(f"{moto_url}/moto-api/reset") as answer:
        assert answer.status == 200
    await opened.close()


async def zeros(request: web.Request) -> web.StreamResponse:
    """Take every part of an upload, keep none of it, and give a large file of zeros."""
    async for _ in request.content.iter_chunked(PIECE_BYTES):
        pass
    match request.method:
        case "POST" if "uploads" in request.query:
            return web.Response(text="<R><UploadId>1</UploadId></R>", content_type="application/xml")
        case "GET":
            response = web.StreamResponse(headers={"Content-Length": str(LARGE_BYTES)})
            await response.prepare(request)
            for _ in range(LARGE_BYTES // 64_000):
                await response.write(bytes(64_000))
            return response
        case _:
            return web.Response(text="<R/>", content_type="application/xml", headers={"ETag": '"1"'})


@asynccontextmanager
async def served(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], *, answer_s: float = 10.0
) -> AsyncIterator[S3Storage]:
    """Put up a server in place of S3, and a storage that uses it."""
    app = web.Application(client_max_size=2 * PART_BYTES)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    storage = S3Storage(settings(f"http://{host}:{port}"), BUCKET, answer_s=answer_s)
    try:
        yield storage
    finally:
        await storage.close()
        await runner.cleanup()


class TestS3Storage(StorageServiceContract):
    @pytest.fixture
    async def storage(self, s3: S3Storage) -> StorageService:
        return s3

    @pytest.fixture
    async def large_storage(self) -> AsyncIterator[StorageService]:
        async with served(zeros) as storage:
            yield storage

    @pytest.fixture
    async def fetch(self) -> Fetch:
        async def get(url: str) -> tuple[int, bytes]:
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                return answer.status, await answer.read()

        return get


async def test_a_file_in_parts_is_whole_and_has_its_type(s3: S3Storage, tmp_path: Path) -> None:
    content = bytes(range(256)) * ((2 * PART_BYTES) // 256 + 5)

    await s3.put_file(KEY, source(tmp_path, content), content_type="audio/wav")

    head = await asyncio.to_thread(lambda: s3._client.head_object(Bucket=BUCKET, Key=KEY))
    assert head["ContentType"] == "audio/wav"
    assert head["ETag"].endswith('-3"')
    assert await read(s3, KEY, start=PART_BYTES - 2, end=PART_BYTES + 2) == content[PART_BYTES - 2 : PART_BYTES + 2]


@pytest.mark.parametrize(("asked_s", "given_s"), [(60, 60), (86_400, 300), (0, 1)])
async def test_an_address_is_good_for_five_minutes_at_the_most(s3: S3Storage, asked_s: int, given_s: int) -> None:
    url = await s3.signed_url(KEY, ttl_s=asked_s)

    assert f"X-Amz-Expires={given_s}&" in url
    assert "response-cache-control=no-store" in url
    assert SECRET not in url


async def test_a_bucket_that_is_not_there_is_no_file_that_is_not_there(moto_url: str, tmp_path: Path) -> None:
    storage = S3Storage(settings(moto_url), "elsewhere")
    try:
        with pytest.raises(StorageError, match="refused: NoSuchBucket|could not be used"):
            await storage.put_file(KEY, source(tmp_path, b"x"), content_type="audio/wav")
    finally:
        await storage.close()


class FailingServer:
    """Takes every upload and answers as it is told."""

    def __init__(self) -> None:
        self.fault = ""
        self.stored = b""
        self.deleted = 0
        self.released = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.fault == "stall":
            await self.released.wait()
        if self.fault == "500":
            return web.Response(status=500, text="<Error><Code>InternalError</Code></Error>")
        match request.method:
            case "PUT":
                self.stored = body
                return web.Response(headers={"ETag": '"1"'})
            case "DELETE":
                self.deleted += 1
                return web.Response(status=204)
            case _:
                return await self._give(request)

    async def _give(self, request: web.Request) -> web.StreamResponse:
        if self.fault == "partial":
            return web.Response(body=self.stored[:-1])
        if self.fault == "cut":
            response = web.StreamResponse(headers={"Content-Length": str(len(self.stored))})
            await response.prepare(request)
            await response.write(self.stored[:-1])
            assert request.transport is not None
            request.transport.close()
            return response
        return web.Response(body=self.stored)


@pytest.fixture
async def failing() -> AsyncIterator[tuple[FailingServer, S3Storage]]:
    server = FailingServer()
    async with served(server.answer, answer_s=0.3) as storage:
        yield server, storage
        server.released.set()


@pytest.mark.parametrize("fault", ["500", "stall", "partial", "cut"])
async def test_f46_what_was_not_stored_whole_is_never_said_to_be(
    failing: tuple[FailingServer, S3Storage], tmp_path: Path, fault: str
) -> None:
    server, storage = failing
    server.fault = fault

    with pytest.raises(StorageError) as raised:
        await storage.put_file(KEY, source(tmp_path, b"0123456789"), content_type="audio/wav")

    assert not isinstance(raised.value, FileNotStored)
    assert server.deleted == (fault == "partial")
    server.fault = ""
    stored = await storage.put_file(KEY, source(tmp_path, b"0123456789"), content_type="audio/wav")
    assert stored.size_bytes == 10


async def test_f46_a_server_that_is_not_there(unused_tcp_port: int, tmp_path: Path) -> None:
    storage = S3Storage(settings(f"http://127.0.0.1:{unused_tcp_port}"), BUCKET)
    with pytest.raises(StorageError, match="could not be used"):
        await storage.put_file(KEY, source(tmp_path, b"x"), content_type="audio/wav")
    await storage.close()


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(SettingsError, match=r"voice-agent\[s3\]"):
        S3Storage(settings("http://127.0.0.1:1"), BUCKET)
