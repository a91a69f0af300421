"""The contract of LanguageModel."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import pytest

from tests.contracts.eventually import eventually
from voice_agent.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderUnavailable
from voice_agent.pipeline.ports import (
    AgentMessage,
    LanguageModel,
    Message,
    ReplyPart,
    TextDelta,
    ToolCall,
    ToolDefinition,
    ToolMessage,
    UserMessage,
)

PATIENCE_S = 10.0

REPLY = "Yes, a table for two at seven is free. Shall I book it?"
BOOK = ToolDefinition(
    "book",
    "Book a table.",
    {"type": "object", "properties": {"guests": {"type": "integer"}, "day": {"type": "string"}}, "required": ["day"]},
)


class Trouble(Enum):
    """What can be made to go wrong with the next request."""

    WRONG_KEY = 401
    RATE_LIMIT = 429
    SERVER_ERROR = 500
    RESET = 1
    RESET_MIDWAY = 2
    MALFORMED = 3
    CUT_OFF = 4
    ERROR_MIDWAY = 5


@dataclass
class Thinking:
    """An adapter whose next answers can be arranged.

    `answer` sets the text and the tool calls (name, JSON) of every coming reply; `spoil` plans a trouble for the next
    request; `hold` keeps it from ever ending after its first words; `was_cancelled` waits for the last request's
    connection to be gone and tells whether the client ended it.
    """

    port: LanguageModel
    answer: Callable[[str, Sequence[tuple[str, str]]], None]
    spoil: Callable[[Trouble], None]
    hold: Callable[[], None]
    was_cancelled: Callable[[], Awaitable[bool]]
    last_request: Callable[[], str]
    """The body of the last request, as it was sent."""

    async def reply(self, *messages: Message, tools: Sequence[ToolDefinition] = ()) -> list[ReplyPart]:
        parts: list[ReplyPart] = []
        await self.reply_into(parts, *messages, tools=tools)
        return parts

    async def reply_into(
        self, parts: list[ReplyPart], *messages: Message, tools: Sequence[ToolDefinition] = ()
    ) -> None:
        async with asyncio.timeout(PATIENCE_S):
            async for part in self.port.reply(instructions="Be brief.", messages=messages, tools=tools):
                parts.append(part)


def text_of(parts: Sequence[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


def calls_of(parts: Sequence[ReplyPart]) -> list[ToolCall]:
    return [part for part in parts if isinstance(part, ToolCall)]


class LanguageModelContract:
    """Inherit it, and override `thinking`."""

    @pytest.fixture
    def thinking(self) -> Thinking:
        raise NotImplementedError("the test class of an adapter provides it")

    async def test_text_is_streamed(self, thinking: Thinking) -> None:
        thinking.answer(REPLY, ())
        parts = await thinking.reply(UserMessage("Is a table free?"))
        assert text_of(parts) == REPLY
        assert len(parts) > 1
        assert "Be brief." in thinking.last_request()
        assert "Is a table free?" in thinking.last_request()

    async def test_tool_calls_come_whole_and_after_the_text(self, thinking: Thinking) -> None:
        thinking.answer("One moment.", [("book", '{"day": "friday", "guests": 2}'), ("book", '{"day": "monday"}')])
        parts = await thinking.reply(UserMessage("Book it."), tools=[BOOK])
        calls = calls_of(parts)
        assert text_of(parts) == "One moment."
        assert [call.name for call in calls] == ["book", "book"]
        assert '"friday"' in calls[0].arguments
        assert '"monday"' in calls[1].arguments
        assert len({call.call_id for call in calls} - {""}) == 2
        assert parts[-2:] == calls

    async def test_a_tools_result_goes_back(self, thinking: Thinking) -> None:
        thinking.answer("", [("book", '{"day": "friday"}')])
        (call,) = calls_of(await thinking.reply(UserMessage("Book it."), tools=[BOOK]))
        thinking.answer(REPLY, ())
        history = (
            UserMessage("Book it."),
            AgentMessage("", (call,)),
            ToolMessage(call.call_id, "book", "booked under number 4711"),
        )
        assert text_of(await thinking.reply(*history, tools=[BOOK])) == REPLY
        assert "4711" in thinking.last_request()

    async def test_unusable_arguments_do_not_break_the_next_request(self, thinking: Thinking) -> None:
        thinking.answer(REPLY, ())
        call = ToolCall("c1", "book", "{not json")
        history = (UserMessage("Book it."), AgentMessage("", (call,)), ToolMessage("c1", "book", "error: no day given"))
        assert text_of(await thinking.reply(*history, tools=[BOOK])) == REPLY

    async def test_cancelling_closes_the_connection(self, thinking: Thinking) -> None:
        thinking.answer(REPLY, ())
        thinking.hold()
        parts: list[ReplyPart] = []
        task = asyncio.create_task(thinking.reply_into(parts, UserMessage("Hello?")))
        await eventually(lambda: parts)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await thinking.was_cancelled()

    @pytest.mark.parametrize(
        ("trouble", "kind"),
        [
            (Trouble.WRONG_KEY, ProviderRefused),
            (Trouble.RATE_LIMIT, ProviderBusy),
            (Trouble.SERVER_ERROR, ProviderUnavailable),
            (Trouble.RESET, ProviderUnavailable),
        ],
    )
    async def test_failures_before_the_first_part(
        self, thinking: Thinking, trouble: Trouble, kind: type[ProviderError]
    ) -> None:
        """F03, F04, F05: one request, one error, no retry of the adapter's own."""
        thinking.answer(REPLY, ())
        thinking.spoil(trouble)
        with pytest.raises(kind):
            await thinking.reply(UserMessage("Hello?"))

    @pytest.mark.parametrize("trouble", [Trouble.RESET_MIDWAY, Trouble.CUT_OFF, Trouble.ERROR_MIDWAY])
    async def test_failures_in_the_middle_come_after_what_was_said(self, thinking: Thinking, trouble: Trouble) -> None:
        """F02, F03: a reply that is cut never looks complete."""
        thinking.answer(REPLY, ())
        thinking.spoil(trouble)
        parts: list[ReplyPart] = []
        with pytest.raises(ProviderError):
            await thinking.reply_into(parts, UserMessage("Hello?"))
        assert parts
        assert REPLY.startswith(text_of(parts))

    async def test_malformed_events_are_an_error_of_ours(self, thinking: Thinking) -> None:
        """F06."""
        thinking.answer(REPLY, ())
        thinking.spoil(Trouble.MALFORMED)
        with pytest.raises(ProviderError):
            await thinking.reply(UserMessage("Hello?"))

    async def test_it_works_again_after_a_failure(self, thinking: Thinking) -> None:
        thinking.answer(REPLY, ())
        thinking.spoil(Trouble.SERVER_ERROR)
        with pytest.raises(ProviderError):
            await thinking.reply(UserMessage("Hello?"))
        assert text_of(await thinking.reply(UserMessage("Hello?"))) == REPLY
