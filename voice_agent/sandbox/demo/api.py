"""A call as a program sees it that has a key: over HTTP, from the running server, with nothing but the REST interface.

What a call leaves is filed when it is over (`calls.filing`), so it is asked for until it is there, for a while. The
recording is fetched from its signed address and compared with what the interface says of it. Only the fields that the
demo shows are read; docs/openapi.json has them all.
"""

import asyncio
import hashlib
import io
import os
import time
import wave
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from voice_agent.calls.model import FINAL, CallState
from voice_agent.errors import SandboxServerError
from voice_agent.sandbox.callers.judge import percentile
from voice_agent.sandbox.local_server import LocalServer

CALLS = "/api/v1/calls"

FILED_S = 30.0
"""How long a call's end and its filing are waited for. They take a second; six looks of `calls.filing`."""

ASK_AGAIN_S = 0.2
REQUEST_S = 20.0

TOLERATED_S = 0.001
"""By which the recording may be longer or shorter than stated: a figure that went through JSON."""

CHANNELS = 2


class ListedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call as the list has it."""

    id: str
    call_sid: str | None
    direction: str
    state: CallState
    outcome: str | None
    duration_s: int | None
    agent_name: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the stored transcript."""

    kind: str
    started_at: float
    """Seconds since the call's first media stream began."""

    text: str
    heard: str | None
    is_interrupted: bool
    details: dict[str, Any] | None


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long an answer took."""

    voice_to_voice_ms: float


class ListedRecording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording, without its sound."""

    id: str
    state: str
    reason: str
    is_partial: bool
    duration_s: float | None
    size_bytes: int | None
    sha256: str | None
    loudness_db: dict[str, float | None] | None


class Detail(ListedCall, frozen=True, kw_only=True):
    """A call with what it left."""

    transcript: tuple[Line, ...]
    turns: tuple[Timing, ...]
    recordings: tuple[ListedRecording, ...]


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """The recording as it was fetched, and found to be what was stated."""

    path: str
    """Absolute."""

    channels: int
    rate_hz: int
    duration_s: float
    size_bytes: int
    sha256: str


class CallOverApi(msgspec.Struct, frozen=True, kw_only=True):
    """All that the REST interface has of one call."""

    call: Detail
    recording: ListedRecording
    copy: Copy

    @property
    def turn_p50_ms(self) -> float | None:
        """Median of the stored voice-to-voice times; None where no turn was timed."""
        return percentile([turn.voice_to_voice_ms for turn in self.call.turns], 0.5)


async def call_over_api(server: LocalServer, call_sid: str, folder: Path) -> CallOverApi:
    """Return the call that the carrier names so, with a copy of its recording in `folder`, which is absolute.

    The key is made as a user makes one, on the command line. Raises SandboxServerError, with the reason, where the
    interface does not show the call whole in time.
    """
    async with Api(server.base_url, await server.command("api-key", "demo")) as api:
        call = await api.filed(call_sid)
        recording = next((each for each in call.recordings if each.state == "stored"), None)
        if recording is None:
            found = "; ".join(f"{each.state}: {each.reason}" for each in call.recordings) or "there is none"
            raise SandboxServerError(f"the recording is not stored ({found})")
        sound = await api.sound(call.id, recording.id)
    copy = await asyncio.to_thread(keep, sound, recording, folder / f"{call_sid}.wav")
    return CallOverApi(call=call, recording=recording, copy=copy)


_Answer = TypeVar("_Answer")


class _Page(msgspec.Struct, frozen=True):
    items: tuple[ListedCall, ...]


class _Link(msgspec.Struct, frozen=True):
    url: str


class Api:
    """The REST interface of calls, for whoever has a key. Each method raises SandboxServerError."""

    def __init__(self, base_url: str, key: str) -> None:
        self._base_url = base_url
        self._session = aiohttp.ClientSession(
            headers={"X-API-Key": key}, timeout=aiohttp.ClientTimeout(total=REQUEST_S)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def filed(self, call_sid: str) -> Detail:
        """Return a call once it is over and everything it left is filed; says what is missing where that never is."""
        deadline_s = time.monotonic() + FILED_S
        while True:
            call = await self._find(call_sid)
            missing = "the call is not in the list" if call is None else what_is_missing(call)
            if call is not None and not missing:
                return call
            if time.monotonic() > deadline_s:
                raise SandboxServerError(f"{missing}, {FILED_S:.0f} s after the call")
            await asyncio.sleep(ASK_AGAIN_S)

    async def _find(self, call_sid: str) -> Detail | None:
        page = await self._get(CALLS, _Page)
        listed = next((each for each in page.items if each.call_sid == call_sid), None)
        return None if listed is None else await self._get(f"{CALLS}/{listed.id}", Detail)

    async def sound(self, call_id: str, recording_id: str) -> bytes:
        """Return the recording's file, from its signed address."""
        link = await self._get(f"{CALLS}/{call_id}/recordings/{recording_id}/link", _Link)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_S)) as nobody:
            # The address is all that is needed, and so as good as a password: it is not shown.
            return await _content(nobody, link.url, shown="/api/v1/files/…")

    async def _get(self, path: str, shape: type[_Answer]) -> _Answer:
        content = await _content(self._session, self._base_url + path, shown=path)
        try:
            return msgspec.json.decode(content, type=shape)
        except msgspec.DecodeError as error:
            raise SandboxServerError(f"GET {path}: {error}") from error


async def _content(session: aiohttp.ClientSession, url: str, *, shown: str) -> bytes:
    try:
        async with session.get(url) as answer:
            content = await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SandboxServerError(f"GET {shown}: {type(error).__name__}") from error
    if answer.status != 200:
        raise SandboxServerError(f"GET {shown}: {answer.status} {content[:300].decode('utf-8', 'replace')}")
    return content


def what_is_missing(call: Detail) -> str:
    """Say what of a call is not filed yet; empty where all of it is."""
    if call.state not in FINAL:
        return f"the call is still {call.state}"
    if not call.transcript:
        return "the transcript is not stored"
    if not call.recordings:
        return "the recording is not stored"
    waiting = [each.state for each in call.recordings if each.state not in {"stored", "failed"}]
    return f"the recording is still {waiting[0]}" if waiting else ""


def keep(sound: bytes, stated: ListedRecording, path: Path) -> Copy:
    """Compare a recording with what was stated of it, and write it to `path`, for nobody else to read.

    Raises SandboxServerError where it is another one, or cannot be written.
    """
    copy = examine(sound, path)
    found = {"size_bytes": copy.size_bytes, "sha256": copy.sha256}
    for name, value in found.items():
        if value != getattr(stated, name):
            raise SandboxServerError(f"the recording's {name} is {value}; stated was {getattr(stated, name)}")
    if stated.duration_s is None or abs(copy.duration_s - stated.duration_s) > TOLERATED_S:
        raise SandboxServerError(f"the recording lasts {copy.duration_s} s; stated was {stated.duration_s}")
    if copy.channels != CHANNELS:
        raise SandboxServerError(f"the recording has {copy.channels} channels instead of {CHANNELS}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(sound)
    except OSError as error:
        raise SandboxServerError(f"{path} cannot be written: {error.strerror}") from error
    return copy


def examine(sound: bytes, path: Path) -> Copy:
    """Return what a WAV file is. Raises SandboxServerError where it is none."""
    try:
        with wave.open(io.BytesIO(sound)) as file:
            channels, rate_hz, frames = file.getnchannels(), file.getframerate(), file.getnframes()
    except (wave.Error, EOFError) as error:
        raise SandboxServerError(f"the recording is no WAV file: {error}") from error
    return Copy(
        path=str(path),
        channels=channels,
        rate_hz=rate_hz,
        duration_s=frames / rate_hz,
        size_bytes=len(sound),
        sha256=hashlib.sha256(sound).hexdigest(),
    )
