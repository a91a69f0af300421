"""What the wire of a call costs: CPU milliseconds of the server for each second of a call.

N calls send 50 media messages a second, paced, and get as much audio back; nothing is done with the audio. The server
is a process of its own on one core, the callers are on another. Three servers are measured in turn, in several rounds:

- floor: bare picows, one frame echoed for each that comes, no protocol at all
- hybrid: the product (uvicorn and picows on one port): protocol, playback, marks, shared tick
- route: the same `MediaStreamEndpoint` behind the plain Starlette route on uvicorn's websockets-sansio

The product sends chunks of 160 ms with a mark behind each, which the callers echo, so it has 6 messages out where the
floor has 50, and 56 in. That is how it serves a call; `--json` figures are medians of the rounds.
"""

import asyncio
import base64
import gc
import logging
import multiprocessing
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection

import psutil
import structlog
import uvicorn
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_connect, ws_create_server
from starlette.applications import Starlette

from bench.figures import figure, parser, write_figures
from voice_agent.media_stream.connection import CloseReason, MediaStreamConnection, PlayoutClock
from voice_agent.media_stream.protocol import MAX_FRAME_BYTES, StreamStarted
from voice_agent.media_stream.server import MediaStreamEndpoint, hybrid_protocol, websocket_route

PATH = "/twilio/media"
FRAME = bytes(range(160))
MEDIA = base64.b64encode(FRAME).decode()
REACH_MS = 1.9
"""CPU milliseconds for a call-second: what the budget of a call gives to socket and frame work."""


# --- the servers
class EchoingListener:
    """Plays back what it hears in pieces of half a second, a second behind, as a synthesiser would deliver it."""

    def __init__(self, connection: MediaStreamConnection) -> None:
        self._connection = connection
        self._heard = bytearray()
        self._wanted_bytes = 8_000

    def on_started(self, started: StreamStarted) -> None:
        """Do nothing."""

    def on_audio(self, mulaw: bytes) -> None:
        """Echo once there is enough."""
        self._heard += mulaw
        if len(self._heard) >= self._wanted_bytes:
            self._connection.play(1, bytes(self._heard))
            self._heard.clear()
            self._wanted_bytes = 4_000

    def on_digit(self, digit: str) -> None:
        """Do nothing."""

    def on_playback_started(self, turn: int) -> None:
        """Do nothing."""

    def on_playback_marked(self, turn: int, heard_ms: float) -> None:
        """Do nothing."""

    def on_playback_stopped(self, turn: int, heard_ms: float, remaining_ms: float) -> None:
        """Do nothing."""

    def on_playback_finished(self, turn: int) -> None:
        """Do nothing."""

    def on_closed(self, reason: CloseReason) -> None:
        """Do nothing."""


class BareEcho(WSListener):
    """The floor: a frame in, the same frame out."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Echo."""
        if frame.msg_type is WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_bytes())
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()


async def serve_floor(ready: Callable[[int], None]) -> None:
    """Serve until cancelled."""

    def answer(_request: WSUpgradeRequest) -> WSListener:
        return BareEcho()

    server = await ws_create_server(answer, "127.0.0.1", 0)
    ready(server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


async def serve_product(ready: Callable[[int], None], *, is_hybrid: bool) -> None:
    """Serve until cancelled."""
    endpoint = MediaStreamEndpoint(PATH, lambda _started, connection: EchoingListener(connection), clock=PlayoutClock())
    config = uvicorn.Config(
        Starlette(routes=[websocket_route(endpoint)]),
        port=0,
        ws=hybrid_protocol(endpoint) if is_hybrid else "websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        log_level="error",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    ready(server.servers[0].sockets[0].getsockname()[1])
    await server.main_loop()


SERVERS: dict[str, Callable[[Callable[[int], None]], Coroutine[None, None, None]]] = {
    "floor": serve_floor,
    "hybrid": lambda ready: serve_product(ready, is_hybrid=True),
    "route": lambda ready: serve_product(ready, is_hybrid=False),
}


def server_process(name: str, core: int, pipe: Connection) -> None:
    """Be the server: tell the port, serve until terminated."""
    os.sched_setaffinity(0, {core})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(SERVERS[name](pipe.send))


# --- the callers
class Caller(WSListener):
    """One call: sends frames when told to, counts the audio that comes back, echoes marks once it would be played."""

    def __init__(self, number: int, *, is_twilio: bool) -> None:
        self.heard_bytes = 0
        self.sent_frames = 0
        self.is_open = False
        self._sid = f"MZ{number:032d}"
        self._number = 1
        self._is_twilio = is_twilio
        self._playing_until = 0.0
        self._marks: deque[tuple[float, bytes]] = deque()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin the stream."""
        self.is_open = True
        self._transport = transport
        if self._is_twilio:
            details = f'{{"callSid":"CA{self._sid}","customParameters":{{}}}}'
            start = f'{{"event":"start","sequenceNumber":"1","streamSid":"{self._sid}","start":{details}}}'
            transport.send(WSMsgType.TEXT, start)

    def send_frame(self) -> None:
        """Send 20 ms of audio, and the marks that are due."""
        self._number += 1
        self.sent_frames += 1
        self._transport.send(
            WSMsgType.TEXT,
            f'{{"event":"media","sequenceNumber":"{self._number}","streamSid":"{self._sid}","media":{{"track":"inbound",'
            f'"chunk":"{self._number}","timestamp":"{self.sent_frames * 20}","payload":"{MEDIA}"}}}}',
        )

        while self._marks and self._marks[0][0] <= time.monotonic():
            head, _, rest = self._marks.popleft()[1].partition(b',"streamSid"')
            self._number += 1
            echo = b'%s,"sequenceNumber":"%d","streamSid"%s' % (head, self._number, rest)
            self._transport.send(WSMsgType.TEXT, echo)

    def hang_up(self) -> None:
        """Close the socket."""
        self._transport.disconnect()

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """Note the end."""
        self.is_open = False

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        """Queue marks, count audio."""
        message = frame.get_payload_as_bytes()
        if message.startswith(b'{"event":"mark"'):
            self._marks.append((self._playing_until, message))
        elif message.startswith(b'{"event":"media"'):
            payload = message.rindex(b'"', 0, -3)
            length = (len(message) - 4 - payload) * 3 // 4
            self.heard_bytes += length
            self._playing_until = max(self._playing_until, time.monotonic()) + length / 8_000


async def call_all(port: int, calls: int, seconds: float, server: psutil.Process, *, is_twilio: bool) -> float:
    """Hold all calls for so long and return the server's CPU milliseconds for each second of each call."""
    callers = [Caller(number, is_twilio=is_twilio) for number in range(calls)]
    for caller in callers:
        await ws_connect(lambda it=caller: it, f"ws://127.0.0.1:{port}{PATH}")
    await pace(callers, 2.0)
    heard_before = sum(caller.heard_bytes for caller in callers)
    cpu_before = cpu_seconds(server)
    await pace(callers, seconds)
    used_ms = (cpu_seconds(server) - cpu_before) * 1_000
    heard = (sum(caller.heard_bytes for caller in callers) - heard_before) / (calls * seconds * 8_000)
    for caller in callers:
        caller.hang_up()
    if not 0.8 < heard < 1.2:
        raise RuntimeError(f"{heard:.0%} of the audio came back: this machine is too busy to measure")
    return used_ms / (calls * seconds)


async def pace(callers: list[Caller], seconds: float, groups: int = 5) -> None:
    """Send 50 frames a second for each caller, spread over the 20 ms of a frame."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for slot in range(round(seconds * 50 * groups)):
        for caller in callers[slot % groups :: groups]:
            caller.send_frame()
        await asyncio.sleep(max(0.0, begun + (slot + 1) * 0.02 / groups - loop.time()))


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time a process has used."""
    times = process.cpu_times()
    return times.user + times.system


def measure(name: str, calls: int, seconds: float) -> float:
    """Start a server, call it, end it."""
    cores = sorted(os.sched_getaffinity(0))
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=server_process, args=(name, cores[0], theirs))
    process.start()
    try:
        if not ours.poll(30.0):
            raise RuntimeError(f"the {name} server did not start")
        os.sched_setaffinity(0, {cores[-1]})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            calling = call_all(ours.recv(), calls, seconds, psutil.Process(process.pid), is_twilio=name != "floor")
            return runner.run(calling)
    finally:
        os.sched_setaffinity(0, cores)
        process.kill()
        process.join()


def main() -> int:
    """Measure and print."""
    command_line = parser("CPU of the media stream's wire for each second of a call")
    command_line.add_argument("--calls", type=int, default=60)
    command_line.add_argument("--seconds", type=float, default=6.0)
    command_line.add_argument("--rounds", type=int, default=3)
    options = command_line.parse_args()
    rounds: dict[str, list[float]] = {name: [] for name in SERVERS}
    for _ in range(options.rounds):
        for name, values in rounds.items():
            values.append(measure(name, options.calls, options.seconds))
    floor, hybrid, route = (statistics.median(values) for values in rounds.values())
    unit = "ms CPU per call-second"
    write_figures(
        options.json,
        [
            figure("wire, bare echo", floor, unit),
            figure("wire, picows inside uvicorn", hybrid, unit, floor=floor, reach=REACH_MS),
            figure("wire, Starlette route", route, unit, floor=floor),
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
