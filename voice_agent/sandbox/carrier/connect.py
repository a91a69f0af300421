"""`<Connect><Stream>`: a media stream holds the line until the server closes it.

Source: https://www.twilio.com/docs/voice/twiml/stream and https://www.twilio.com/docs/voice/twiml/connect. One
deviation: `ws://` is accepted as well for an address on this machine, so that a server can be tried without TLS.
"""

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit

from voice_agent.sandbox.carrier.journal import Cleared, MarkEchoed, StreamClosed, StreamOpened
from voice_agent.sandbox.carrier.leg import Leg
from voice_agent.sandbox.carrier.media import (
    ABNORMAL_CLOSURE,
    CLOSED_ABNORMALLY,
    CONNECTION_REFUSED,
    MediaStream,
    StreamFault,
    StreamStart,
    open_stream,
)
from voice_agent.sandbox.carrier.record import new_sid
from voice_agent.sandbox.carrier.twiml import Stream
from voice_agent.sandbox.carrier.webhooks import resolve, signature

SCHEME_NOT_WSS = 31922
MALFORMED_URL = 31923
TRACK_INVALID = 31941

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class _Wire:
    """Between one media stream and the line: what the server sends is played, marks go back."""

    def __init__(self, leg: Leg, start: StreamStart) -> None:
        self.stream = MediaStream(start, self)
        self._leg = leg
        self._journal = leg.services.journal

    def on_media(self, mulaw: bytes) -> None:
        self._leg.line.catch_up().play(mulaw)

    def on_mark(self, name: str) -> None:
        self._leg.line.mark(lambda sample, is_cleared: self._echo(name, sample, is_cleared))

    def on_clear(self) -> None:
        playout = self._leg.line.catch_up()
        self._journal.write(
            Cleared(
                at=self._journal.now,
                call_sid=self._leg.record.sid,
                sample=playout.sample,
                dropped_bytes=playout.buffered_bytes,
            )
        )
        playout.clear()

    def on_warning(self, code: int, message: str) -> None:
        self._leg.warn(code, message)

    def _echo(self, name: str, sample: int, is_cleared: bool) -> None:
        self.stream.send_mark(name)
        self._journal.write(
            MarkEchoed(
                at=self._journal.now, call_sid=self._leg.record.sid, name=name, sample=sample, is_cleared=is_cleared
            )
        )


async def hold_stream(leg: Leg, stream: Stream) -> None:
    """Connect the line to `stream` until either side ends it; a stream that cannot be opened ends at once."""
    stream_sid = new_sid("MZ")
    try:
        opened = await _open(leg, stream, stream_sid)
    except StreamFault as fault:
        leg.warn(fault.code, str(fault))
        _tell(leg, stream, stream_sid, "stream-error", f"{fault.code}: {fault}")
        return
    _tell(leg, stream, stream_sid, "stream-started")
    leg.stream = opened
    leg.line.tap = opened.send_media
    by = "carrier"
    try:
        close_code = await asyncio.shield(opened.closed)
        by = "server"
        if close_code == ABNORMAL_CLOSURE:
            leg.warn(CLOSED_ABNORMALLY, "the server's socket closed without a close frame")
    finally:
        leg.line.tap = None
        leg.stream = None
        leg.line.catch_up().drop()
        await opened.stop()
        _write_closed(leg, opened, by)
        _tell(leg, stream, stream_sid, "stream-stopped")


async def _open(leg: Leg, stream: Stream, stream_sid: str) -> MediaStream:
    parts = urlsplit(stream.url)
    if not parts.hostname:
        raise StreamFault(MALFORMED_URL, f"{stream.url!r} is no absolute address")
    settings = leg.services.settings
    targets = resolve(stream.url, settings.routes)
    is_local = all(urlsplit(target).hostname in _LOOPBACK for target in targets)
    if parts.scheme != "wss" and (not is_local or parts.scheme != "ws"):
        raise StreamFault(SCHEME_NOT_WSS, f"{parts.scheme}:// instead of wss://")
    if stream.track != "inbound_track":
        raise StreamFault(TRACK_INVALID, f"track {stream.track!r} under <Connect>")
    start = StreamStart(
        account_sid=leg.record.account_sid,
        call_sid=leg.record.sid,
        stream_sid=stream_sid,
        parameters=stream.parameters,
    )
    headers = {"X-Twilio-Signature": signature(settings.auth_token, stream.url, {})}
    opened = _Wire(leg, start).stream
    await _open_at_first(opened, targets, headers)
    journal = leg.services.journal
    journal.write(
        StreamOpened(at=journal.now, call_sid=leg.record.sid, stream_sid=stream_sid, url=stream.url, sample=leg.sample)
    )
    return opened


async def _open_at_first(stream: MediaStream, targets: tuple[str, ...], headers: dict[str, str]) -> None:
    """Connect to the first address that does not refuse. Raises StreamFault."""
    *others, last = targets
    for target in others:
        try:
            await open_stream(stream, target, headers=headers)
        except StreamFault as fault:
            if fault.code != CONNECTION_REFUSED:
                raise
        else:
            return
    await open_stream(stream, last, headers=headers)


def _write_closed(leg: Leg, stream: MediaStream, by: str) -> None:
    journal = leg.services.journal
    journal.write(
        StreamClosed(
            at=journal.now,
            call_sid=leg.record.sid,
            stream_sid=stream.start.stream_sid,
            by=by,
            close_code=stream.closed.result() if stream.closed.done() else ABNORMAL_CLOSURE,
            sample=leg.sample,
            dropped_frames=stream.dropped_frames,
        )
    )


def _tell(leg: Leg, stream: Stream, stream_sid: str, event: str, error: str = "") -> None:
    if not stream.status_callback:
        return
    parameters = {
        "AccountSid": leg.record.account_sid,
        "CallSid": leg.record.sid,
        "StreamSid": stream_sid,
        "StreamName": stream.name or stream_sid,
        "StreamEvent": event,
        "Timestamp": datetime.now(UTC).isoformat(),
    }
    if error:
        parameters["StreamError"] = error
    leg.services.background.spawn(_post(leg, stream, parameters))


async def _post(leg: Leg, stream: Stream, parameters: dict[str, str]) -> None:
    await leg.services.webhooks.request(
        stream.status_callback, parameters, method=stream.status_callback_method, call_sid=leg.record.sid
    )
