"""Where recordings and exports are kept: the port `StorageService`, and its default, a folder of this machine.

Keys are made by us, never from anybody's file name. What was put is verified before it counts as stored: length and
SHA-256 of what the storage has. A file is whole or not there; readers never see half of one.
"""

import asyncio
import hashlib
import hmac
import os
import re
import stat
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import msgspec

from voice_agent.errors import FileNotStored, NotPermitted, StorageError

PIECE_BYTES = 262_144
LONGEST_LINK_S = 300
"""Signed addresses die after five minutes at the latest (reliability.md section 5, row 10)."""

_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*){0,9}")


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the storage."""

    key: str
    size_bytes: int
    sha256: str = ""
    """Hexadecimal; empty where the storage does not tell it without reading the file."""


class StorageService(Protocol):
    """Files by key. Every method raises StorageError, and FileNotStored (which is one) for an unknown key."""

    async def put_file(self, key: str, path: Path, *, content_type: str) -> StoredFile:
        """Store a file of this machine, replacing what was there; return it once it is verified."""
        ...

    def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to before `end` in pieces."""
        ...

    async def stat(self, key: str) -> StoredFile:
        """Return what is known of a file without reading it."""
        ...

    async def delete(self, key: str) -> None:
        """Delete a file; one that is not there is no error."""
        ...

    async def signed_url(self, key: str, *, ttl_s: int = LONGEST_LINK_S) -> str:
        """Return an address at which anybody can read the file for `ttl_s` seconds, five minutes at most."""
        ...

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        ...


def checked_key(key: str) -> str:
    """Return the key where it is one. Raises StorageError: small letters, digits, `_.-`, parts divided by /."""
    if len(key) > 400 or not _KEY.fullmatch(key) or ".." in key:
        raise StorageError("this is no key of a stored file")
    return key


class LinkOffice:
    """Signs and reads the addresses of files that this server itself hands out."""

    def __init__(self, secret: bytes, base_url: str, clock: Callable[[], float] = time.time) -> None:
        """`secret` is for nothing else; `base_url` is the public address of `files_router`'s prefix."""
        self._secret = secret
        self._base_url = base_url.rstrip("/")
        self._clock = clock

    def sign(self, key: str, ttl_s: int) -> str:
        """Return an address of the file that is good for `ttl_s` seconds, five minutes at most."""
        expires_at = int(self._clock()) + max(1, min(ttl_s, LONGEST_LINK_S))
        content = expires_at.to_bytes(6, "big") + key.encode()
        return f"{self._base_url}/{_token(self._tag(content) + content)}"

    def read(self, token: str) -> str:
        """Return the key that an address names. Raises NotPermitted for one that is not ours or has expired."""
        try:
            signed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            signed = b""
        tag, content = signed[:32], signed[32:]
        # The decoder passes over what it does not know: only the one spelling that was given out is ours.
        is_ours = hmac.compare_digest(tag, self._tag(content)) and token == _token(signed)
        if not is_ours or len(content) <= 6 or int.from_bytes(content[:6], "big") <= self._clock():
            raise NotPermitted("this address is not valid, or not any more")
        return content[6:].decode()

    def _tag(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, content, hashlib.sha256)


def _token(signed: bytes) -> str:
    return urlsafe_b64encode(signed).decode().rstrip("=")


class LocalStorage:
    """A folder. Readable by its owner only."""

    def __init__(self, folder: Path, links: LinkOffice) -> None:
        self._folder = folder
        self._links = links

    async def put_file(self, key: str, path: Path, *, content_type: str) -> StoredFile:  # noqa: ARG002 - the port's shape
        """Copy a file, read it back, and let it take its place."""
        return await asyncio.to_thread(self._put, key, path)

    def _put(self, key: str, path: Path) -> StoredFile:
        target = self._path(key)
        new = target.with_name(f".{uuid4().hex}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            sent = _copy(path, new)
            if _digest(new) != sent:
                raise StorageError("what was stored is not what was sent")
            new.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise StorageError(f"the file could not be stored: {error.strerror}") from error
        finally:
            if new.exists():
                new.unlink()
        return StoredFile(key=key, size_bytes=sent[0], sha256=sent[1])

    async def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield a part of a file in pieces."""
        path = self._path(key)
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except OSError as error:
            raise _missing(error) from error
        with file:
            await asyncio.to_thread(file.seek, start)
            left = None if end is None else max(0, end - start)
            while left is None or left > 0:
                piece = await asyncio.to_thread(file.read, PIECE_BYTES if left is None else min(PIECE_BYTES, left))
                if not piece:
                    return
                left = None if left is None else left - len(piece)
                yield piece

    async def stat(self, key: str) -> StoredFile:
        """Return a file's size."""
        path = self._path(key)
        try:
            status = await asyncio.to_thread(path.stat)
        except OSError as error:
            raise _missing(error) from error
        if not stat.S_ISREG(status.st_mode):
            raise FileNotStored("there is no such file")
        return StoredFile(key=key, size_bytes=status.st_size)

    async def delete(self, key: str) -> None:
        """Delete a file."""
        path = self._path(key)
        try:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise StorageError(f"the file could not be deleted: {error.strerror}") from error

    async def signed_url(self, key: str, *, ttl_s: int = LONGEST_LINK_S) -> str:
        """Return an address of our own server."""
        return self._links.sign(checked_key(key), ttl_s)

    async def close(self) -> None:
        """Nothing is open between two requests."""

    def _path(self, key: str) -> Path:
        path = self._folder / checked_key(key)
        # A link inside the folder must not lead out of it.
        if not path.parent.resolve().is_relative_to(self._folder.resolve()) or path.is_symlink():
            raise StorageError("this is no key of a stored file")
        return path


def _missing(error: OSError) -> StorageError:
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return FileNotStored("there is no such file")
    return StorageError(f"the file could not be read: {error.strerror}")


def _copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy and sync a file; return its size and SHA-256."""
    digest, size_bytes = hashlib.sha256(), 0
    with (
        source.open("rb") as read,
        open(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as written,
    ):
        while piece := read.read(PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
            written.write(piece)
        written.flush()
        os.fsync(written.fileno())
    return size_bytes, digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Let the names in a folder outlast a power cut: whoever stored a file may delete its own copy after that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> tuple[int, str]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    return size_bytes, digest.hexdigest()
