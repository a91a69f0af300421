"""Tools: what the model is shown, what it may send, and that no tool can hurt a call."""

import asyncio

import msgspec
import pytest

from voice_agent.pipeline.tools import LONGEST_RESULT, Tool, ToolRegistry, ToolResult, built_in_tools, transfer_call

TARGETS = {"office": "+15550001111", "emergency": "+15550002222"}


class Lookup(msgspec.Struct, forbid_unknown_fields=True):
    """Shown to nobody."""

    day: str
    people: int = 2


def _lookup(answer: str = "free") -> Tool[Lookup]:
    async def run(arguments: Lookup) -> ToolResult:
        if arguments.day == "never":
            await asyncio.Event().wait()
        if arguments.day == "bug":
            raise KeyError("a bug of somebody else's")
        return ToolResult(text=f"{arguments.day} {arguments.people} {answer}")

    return Tool("look_up", "Look a day up.", Lookup, run)


def _registry(timeout_s: float = 8.0) -> ToolRegistry:
    return ToolRegistry(
        [_lookup(), *built_in_tools(("end_call", "transfer_call", "send_dtmf"), TARGETS)], timeout_s=timeout_s
    )


def test_the_model_is_shown_a_schema_without_our_own_words() -> None:
    (definition,) = ToolRegistry([_lookup()]).definitions
    assert (definition.name, definition.description) == ("look_up", "Look a day up.")
    assert definition.parameters == {
        "type": "object",
        "properties": {"day": {"type": "string"}, "people": {"type": "integer", "default": 2}},
        "required": ["day"],
        "additionalProperties": False,
    }


def test_a_tool_without_arguments_has_an_empty_object() -> None:
    (definition,) = ToolRegistry(built_in_tools(("end_call",), {})).definitions
    assert definition.parameters["properties"] == {}


async def test_a_tool_gets_its_arguments_checked_and_decoded() -> None:
    assert await _registry().run("look_up", '{"day":"Friday"}') == ToolResult(text="Friday 2 free")


@pytest.mark.parametrize("arguments", ["", "{", "[]", '{"day":5}', '{"day":"Friday","x":1}', '{"people":2}', "\udcff"])
async def test_arguments_that_do_not_fit_run_nothing_and_are_told(arguments: str) -> None:
    result = await _registry().run("look_up", arguments)
    assert result.is_error
    assert result.text.startswith("Invalid arguments")


async def test_a_tool_that_does_not_exist_is_told() -> None:
    assert await _registry().run("book", "{}") == ToolResult(text="There is no tool 'book'.", is_error=True)


async def test_a_tool_that_fails_or_hangs_costs_the_call_nothing() -> None:
    assert await _registry().run("look_up", '{"day":"bug"}') == ToolResult(text="The tool failed.", is_error=True)
    late = await _registry(timeout_s=0.01).run("look_up", '{"day":"never"}')
    assert late == ToolResult(text="The tool did not answer in time.", is_error=True)


async def test_a_long_result_is_cut() -> None:
    registry = ToolRegistry([_lookup("x" * 10_000)])
    assert len((await registry.run("look_up", '{"day":"Friday"}')).text) == LONGEST_RESULT


async def test_end_call_takes_nothing_and_hangs_up() -> None:
    for arguments in ("", "{}"):
        assert (await _registry().run("end_call", arguments)).hang_up
    assert (await _registry().run("end_call", '{"now":true}')).is_error


async def test_a_transfer_reaches_the_listed_numbers_only() -> None:
    assert (await _registry().run("transfer_call", '{"target":"office"}')).transfer_to == TARGETS["office"]
    for target in ("+15559999999", "", "Office"):
        refused = await _registry().run("transfer_call", msgspec.json.encode({"target": target}).decode())
        assert refused.is_error
        assert not refused.transfer_to
        assert "office, emergency" in refused.text
    assert "office, emergency" in transfer_call(TARGETS).definition.description


@pytest.mark.parametrize(
    ("digits", "is_played"), [("1#", True), ("A*", True), ("", False), ("1" * 33, False), ("1x", False)]
)
async def test_only_keys_of_a_telephone_are_played(digits: str, is_played: bool) -> None:
    result = await _registry().run("send_dtmf", msgspec.json.encode({"digits": digits}).decode())
    assert result.digits == (digits if is_played else "")
    assert result.is_error is not is_played


def test_an_unknown_built_in_tool_is_a_mistake_of_the_definition() -> None:
    with pytest.raises(KeyError):
        built_in_tools(("end_call", "fly"), {})


async def test_an_opt_out_is_a_wish_that_the_machine_fulfils() -> None:
    result = await ToolRegistry(built_in_tools(("opt_out",), {})).run("opt_out", "{}")
    assert result.opt_out
    assert not result.hang_up
