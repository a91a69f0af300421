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
from voice_agent.errors import DatabaseUnavailable, NotAuthenticated, NotPermitted, RequestError, TooManyRequests

SUBPROTOCOL = "bearer"
FIRST_MESSAGE_S = 5.0
LONGEST_MESSAGE = 32_768
NOT_AUTHENTICATED = 4401
NOT_PERMITTED = 4403
TOO_MANY_REQUESTS = 4429
"""Close codes: 4000 and the HTTP status."""

TRY_AGAIN_LATER = 1013
"""Close code (https://www.iana.org/assignments/websocket, registry of close codes)."""

_CODES: dict[type[RequestError], int] = {
    NotAuthenticated: NOT_AUTHENTICATED,
    NotPermitted: NOT_PERMITTED,
    TooManyRequests: TOO_MANY_REQUESTS,
}


class _First(msgspec.Struct):
    token: str


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who was let in, and by what."""

    principal: Principal
    token: str
    """Empty where the headers had it."""


class SocketGate:
    """Lets WebSockets in that come from the server's own pages, from `origins`, or from no page at all."""

    def __init__(self, gate: Gate, *, origins: Collection[str] = (), first_message_s: float = FIRST_MESSAGE_S) -> None:
        self._gate = gate
        self._origins = origins
        self._first_message_s = first_message_s

    async def admit(self, websocket: WebSocket, permission: Permission) -> Admitted:
        """Accept the socket of somebody who has `permission`.

        Raises NotAuthenticated, NotPermitted, TooManyRequests or DatabaseUnavailable after closing it: there is
        nothing left to do then.
        """
        if not self._is_ours(websocket):
            await websocket.close(NOT_PERMITTED)
            raise NotPermitted("pages of this origin may not connect")
        offered: list[str] = websocket.scope.get("subprotocols", [])
        token = offered[1] if len(offered) > 1 and offered[0] == SUBPROTOCOL else ""
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            has_header = any(name in websocket.headers for name in ("Authorization", "X-API-Key"))
            if not token and not has_header:
                token = await _first_message(websocket, self._first_message_s)
            return Admitted(principal=await self._identified(websocket, token, permission), token=token)
        except (NotAuthenticated, NotPermitted, TooManyRequests) as error:
            await websocket.close(_CODES[type(error)], str(error)[:120])
            raise
        except DatabaseUnavailable:
            await websocket.close(TRY_AGAIN_LATER)
            raise

    async def ask_again(self, websocket: WebSocket, admitted: Admitted, permission: Permission) -> None:
        """See whether somebody may stay: a token runs out, a role is taken away, while a socket is open for hours.

        Raises NotAuthenticated or NotPermitted; the socket is still to be closed, with `close_code`. While nobody can
        be asked they stay.
        """
        try:
            await self._identified(websocket, admitted.token, permission)
        except (DatabaseUnavailable, TooManyRequests):
            return

    async def _identified(self, websocket: WebSocket, token: str, permission: Permission) -> Principal:
        principal = await self._gate.identify(websocket, token)
        if not principal.may(permission):
            raise NotPermitted(f"this needs the permission {permission.value}")
        return principal

    def _is_ours(self, websocket: WebSocket) -> bool:
        origin = websocket.headers.get("Origin")
        if origin is None or origin in self._origins:
            return True
        return urlsplit(origin).netloc.lower() == websocket.headers.get("Host", "").lower() != ""


def close_code(error: RequestError) -> int:
    """Return what a socket is closed with."""
    return _CODES[type(error)]


async def _first_message(websocket: WebSocket, wait_s: float) -> str:
    try:
        async with asyncio.timeout(wait_s):
            text = await websocket.receive_text()
        return msgspec.json.decode(text[:LONGEST_MESSAGE], type=_First).token
    except (TimeoutError, msgspec.DecodeError, KeyError, UnicodeEncodeError):  # KeyError: bytes instead of text
        raise NotAuthenticated('the first message has to be {"token": "…"}') from None
    except WebSocketDisconnect:
        raise NotAuthenticated("the socket was closed") from None
