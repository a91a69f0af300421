"""What happens now, for those who watch: `/api/v1/live`, one WebSocket for each tab of a browser, or for a program.

The protocol, JSON in text messages
-----------------------------------
The token comes as `auth.sockets` says. Then the client says which topics it wants, at any time, as often as it likes:

    {"subscribe": {"calls": null, "call:0192…": ""}, "unsubscribe": ["call:0191…"]}

The value is the sequence of the last event that it has of the topic: what followed is sent first. `null` asks for
what happens from now on, "" for everything that is still kept. The server sends the messages of `LiveMessage`:
`subscribed` for each topic, then its events in order. Where events have been lost to the client, `gap` comes in their
place: it reads the present state from the REST interface, and goes on. A topic that is not there, or not the
client's to see, is `refused`.

A `ping` comes every 20 s: a client that hears nothing for a minute has lost its line. One that reads too slowly is
closed with 1013 and may come back with the sequences that it has; one whose token has run out is closed with 4401.
"""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import structlog
from fastapi import APIRouter
from pydantic import BaseModel, Field, TypeAdapter
from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_agent.auth.principal import Permission
from voice_agent.auth.sockets import TRY_AGAIN_LATER, Admitted, SocketGate, close_code
from voice_agent.calls.live_feed import CALL, CALLS, LiveEvent
from voice_agent.errors import DatabaseUnavailable, NotAuthenticated, NotPermitted, RequestError
from voice_agent.storage.bus import EventBus, is_sequence

log = structlog.get_logger(__name__)

PATH = "/api/v1/live"

PING_S = 20.0
SEND_S = 30.0
"""The longest that one message may take: a line that is not read from for so long is dead."""

MOST_TOPICS = 50
LONGEST_MESSAGE = 16_384
LONGEST_REASON = 123
"""Bytes of UTF-8 (RFC 6455, 5.5); what a client sent may be in it."""

UNUSABLE = 4400
"""Close code for what is no message of this protocol: 4000 and the HTTP status."""

TOPICS: Mapping[str, Permission] = {CALLS: Permission.CALLS_READ, CALL: Permission.CALLS_READ}
"""What a topic begins with, and who may see it."""

_OF_ONE = frozenset({CALL})
"""Those that name one thing by its id."""

_TOPIC = re.compile(r"([a-z_]{1,20})(?::([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?")


class Subscribed(BaseModel):
    """A topic's events follow."""

    type: Literal["subscribed"] = "subscribed"
    topic: str


class Refused(BaseModel):
    """A topic's events do not."""

    type: Literal["refused"] = "refused"
    topic: str
    why: str


class Happened(BaseModel):
    """An event."""

    type: Literal["event"] = "event"
    topic: str
    sequence: str = Field(description="Where it stands in its topic; to be given when subscribing again.")
    event: Annotated[LiveEvent, Field(discriminator="kind")]


class Gap(BaseModel):
    """Events of the topic were lost: read the present state, and go on."""

    type: Literal["gap"] = "gap"
    topic: str


class Ping(BaseModel):
    """The line is alive."""

    type: Literal["ping"] = "ping"
    at: datetime


LiveMessage = TypeAdapter[Any](Annotated[Subscribed | Refused | Happened | Gap | Ping, Field(discriminator="type")])
"""What the server sends."""


class Wishes(msgspec.Struct, forbid_unknown_fields=True):
    """What a client sends."""

    subscribe: dict[str, str | None] = {}
    unsubscribe: list[str] = []


def live_schemas(reference: str) -> dict[str, Any]:
    """Return the JSON Schemas of what the server sends, by name: no path of the OpenAPI document has them.

    `reference` is the form of a reference to one of them, with `{model}` for its name.
    """
    schema = LiveMessage.json_schema(ref_template=reference, mode="serialization")
    return {**schema.pop("$defs"), "LiveMessage": schema}


def live_router(gate: SocketGate, bus: EventBus) -> APIRouter:
    """Return the route of the socket."""
    router = APIRouter()

    @router.websocket(PATH)
    async def live(websocket: WebSocket) -> None:
        try:
            admitted = await gate.admit(websocket, Permission.CALLS_READ)
        except (RequestError, DatabaseUnavailable) as error:
            log.info("live_socket_refused", why=str(error))
            return
        await _LiveSocket(websocket, gate, bus, admitted).serve()

    return router


class _Closed(Exception):
    """The socket is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _LiveSocket:
    """One socket that was let in."""

    def __init__(self, websocket: WebSocket, gate: SocketGate, bus: EventBus, admitted: Admitted) -> None:
        self._websocket = websocket
        self._gate = gate
        self._bus = bus
        self._admitted = admitted
        self._sending = asyncio.Lock()
        self._pumps: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Serve until either side has had enough."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(group), name="live-listen")
                group.create_task(self._tend(), name="live-tend")
        except* WebSocketDisconnect:
            pass
        except* _Closed as closed:
            await self._close(next(error for error in closed.exceptions if isinstance(error, _Closed)))

    async def _close(self, closed: _Closed) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._websocket.close(
                    closed.code, closed.reason.encode()[:LONGEST_REASON].decode(errors="ignore")
                )
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            log.info("live_socket_gone", code=closed.code)  # RuntimeError: Starlette's, where it is closed already

    # --- what the client says -----------------------------------------------------------------------------------
    async def _listen(self, group: asyncio.TaskGroup) -> None:
        while True:
            wishes = _wishes(await self._websocket.receive())
            for topic in wishes.unsubscribe:
                if pump := self._pumps.pop(topic, None):
                    pump.cancel()
            for topic, since in wishes.subscribe.items():
                await self._subscribe(group, topic, since)

    async def _subscribe(self, group: asyncio.TaskGroup, topic: str, since: str | None) -> None:
        why_not = self._why_not(topic, since)
        if why_not:
            await self._send(Refused(topic=topic[:80], why=why_not).model_dump_json())
            return
        if former := self._pumps.pop(topic, None):
            former.cancel()
        self._pumps[topic] = group.create_task(self._pump(topic, since), name=f"live-{topic}")

    def _why_not(self, topic: str, since: str | None) -> str:
        match = _TOPIC.fullmatch(topic)
        if match is None or match[1] not in TOPICS or (match[2] is not None) != (match[1] in _OF_ONE):
            return "there is no such topic"
        if not self._admitted.principal.may(TOPICS[match[1]]):
            return f"this needs the permission {TOPICS[match[1]].value}"
        if since and not is_sequence(since):
            return "that is no sequence of an event"
        if topic not in self._pumps and len(self._pumps) >= MOST_TOPICS:
            return f"a socket has {MOST_TOPICS} topics at most"
        return ""

    # --- what it is told ----------------------------------------------------------------------------------------
    async def _pump(self, topic: str, since: str | None) -> None:
        # Bound to the organisation: another's call is a topic in which nothing ever happens.
        name = f"{self._admitted.principal.org_id}:{topic}"
        seen = {} if since is None else {name: since}
        async with self._bus.subscribe([name], since=seen) as subscription:
            await self._send(Subscribed(topic=topic).model_dump_json())
            async for event in subscription:
                if event.is_gap:
                    await self._send(Gap(topic=topic).model_dump_json())
                else:
                    await self._send(_happened(topic, event.sequence, event.body))
        raise _Closed(TRY_AGAIN_LATER, "events are not read fast enough")

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            try:
                await self._gate.ask_again(self._websocket, self._admitted, Permission.CALLS_READ)
            except (NotAuthenticated, NotPermitted) as error:
                raise _Closed(close_code(error), str(error)) from error
            await self._send(Ping(at=datetime.now(UTC)).model_dump_json())

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout(SEND_S), self._sending:
                await self._websocket.send_text(text)
        except TimeoutError:
            raise _Closed(TRY_AGAIN_LATER, "nothing is read") from None


def _happened(topic: str, sequence: str, body: bytes) -> str:
    """Return a `Happened`, around an event that is JSON already."""
    message = {"type": "event", "topic": topic, "sequence": sequence, "event": msgspec.Raw(body)}
    return msgspec.json.encode(message).decode()


def _wishes(message: Mapping[str, Any]) -> Wishes:
    """Read a message of the client. Raises WebSocketDisconnect or _Closed."""
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text = message.get("text")
    if text is None or len(text) > LONGEST_MESSAGE:
        raise _Closed(UNUSABLE, "messages are short texts")
    try:
        return msgspec.json.decode(text, type=Wishes)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise _Closed(UNUSABLE, f"that is no message of this interface: {error}") from error
