"""The folder as a storage, and the addresses that this server signs."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.storage_service import KEY, Fetch, StorageServiceContract, read, source
from voice_agent.errors import NotPermitted, StorageError, VoiceAgentError
from voice_agent.storage import files
from voice_agent.storage.files import LONGEST_LINK_S, LinkOffice, LocalStorage, StorageService

SECRET = b"s" * 32
URL = "https://calls.example.org/api/v1/files"


class Clock:
    now_s = 1_000.5

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def links() -> LinkOffice:
    return LinkOffice(SECRET, URL)


@pytest.fixture
def local(tmp_path: Path, links: LinkOffice) -> LocalStorage:
    return LocalStorage(tmp_path / "files", links)


class TestLocalStorage(StorageServiceContract):
    @pytest.fixture
    async def storage(self, local: LocalStorage) -> StorageService:
        return local

    @pytest.fixture
    async def fetch(self, local: LocalStorage, links: LinkOffice) -> Fetch:
        async def get(url: str) -> tuple[int, bytes]:
            try:
                return 200, await read(local, links.read(url.removeprefix(f"{URL}/")))
            except VoiceAgentError as error:
                return error.http_status, b""

        return get


async def test_files_are_their_owners_alone(local: LocalStorage, tmp_path: Path) -> None:
    await local.put_file(KEY, source(tmp_path, b"x"), content_type="audio/wav")

    stored = tmp_path / "files" / KEY
    assert stored.stat().st_mode & 0o077 == 0
    assert os.listdir(stored.parent) == [stored.name]


async def test_f46_what_was_stored_otherwise_than_sent_is_not_stored(
    local: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await local.put_file(KEY, source(tmp_path, b"before"), content_type="audio/wav")
    monkeypatch.setattr(files, "_digest", lambda _: (3, "of something else"))

    with pytest.raises(StorageError, match="not what was sent"):
        await local.put_file(KEY, source(tmp_path, b"after"), content_type="audio/wav")

    assert await read(local, KEY) == b"before"
    assert len(os.listdir((tmp_path / "files" / KEY).parent)) == 1


async def test_a_link_does_not_lead_out_of_the_folder(local: LocalStorage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/folder").symlink_to(outside)
    (tmp_path / "files/file").symlink_to(outside / "secret")

    for key in ("folder/secret", "file"):
        with pytest.raises(StorageError):
            await read(local, key)
        with pytest.raises(StorageError):
            await local.put_file(key, source(tmp_path, b"x"), content_type="audio/wav")
        with pytest.raises(StorageError):
            await local.delete(key)
    assert (outside / "secret").read_bytes() == b"secret"


async def test_a_key_below_a_file_cannot_be_stored(local: LocalStorage, tmp_path: Path) -> None:
    await local.put_file("a", source(tmp_path, b"x"), content_type="audio/wav")

    with pytest.raises(StorageError):
        await local.put_file("a/b", source(tmp_path, b"y"), content_type="audio/wav")
    with pytest.raises(StorageError):
        await local.delete("a/b")
    assert await read(local, "a") == b"x"


async def test_a_folder_is_no_file(local: LocalStorage, tmp_path: Path) -> None:
    await local.put_file("a/b", source(tmp_path, b"x"), content_type="audio/wav")

    with pytest.raises(StorageError):
        await read(local, "a")
    with pytest.raises(StorageError):
        await local.delete("a")


@pytest.mark.parametrize(("asked_s", "given_s"), [(60, 60), (LONGEST_LINK_S, 300), (86_400, 300), (0, 1), (-5, 1)])
def test_an_address_dies_after_its_time_and_after_five_minutes_at_the_latest(asked_s: int, given_s: int) -> None:
    clock = Clock()
    office = LinkOffice(SECRET, URL + "/", clock)
    token = office.sign(KEY, asked_s).removeprefix(f"{URL}/")

    clock.now_s += given_s - 0.6
    assert office.read(token) == KEY
    clock.now_s += 0.6
    with pytest.raises(NotPermitted):
        office.read(token)


def test_an_address_that_somebody_else_signed_is_not_valid() -> None:
    token = LinkOffice(b"t" * 32, URL).sign(KEY, 60).removeprefix(f"{URL}/")

    with pytest.raises(NotPermitted):
        LinkOffice(SECRET, URL).read(token)


@given(st.integers(0, 500), st.characters(), st.booleans())
def test_an_edited_address_is_not_valid(place: int, character: str, is_inserted: bool) -> None:
    office = LinkOffice(SECRET, URL)
    token = office.sign(KEY, 60).removeprefix(f"{URL}/")
    place %= len(token)
    edited = token[:place] + character + token[place + (not is_inserted) :]

    if edited != token:
        with pytest.raises(NotPermitted):
            office.read(edited)


@given(st.text(max_size=120))
def test_what_is_no_address_is_not_valid(token: str) -> None:
    with pytest.raises(NotPermitted):
        LinkOffice(SECRET, URL).read(token)
