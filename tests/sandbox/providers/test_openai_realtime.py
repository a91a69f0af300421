"""Event by event against https://developers.openai.com/api/docs/guides/realtime-transcription."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from openai.types.realtime import (
    ConversationItemInputAudioTranscriptionCompletedEvent,
    ConversationItemInputAudioTranscriptionDeltaEvent,
    InputAudioBufferCommittedEvent,
)

from tests.sandbox.providers.conftest import receive
from tests.sandbox.providers.recordings import base64_of, voice
from voice_agent.audio import mulaw
from voice_agent.sandbox.providers import DoublesConfig, OpenAIConfig, ProviderDoubles, Service, Timings

TABLE = voice(1, 1_000)
ENDS_MS = (100, 300, 500, 600, 1_000)

Socket = aiohttp.ClientWebSocketResponse
Event = dict[str, Any]


def update(model: str = "gpt-live-transcribe", **audio: object) -> Event:
    given: Event = {"format": {"type": "audio/pcmu"}, "transcription": {"model": model}, "turn_detection": None}
    return {"type": "session.update", "session": {"type": "transcription", "audio": {"input": {**given, **audio}}}}


@asynccontextmanager
async def session(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, query: str = "intent=transcription"
) -> AsyncIterator[Socket]:
    doubles.phrases.add(TABLE, "I would like a table", ENDS_MS)
    async with client.ws_connect(f"{doubles.openai_base_url}/realtime?{query}") as socket:
        assert (await receive(socket))["type"] == "session.created"
        yield socket


async def append(socket: Socket, audio: bytes) -> None:
    await socket.send_json({"type": "input_audio_buffer.append", "audio": base64_of(audio)})


async def until(socket: Socket, kind: str) -> list[Event]:
    """Return the events up to the first of a kind."""
    events = [await receive(socket)]
    while not events[-1]["type"].endswith(kind):
        events.append(await receive(socket))
    return events


async def test_a_live_model_sends_deltas_before_the_commit(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with session(doubles, client) as socket:
        await socket.send_json(update())
        assert (await receive(socket))["type"] == "session.updated"
        await append(socket, TABLE)
        deltas = [ConversationItemInputAudioTranscriptionDeltaEvent(**await receive(socket)) for _ in range(5)]
        assert "".join(delta.delta or "" for delta in deltas) == "I would like a table"
        await socket.send_json({"type": "input_audio_buffer.commit"})
        committed = InputAudioBufferCommittedEvent(**await receive(socket))
        assert (await receive(socket))["type"] == "conversation.item.added"
        completed = ConversationItemInputAudioTranscriptionCompletedEvent(**await receive(socket))
    assert completed.transcript == "I would like a table"
    assert {delta.item_id for delta in deltas} == {committed.item_id} == {completed.item_id}
    assert committed.previous_item_id is None


async def test_another_model_sends_deltas_after_the_commit(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with session(doubles, client) as socket:
        await socket.send_json(update("gpt-transcribe", transcription={"model": "gpt-transcribe", "languages": ["en"]}))
        await append(socket, TABLE)
        await socket.send_json({"type": "input_audio_buffer.commit"})
        kinds = [event["type"].rpartition(".")[2] for event in await until(socket, ".completed")]
    assert kinds == ["updated", "committed", "added", *["delta"] * 5, "completed"]


async def test_items_name_their_predecessor(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with session(doubles, client) as socket:
        await socket.send_json(update())
        items = []
        for part in (TABLE[: 500 * 8], TABLE[500 * 8 :]):
            await append(socket, part)
            await socket.send_json({"type": "input_audio_buffer.commit"})
            events = await until(socket, ".completed")
            committed = next(event for event in events if event["type"].endswith(".committed"))
            items.append((committed["item_id"], committed["previous_item_id"], events[-1]["transcript"]))
    assert items[0][2] == "I would like"
    assert items[1][1:] == (items[0][0], "a table")


async def test_a_completion_may_be_overtaken(client: aiohttp.ClientSession) -> None:
    config = DoublesConfig(timings=Timings.instant(), openai=OpenAIConfig(overtaken_every=2, overtaken_by_s=0.2))
    async with await ProviderDoubles.start(config) as doubles, session(doubles, client) as socket:
        await socket.send_json(update("whisper-1"))
        transcripts = []
        for part in (TABLE[: 300 * 8], TABLE[300 * 8 : 600 * 8], TABLE[600 * 8 :]):
            await append(socket, part)
            await socket.send_json({"type": "input_audio_buffer.commit"})
        for _ in range(3):
            transcripts.append((await until(socket, ".completed"))[-1]["transcript"])
    assert transcripts == ["I would", "table", "like a"]


async def test_server_side_turns(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    detection = {"type": "server_vad", "silence_duration_ms": 300, "prefix_padding_ms": 20}
    async with session(doubles, client) as socket:
        await socket.send_json(update("gpt-transcribe", turn_detection=detection))
        for audio in (mulaw.silence(1_600), TABLE[:160], TABLE[160:], mulaw.silence(2_240), mulaw.silence(160)):
            await append(socket, audio)
        events = {event["type"].rpartition(".")[2]: event for event in await until(socket, ".completed")}
    assert events["speech_started"]["audio_start_ms"] == 180
    assert events["speech_stopped"]["audio_end_ms"] == 1_500
    assert events["completed"]["transcript"] == "I would like a table"
    assert events["speech_started"]["item_id"] == events["completed"]["item_id"]


async def test_too_little_audio_cannot_be_committed(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with session(doubles, client) as socket:
        await socket.send_json(update())
        await append(socket, mulaw.silence(799))
        await socket.send_json({"type": "input_audio_buffer.commit", "event_id": "mine"})
        error = (await until(socket, "error"))[-1]["error"]
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
        await append(socket, mulaw.silence(1))
        await socket.send_json({"type": "input_audio_buffer.commit"})
        assert (await until(socket, ".completed"))[-1]["transcript"] == ""


async def test_a_cleared_buffer_is_forgotten(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with session(doubles, client) as socket:
        await socket.send_json(update())
        await append(socket, TABLE[: 600 * 8])
        await socket.send_json({"type": "input_audio_buffer.clear"})
        await until(socket, ".cleared")
        await append(socket, TABLE[600 * 8 :])
        await socket.send_json({"type": "input_audio_buffer.commit"})
        assert (await until(socket, ".completed"))[-1]["transcript"] == "table"


async def test_a_model_in_the_address_makes_another_kind_of_session(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with session(doubles, client, "intent=transcription&model=gpt-live-transcribe") as socket:
        await socket.send_json(update())
        assert (await receive(socket))["error"]["code"] == "invalid_session_type"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (update(transcription={}), "session.audio.input.transcription.model"),
        (update(format={"type": "audio/pcm", "rate": 24_000}), "session.audio.input.format.type"),
        (update(turn_detection={"type": "server_vad"}), "session.audio.input.turn_detection"),
        (update("gpt-realtime-whisper", turn_detection={"type": "server_vad"}), "session.audio.input.turn_detection"),
        (
            update(transcription={"model": "gpt-live-transcribe", "language": "en"}),
            "session.audio.input.transcription.language",
        ),
        (update(transcription={"model": "whisper-1", "keywords": ["x"]}), "session.audio.input.transcription"),
        (update(transcription={"model": "whisper-1", "delay": "low"}), "session.audio.input.transcription.delay"),
        ({"type": "session.update"}, "session"),
        ({"type": "dance"}, "type"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, None),
        ({"no": "type"}, None),
    ],
)
async def test_refused_messages_leave_the_session_open(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, message: Event, param: str | None
) -> None:
    async with session(doubles, client) as socket:
        await socket.send_json(message)
        assert (await receive(socket))["error"]["param"] == param
        await socket.send_json(update())
        assert (await receive(socket))["type"] == "session.updated"


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [("intent=transcription", {"Authorization": "Bearer "}, 401), ("intent=conversation", {}, 400)],
)
async def test_refused_handshakes(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, query: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(f"{doubles.openai_base_url}/realtime?{query}", headers=headers)
    assert caught.value.status == status
    assert doubles.journal.last(Service.OPENAI_REALTIME).status == status
