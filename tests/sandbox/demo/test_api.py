"""What is asked of the API, and when it counts as shown, against answers of every kind. As a whole: test_end_to_end."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.sandbox.demo.api_server import CALL_SID, KEY, ApiServer, call, detail, listed, recording, wav
from voice_agent.errors import SandboxServerError
from voice_agent.sandbox.demo import api
from voice_agent.sandbox.demo.api import call_over_api, keep, what_is_missing
from voice_agent.sandbox.local_server import LocalServer


@pytest.fixture
def served() -> ApiServer:
    return ApiServer()


@pytest.fixture
async def server(served: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalServer]:
    monkeypatch.setattr(api, "ASK_AGAIN_S", 0.0)
    yield await served.start(tmp_path)
    await served.stop()


async def test_a_call_is_shown_with_a_copy_of_its_recording(
    server: LocalServer, served: ApiServer, tmp_path: Path
) -> None:
    seen = await call_over_api(server, CALL_SID, tmp_path / "copies")

    path = tmp_path / "copies/CA1.wav"
    assert path.read_bytes() == served.sound
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert seen.copy.path == str(path)
    assert (seen.copy.channels, seen.copy.rate_hz, seen.copy.duration_s) == (2, 8_000, 2.0)
    assert seen.call == detail(served.sound)
    assert seen.recording == listed(served.sound)
    assert seen.turn_p50_ms == 500.0


async def test_the_key_is_for_the_api_and_the_address_of_a_file_needs_none(
    server: LocalServer, served: ApiServer, tmp_path: Path
) -> None:
    await call_over_api(server, CALL_SID, tmp_path)

    assert served.keys == [KEY, KEY, KEY, None]


async def test_what_is_not_filed_yet_is_waited_for(server: LocalServer, served: ApiServer, tmp_path: Path) -> None:
    whole = call(served.sound)
    served.calls = [
        None,
        whole | {"state": "in_progress"},
        whole | {"transcript": [], "recordings": []},
        whole | {"recordings": []},
        whole | {"recordings": [recording(served.sound, state="pending", sha256=None)]},
        whole,
    ]

    assert (await call_over_api(server, CALL_SID, tmp_path)).call == detail(served.sound)
    assert len(served.calls) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": "in_progress"}, "the call is still in_progress, 0 s after the call"),
        ({"transcript": []}, "the transcript is not stored, 0 s after the call"),
        ({"recordings": []}, "the recording is not stored, 0 s after the call"),
        ({"recordings": [recording(b"", state="pending")]}, "the recording is still pending, 0 s after the call"),
        (
            {"recordings": [recording(b"", state="failed", reason="the file is not there")]},
            r"the recording is not stored \(failed: the file is not there\)",
        ),
        ({"call_sid": "CA2"}, "the call is not in the list, 0 s after the call"),
        ({"agent_name": 7}, "GET /api/v1/calls: "),
    ],
)
async def test_what_never_comes_is_named(
    server: LocalServer,
    served: ApiServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    reason: str,
) -> None:
    monkeypatch.setattr(api, "FILED_S", 0.0)
    served.calls = [call(served.sound) | changes]

    with pytest.raises(SandboxServerError, match=reason):
        await call_over_api(server, CALL_SID, tmp_path)


async def test_a_refusal_is_shown_and_the_address_of_a_file_is_not(
    server: LocalServer, served: ApiServer, tmp_path: Path
) -> None:
    served.sound = b""

    with pytest.raises(SandboxServerError, match=r"GET /api/v1/files/…: 403 .*gone") as refused:
        await call_over_api(server, CALL_SID, tmp_path)
    assert "token" not in str(refused.value)


async def test_a_server_that_has_gone_is_named(server: LocalServer, served: ApiServer, tmp_path: Path) -> None:
    await served.stop()

    with pytest.raises(SandboxServerError, match="GET /api/v1/calls: ClientConnectorError"):
        await call_over_api(server, CALL_SID, tmp_path)


@pytest.mark.parametrize(
    ("sound", "changes", "reason"),
    [
        (wav(), {"size_bytes": 5}, "size_bytes is 64044; stated was 5"),
        (wav(), {"sha256": "0"}, "sha256 is .*; stated was 0"),
        (wav(), {"duration_s": 1.5}, r"lasts 2\.0 s; stated was 1\.5"),
        (wav(), {"duration_s": None}, r"lasts 2\.0 s; stated was None"),
        (wav(channels=1), {}, "has 1 channels instead of 2"),
        (b"no sound", {}, "is no WAV file"),
    ],
)
def test_another_recording_than_the_stated_one_is_not_kept(
    tmp_path: Path, sound: bytes, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(SandboxServerError, match=reason):
        keep(sound, listed(sound, **changes), tmp_path / "copy.wav")
    assert not (tmp_path / "copy.wav").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(SandboxServerError, match=r"file/copy\.wav cannot be written"):
        keep(wav(), listed(wav()), tmp_path / "file/copy.wav")


def test_a_call_of_which_one_recording_failed_is_complete() -> None:
    sound = wav()
    both = [recording(sound, state="failed"), recording(sound)]

    assert what_is_missing(detail(sound, recordings=both)) == ""
    assert what_is_missing(msgspec.structs.replace(detail(sound), recordings=())) == "the recording is not stored"
