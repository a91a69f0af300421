"""What the language model may do besides talking: tools, their arguments checked before they run.

A tool never touches the call. What it wants done to it (hang up, transfer, tones) is part of its result, and the turn
machine does it once what the agent is saying has been heard. No result of a tool is ever read as a request for another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from voice_agent.pipeline.ports import ToolDefinition

log = structlog.get_logger(__name__)

LONGEST_RESULT = 4_000
"""Characters of a result that the model is told; the rest is cut (F07)."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool answers to the model, and what it wants done to the call."""

    text: str
    is_error: bool = False
    hang_up: bool = False
    transfer_to: str = ""
    """E.164; empty for no transfer."""

    digits: str = ""
    """DTMF tones to play; empty for none."""

    opt_out: bool = False
    """Whether the caller asked not to be called any more: that is written down and confirmed, and the call ends."""


ArgumentsT = TypeVar("ArgumentsT", bound=msgspec.Struct)


class Tool(Generic[ArgumentsT]):
    """A function the model may call. `arguments` is a msgspec Struct: its JSON schema is what the model is shown."""

    def __init__(
        self,
        name: str,
        description: str,
        arguments: type[ArgumentsT],
        run: Callable[[ArgumentsT], Awaitable[ToolResult]],
    ) -> None:
        self._decoder = msgspec.json.Decoder(arguments)
        self._run = run
        self.definition = ToolDefinition(name=name, description=description, parameters=_schema(arguments))

    async def run(self, arguments: str) -> ToolResult:
        """Run with JSON `arguments`; those that do not fit the schema are told to the model and nothing runs."""
        try:
            decoded = self._decoder.decode(arguments or "{}")
        except (msgspec.MsgspecError, UnicodeEncodeError) as error:
            return ToolResult(text=f"Invalid arguments: {error}", is_error=True)
        return await self._run(decoded)


def _schema(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of an object without references, as model providers want it."""
    _, definitions = msgspec.json.schema_components([arguments], ref_template="{name}")
    schema = dict(definitions[arguments.__name__])
    schema.pop("title", None)
    schema.pop("description", None)
    return schema


class ToolRegistry:
    """The tools of one call, by name."""

    def __init__(self, tools: Iterable[Tool[Any]], *, timeout_s: float = 8.0) -> None:
        self._tools = {tool.definition.name: tool for tool in tools}
        self._timeout_s = timeout_s

    @property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        """What the model is shown."""
        return tuple(tool.definition for tool in self._tools.values())

    async def run(self, name: str, arguments: str) -> ToolResult:
        """Run a tool within its time; every failure is an error result that the model is told."""
        tool = self._tools.get(name)
        if tool is None:
            return ToolResult(text=f"There is no tool {name!r}.", is_error=True)
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await tool.run(arguments)
        except TimeoutError:
            return ToolResult(text="The tool did not answer in time.", is_error=True)
        except Exception:
            # A tool is anybody's code, and a call must not end because of it.
            log.exception("tool failed", tool=name)
            return ToolResult(text="The tool failed.", is_error=True)
        return msgspec.structs.replace(result, text=result.text[:LONGEST_RESULT])


class _NoArguments(msgspec.Struct, forbid_unknown_fields=True):
    """A tool without arguments."""


class _TransferArguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of transfer_call."""

    target: str


class _DigitsArguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of send_dtmf."""

    digits: str


def end_call() -> Tool[_NoArguments]:
    """Return the tool that ends the call after the agent's last words."""

    async def run(_: _NoArguments) -> ToolResult:
        return ToolResult(text="The call ends after your last words.", hang_up=True)

    return Tool("end_call", "End the call. Say goodbye in the same answer.", _NoArguments, run)


def transfer_call(targets: Mapping[str, str]) -> Tool[_TransferArguments]:
    """Return the tool that transfers to one of `targets`, name to E.164 number. No other number can be reached."""

    async def run(arguments: _TransferArguments) -> ToolResult:
        number = targets.get(arguments.target)
        if number is None:
            return ToolResult(text=f"Unknown target. Known: {', '.join(targets)}.", is_error=True)
        return ToolResult(text=f"The caller is connected to {arguments.target} after your words.", transfer_to=number)

    names = ", ".join(targets)
    return Tool(
        "transfer_call", f"Transfer the caller to a person. Targets: {names}. Say so first.", _TransferArguments, run
    )


def send_dtmf() -> Tool[_DigitsArguments]:
    """Return the tool that presses keys, for menus on the other side."""

    async def run(arguments: _DigitsArguments) -> ToolResult:
        if not arguments.digits or len(arguments.digits) > 32 or set(arguments.digits) - set("0123456789*#ABCD"):
            return ToolResult(text="Digits are 1 to 32 of 0-9, *, #, A-D.", is_error=True)
        return ToolResult(text="The keys are pressed.", digits=arguments.digits)

    return Tool("send_dtmf", "Press keys on the telephone.", _DigitsArguments, run)


def opt_out() -> Tool[_NoArguments]:
    """Return the tool that has the caller never called again. The machine does the rest: nothing more is said."""

    async def run(_: _NoArguments) -> ToolResult:
        return ToolResult(text="They are taken off the list, told so, and the call ends.", opt_out=True)

    description = (
        "The person asks, in whatever words, not to be called any more or to be taken off the list. Say nothing with "
        "it: they are told, and the call ends."
    )
    return Tool("opt_out", description, _NoArguments, run)


BUILT_IN_TOOLS: Mapping[str, Callable[[Mapping[str, str]], Tool[Any]]] = {
    "end_call": lambda _: end_call(),
    "transfer_call": transfer_call,
    "send_dtmf": lambda _: send_dtmf(),
    "opt_out": lambda _: opt_out(),
}
"""By name; made from the agent's transfer targets."""


def built_in_tools(names: Iterable[str], transfer_targets: Mapping[str, str]) -> tuple[Tool[Any], ...]:
    """Return the built-in tools of these names. Raises KeyError for a name that is none of them."""
    return tuple(BUILT_IN_TOOLS[name](transfer_targets) for name in names)
