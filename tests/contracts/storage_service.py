"""The contract of StorageService."""

import asyncio
import hashlib
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from voice_agent.errors import FileNotStored, StorageError
from voice_agent.storage.files import StorageService

KEY = "0190/recordings/call-1_a.wav"
LARGE_BYTES = 64_000_000
MOST_MEMORY_BYTES = 24_000_000
"""While a large file goes through: less than half of it, whatever a library buffers."""

NO_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "../secret",
    "a/../b",
    "a/..",
    "..",
    ".",
    ".hidden",
    "a/.hidden",
    "a//b",
    "a/",
    "a\x00b",
    "a b",
    "a\\b",
    "A",
    "ä",
    "a/b%2f..",
    "a\n",
    "a/./b",
    "~root",
    "c:\\x",
    "\u202e",
    "x" * 401,
    "a/b/c/d/e/f/g/h/i/j/k",
]

Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]
"""GET of a signed address: status and body."""


def source(tmp_path: Path, content: bytes) -> Path:
    """Return a file of this machine."""
    path = tmp_path / "source.wav"
    path.write_bytes(content)
    return path


async def read(storage: StorageService, key: str, *, start: int = 0, end: int | None = None) -> bytes:
    """Return what the storage has."""
    return b"".join([piece async for piece in storage.read(key, start=start, end=end)])


class StorageServiceContract:
    """Inherit it, and override `storage` and `fetch`."""

    @pytest.fixture
    async def storage(self) -> StorageService:
        raise NotImplementedError("the test class of a storage provides it")

    @pytest.fixture
    async def fetch(self) -> Fetch:
        raise NotImplementedError("the test class of a storage provides it")

    @pytest.mark.parametrize(
        "content", [b"", b"RIFF\x00\xff\r\n", b"0123456789" * 60_000], ids=["empty", "small", "pieces"]
    )
    async def test_what_was_put_is_there_and_verified(
        self, storage: StorageService, tmp_path: Path, content: bytes
    ) -> None:
        stored = await storage.put_file(KEY, source(tmp_path, content), content_type="audio/wav")

        assert (stored.key, stored.size_bytes) == (KEY, len(content))
        assert stored.sha256 == hashlib.sha256(content).hexdigest()
        assert await read(storage, KEY) == content
        assert (await storage.stat(KEY)).size_bytes == len(content)

    async def test_the_last_file_stands(self, storage: StorageService, tmp_path: Path) -> None:
        for content in (b"the first, which is longer", b"the second"):
            await storage.put_file(KEY, source(tmp_path, content), content_type="audio/wav")

        assert await read(storage, KEY) == b"the second"

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [(0, 4, b"0123"), (3, 7, b"3456"), (7, None, b"789"), (0, 100, b"0123456789"), (4, 4, b"")],
    )
    async def test_a_part_can_be_read(
        self, storage: StorageService, tmp_path: Path, start: int, end: int | None, expected: bytes
    ) -> None:
        await storage.put_file(KEY, source(tmp_path, b"0123456789"), content_type="text/csv")

        assert await read(storage, KEY, start=start, end=end) == expected

    async def test_what_is_not_there_is_said_to_be_so(self, storage: StorageService) -> None:
        with pytest.raises(FileNotStored):
            await read(storage, "never/stored")
        with pytest.raises(FileNotStored):
            await storage.stat("never/stored")

    async def test_deleting_forgets_and_may_be_repeated(self, storage: StorageService, tmp_path: Path) -> None:
        await storage.put_file(KEY, source(tmp_path, b"x"), content_type="audio/wav")

        await storage.delete(KEY)
        await storage.delete(KEY)

        with pytest.raises(FileNotStored):
            await storage.stat(KEY)

    async def test_anybody_can_read_a_file_by_its_signed_address(
        self, storage: StorageService, fetch: Fetch, tmp_path: Path
    ) -> None:
        await storage.put_file(KEY, source(tmp_path, b"RIFF"), content_type="audio/wav")

        url = await storage.signed_url(KEY, ttl_s=60)

        assert await fetch(url) == (200, b"RIFF")
        status, body = await fetch(url.replace("0190", "0191") if "0190" in url else url[:-3])
        assert status >= 400
        assert b"RIFF" not in body

    async def test_what_is_no_key_is_refused(self, storage: StorageService, tmp_path: Path) -> None:
        path = source(tmp_path, b"x")
        for key in NO_KEYS:
            asked: list[Awaitable[object]] = [
                storage.put_file(key, path, content_type="audio/wav"),
                read(storage, key),
                storage.stat(key),
                storage.delete(key),
                storage.signed_url(key),
            ]
            for each in asked:
                with pytest.raises(StorageError, match="no key"):
                    await each

    async def test_a_source_that_is_not_there_stores_nothing(self, storage: StorageService, tmp_path: Path) -> None:
        with pytest.raises(StorageError):
            await storage.put_file("a/b", tmp_path / "nowhere", content_type="audio/wav")
        with pytest.raises(FileNotStored):
            await storage.stat("a/b")

    @pytest.fixture
    async def large_storage(self, storage: StorageService) -> StorageService:
        """Override it where the server keeps files in the memory of the tests."""
        return storage

    async def test_a_large_file_goes_through_in_pieces(self, large_storage: StorageService, tmp_path: Path) -> None:
        path = source(tmp_path, b"")
        with path.open("wb") as file:
            file.truncate(LARGE_BYTES)
        tracemalloc.start()
        try:
            stored = await large_storage.put_file(KEY, path, content_type="audio/wav")
            size_bytes = 0
            async for piece in large_storage.read(KEY):
                size_bytes += len(piece)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert stored.size_bytes == size_bytes == LARGE_BYTES
        assert peak_bytes < MOST_MEMORY_BYTES

    async def test_a_reader_never_sees_half_a_file(self, storage: StorageService, tmp_path: Path) -> None:
        contents = [bytes([byte]) * 1_000_000 for byte in range(4)]
        await storage.put_file(KEY, source(tmp_path, contents[0]), content_type="audio/wav")

        async def replace() -> None:
            for content in contents[1:]:
                await storage.put_file(KEY, source(tmp_path, content), content_type="audio/wav")

        writing = asyncio.create_task(replace())
        seen = []
        while not writing.done():
            seen.append(await read(storage, KEY))
        await writing

        assert all(each in contents for each in seen)

    async def test_closing_twice_is_no_error(self, storage: StorageService) -> None:
        await storage.close()
        await storage.close()
