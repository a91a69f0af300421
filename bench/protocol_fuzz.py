"""Generated protocol messages over real sockets against the real server layer, with good calls beside them.

Hypothesis draws a corpus: messages of the right shape with wrong things in them, JSON of any kind, bytes. Each drawn
message is then sent as it is and in many mutations (bits, cuts, splices, numbers, NaN, bad UTF-8, nesting, size; as
text, binary, fragments, pings or bare bytes on the socket), because drawing takes milliseconds and mutating
microseconds. The server and its callers share one process, so that whatever either leaves behind is found.

Measured is what must be zero: unhandled exceptions (the loop's handler, logged tracebacks), tasks and descriptors left
behind, good calls that were disturbed. Sources: fault matrix F27 to F32; RFC 6455, section 5.
"""

import asyncio
import base64
import gc
import json
import logging
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
import psutil
import uvicorn
import uvloop
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from starlette.applications import Starlette
from structlog.testing import capture_logs

from bench.figures import figure, parser, write_figures
from bench.wire import PATH, Caller, EchoingListener, pace
from voice_agent.media_stream.connection import MediaSocket, MediaStreamConnection, PlayoutClock, Upgrade
from voice_agent.media_stream.protocol import MAX_FRAME_BYTES
from voice_agent.media_stream.server import CLOSE_TIMEOUT_S, MediaStreamEndpoint, hybrid_protocol, websocket_route

STREAM = "MZ" + "f" * 32
START = {"event": "start", "sequenceNumber": "1", "streamSid": STREAM, "start": {"callSid": "CA1"}}
ATTACKERS = 6
GOOD_CALLS = 3
SETTLING_S = 1.5
"""Good calls talk for so long before the attack: their echo is a second behind."""

CONNECTION_MESSAGES = 400
"""After so many an attacker hangs up by itself; most are closed long before."""


# --- what is sent
def valid_messages() -> st.SearchStrategy[dict[str, object]]:
    """Return the strategy of what Twilio could send, with unusual but legal values in it."""
    counters = st.integers(0, 500).map(str)
    payloads = st.integers(0, 400).map(lambda length: base64.b64encode(b"\x7f" * length).decode())
    names = st.one_of(st.text(max_size=12), st.sampled_from(["0:1:1", "0:2:1", "probe"]))
    track = st.sampled_from(["inbound"] * 4 + ["outbound"])
    parameters = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3)
    bodies: dict[str, st.SearchStrategy[object]] = {
        "media": st.fixed_dictionaries({"payload": payloads, "timestamp": counters, "track": track}),
        "mark": st.fixed_dictionaries({"name": names}),
        "dtmf": st.fixed_dictionaries(
            {"track": st.just("inbound_track"), "digit": st.sampled_from("0123456789*#ABCD")}
        ),
        "start": st.fixed_dictionaries({"callSid": st.just("CA1")}, optional={"customParameters": parameters}),
        "stop": st.fixed_dictionaries({"callSid": st.just("CA1")}),
        "connected": st.just("Call"),
        "weather": st.just("sunny"),
    }
    events = st.sampled_from(["media"] * 6 + ["mark", "dtmf"] * 3 + ["start", "connected", "weather"] * 2 + ["stop"])
    return events.flatmap(
        lambda event: st.fixed_dictionaries(
            {
                "event": st.just(event),
                "sequenceNumber": counters,
                "streamSid": st.sampled_from([STREAM] * 9 + ["MZother"]),
                event: bodies[event],
            }
        )
    )


def messages() -> st.SearchStrategy[bytes]:
    """Return the strategy of all frames, from right over nearly right to not even text."""
    odd_counters: st.SearchStrategy[object] = st.sampled_from(["", "-1", "1e9", "9" * 30, 1e400, -0.5, None, True, []])
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("fw=="))
    keys = st.sampled_from(
        ["event", "sequenceNumber", "streamSid", "media", "payload", "timestamp", "track", "chunk", "start", "callSid",
         "mediaFormat", "customParameters", "dtmf", "digit", "mark", "name", "stop"]
    )  # fmt: skip
    any_json = st.recursive(
        leaves, lambda inner: st.dictionaries(keys, inner, max_size=6) | st.lists(inner, max_size=4), max_leaves=12
    )
    valid = valid_messages()
    spoilt = st.builds(
        lambda message, key, value: message | {key: value},
        valid,
        keys | st.just("sequenceNumber"),
        any_json | odd_counters,
    )
    return st.one_of(*[valid.map(_encode)] * 5, spoilt.map(_encode), any_json.map(_encode), st.binary(max_size=200))


def _encode(value: object) -> bytes:
    return json.dumps(value, allow_nan=True).encode("utf-8", "surrogatepass")


def draw_corpus(size: int, seed_number: int) -> list[bytes]:
    """Return `size` drawn messages, in batches: one test case of hypothesis is a list of them."""
    corpus: list[bytes] = []

    @seed(seed_number)
    @settings(max_examples=size // 20 + 1, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.lists(messages(), min_size=20, max_size=40))
    def collect(batch: list[bytes]) -> None:
        if len(corpus) < size:
            corpus.extend(batch)

    collect()
    return corpus[:size]


def mutations(corpus: list[bytes], rng: random.Random) -> Iterator[bytes]:
    """Yield messages for ever: drawn ones, and drawn ones changed."""
    number = 1
    while True:
        message = rng.choice(corpus)
        kind = rng.randrange(20)
        if kind < 6:
            yield _NUMBER.sub(b'"chunk": "1"', message)  # without a number it is taken as it comes
        elif kind < 14:  # its turn, nearly always
            number += rng.choice([1] * 20 + [0, 2, 3, -1])
            yield _NUMBER.sub(b'"sequenceNumber": "%d"' % number, message)
        elif kind < 16:
            yield message
        else:
            yield rng.choice(_MUTATIONS)(message, rng.choice(corpus), rng)


_NUMBER = re.compile(rb'"sequenceNumber": [^,}]+')


Mutation = Callable[[bytes, bytes, random.Random], bytes]


def _flip(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    changed = bytearray(message or b" ")
    for _ in range(rng.randrange(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    return message[: rng.randrange(len(message) + 1)]


def _splice(message: bytes, other: bytes, rng: random.Random) -> bytes:
    return _cut(message, other, rng) + other[rng.randrange(len(other) + 1) :]


def _poison(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    return message.replace(b":", rng.choice([b":NaN,", b":[[", b':"\xff\xfe', b":-0e999"]), 1)


def _swell(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"[" * 30_000, b'{"event":' * 5_000, message * 50, b" " * 60_000 + message, b"x" * 70_000])


_MUTATIONS: tuple[Mutation, ...] = (_flip, _flip, _cut, _splice, _poison, _swell)


# --- who sends it
class Attacker(WSListener):
    """One hostile socket. It answers nothing but a close."""

    def __init__(self) -> None:
        self.is_open = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin."""
        self.transport = transport
        self.is_open = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Leave when told to."""
        if frame.msg_type is WSMsgType.CLOSE:
            self.is_open = False
            transport.disconnect()

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """Note the end."""
        self.is_open = False

    def pause_writing(self) -> None:
        """Go on writing: `attack` waits between messages."""

    def resume_writing(self) -> None:
        """Go on writing."""

    def send(self, message: bytes, rng: random.Random) -> None:
        """Send a message in one of the ways a frame can be sent, mostly the right one."""
        way = rng.randrange(100)
        if way < 88:
            self.transport.send(WSMsgType.TEXT, message)
        elif way < 92:
            self.transport.send(WSMsgType.BINARY, message)
        elif way < 95:
            self.transport.send_ping(message[:125])
        elif way < 98:
            cut = rng.randrange(len(message) + 1)
            self.transport.send(WSMsgType.TEXT, message[:cut], fin=False)
            self.transport.send(WSMsgType.CONTINUATION, message[cut:], fin=rng.random() < 0.9)
        elif way < 99:
            self.transport.send(WSMsgType.TEXT, message, rsv1=True)
        else:
            self.transport.underlying_transport.write(message[:100])


class Arena:
    """The server under attack, and everything it must not do."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.connections: list[MediaStreamConnection] = []
        self.clock = PlayoutClock()
        self._received_before = 0
        self.endpoint = _CountingEndpoint(self)
        config = uvicorn.Config(
            Starlette(routes=[websocket_route(self.endpoint)]), port=0, ws=hybrid_protocol(self.endpoint),
            ws_max_size=MAX_FRAME_BYTES, ws_per_message_deflate=False, log_config=None, lifespan="off",
        )  # fmt: skip
        config.load()
        self.server = uvicorn.Server(config)
        self.server.lifespan = config.lifespan_class(config)

    @property
    def url(self) -> str:
        """Where to connect to."""
        return f"ws://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}{PATH}"

    @property
    def received(self) -> int:
        """Messages that reached the protocol, good calls included."""
        ended = [connection for connection in self.connections if connection.is_closed]
        self._received_before += sum(map(_received, ended))
        self.connections = [connection for connection in self.connections if not connection.is_closed]
        return self._received_before + sum(map(_received, self.connections))


class _CountingEndpoint(MediaStreamEndpoint):
    def __init__(self, arena: Arena) -> None:
        super().__init__(PATH, lambda _started, connection: EchoingListener(connection), clock=arena.clock)
        self._arena = arena

    def connect(self, media_socket: MediaSocket, upgrade: Upgrade) -> MediaStreamConnection:
        """Remember the connection, for its counts."""
        connection = super().connect(media_socket, upgrade)
        self._arena.connections.append(connection)
        return connection


def _received(connection: MediaStreamConnection) -> int:
    return connection.protocol.counts.frames + connection.protocol.counts.binary


async def attack(arena: Arena, wanted: int, corpus: list[bytes], seed_number: int) -> None:
    """Connect, send, be thrown out, connect again, until the server has received enough."""
    rng = random.Random(seed_number)
    start = json.dumps(START).encode()
    while arena.received < wanted:
        stream = mutations(corpus, rng)
        attacker = Attacker()
        await ws_connect(lambda it=attacker: it, arena.url, logger_name=_QUIET)
        if rng.random() < 0.9:
            attacker.transport.send(WSMsgType.TEXT, start)
        for index in range(CONNECTION_MESSAGES):
            if not attacker.is_open:
                break
            attacker.send(next(stream), rng)
            if index % 8 == 0:
                await asyncio.sleep(0)
        attacker.transport.disconnect(graceful=rng.random() < 0.5)
        await attacker.transport.wait_disconnected()


async def talk(callers: list[Caller], done: asyncio.Event) -> None:
    """Hold good calls until the attack is over."""
    while not done.is_set():
        await pace(callers, 0.2)


async def count_disturbed(callers: list[Caller], connections: list[MediaStreamConnection]) -> int:
    """Return how many of the good calls were closed, were not heard to the last frame, or heard nothing."""
    calls = list(zip(callers, connections, strict=True))
    for _ in range(50):
        if all(connection.protocol.counts.media == caller.sent_frames for caller, connection in calls):
            break
        await asyncio.sleep(0.1)
    return sum(
        not caller.is_open
        or not caller.heard_bytes
        or connection.protocol.counts.bad > 0
        or connection.protocol.counts.media != caller.sent_frames
        for caller, connection in calls
    )


class Outcome(msgspec.Struct):
    """What came of an attack."""

    received: int
    faults: list[str]
    leaked_tasks: int
    leaked_descriptors: int
    disturbed_calls: int
    grown_bytes: int


async def fuzz(wanted: int, corpus: list[bytes], seed_number: int = 1) -> Outcome:
    """Run the whole attack in the running loop; its exception handler is replaced."""
    arena = Arena()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: arena.faults.append(str(context)))
    await arena.server.startup()
    tasks_before, descriptors_before = len(asyncio.all_tasks()), _descriptors()
    callers = [Caller(number, is_twilio=True) for number in range(GOOD_CALLS)]
    for caller in callers:
        await ws_connect(lambda it=caller: it, arena.url, logger_name=_QUIET)
    good = list(arena.connections)
    await pace(callers, SETTLING_S)
    memory_before = psutil.Process().memory_info().rss
    done = asyncio.Event()
    async with asyncio.TaskGroup() as background:
        background.create_task(talk(callers, done))
        async with asyncio.TaskGroup() as attackers:
            for number in range(ATTACKERS):
                attackers.create_task(attack(arena, wanted, corpus, seed_number + number))
        done.set()
    disturbed = await count_disturbed(callers, good)
    received = arena.received
    grown = psutil.Process().memory_info().rss - memory_before
    for caller in callers:
        caller.hang_up()
    await asyncio.sleep(CLOSE_TIMEOUT_S + 0.2)
    gc.collect()
    left_open = len(arena.clock) + len(arena.server.server_state.connections)
    outcome = Outcome(
        received=received,
        faults=arena.faults,
        leaked_tasks=len(asyncio.all_tasks()) - tasks_before,
        leaked_descriptors=_descriptors() - descriptors_before + left_open,
        disturbed_calls=disturbed,
        grown_bytes=grown,
    )
    await arena.server.shutdown()
    return outcome


async def fuzz_watched(wanted: int, corpus: list[bytes], seed_number: int = 1) -> Outcome:
    """Run the attack with every log watched: a logged traceback is a fault too."""
    watcher = _FaultWatcher()
    logging.getLogger().addHandler(watcher)
    try:
        with capture_logs() as logs:
            outcome = await fuzz(wanted, corpus, seed_number)
    finally:
        logging.getLogger().removeHandler(watcher)
    outcome.faults += watcher.faults
    outcome.faults += [str(entry) for entry in logs if entry["log_level"] == "error"]
    return outcome


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


_QUIET = logging.getLogger("bench.quiet")
_QUIET.setLevel(logging.CRITICAL)


class _FaultWatcher(logging.Handler):
    """Collects every logged traceback: what somebody caught, but nobody expected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.faults: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if record.exc_info is not None:
            self.faults.append(record.getMessage())


def main() -> int:
    """Attack, print."""
    command_line = parser("Generated protocol messages against the real server layer")
    command_line.add_argument("--messages", type=int, default=100_000)
    command_line.add_argument("--corpus", type=int, default=4_000, help="messages drawn by hypothesis; the rest mutate")
    command_line.add_argument("--seed", type=int, default=1)
    options = command_line.parse_args()
    begun = time.monotonic()
    corpus = draw_corpus(options.corpus, options.seed)
    drawn = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(fuzz_watched(options.messages, corpus, options.seed))
    for fault in outcome.faults[:10]:
        print(fault, file=sys.stderr)
    name = f"{outcome.received:,} generated messages"
    figures = [
        figure(f"{name}: unhandled exceptions", len(outcome.faults), "", reach=0),
        figure(f"{name}: leaked tasks", outcome.leaked_tasks, "", reach=0),
        figure(f"{name}: leaked descriptors and sockets", outcome.leaked_descriptors, "", reach=0),
        figure(f"{name}: good calls disturbed, of {GOOD_CALLS}", outcome.disturbed_calls, "", reach=0),
        figure(f"{name}: memory grown", outcome.grown_bytes / 1e6, "MB"),
        figure("drawing by hypothesis", drawn - begun, "s"),
        figure("sending", time.monotonic() - drawn, "s"),
    ]
    write_figures(options.json, figures)
    return 0 if outcome.received >= options.messages else 1


if __name__ == "__main__":
    sys.exit(main())
