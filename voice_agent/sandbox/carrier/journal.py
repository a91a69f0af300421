"""What the carrier did and saw, as typed entries: the sandbox's counterpart of Twilio's call log and debugger.

Audio itself is not in it (the simulated callers keep theirs). Entries hold phone numbers and webhook parameters: it
is a tool for test calls. Warning codes are Twilio's (https://www.twilio.com/docs/api/errors).
"""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec


class Entry(msgspec.Struct, frozen=True, tag=True, tag_field="entry", kw_only=True):
    """Something that happened `at` seconds after the carrier started, on its monotonic clock."""

    at: float
    call_sid: str = ""


class RestAnswered(Entry, frozen=True):
    """A request to the REST interface was answered; `code` is Twilio's error code, 0 where there was none.

    `status` is 0 where no answer was sent.
    """

    method: str
    path: str
    status: int
    code: int = 0


class CallAccepted(Entry, frozen=True):
    """A request for a call was accepted: there is a call now, whatever becomes of the answer. `fault` says what did."""

    to: str
    from_: str
    url: str
    """Asked for a document on answer; our servers write their own key of the call into it."""

    fault: str = ""


class CreateFaulted(Entry, frozen=True):
    """A request for a call went wrong as planned; `call_sid` is empty where no call came of it."""

    fault: str


class WebhookSent(Entry, frozen=True):
    """A webhook was requested. `status` is 0 where no answer came in time."""

    url: str
    method: str
    parameters: dict[str, str]
    status: int
    took_ms: float


class CallChanged(Entry, frozen=True):
    """A call has a new status; `sample` of the line's clock, 0 before the answer."""

    status: str
    sample: int


class VerbStarted(Entry, frozen=True):
    """A TwiML verb began."""

    verb: str
    sample: int


class StreamOpened(Entry, frozen=True):
    """A media stream is open; its time 0 is `sample` of the call's line."""

    stream_sid: str
    url: str
    sample: int


class StreamClosed(Entry, frozen=True):
    """A media stream has ended. `close_code` is the server's, 1006 where it sent none."""

    stream_sid: str
    by: str
    close_code: int
    sample: int
    dropped_frames: int
    """Caller frames not sent because the server did not read them."""


class MarkEchoed(Entry, frozen=True):
    """A mark went back to the server; `is_cleared` where a `clear` had dropped it, so that it proves nothing."""

    name: str
    sample: int
    is_cleared: bool


class Cleared(Entry, frozen=True):
    """The server's `clear` arrived and dropped this much audio."""

    sample: int
    dropped_bytes: int


class DigitPressed(Entry, frozen=True):
    """The caller pressed a key."""

    digit: str
    sample: int


class RecordingChanged(Entry, frozen=True):
    """A recording of the carrier's has a new status; `sample` of the line's clock."""

    recording_sid: str
    status: str
    sample: int


class RecordingFaulted(Entry, frozen=True):
    """A request for a recording's sound went wrong as planned."""

    recording_sid: str
    fault: str


class Warned(Entry, frozen=True):
    """What Twilio's debugger would show."""

    code: int
    message: str


AnyEntry = (
    RestAnswered
    | CallAccepted
    | CreateFaulted
    | WebhookSent
    | CallChanged
    | VerbStarted
    | StreamOpened
    | StreamClosed
    | MarkEchoed
    | Cleared
    | DigitPressed
    | RecordingChanged
    | RecordingFaulted
    | Warned
)

KEPT_ENTRIES = 200_000
"""Older entries are forgotten: an hour of 80 calls with a turn each five seconds is about half of it."""


class Journal:
    """The entries, in order, and whoever wants to see them as they come."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._origin = clock()
        self._entries: deque[AnyEntry] = deque(maxlen=KEPT_ENTRIES)
        self._listeners: list[Callable[[AnyEntry], None]] = []

    @property
    def now(self) -> float:
        """Seconds since the carrier started: the `at` of an entry written now."""
        return self._clock() - self._origin

    def write(self, entry: AnyEntry) -> None:
        """Keep an entry and tell the listeners."""
        self._entries.append(entry)
        for listener in self._listeners:
            listener(entry)

    def listen(self, listener: Callable[[AnyEntry], None]) -> None:
        """Have `listener` called with every entry from now on; it must not block."""
        self._listeners.append(listener)

    def __iter__(self) -> Iterator[AnyEntry]:
        return iter(tuple(self._entries))

    def of_call(self, call_sid: str) -> tuple[AnyEntry, ...]:
        """Return the entries of one call."""
        return tuple(entry for entry in self._entries if entry.call_sid == call_sid)

    def save(self, path: Path) -> None:
        """Write what is kept as JSON lines."""
        encoder = msgspec.json.Encoder()
        path.write_bytes(b"".join(encoder.encode(entry) + b"\n" for entry in self._entries))
