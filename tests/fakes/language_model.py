"""A language model that says what the test wrote, and can be held or made to fail at any point."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence

import msgspec

from voice_agent.pipeline.ports import Message, ReplyPart, TextDelta, ToolDefinition

Step = str | ReplyPart | Exception | asyncio.Event
"""Text or a part to yield, an error to raise, or an event to wait for before going on."""


class Request(msgspec.Struct):
    """One call of `reply`. `is_closed` once the reply has ended in whichever way."""

    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    is_closed: bool = False
    is_complete: bool = False


class FakeLanguageModel:
    """Answers each request with the next script; a request beyond the last script is a test's mistake."""

    def __init__(self, *scripts: Iterable[Step] | str) -> None:
        self.scripts = deque((script,) if isinstance(script, str) else tuple(script) for script in scripts)
        self.requests: list[Request] = []
        self.warm_ups = 0
        self.is_warm = asyncio.Event()
        self.is_warm.set()

    async def warm_up(self) -> None:
        self.warm_ups += 1
        await self.is_warm.wait()

    async def reply(
        self, *, instructions: str, messages: Sequence[Message], tools: Sequence[ToolDefinition]
    ) -> AsyncGenerator[ReplyPart]:
        request = Request(instructions, tuple(messages), tuple(tools))
        self.requests.append(request)
        try:
            for step in self.scripts.popleft():
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield TextDelta(step) if isinstance(step, str) else step
            request.is_complete = True
        finally:
            request.is_closed = True
