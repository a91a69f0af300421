"""The local folder; hostile keys, expired and edited addresses."""

import hashlib
from pathlib import Path

import pytest

from voice_agent.errors import FileNotStored, NotPermitted, StorageError
from voice_agent.storage.files import LONGEST_LINK_S, LinkOffice, LocalStorage, StoredFile

HOSTILE = [
    "", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "A.wav", "a\0b", "a b", ".hidden", "a/.hidden", "a\\b",
    "a/./b", "%2e%2e/x", "\u202e", "é.wav", "a" * 401, "a/b/c/d/e/f/g/h/i/j/k/l", "~root", "c:\\x", "a\nb", "..",
]  # fmt: skip


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "files", LinkOffice(b"s" * 32, "http://t/files", lambda: 1_000.0))


async def read(storage: LocalStorage, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in storage.read(key, start=start, end=end)])


async def test_a_file_is_stored_whole_read_in_part_and_deleted(storage: LocalStorage, tmp_path: Path) -> None:
    source = tmp_path / "sound.wav"
    content = bytes(range(256)) * 4_000
    source.write_bytes(content)

    stored = await storage.put_file("recordings/a/1.wav", source, content_type="audio/wav")
    digest = hashlib.sha256(content).hexdigest()
    assert stored == StoredFile(key="recordings/a/1.wav", size_bytes=len(content), sha256=digest)
    assert await read(storage, "recordings/a/1.wav") == content
    assert await read(storage, "recordings/a/1.wav", 250, 260) == content[250:260]
    assert (await storage.stat("recordings/a/1.wav")).size_bytes == len(content)
    assert [path.name for path in (tmp_path / "files/recordings/a").iterdir()] == ["1.wav"]

    source.write_bytes(b"new")
    await storage.put_file("recordings/a/1.wav", source, content_type="audio/wav")
    assert await read(storage, "recordings/a/1.wav") == b"new"
    await storage.delete("recordings/a/1.wav")
    await storage.delete("recordings/a/1.wav")
    with pytest.raises(FileNotStored):
        await read(storage, "recordings/a/1.wav")
    with pytest.raises(FileNotStored):
        await storage.stat("recordings/a")


async def test_f46_a_file_that_cannot_be_stored_leaves_nothing(storage: LocalStorage, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        await storage.put_file("a/1.wav", tmp_path / "nowhere", content_type="audio/wav")
    (tmp_path / "files/full").write_text("a file where a folder should be")
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(StorageError):
        await storage.put_file("full/1.wav", tmp_path / "x", content_type="audio/wav")

    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == [tmp_path / "files/full"]


@pytest.mark.parametrize("key", HOSTILE, ids=repr)
async def test_keys_that_are_none_of_ours_reach_nothing(storage: LocalStorage, tmp_path: Path, key: str) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(StorageError):
        await storage.put_file(key, tmp_path / "x", content_type="audio/wav")
    with pytest.raises(StorageError):
        await read(storage, key)
    with pytest.raises(StorageError):
        await storage.signed_url(key)


async def test_a_link_inside_the_folder_does_not_lead_out_of_it(storage: LocalStorage, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "1.wav").write_bytes(b"x")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/out").symlink_to(secret)
    (tmp_path / "files/1.wav").symlink_to(secret / "1.wav")

    for key in ("out/1.wav", "1.wav"):
        with pytest.raises(StorageError):
            await read(storage, key)


def test_an_address_is_good_for_a_while_and_for_its_file_alone() -> None:
    now_s = 1_000.0
    office = LinkOffice(b"s" * 32, "http://t/files/", lambda: now_s)
    token = office.sign("a/1.wav", 3_600).rpartition("/")[2]
    assert office.read(token) == "a/1.wav"

    for forged in (token[:-2] + "AA", "A" + token[1:], token[:20], "", "!", token + "AAAA", "é" * 80):
        with pytest.raises(NotPermitted):
            office.read(forged)
    with pytest.raises(NotPermitted):
        LinkOffice(b"t" * 32, "http://t", lambda: now_s).read(token)
    now_s += LONGEST_LINK_S
    with pytest.raises(NotPermitted):
        office.read(token)
