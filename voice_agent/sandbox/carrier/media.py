"""The carrier's end of one media stream: Twilio's side of the WebSocket, as a client.

It speaks https://www.twilio.com/docs/voice/media-streams/websocket-messages: connected, start, media, dtmf, mark and
stop out; media, mark and clear in. What it cannot read it reports (31950, 31951), each once a stream, and ignores.
Frames are not queued for a server that stops reading: they are dropped and counted, so memory stays bounded.
"""

import asyncio
from binascii import b2a_base64
from typing import Protocol

import msgspec
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from picows.common import WSError

from voice_agent.audio.mulaw import FRAME_BYTES, FRAME_MS, silence

UNDECODABLE = 31950
NOT_IN_THE_PROTOCOL = 31951
CLOSED_ABNORMALLY = 31921
UPGRADE_REFUSED = 31920
CONNECTION_REFUSED = 31902
CONNECT_TIMEOUT = 31901

HANDSHAKE_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
ABNORMAL_CLOSURE = 1006
NO_CLOSE_CODE = 1005

_SILENT_FRAME = silence(FRAME_BYTES)
_SILENT_PAYLOAD = b2a_base64(_SILENT_FRAME, newline=False)


class StreamFault(Exception):
    """The stream could not be opened; `code` is Twilio's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payload: bytes


class _Media(msgspec.Struct, frozen=True, tag_field="event", tag="media", rename="camel", forbid_unknown_fields=True):
    stream_sid: str
    media: _Payload


class _Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class _Mark(msgspec.Struct, frozen=True, tag_field="event", tag="mark", rename="camel", forbid_unknown_fields=True):
    stream_sid: str
    mark: _Name


class _Clear(msgspec.Struct, frozen=True, tag_field="event", tag="clear", rename="camel", forbid_unknown_fields=True):
    stream_sid: str


_decode = msgspec.json.Decoder(_Media | _Mark | _Clear).decode


class StreamListener(Protocol):
    """Who hears what the server sends. Called from the socket's callback: must not block."""

    def on_media(self, mulaw: bytes) -> None:
        """More audio for the caller, any length."""
        ...

    def on_mark(self, name: str) -> None:
        """Echo this name once everything before it has played."""
        ...

    def on_clear(self) -> None:
        """Forget the audio that has not played."""
        ...

    def on_warning(self, code: int, message: str) -> None:
        """Something Twilio's debugger would show."""
        ...


class StreamStart(msgspec.Struct, frozen=True, kw_only=True):
    """What the `start` message says."""

    account_sid: str
    call_sid: str
    stream_sid: str
    parameters: dict[str, str]


class MediaStream(WSListener):
    """One stream. Made here, connected by `open_stream`."""

    def __init__(self, start: StreamStart, listener: StreamListener) -> None:
        super().__init__()
        self.start = start
        self.dropped_frames = 0
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The server's close code, once the socket is gone; 1006 where it sent none."""

        self._listener = listener
        self._transport: WSTransport | None = None
        self._sequence = 0
        self._chunk = 0
        self._is_congested = False
        self._close_code = ABNORMAL_CLOSURE
        self._warned: set[int] = set()
        self._fragments = bytearray()
        sid = start.stream_sid.encode()
        self._after_sequence = b'","streamSid":"' + sid + b'","media":{"track":"inbound","chunk":"'

    # --- to the server ------------------------------------------------------------------------------------------
    def send_media(self, mulaw: bytes) -> None:
        """Send one 20 ms frame of the caller's audio. Hot path."""
        if self._is_congested:
            self._chunk += 1
            self.dropped_frames += 1
            return
        self._sequence += 1
        self._chunk += 1
        payload = _SILENT_PAYLOAD if mulaw == _SILENT_FRAME else b2a_base64(mulaw, newline=False)
        self._send(
            b'{"event":"media","sequenceNumber":"%d%b%d","timestamp":"%d","payload":"%b"}}'
            % (self._sequence, self._after_sequence, self._chunk, (self._chunk - 1) * FRAME_MS, payload)
        )

    def send_digit(self, digit: str) -> None:
        """Report a key that the caller pressed."""
        self._send_event("dtmf", {"track": "inbound_track", "digit": digit})

    def send_mark(self, name: str) -> None:
        """Echo a mark."""
        self._send_event("mark", {"name": name})

    async def stop(self) -> None:
        """Send `stop` and close, waiting a little for the server's close frame. Safe after the end."""
        transport = self._transport
        if transport is None or self.closed.done():
            return
        self._send_event("stop", {"accountSid": self.start.account_sid, "callSid": self.start.call_sid})
        transport.send_close(WSCloseCode.OK)
        await asyncio.wait({self.closed}, timeout=CLOSE_TIMEOUT_S)
        transport.disconnect(graceful=False)

    def drop(self) -> None:
        """Lose the connection: no `stop`, no close frame, as when the network between both fails."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _send_start(self) -> None:
        self._send(b'{"event":"connected","protocol":"Call","version":"1.0.0"}')
        self._send_event(
            "start",
            {
                "accountSid": self.start.account_sid,
                "streamSid": self.start.stream_sid,
                "callSid": self.start.call_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": self.start.parameters,
            },
        )

    def _send_event(self, event: str, body: dict[str, object]) -> None:
        self._sequence += 1
        self._send(
            msgspec.json.encode(
                {
                    "event": event,
                    "sequenceNumber": str(self._sequence),
                    "streamSid": self.start.stream_sid,
                    event: body,
                }
            )
        )

    def _send(self, message: bytes) -> None:
        if self._transport is not None and not self.closed.done():
            self._transport.send(WSMsgType.TEXT, message)

    # --- from the server (picows calls these) -------------------------------------------------------------------
    def on_ws_connected(self, transport: WSTransport) -> None:
        """Introduce the stream."""
        self._transport = transport
        self._send_start()

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """Keep the server's close code."""
        if not self.closed.done():
            self.closed.set_result(self._close_code)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame; a message may come in several."""
        kind = frame.msg_type
        if kind == WSMsgType.TEXT or kind == WSMsgType.CONTINUATION:
            if frame.fin and not self._fragments:
                self._on_message(frame.get_payload_as_memoryview())
                return
            self._fragments += frame.get_payload_as_memoryview()
            if frame.fin:
                message, self._fragments = self._fragments, bytearray()
                self._on_message(message)
        elif kind == WSMsgType.BINARY:
            self._warn(UNDECODABLE, "a binary message")
        elif kind == WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            self._close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CLOSE_CODE
            if not transport.is_close_frame_sent:
                transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def pause_writing(self) -> None:
        """The server does not read fast enough."""
        self._is_congested = True

    def resume_writing(self) -> None:
        """The server reads again."""
        self._is_congested = False

    def _on_message(self, message: bytearray | memoryview) -> None:
        try:
            decoded = _decode(message)
        except msgspec.ValidationError as error:
            self._warn(NOT_IN_THE_PROTOCOL, str(error))
            return
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._warn(NOT_IN_THE_PROTOCOL, f"not JSON: {error}")
            return
        if decoded.stream_sid != self.start.stream_sid:
            self._warn(NOT_IN_THE_PROTOCOL, "the streamSid of another stream")
        elif isinstance(decoded, _Media):
            self._listener.on_media(decoded.media.payload)
        elif isinstance(decoded, _Mark):
            self._listener.on_mark(decoded.mark.name)
        else:
            self._listener.on_clear()

    def _warn(self, code: int, message: str) -> None:
        if code not in self._warned:
            self._warned.add(code)
            self._listener.on_warning(code, message)


async def open_stream(stream: MediaStream, url: str, *, headers: dict[str, str]) -> None:
    """Connect `stream` to `url` and introduce it; the server may answer before this returns. Raises StreamFault.

    Cancelled, it still waits for the handshake to end (`HANDSHAKE_TIMEOUT_S` at most), which picows cannot give up, and
    closes what came of it.
    """
    connecting = asyncio.create_task(_connect(stream, url, headers))
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        await asyncio.wait({connecting})
        if connecting.exception() is None:
            await stream.stop()
        raise


async def _connect(stream: MediaStream, url: str, headers: dict[str, str]) -> None:
    try:
        await ws_connect(
            lambda: stream, url, extra_headers=headers, websocket_handshake_timeout=HANDSHAKE_TIMEOUT_S, max_redirects=0
        )
    except TimeoutError as error:
        raise StreamFault(CONNECT_TIMEOUT, "no answer") from error
    except WSError as error:
        raise StreamFault(UPGRADE_REFUSED, str(error)) from error
    except OSError as error:
        raise StreamFault(CONNECTION_REFUSED, str(error)) from error
