"""What the doubles of one server share."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from aiohttp import WSCloseCode, web

from voice_agent.sandbox.providers.config import DoublesConfig, Timings
from voice_agent.sandbox.providers.dialogue import Answer, Dialogue, Prompt, Reply
from voice_agent.sandbox.providers.faults import FaultDesk
from voice_agent.sandbox.providers.journal import Journal
from voice_agent.sandbox.providers.phrases import PhraseBook


class World:
    """Settings, what is understood, what is answered, what goes wrong, and what has happened."""

    def __init__(self, config: DoublesConfig) -> None:
        self.config = config
        self.timings: Timings = config.timings
        self.phrases = PhraseBook()
        self.faults = FaultDesk()
        self.journal = Journal()
        self.answer: Answer = Dialogue().answer
        self.quiet = asyncio.Event()
        """Set while no connection is open and no request is being answered."""
        self.quiet.set()
        self._visits = 0
        self.sockets: set[web.WebSocketResponse] = set()
        """The sockets that are open."""

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Count a connection or request."""
        self._visits += 1
        self.quiet.clear()
        try:
            yield
        finally:
            self._visits -= 1
            if not self._visits:
                self.quiet.set()

    def converse(self, dialogue: Dialogue) -> None:
        """Answer by a dialogue from now on."""
        self.answer = dialogue.answer

    def reply(self, prompt: Prompt) -> Reply:
        """Return the language model's answer."""
        return self.answer(prompt)

    def accepts_key(self, key: str | None) -> bool:
        """Return whether a client may come in with this key."""
        return bool(key) and (not self.config.api_key or key == self.config.api_key)

    def bearer(self, headers: Mapping[str, str]) -> str | None:
        """Return the key of an `Authorization: Bearer` header."""
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        return key if scheme.lower() == "bearer" else None

    async def hang_up(self, _: web.Application) -> None:
        """Close every socket, as a server does that goes down."""
        await asyncio.gather(*(socket.close(code=WSCloseCode.GOING_AWAY) for socket in self.sockets))
