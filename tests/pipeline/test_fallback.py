"""A reply comes although a provider fails: F01 to F05, F17."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from tests.fakes.language_model import FakeLanguageModel, Step
from voice_agent.errors import ProviderBusy, ProviderError, ProviderMisbehaved, ProviderRefused, ProviderUnavailable
from voice_agent.pipeline.circuit_breaker import CircuitBreaker
from voice_agent.pipeline.fallback import FallbackLanguageModel, ReplyLimits
from voice_agent.pipeline.ports import LanguageModel, ReplyPart, TextDelta, ToolCall, UserMessage

DOWN = ProviderUnavailable("fake", "reset")
REFUSED = ProviderRefused("fake", "401")
LIMITS = ReplyLimits(first_part_s=0.05, next_part_s=0.05, budget_s=5.0, pause_s=0.001)
CALL = ToolCall("c1", "book", "{}")


def never() -> asyncio.Event:
    """Return what a script waits for in vain."""
    return asyncio.Event()


def make(primary: LanguageModel, backup: LanguageModel | None, limits: ReplyLimits = LIMITS) -> FallbackLanguageModel:
    return FallbackLanguageModel(primary, backup, limits=limits)


async def reply(model: LanguageModel) -> list[ReplyPart]:
    parts = model.reply(instructions="Be brief.", messages=[UserMessage("Hello?")], tools=())
    return [part async for part in parts]


def said(parts: Sequence[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


async def test_a_healthy_model_is_passed_through() -> None:
    primary, backup = FakeLanguageModel(["Good ", "day.", CALL]), FakeLanguageModel()
    assert await reply(make(primary, backup)) == [TextDelta("Good "), TextDelta("day."), CALL]
    assert primary.requests[0].instructions == "Be brief."
    assert backup.requests == []


@pytest.mark.parametrize("error", [DOWN, REFUSED, ProviderMisbehaved("fake", "?"), ProviderBusy("fake", "full")])
async def test_a_failure_asks_the_backup(error: ProviderError) -> None:
    """F03, F04, F05."""
    primary, backup = FakeLanguageModel([error]), FakeLanguageModel("Good day.")
    assert said(await reply(make(primary, backup))) == "Good day."
    assert len(primary.requests) == 1


async def test_a_slow_first_part_asks_the_backup_and_ends_the_request() -> None:
    """F01."""
    primary, backup = FakeLanguageModel([never(), "late"]), FakeLanguageModel("Good day.")
    assert said(await reply(make(primary, backup))) == "Good day."
    assert primary.requests[0].is_closed


async def test_a_short_hint_of_a_busy_provider_is_obeyed() -> None:
    """F04."""
    busy = ProviderBusy("fake", "full", retry_after_s=0.01)
    primary, backup = FakeLanguageModel([busy], "Good day."), FakeLanguageModel()
    assert said(await reply(make(primary, backup))) == "Good day."
    assert backup.requests == []


async def test_a_long_hint_is_not() -> None:
    """F04."""
    busy = ProviderBusy("fake", "full", retry_after_s=30.0)
    primary, backup = FakeLanguageModel([busy]), FakeLanguageModel("Good day.")
    assert said(await reply(make(primary, backup))) == "Good day."


async def test_both_are_asked_twice_at_most() -> None:
    """F17."""
    scripts: list[list[Step]] = [[DOWN]] * 9
    primary, backup = FakeLanguageModel(*scripts), FakeLanguageModel(*scripts)
    with pytest.raises(ProviderUnavailable):
        await reply(make(primary, backup))
    assert (len(primary.requests), len(backup.requests)) == (2, 2)


async def test_the_budget_ends_the_attempts() -> None:
    """F17."""
    primary, backup = FakeLanguageModel([DOWN], ["too late"]), FakeLanguageModel([never()])
    limits = ReplyLimits(first_part_s=5.0, budget_s=0.05, pause_s=0.001)
    with pytest.raises(ProviderUnavailable, match="silent"):
        await reply(make(primary, backup, limits))
    assert len(primary.requests) == 1


async def test_without_a_backup_the_same_model_is_asked_again() -> None:
    primary = FakeLanguageModel([DOWN], "Good day.")
    assert said(await reply(make(primary, None))) == "Good day."


async def test_a_refusal_is_never_repeated() -> None:
    """F05."""
    primary = FakeLanguageModel([REFUSED], "no")
    with pytest.raises(ProviderRefused):
        await reply(make(primary, None))
    assert len(primary.requests) == 1


@pytest.mark.parametrize("trouble", [DOWN, never], ids=["reset", "stall"])
async def test_a_reply_cut_in_the_middle_is_continued_once(trouble: ProviderError | type) -> None:
    """F02."""
    step = trouble if isinstance(trouble, ProviderError) else never()
    primary, backup = FakeLanguageModel(["We are open", step]), FakeLanguageModel(["until ", "six."])
    assert said(await reply(make(primary, backup))) == "We are open until six."
    assert '"We are open"' in backup.requests[0].instructions
    assert backup.requests[0].instructions.startswith("Be brief.")
    assert backup.requests[0].messages == primary.requests[0].messages


async def test_a_space_that_is_there_is_not_doubled() -> None:
    primary, backup = FakeLanguageModel(["We are ", DOWN]), FakeLanguageModel(["open", "."])
    assert said(await reply(make(primary, backup))) == "We are open."


async def test_a_second_cut_is_the_end() -> None:
    """F02: continuation once."""
    primary, backup = FakeLanguageModel(["We ", DOWN], ["no"]), FakeLanguageModel(["are ", DOWN])
    parts = make(primary, backup).reply(instructions="", messages=(), tools=())
    assert [await anext(parts), await anext(parts)] == [TextDelta("We "), TextDelta("are ")]
    with pytest.raises(ProviderUnavailable):
        await anext(parts)


async def test_a_failure_behind_a_tool_call_costs_nothing() -> None:
    primary = FakeLanguageModel(["One moment.", CALL, DOWN])
    assert await reply(make(primary, None)) == [TextDelta("One moment."), CALL]


async def test_an_open_breaker_sends_to_the_backup_at_once() -> None:
    primary = FakeLanguageModel([REFUSED])
    backup = FakeLanguageModel("one", "two")
    model = make(primary, backup)
    assert said(await reply(model)) == "one"
    assert said(await reply(model)) == "two"
    assert len(primary.requests) == 1


async def test_where_every_breaker_is_open_somebody_is_asked_all_the_same() -> None:
    breakers = (CircuitBreaker(lambda: 0.0), CircuitBreaker(lambda: 0.0))
    for breaker in breakers:
        breaker.fail(REFUSED)
    model = FallbackLanguageModel(FakeLanguageModel("yes"), FakeLanguageModel(), limits=LIMITS, breakers=breakers)
    assert said(await reply(model)) == "yes"


async def test_cancelling_ends_the_request() -> None:
    primary = FakeLanguageModel(["Good ", never()])
    limits = ReplyLimits(next_part_s=60.0)
    parts = make(primary, None, limits).reply(instructions="", messages=(), tools=())
    await anext(parts)
    waiting = asyncio.create_task(_next(parts))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert primary.requests[0].is_closed


async def _next(parts: AsyncGenerator[ReplyPart]) -> ReplyPart:
    return await anext(parts)
