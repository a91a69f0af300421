"""A small server that speaks our side of Twilio's interface on a real socket, told by each test what to answer."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import WSCloseCode, WSMsgType, web

from voice_agent.audio.mulaw import FRAME_BYTES, silence
from voice_agent.sandbox.carrier import Handset

Message = dict[str, object]
Respond = Callable[[Mapping[str, str]], str | web.Response | Awaitable[str | web.Response]]


class Wire:
    """The server's end of one media stream."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.received: list[Message] = []
        self.stream_sid = ""

    async def play(self, mulaw: bytes) -> None:
        await self.send("media", {"payload": base64.b64encode(mulaw).decode()})

    async def mark(self, name: str) -> None:
        await self.send("mark", {"name": name})

    async def clear(self) -> None:
        await self.socket.send_json({"event": "clear", "streamSid": self.stream_sid})

    async def send(self, event: str, body: Mapping[str, object]) -> None:
        await self.socket.send_json({"event": event, "streamSid": self.stream_sid, event: body})

    async def next(self, *events: str) -> Message:
        """Return the next message of one of these events."""
        async for message in self.socket:
            if message.type != WSMsgType.TEXT:
                break
            decoded: Message = json.loads(message.data)
            self.received.append(decoded)
            if decoded["event"] == "start":
                self.stream_sid = str(decoded["streamSid"])
            if decoded["event"] in events:
                return decoded
        raise EOFError(f"the carrier closed before any of {events}")

    async def read_to_end(self) -> None:
        try:
            await self.next("nothing is called so")
        except EOFError:
            pass

    def of(self, event: str) -> list[Message]:
        return [message for message in self.received if message["event"] == event]


async def read_only(wire: Wire) -> None:
    await wire.read_to_end()


async def at_once(_: web.Request) -> None:
    return


@dataclass
class FakeServer:
    """Answers `/twiml/NAME` with `documents[NAME]`, and holds every media stream by `hold`."""

    documents: dict[str, str | Respond] = field(default_factory=dict)
    hold: Callable[[Wire], Awaitable[None]] = read_only
    admit: Callable[[web.Request], Awaitable[None]] = at_once
    """Awaited before a media socket is accepted."""
    url: str = ""
    posts: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    """Path, form and headers, in order of arrival."""
    upgrade_headers: list[dict[str, str]] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """A media stream has been held to its end."""
    _arrival: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def stream_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/media"

    def stream(self, *, inside: str = "", after: str = "", attributes: str = "", connect: str = "") -> str:
        """Return TwiML that opens a media stream to this server."""
        return (
            f'<Response><Connect {connect}><Stream url="{self.stream_url}" {attributes}>{inside}</Stream></Connect>'
            f"{after}</Response>"
        )

    async def wait_for(self, path: str, count: int) -> list[dict[str, str]]:
        """Return the forms posted to `path` once there are `count` of them."""
        async with asyncio.timeout(5), self._arrival:
            await self._arrival.wait_for(lambda: len(self.forms(path)) >= count)
        return self.forms(path)

    def forms(self, path: str) -> list[dict[str, str]]:
        return [form for posted, form, _ in self.posts if posted == path]

    async def _webhook(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        fields = form if request.method == "POST" else dict(request.query)
        async with self._arrival:
            self.posts.append((request.path, fields, dict(request.headers)))
            self._arrival.notify_all()
        answer = self.documents.get(request.match_info["name"], "")
        made = answer if isinstance(answer, str) else answer(fields)
        final = made if isinstance(made, str | web.Response) else await made
        return final if isinstance(final, web.Response) else web.Response(text=final, content_type="text/xml")

    async def _media(self, request: web.Request) -> web.WebSocketResponse:
        self.upgrade_headers.append(dict(request.headers))
        await self.admit(request)
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        wire = Wire(socket)
        self.wires.append(wire)
        try:
            await self.hold(wire)
        finally:
            self.ended.set()
        await socket.close(code=WSCloseCode.OK)
        return socket

    async def start(self) -> web.AppRunner:
        application = web.Application()
        application.add_routes([web.get("/media", self._media), web.route("*", "/twiml/{name}", self._webhook)])
        runner = web.AppRunner(application, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*runner.addresses[0][:2])
        return runner


class Person:
    """Somebody on a line who keeps what is heard and says what the test gives."""

    def __init__(self, *, says: bytes = b"", hangs_up_after_frames: int = 0, presses: str = "") -> None:
        self.heard = bytearray()
        self.answered = asyncio.Event()
        self.hung_up = asyncio.Event()
        self.gone = asyncio.Event()
        self._says = says
        self._presses = presses
        self._hangs_up_after = hangs_up_after_frames
        self._frames = 0

    def on_answer(self, handset: Handset) -> None:
        self.handset = handset
        self.answered.set()

    def on_tick(self, heard: bytes) -> bytes:
        self.heard += heard
        self._frames += 1
        if self._presses and self._frames % 3 == 0:
            self.handset.press(self._presses[0])
            self._presses = self._presses[1:]
        if self._frames == self._hangs_up_after:
            self.handset.hang_up()
            self.hung_up.set()
        said, self._says = self._says[:FRAME_BYTES], self._says[FRAME_BYTES:]
        return said.ljust(FRAME_BYTES, silence(1))

    def on_hang_up(self) -> None:
        self.gone.set()
