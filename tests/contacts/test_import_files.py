"""Files of imports on this machine's disk and in the storage."""

import errno
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.contacts.import_world import pieces_of
from voice_agent.contacts import import_files
from voice_agent.contacts.import_files import LEFTOVERS_S, ImportFiles, file_key, prefix_of, rejected_key
from voice_agent.errors import ContentTooLarge, FileNotStored, StorageError
from voice_agent.storage.files import LinkOffice, LocalStorage, checked_key


@pytest.fixture
def files(tmp_path: Path) -> ImportFiles:
    return ImportFiles(LocalStorage(tmp_path / "files", LinkOffice(b"k" * 32, "http://files.test")), tmp_path)


def left(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "imports"
    return list(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_what_arrives_is_counted_and_digested_and_goes_at_the_end(
    files: ImportFiles, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    async with files.received(pieces_of(content, 700_000)) as file:
        assert (file.size_bytes, file.sha256) == (size, sha256(content).hexdigest())
        assert file.path.read_bytes() == content
    assert left(tmp_path) == []


async def test_too_much_is_refused_before_it_is_written(files: ImportFiles, tmp_path: Path) -> None:
    with pytest.raises(ContentTooLarge, match="at most 0 MB"):
        async with files.received(pieces_of(b"x" * 101, 50), largest_bytes=100):
            pass
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "no room left"), (errno.EDQUOT, "no room left"), (errno.EIO, "not be written")]
)
async def test_a_full_disk_is_said_to_be_full_and_nothing_is_left(
    files: ImportFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(import_files._Writing, "add", full)
    with pytest.raises(StorageError, match=words):
        async with files.received(pieces_of(b"x")):
            pass
    assert left(tmp_path) == []


async def test_an_upload_that_breaks_off_leaves_nothing(files: ImportFiles, tmp_path: Path) -> None:
    async def breaking() -> Any:
        yield b"x"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        async with files.received(breaking()):
            pass
    assert left(tmp_path) == []


async def test_a_file_is_kept_brought_back_linked_and_dropped(files: ImportFiles) -> None:
    org_id, import_id = uuid4(), uuid4()
    async with files.received(pieces_of(b"phone\n1\n")) as file:
        key = file_key(org_id, import_id, file.sha256)
        await files.keep(key, file.path)
    async with files.stored(key) as again:
        assert again.path.read_bytes() == b"phone\n1\n"
    assert (await files.link(key, ttl_s=60)).startswith("http://files.test/")
    await files.drop(key)
    await files.drop(None)
    with pytest.raises(FileNotStored):
        async with files.stored(key):
            pass


async def test_what_killed_processes_have_left_goes_after_two_days(files: ImportFiles, tmp_path: Path) -> None:
    old, new = tmp_path / "imports" / "old", tmp_path / "imports" / "new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x")
    os.utime(old, (time.time(), time.time() - LEFTOVERS_S - 1))
    async with files.received(pieces_of(b"x")):
        pass
    assert left(tmp_path) == [new]


def test_keys_are_keys_below_the_organisations_own_prefix() -> None:
    org_id, import_id = uuid4(), uuid4()
    for key in (file_key(org_id, import_id, "ab" * 32), rejected_key(org_id, import_id)):
        assert checked_key(key).startswith(prefix_of(org_id))
