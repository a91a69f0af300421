"""Files of recordings: what is in them, and what of that reaches the storage."""

from pathlib import Path

import msgspec
import pytest

from tests.calls.sounds import a_mulaw_wav, a_wav
from voice_agent.calls.recording_files import Sound, examine, store_sound
from voice_agent.errors import FileNotStored
from voice_agent.storage.files import LinkOffice, LocalStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sound.wav"


def examined(path: Path, content: bytes) -> Sound:
    path.write_bytes(content)
    return examine(path)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "files", LinkOffice(b"s" * 32, "http://t"))


async def read(storage: LocalStorage, key: str) -> bytes:
    return b"".join([piece async for piece in storage.read(key)])


@pytest.mark.parametrize(("channels", "names"), [(1, ["both"]), (2, ["caller", "agent"])])
async def test_a_recording_is_stored_with_its_outline_and_levels(
    path: Path, storage: LocalStorage, channels: int, names: list[str]
) -> None:
    sound = examined(path, a_wav(channels=channels))
    assert (sound.duration_s, sound.channels) == (5.0, channels)

    stored = await store_sound(storage, "a/b", path, sound)
    columns = stored.columns("the end is missing")
    assert (stored.keys, columns["state"]) == (("a/b.wav", "a/b.json"), "stored")
    assert (columns["is_partial"], columns["reason"]) == (True, "the end is missing")
    assert (columns["duration_s"], columns["channels"]) == (5.0, channels)
    assert list(columns["loudness_db"]) == names
    assert columns["size_bytes"] == len(await read(storage, "a/b.wav"))
    peaks = msgspec.json.decode(await read(storage, "a/b.json"))
    assert (peaks["channels"], peaks["sample_rate"]) == (channels, 8_000)
    assert [each.name for each in path.parent.iterdir() if each.is_file()] == ["sound.wav"]


@pytest.mark.parametrize("content", [a_mulaw_wav(), a_wav(width=1)], ids=["mulaw", "8 bit"])
async def test_a_sound_that_cannot_be_drawn_is_stored_all_the_same(
    path: Path, storage: LocalStorage, content: bytes
) -> None:
    sound = examined(path, content)
    assert sound.drawn is None

    stored = await store_sound(storage, "a/b", path, sound)
    assert stored.keys == ("a/b.wav",)
    columns = stored.columns()
    assert columns["peaks_key"] is None
    assert columns["is_partial"] is False
    assert "loudness_db" not in columns
    assert ("duration_s" in columns) == (sound.duration_s is not None)
    assert await read(storage, "a/b.wav") == content
    with pytest.raises(FileNotStored):
        await storage.stat("a/b.json")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"<html>no</html>" * 9, a_wav()[:-100]])
def test_f46_what_is_no_whole_wav_file_is_refused(path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match="WAV file"):
        examined(path, content)


def test_a_header_that_was_written_before_the_length_was_known_is_not_believed(path: Path) -> None:
    content = bytearray(a_wav(seconds=1.0))
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    found = examined(path, bytes(content))
    assert found.duration_s == pytest.approx(1.0, abs=0.01)
    assert found.drawn is not None


def test_a_header_without_samples_says_nothing(path: Path) -> None:
    assert examined(path, b"RIFF\x04\0\0\0WAVE") == Sound()
