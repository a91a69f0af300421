"""The files of imports: received to this machine's disk, kept in the storage, brought back to be read.

What arrives is counted and digested while it is written, so that too much of it is refused before it fills the disk. A
file of this machine lives for one request or one try of a job; what killed processes have left is deleted later.
"""

import asyncio
import errno
import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import UUID

import msgspec

from voice_agent.contacts.import_model import LARGEST_FILE
from voice_agent.errors import ContentTooLarge, StorageError
from voice_agent.storage.files import StorageService

WRITTEN_AT_ONCE = 1_048_576
"""Bytes: a thread is asked so seldom that a large file costs little more than its writing."""

LEFTOVERS_S = 2 * 86_400.0
"""Older files belong to processes that were killed: no request and no try of a job takes as long."""

FOLDER = "imports"

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

CONTENT_TYPE = "application/octet-stream"


class ReceivedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of this machine."""

    path: Path
    size_bytes: int
    sha256: str
    """Hexadecimal."""


def prefix_of(org_id: UUID) -> str:
    """Return what the keys of all files begin with that an organisation may import from the storage."""
    return f"{FOLDER}/{org_id}/"


def file_key(org_id: UUID, import_id: UUID, sha256: str) -> str:
    """Return where an import's file is kept: another one for other content, so that none takes another's place."""
    return f"{prefix_of(org_id)}{import_id}/{sha256[:32]}"


def rejected_key(org_id: UUID, import_id: UUID) -> str:
    """Return where the file of an import's bad rows is kept."""
    return f"{prefix_of(org_id)}{import_id}/rejected.csv"


class ImportFiles:
    """One for the process."""

    def __init__(self, storage: StorageService, data_dir: Path) -> None:
        self._storage = storage
        self._folder = data_dir / FOLDER

    @asynccontextmanager
    async def received(
        self, pieces: AsyncIterator[bytes], *, largest_bytes: int = LARGEST_FILE
    ) -> AsyncIterator[ReceivedFile]:
        """Have what arrives on the disk for a while. Raises ContentTooLarge, or StorageError where there is no room."""
        async with self._scratch() as path:
            writing = await _in_thread(_Writing, path)
            try:
                waiting = bytearray()
                async for piece in pieces:
                    waiting += piece
                    if writing.size_bytes + len(waiting) > largest_bytes:
                        raise too_large(largest_bytes)
                    if len(waiting) >= WRITTEN_AT_ONCE:
                        await _in_thread(writing.add, bytes(waiting))
                        waiting.clear()
                await _in_thread(writing.add, bytes(waiting))
            finally:
                await _in_thread(writing.close)
            yield ReceivedFile(path=path, size_bytes=writing.size_bytes, sha256=writing.sha256)

    @asynccontextmanager
    async def stored(self, key: str) -> AsyncIterator[ReceivedFile]:
        """Have a file of the storage on the disk for a while. Raises StorageError, FileNotStored among them."""
        pieces = self._storage.read(key)
        async with self.received(pieces) as file:
            yield file

    @asynccontextmanager
    async def _scratch(self) -> AsyncIterator[Path]:
        """Give the path of a file that is not there yet, in a folder that goes at the end."""
        folder = await _in_thread(_new_folder, self._folder)
        try:
            yield folder / "file"
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def keep(self, key: str, file: Path, *, content_type: str = CONTENT_TYPE) -> None:
        """Put a file into the storage. Raises StorageError."""
        await self._storage.put_file(key, file, content_type=content_type)

    async def drop(self, key: str | None) -> None:
        """Delete a file from the storage; none is no error. Raises StorageError."""
        if key is not None:
            await self._storage.delete(key)

    async def link(self, key: str, *, ttl_s: int) -> str:
        """Return an address at which anybody can read a file for a while. Raises StorageError."""
        return await self._storage.signed_url(key, ttl_s=ttl_s)


def too_large(largest_bytes: int) -> ContentTooLarge:
    """Return the refusal of more than that."""
    return ContentTooLarge(f"a file has at most {largest_bytes // 1_000_000} MB: divide it")


class _Writing:
    """A file that grows. Its methods block."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def add(self, piece: bytes) -> None:
        self._file.write(piece)
        self._digest.update(piece)
        self.size_bytes += len(piece)

    def close(self) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


async def _in_thread(
    work: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError("there is no room left on the server's disk") from error
        raise StorageError(f"the file could not be written: {error.strerror}") from error


def _new_folder(parent: Path) -> Path:
    """Return a fresh folder, and delete those that killed processes have left."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for each in parent.iterdir():
        with suppress(FileNotFoundError):  # several processes may share the folder
            if time.time() - each.stat().st_mtime > LEFTOVERS_S:
                shutil.rmtree(each, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=parent))
