"""What happened at the doubles: every connection and request, what was said in it and how it ended."""

import time
from collections import deque
from enum import StrEnum

import msgspec

KEPT_EXCHANGES = 10_000
KEPT_EVENTS = 2_000
KEPT_TEXT = 20_000


class Service(StrEnum):
    """What can be called, and can be given faults."""

    ELEVENLABS_STT = "elevenlabs_stt"
    ELEVENLABS_TTS = "elevenlabs_tts"
    """The two sockets."""
    ELEVENLABS_TTS_HTTP = "elevenlabs_tts_http"
    OPENAI_CHAT = "openai_chat"
    OPENAI_RESPONSES = "openai_responses"
    OPENAI_REALTIME = "openai_realtime"
    GEMINI = "gemini"
    ACCOUNTS = "accounts"
    """Lists of voices and models, and the account itself: what a check of the configuration asks for."""


class Event(msgspec.Struct, omit_defaults=True):
    """A message worth a line. Audio is counted, not listed, but for the first of each utterance."""

    at_s: float
    """`time.monotonic` of the machine, the same in all its processes."""
    direction: str
    """in: from the client; out: from the double; note: what the double did to itself."""
    name: str
    text: str = ""


class Exchange(msgspec.Struct, kw_only=True):
    """One connection or request."""

    number: int
    service: Service
    path: str
    opened_s: float
    closed_s: float = 0.0
    """0 while it is open."""
    status: int = 0
    close_code: int = 0
    """Of a socket: the code that ended it."""
    ended_by: str = ""
    """complete: everything was said; client: it left; double: it ended the connection itself."""
    fault: str = ""
    """The kind of the fault that was planned for it."""
    messages_in: int = 0
    messages_out: int = 0
    audio_in_bytes: int = 0
    audio_out_bytes: int = 0
    is_cancelled: bool = False
    """The client left before a response was complete; a socket that its client closes is not cancelled."""
    events: list[Event] = []

    def note(self, direction: str, name: str, text: str = "") -> None:
        """Write a line down."""
        event = Event(time.monotonic(), direction, name, text[:KEPT_TEXT])
        if len(self.events) < KEPT_EVENTS:
            self.events.append(event)

    def named(self, name: str) -> list[Event]:
        """Return the lines of this name."""
        return [event for event in self.events if event.name == name]


class Journal:
    """The latest exchanges, oldest first."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT_EXCHANGES)
        self._count = 0

    def open(self, service: Service, path: str) -> Exchange:
        """Begin an exchange."""
        self._count += 1
        exchange = Exchange(number=self._count, service=service, path=path, opened_s=time.monotonic())
        self._exchanges.append(exchange)
        return exchange

    def exchanges(self, service: Service | None = None, *, after: int = 0) -> list[Exchange]:
        """Return the exchanges with a service (all by default) whose number is above `after`."""
        return [
            exchange
            for exchange in self._exchanges
            if exchange.number > after and (service is None or exchange.service == service)
        ]

    def last(self, service: Service) -> Exchange:
        """Return the latest exchange with a service. Raises LookupError where there was none."""
        for exchange in reversed(self._exchanges):
            if exchange.service == service:
                return exchange
        raise LookupError(f"nothing has called {service}")

    def clear(self) -> None:
        """Forget everything; the numbers go on."""
        self._exchanges.clear()
