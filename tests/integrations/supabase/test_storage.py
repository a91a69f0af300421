"""SupabaseStorage over the double of Supabase Storage, also where that fails (F46)."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from tests.contracts.storage_service import KEY, Fetch, StorageServiceContract, read, source
from voice_agent.errors import FileNotStored, StorageError
from voice_agent.integrations.supabase.storage import SupabaseStorage
from voice_agent.sandbox.supabase.storage import StorageFault, SupabaseStorageDouble
from voice_agent.settings import SupabaseSettings
from voice_agent.storage.files import StorageService

BUCKET = "recordings"
SECRET = "sb_secret_wJalrXUtnFEMIK7MDENG"


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[SupabaseStorageDouble]:
    folder = tmp_path / "supabase"
    async with SupabaseStorageDouble(folder, buckets=frozenset({BUCKET}), secret_key=SECRET, clock=Clock()) as double:
        yield double


def opened(url: str, *, bucket: str = BUCKET, answer_s: float = 10.0, secret: str = SECRET) -> SupabaseStorage:
    return SupabaseStorage(SupabaseSettings(url=url, secret_key=SecretStr(secret)), bucket, answer_s=answer_s)


@pytest.fixture
async def supabase(double: SupabaseStorageDouble) -> AsyncIterator[SupabaseStorage]:
    storage = opened(double.url)
    yield storage
    await storage.close()


async def get(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, await answer.read()


class TestSupabaseStorage(StorageServiceContract):
    @pytest.fixture
    async def storage(self, supabase: SupabaseStorage) -> StorageService:
        return supabase

    @pytest.fixture
    async def fetch(self) -> Fetch:
        return get


async def test_a_file_has_its_type(supabase: SupabaseStorage, double: SupabaseStorageDouble, tmp_path: Path) -> None:
    await supabase.put_file(KEY, source(tmp_path, b"x"), content_type="audio/wav")

    assert double.types == {f"{BUCKET}/{KEY}": "audio/wav"}


@pytest.mark.parametrize(("asked_s", "given_s"), [(60, 60), (86_400, 300), (0, 1)])
async def test_an_address_is_good_for_five_minutes_at_the_most(
    double: SupabaseStorageDouble, supabase: SupabaseStorage, tmp_path: Path, asked_s: int, given_s: int
) -> None:
    await supabase.put_file(KEY, source(tmp_path, b"RIFF"), content_type="audio/wav")
    url = await supabase.signed_url(KEY, ttl_s=asked_s)
    assert url.startswith(f"{double.url}/storage/v1/object/sign/")
    assert SECRET not in url
    clock = double._clock
    assert isinstance(clock, Clock)

    clock.now_s += given_s - 0.5
    assert await get(url) == (200, b"RIFF")
    clock.now_s += 0.5
    assert (await get(url))[0] == 400


@pytest.mark.parametrize("fault", list(StorageFault))
async def test_f46_what_was_not_stored_whole_is_never_said_to_be(
    double: SupabaseStorageDouble, tmp_path: Path, fault: StorageFault
) -> None:
    storage = opened(double.url, answer_s=0.2)
    double.fault = fault
    path = source(tmp_path, b"0123456789")
    try:
        with pytest.raises(StorageError) as raised:
            await storage.put_file(KEY, path, content_type="audio/wav")
        assert not isinstance(raised.value, FileNotStored)
        double.fault = None
        if fault is StorageFault.PARTIAL:
            with pytest.raises(FileNotStored):
                await storage.stat(KEY)
        assert (await storage.put_file(KEY, path, content_type="audio/wav")).size_bytes == 10
        assert await read(storage, KEY) == b"0123456789"
    finally:
        await storage.close()


async def test_f46_a_server_that_is_not_there(unused_tcp_port: int, tmp_path: Path) -> None:
    storage = opened(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(StorageError, match="could not be used"):
        await storage.put_file(KEY, source(tmp_path, b"x"), content_type="audio/wav")
    await storage.close()
    await storage.close()


@pytest.mark.parametrize(("bucket", "secret"), [("elsewhere", SECRET), (BUCKET, "sb_secret_another1234567890")])
async def test_wrong_settings_are_no_file_that_is_not_there(
    double: SupabaseStorageDouble, bucket: str, secret: str
) -> None:
    storage = opened(double.url, bucket=bucket, secret=secret)
    try:
        with pytest.raises(StorageError, match="refused") as raised:
            await storage.stat(KEY)
        assert not isinstance(raised.value, FileNotStored)
    finally:
        await storage.close()


@pytest.mark.parametrize("body", ["", "no JSON", "[]", "{}", '{"size": "1", "signedURL": 7}', '{"signedURL": "//x"}'])
async def test_an_answer_that_breaks_the_protocol_is_an_error(body: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    storage = opened(f"http://{host}:{port}")
    try:
        with pytest.raises(StorageError):
            await storage.stat(KEY)
        with pytest.raises(StorageError):
            await storage.signed_url(KEY)
    finally:
        await storage.close()
        await runner.cleanup()
