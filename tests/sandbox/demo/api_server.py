"""A server with the routes of one call, which answers what a test wants it to."""

import hashlib
import io
import wave
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from voice_agent.sandbox.demo.api import Detail, ListedRecording
from voice_agent.sandbox.local_server import LocalServer

CALL_SID = "CA1"
KEY = "a-key"


def wav(*, seconds: float = 2.0, channels: int = 2) -> bytes:
    """Return a file of silence."""
    with io.BytesIO() as target:
        with wave.open(target, "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(8_000)
            file.writeframes(bytes(int(seconds * 8_000) * 2 * channels))
        return target.getvalue()


def recording(sound: bytes, **changes: Any) -> dict[str, Any]:
    """Return what the interface says of a recording of two seconds."""
    return {
        "id": "r1",
        "kind": "stream",
        "state": "stored",
        "reason": "",
        "is_partial": False,
        "duration_s": 2.0,
        "size_bytes": len(sound),
        "sha256": hashlib.sha256(sound).hexdigest(),
        "loudness_db": {"caller": None, "agent": -20.5},
    } | changes


def line(kind: str, text: str, **changes: Any) -> dict[str, Any]:
    """Return an entry of a transcript."""
    said = {"kind": kind, "started_at": 1.25, "text": text, "heard": None, "is_interrupted": False, "details": None}
    return said | changes


def call(sound: bytes, **changes: Any) -> dict[str, Any]:
    """Return what the interface says of a call that is over and filed."""
    return {
        "id": "c1",
        "call_sid": CALL_SID,
        "direction": "inbound",
        "state": "ended",
        "outcome": "human",
        "duration_s": 80,
        "agent_name": "Harbour",
        "from": "+15005550001",
        "transcript": [
            line("agent", "Good morning."),
            line("caller", "what does it cost"),
            line("agent", "It costs thirty euros, and more.", heard="It costs thirty", is_interrupted=True),
            line("tool", "", details={"name": "end_call", "arguments": "{}"}),
        ],
        "turns": [{"turn": n, "voice_to_voice_ms": 400.0 + 100 * n, "parts": {}} for n in range(3)],
        "recordings": [recording(sound)],
    } | changes


def detail(sound: bytes, **changes: Any) -> Detail:
    """Return the same as the demo reads it."""
    return msgspec.convert(call(sound, **changes), Detail)


def listed(sound: bytes, **changes: Any) -> ListedRecording:
    """Return a recording as the demo reads it."""
    return msgspec.convert(recording(sound, **changes), ListedRecording)


class ApiServer:
    """Gives each answer in turn, the last one for ever."""

    def __init__(self) -> None:
        self.sound = wav()
        self.calls: list[dict[str, Any] | None] = [call(self.sound)]
        self.keys: list[str | None] = []
        """Of each request, the sound's included."""
        self._runner: web.AppRunner | None = None

    async def start(self, folder: Path) -> LocalServer:
        """Listen; return what the demo knows of it."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/api/v1/calls", self._list),
                web.get("/api/v1/calls/c1", self._detail),
                web.get("/api/v1/calls/c1/recordings/r1/link", self._link),
                web.get("/api/v1/files/token", self._file),
            ]
        )
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        return KeyedServer(f"http://127.0.0.1:{port}", folder, {})

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("X-API-Key"))
        if len(self.calls) > 1 and self.calls[0] is None:
            self.calls.pop(0)
            return web.json_response({"items": [], "next_cursor": None})
        return web.json_response({"items": [each for each in self.calls[:1] if each], "next_cursor": None})

    async def _detail(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("X-API-Key"))
        return web.json_response(self.calls.pop(0) if len(self.calls) > 1 else self.calls[0])

    async def _link(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("X-API-Key"))
        return web.json_response({"url": str(request.url.with_path("/api/v1/files/token")), "expires_at": "soon"})

    async def _file(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("X-API-Key"))
        return web.Response(body=self.sound) if self.sound else web.json_response({"title": "gone"}, status=403)


class KeyedServer(LocalServer, frozen=True):
    """Makes a key without a process."""

    async def command(self, *arguments: str) -> str:
        assert arguments == ("api-key", "demo")
        return KEY
