"""The gate before WebSockets. A browser cannot set headers there, so the token comes in another way.

In this order: the list of subprotocols (`new WebSocket(url, ["bearer", token])`), the headers that requests have, or a
first message `{"token": "..."}` within `FIRST_MESSAGE_S`. Never the address: those are logged. A page of another origin
is refused before anything is read (cross-site WebSocket hijacking).
"""

import asyncio
from collections.abc import Collection
from urllib.parse import urlsplit

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.errors import NotAuthenticated, NotPermitted

SUBPROTOCOL = "bearer"
FIRST_MESSAGE_S = 5.0
LONGEST_MESSAGE = 32_768
NOT_AUTHENTICATED = 4401
NOT_PERMITTED = 4403
"""Close codes: 4000 and the HTTP status."""


class _First(msgspec.Struct):
    token: str


async def admit_socket(
    gate: Gate,
    websocket: WebSocket,
    permission: Permission,
    *,
    origins: Collection[str] = (),
    first_message_s: float = FIRST_MESSAGE_S,
) -> Principal:
    """Accept the socket of somebody who has `permission`; `origins` may open sockets beside the server's own.

    Raises NotAuthenticated or NotPermitted after closing it: there is nothing left to do then.
    """
    if not _is_ours(websocket, origins):
        await websocket.close(NOT_PERMITTED)
        raise NotPermitted("pages of this origin may not connect")
    offered: list[str] = websocket.scope.get("subprotocols", [])
    token = offered[1] if len(offered) > 1 and offered[0] == SUBPROTOCOL else ""
    await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    try:
        principal = await _identified(gate, websocket, token, first_message_s)
        if not principal.may(permission):
            raise NotPermitted(f"this needs the permission {permission.value}")
    except NotAuthenticated as error:
        await websocket.close(NOT_AUTHENTICATED, str(error)[:120])
        raise
    except NotPermitted as error:
        await websocket.close(NOT_PERMITTED, str(error)[:120])
        raise
    return principal


async def _identified(gate: Gate, websocket: WebSocket, token: str, first_message_s: float) -> Principal:
    has_header = any(name in websocket.headers for name in ("Authorization", "X-API-Key"))
    if not token and not has_header:
        token = await _first_message(websocket, first_message_s)
    return await gate.identify(websocket, token)


async def _first_message(websocket: WebSocket, wait_s: float) -> str:
    try:
        async with asyncio.timeout(wait_s):
            text = await websocket.receive_text()
        return msgspec.json.decode(text[:LONGEST_MESSAGE], type=_First).token
    except (TimeoutError, msgspec.DecodeError, KeyError, UnicodeEncodeError):  # KeyError: bytes instead of text
        raise NotAuthenticated('the first message has to be {"token": "…"}') from None
    except WebSocketDisconnect:
        raise NotAuthenticated("the socket was closed") from None


def _is_ours(websocket: WebSocket, origins: Collection[str]) -> bool:
    origin = websocket.headers.get("Origin")
    if origin is None or origin in origins:
        return True
    return urlsplit(origin).netloc.lower() == websocket.headers.get("Host", "").lower() != ""
