"""A language model that answers although its provider does not: deadlines, retries, a second model, one continuation.

It is a LanguageModel made of LanguageModels. Before the first part of a reply the models are asked in turn, within the
turn's budget; a failure in the middle of a reply is continued once, by the other model, from what has been said. What
it does not do: speak a filler or an apology, which is the turn machine's. Speech has its own in `speech_fallback`.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from voice_agent.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderUnavailable
from voice_agent.pipeline.circuit_breaker import CircuitBreaker
from voice_agent.pipeline.ports import LanguageModel, Message, ReplyPart, TextDelta, ToolCall, ToolDefinition

log = structlog.get_logger(__name__)

CONTINUATION = (
    "\n\nYour answer to the last message was cut off by a technical fault. The caller has already heard this much of "
    'it: "{said}" Go on with the very next word; repeat nothing of it and do not mention the fault.'
)


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """How long one reply may keep the caller waiting."""

    first_part_s: float = 4.0
    """From a request to the first part of its reply; then the other model is asked."""

    next_part_s: float = 2.0
    """Between two parts; the synthesiser's lead covers about as much."""

    budget_s: float = 9.0
    """All attempts together; the turn machine apologises at ten seconds of silence."""

    retry_after_s: float = 1.0
    """The longest hint of a busy provider that is obeyed."""

    pause_s: float = 0.1
    """Before the same provider is asked again, times 0.5 to 1.5."""

    attempts: int = 2
    """Requests to one provider before the first part."""


class FallbackLanguageModel:
    """`primary`, and `backup` where it fails; without a backup the retries are left.

    One instance serves all calls: its circuit breakers are what the calls know of the providers.
    """

    def __init__(
        self,
        primary: LanguageModel,
        backup: LanguageModel | None = None,
        *,
        limits: ReplyLimits | None = None,
        breakers: tuple[CircuitBreaker, CircuitBreaker] | None = None,
    ) -> None:
        self._limits = limits or ReplyLimits()
        first, second = breakers or (CircuitBreaker(time.monotonic), CircuitBreaker(time.monotonic))
        self._models = [(primary, first)]
        if backup is not None:
            self._models.append((backup, second))

    async def warm_up(self) -> None:
        """Have a connection to the primary open. The backup is not worth one for every call."""
        await self._models[0][0].warm_up()

    async def reply(
        self, *, instructions: str, messages: Sequence[Message], tools: Sequence[ToolDefinition]
    ) -> AsyncGenerator[ReplyPart]:
        """Stream a reply. Raises the last ProviderError where nobody answers in time."""
        attempts = _Attempts([_Model(port, breaker) for port, breaker in self._models], self._limits)
        said = ""
        has_called_tool = False
        while True:
            model = attempts.next_model()
            prompt = instructions + CONTINUATION.format(said=said) if said else instructions
            parts = _timed(model, prompt, messages, tools, attempts.first_part_s, self._limits.next_part_s)
            try:
                async with aclosing(parts):
                    async for part in parts:
                        spoken = _joined(said, part) if attempts.is_continuing else part
                        attempts.is_continuing = False
                        said += spoken.text if isinstance(spoken, TextDelta) else ""
                        has_called_tool = has_called_tool or isinstance(spoken, ToolCall)
                        yield spoken
                return
            except ProviderError as error:
                model.breaker.fail(error)
                if has_called_tool:
                    # Its result will be asked for in another request; nothing is lost that was not said.
                    return
                pause_s = attempts.pause_after(model, error, is_midway=bool(said))
                if pause_s is None:
                    raise
                log.warning("reply_retried", error=str(error), is_continuation=bool(said))
            await asyncio.sleep(pause_s)


@dataclass(slots=True, eq=False)
class _Model:
    port: LanguageModel
    breaker: CircuitBreaker
    attempts: int = 0


class _Attempts:
    """Who is asked next, for one reply."""

    def __init__(self, models: list[_Model], limits: ReplyLimits) -> None:
        self._queue = models
        self._limits = limits
        self._now = asyncio.get_running_loop().time
        self._deadline = self._now() + limits.budget_s
        self._has_continued = False
        self.is_continuing = False
        """Whether the next part is the first one of a continuation."""

    @property
    def first_part_s(self) -> float:
        """How long the next attempt may take to begin."""
        return min(self._limits.first_part_s, self._deadline - self._now())

    def next_model(self) -> _Model:
        """Take the first model that is not held back; the first one of all where every one is."""
        for index, model in enumerate(self._queue):
            if model.breaker.admits():
                return self._queue.pop(index)
        return self._queue.pop(0)

    def pause_after(self, model: _Model, error: ProviderError, *, is_midway: bool) -> float | None:
        """Decide after a failure: return how long to wait before the next attempt, None to give up."""
        model.attempts += 1
        if is_midway:
            if self._has_continued:
                return None
            self._has_continued = self.is_continuing = True
        hint_s = error.retry_after_s if isinstance(error, ProviderBusy) else None
        if hint_s is not None and hint_s <= self._limits.retry_after_s and model.attempts == 1:
            self._queue.insert(0, model)
            pause_s = hint_s
        else:
            pause_s = 0.0 if self._queue else self._limits.pause_s * random.uniform(0.5, 1.5)
            if not isinstance(error, ProviderRefused) and model.attempts < self._limits.attempts:
                self._queue.append(model)
        is_possible = self._queue and self._now() + pause_s < self._deadline
        return pause_s if is_possible else None


async def _timed(
    model: _Model,
    instructions: str,
    messages: Sequence[Message],
    tools: Sequence[ToolDefinition],
    first_s: float,
    next_s: float,
) -> AsyncGenerator[ReplyPart]:
    """Yield a model's parts; raise ProviderUnavailable where one takes too long (its request is cancelled)."""
    stream = model.port.reply(instructions=instructions, messages=messages, tools=tools)
    wait_s = first_s
    async with aclosing(stream) as parts:
        while True:
            try:
                async with asyncio.timeout(wait_s):
                    part = await anext(parts, None)
            except TimeoutError as error:
                raise ProviderUnavailable("language model", f"silent for {wait_s:.1f} s") from error
            model.breaker.succeed()
            if part is None:
                return
            yield part
            wait_s = next_s


def _joined(said: str, part: ReplyPart) -> ReplyPart:
    """Return the first part of a continuation with the space that may lack before it."""
    if isinstance(part, TextDelta) and not said[-1:].isspace() and not part.text[:1].isspace():
        return TextDelta(f" {part.text}")
    return part
