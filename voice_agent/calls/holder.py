"""Asks the process that holds a call to do something with it: over the event bus, whichever process that is.

Every process hears every request; the one that holds the call does it and answers. No answer means that nobody holds
it (its process is being replaced), or that the bus is away: whoever asked is told so, and may ask again, as everything
here can be asked for twice.
"""

import asyncio
from collections.abc import Callable
from typing import Literal
from uuid import uuid4

import msgspec
import structlog

from voice_agent.errors import HolderUnreachable
from voice_agent.storage.bus import EventBus, Subscription

log = structlog.get_logger(__name__)

ANSWER_S = 3.0
"""The longest that an answer is waited for."""

_REQUESTS = "holders"
"""The topic that all processes hear. No client can name it: what they watch begins with their organisation."""

Answered = Literal[
    "human", "machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other", "fax", "unknown"
]
"""The carrier's verdicts on who answered."""

Command = Literal["pause_recording", "resume_recording"] | Answered
"""What is to be done; a verdict is to be taken by the call's conversation."""


class _Request(msgspec.Struct, frozen=True):
    id: str
    answer_to: str
    call_sid: str
    command: Command


class _Answer(msgspec.Struct, frozen=True):
    id: str


class NoHolders:
    """For processes that are never asked: those that run jobs and nothing else."""

    async def ask(self, call_sid: str, command: Command) -> None:
        """Raise HolderUnreachable."""
        raise HolderUnreachable(f"{command} of {call_sid}: this process has no line to those that hold calls")


class CallHolders:
    """One for the process. `open` it once the bus is open."""

    def __init__(self, bus: EventBus, obey: Callable[[str, Command], bool], *, answer_s: float = ANSWER_S) -> None:
        """`obey(call_sid, command)` does it and returns True where this process holds the call; it never blocks."""
        self._bus = bus
        self._obey = obey
        self._answer_s = answer_s
        self._answers_topic = f"{_REQUESTS}:{uuid4()}"
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to hear."""
        has_begun = asyncio.Event()
        self._task = asyncio.create_task(self._listen(has_begun), name="call-holders")
        await has_begun.wait()

    async def close(self) -> None:
        """Hear no more. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def ask(self, call_sid: str, command: Command) -> None:
        """Have a command carried out. Raises HolderUnreachable where no process has said that it was."""
        if self._obey(call_sid, command):
            return
        request = _Request(id=str(uuid4()), answer_to=self._answers_topic, call_sid=call_sid, command=command)
        answer = self._waiting[request.id] = asyncio.get_running_loop().create_future()
        try:
            self._bus.publish(_REQUESTS, msgspec.json.encode(request))
            async with asyncio.timeout(self._answer_s):
                await answer
        except TimeoutError:
            raise HolderUnreachable("the process that holds this call does not answer: try again") from None
        finally:
            del self._waiting[request.id]

    async def _listen(self, has_begun: asyncio.Event) -> None:
        while True:
            async with self._bus.subscribe([_REQUESTS, self._answers_topic]) as subscription:
                has_begun.set()
                await self._serve(subscription)
            log.warning("call_holders_overrun")  # too many at once for this process: what was lost is asked for again

    async def _serve(self, subscription: Subscription) -> None:
        async for event in subscription:
            if event.is_gap:
                continue
            try:
                if event.topic == _REQUESTS:
                    self._take(msgspec.json.decode(event.body, type=_Request))
                else:
                    self._take_answer(msgspec.json.decode(event.body, type=_Answer))
            except msgspec.DecodeError as error:  # of another release, which runs beside this one for a while
                log.warning("call_holders_not_understood", error=str(error))

    def _take_answer(self, answer: _Answer) -> None:
        waiting = self._waiting.get(answer.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _take(self, request: _Request) -> None:
        if request.answer_to != self._answers_topic and self._obey(request.call_sid, request.command):
            self._bus.publish(request.answer_to, msgspec.json.encode(_Answer(request.id)))
