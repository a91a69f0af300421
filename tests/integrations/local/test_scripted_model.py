import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from voice_agent.agents.files import LIBRARY, load_dialogue
from voice_agent.integrations.langchain.language_model import LangChainLanguageModel
from voice_agent.integrations.local.scripted_model import ScriptedDialogueModel
from voice_agent.pipeline.ports import TextDelta, ToolCall, ToolDefinition, UserMessage

DIALOGUE = load_dialogue(LIBRARY / "harbour_dental.dialogue.yaml")
GOODBYE = "Thank you for calling Harbour Dental. Goodbye!"


@pytest.fixture
def model() -> ScriptedDialogueModel:
    return ScriptedDialogueModel(dialogue=DIALOGUE)


@tool
def end_call() -> str:
    """End the call."""
    return "The call has ended."


async def streamed(model: Any, messages: list[Any]) -> list[AIMessageChunk]:
    return [chunk async for chunk in model.astream(messages)]


async def test_words_come_one_by_one_and_the_last_chunk_says_so(model: ScriptedDialogueModel) -> None:
    chunks = await streamed(model, [HumanMessage("Goodbye.")])

    assert [chunk.content for chunk in chunks] == [
        *("Thank", " you", " for", " calling", " Harbour", " Dental.", " Goodbye!"),
        "",
    ]
    assert [chunk.chunk_position for chunk in chunks] == [None] * 7 + ["last"]


async def test_a_tool_is_called_only_where_it_is_offered(model: ScriptedDialogueModel) -> None:
    without = await model.ainvoke([HumanMessage("Goodbye.")])
    offered = await model.bind_tools([end_call]).ainvoke([HumanMessage("Goodbye.")])

    assert without.tool_calls == []
    assert [(call["name"], call["args"]) for call in offered.tool_calls] == [("end_call", {})]
    assert without.content == offered.content == GOODBYE


async def test_the_answer_depends_on_the_messages_alone(model: ScriptedDialogueModel) -> None:
    history = [
        SystemMessage("You are a receptionist."),
        HumanMessage("I'd like to book an appointment."),
        AIMessage("Of course, I can"),
        HumanMessage("On Friday, please."),
    ]

    first = await model.ainvoke(history)
    await model.ainvoke([HumanMessage("Goodbye.")])

    assert first.content == "Friday is fine. Would you prefer the morning or the afternoon?"
    assert (await model.ainvoke(history)).content == first.content
    assert model.invoke(history).content == first.content


async def test_a_tools_result_is_answered_with_nothing(model: ScriptedDialogueModel) -> None:
    answer = await model.bind_tools([end_call]).ainvoke([HumanMessage("Goodbye."), ToolMessage("ok", tool_call_id="1")])

    assert answer.content == ""
    assert answer.tool_calls == []


@pytest.mark.parametrize("run", [lambda agent, given: agent.invoke(given), None])
async def test_an_agent_can_be_built_on_it(model: ScriptedDialogueModel, run: Callable[[Any, Any], Any] | None) -> None:
    agent: Any = create_agent(model, [end_call])
    given = {"messages": [HumanMessage("Bye bye.")]}

    result = await agent.ainvoke(given) if run is None else run(agent, given)

    _, said, ended, last = result["messages"]
    assert said.content == GOODBYE
    assert ended.content == "The call has ended."
    assert ended.tool_call_id == said.tool_calls[0]["id"]
    assert last.content == ""


async def test_it_serves_the_pipeline_as_a_language_model(model: ScriptedDialogueModel) -> None:
    port = LangChainLanguageModel(model, provider="scripted")
    tools = [ToolDefinition("end_call", "End the call.", {"type": "object", "properties": {}})]
    parts = [
        part async for part in port.reply(instructions="Be kind.", messages=[UserMessage("Goodbye.")], tools=tools)
    ]

    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == GOODBYE
    assert [(part.name, part.arguments) for part in parts if isinstance(part, ToolCall)] == [("end_call", "{}")]


async def test_the_pace_of_a_hosted_model_can_be_played(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", pause)
    await streamed(ScriptedDialogueModel(dialogue=DIALOGUE, first_word_s=0.15, word_s=0.015), [HumanMessage("Bye.")])

    assert pauses == [0.15] + [0.015] * 6
