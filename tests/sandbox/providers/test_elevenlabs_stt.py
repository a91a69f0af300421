"""Message by message against https://elevenlabs.io/docs/api-reference/speech-to-text/v-1-speech-to-text-realtime."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.sandbox.providers.conftest import receive, receive_all
from tests.sandbox.providers.recordings import base64_of, voice
from voice_agent.audio import mulaw
from voice_agent.sandbox.providers import DoublesConfig, ElevenLabsConfig, ProviderDoubles, Service, Timings

TABLE = voice(1, 1_000)
TEXT = "I would like a table"
ENDS_MS = (100, 300, 500, 600, 1_000)

Socket = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def recognition(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, query: str = ""
) -> AsyncIterator[Socket]:
    """Connect, and swallow `session_started`."""
    doubles.phrases.add(TABLE, TEXT, ENDS_MS)
    url = f"{doubles.elevenlabs_base_url}/v1/speech-to-text/realtime?model_id=scribe_v2_realtime"
    async with client.ws_connect(f"{url}&audio_format=ulaw_8000{query}") as socket:
        assert (await receive(socket))["message_type"] == "session_started"
        yield socket


async def send(socket: Socket, audio: bytes, *, commit: bool = False, **fields: object) -> None:
    message = {"message_type": "input_audio_chunk", "audio_base_64": base64_of(audio), "commit": commit, **fields}
    await socket.send_json({"sample_rate": 8_000, **message})


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["message_type"] for message in messages]


async def test_the_session_tells_its_configuration(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    url = f"{doubles.elevenlabs_base_url}/v1/speech-to-text/realtime?model_id=m&audio_format=ulaw_8000&language_code=es"
    async with client.ws_connect(url) as socket:
        started = await receive(socket)
    assert started["message_type"] == "session_started"
    assert started["session_id"]
    config = started["config"]
    assert (config["sample_rate"], config["audio_format"], config["language_code"]) == (8_000, "ulaw_8000", "es")
    assert (config["commit_strategy"], config["model_id"]) == ("manual", "m")


async def test_partials_restate_the_segment_and_a_commit_ends_it(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with recognition(doubles, client) as socket:
        texts = []
        for at in range(0, len(TABLE), 160):
            await send(socket, TABLE[at : at + 160])
        for _ in range(5):
            texts.append((await receive(socket))["text"])
        await send(socket, b"", commit=True)
        assert await receive(socket) == {"message_type": "committed_transcript", "text": TEXT}
    assert texts == ["I", "I would", "I would like", "I would like a", TEXT]


async def test_the_other_form_of_a_commit(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with recognition(doubles, client) as socket:
        await send(socket, TABLE)
        await socket.send_json({"message_type": "commit"})
        assert kinds([await receive(socket), await receive(socket)]) == ["partial_transcript", "committed_transcript"]


async def test_each_commit_has_one_answer_in_order(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with recognition(doubles, client) as socket:
        await send(socket, TABLE[: 500 * 8])
        await send(socket, b"", commit=True)
        await send(socket, TABLE[500 * 8 :], commit=True)
        await send(socket, mulaw.silence(4_000), commit=True)
        messages = [await receive(socket) for _ in range(5)]
    finals = [message["text"] for message in messages if message["message_type"] == "committed_transcript"]
    assert finals == ["I would like", "a table", ""]


async def test_with_timestamps_both_messages_come(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with recognition(doubles, client, "&include_timestamps=true&language_code=en") as socket:
        await send(socket, TABLE, commit=True)
        partial, committed, timed = [await receive(socket) for _ in range(3)]
    assert partial["text"] == committed["text"] == timed["text"] == TEXT
    assert timed["message_type"] == "committed_transcript_with_timestamps"
    assert timed["language_code"] == "en"
    assert [word["type"] for word in timed["words"]] == ["word", "spacing"] * 4 + ["word"]
    assert [word["end"] for word in timed["words"] if word["type"] == "word"] == [0.1, 0.3, 0.5, 0.6, 1.0]


async def test_with_language_detection_alone_there_are_no_words(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with recognition(doubles, client, "&include_language_detection=true") as socket:
        await send(socket, TABLE, commit=True)
        messages = [await receive(socket) for _ in range(3)]
    assert messages[2]["message_type"] == "committed_transcript_with_timestamps"
    assert messages[2]["words"] is None


async def test_a_commit_of_too_little_audio_is_throttled(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with recognition(doubles, client) as socket:
        await send(socket, TABLE[: 200 * 8], commit=True)
        answers = {message["message_type"]: message for message in [await receive(socket), await receive(socket)]}
        assert set(answers) == {"partial_transcript", "commit_throttled"}
        assert "only 0.20s" in answers["commit_throttled"]["error"]
        await send(socket, TABLE[200 * 8 :], commit=True)
        assert kinds([await receive(socket), await receive(socket)])[1] == "committed_transcript"


async def test_server_side_voice_activity_commits_after_the_silence(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    query = "&commit_strategy=vad&vad_silence_threshold_secs=0.5"
    async with recognition(doubles, client, query) as socket:
        await send(socket, TABLE)
        await send(socket, mulaw.silence(490 * 8))
        await send(socket, mulaw.silence(20 * 8))
        assert kinds([await receive(socket), await receive(socket)]) == ["partial_transcript", "committed_transcript"]
        assert len(doubles.journal.last(Service.ELEVENLABS_STT).named("commit")) == 1


async def test_pcm_is_recognised_too(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    doubles.phrases.add(TABLE, TEXT, ENDS_MS)
    url = f"{doubles.elevenlabs_base_url}/v1/speech-to-text/realtime?model_id=m&audio_format=pcm_8000"
    async with client.ws_connect(url) as socket:
        await receive(socket)
        await send(socket, mulaw.decode(TABLE))
        assert (await receive(socket))["text"] == TEXT
        await send(socket, b"odd")
        assert (await receive(socket))["message_type"] == "input_error"


async def test_ninety_seconds_are_committed_without_being_asked(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with recognition(doubles, client) as socket:
        await send(socket, TABLE)
        await send(socket, mulaw.silence(89 * 8_000))
        assert kinds([await receive(socket), await receive(socket)]) == ["partial_transcript", "committed_transcript"]


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        '{"message_type":"dance"}',
        '{"message_type":"input_audio_chunk","audio_base_64":"%%%"}',
        '{"message_type":"input_audio_chunk","sample_rate":16000}',
        '{"message_type":"input_audio_chunk","previous_text":"' + "x" * 51 + '"}',
    ],
)
async def test_bad_input_is_reported_and_the_session_goes_on(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, message: str
) -> None:
    async with recognition(doubles, client) as socket:
        await socket.send_str(message)
        assert (await receive(socket))["message_type"] == "input_error"
        await send(socket, TABLE)
        assert (await receive(socket))["text"] == TEXT


async def test_previous_text_belongs_to_the_first_chunk(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with recognition(doubles, client) as socket:
        await send(socket, mulaw.silence(160), previous_text="before")
        await send(socket, mulaw.silence(160), previous_text="again")
        assert (await receive(socket))["message_type"] == "input_error"


@pytest.mark.parametrize(
    "query",
    [
        "audio_format=mp3",
        "commit_strategy=never",
        "vad_silence_threshold_secs=5",
        "vad_threshold=0.95",
        "include_timestamps=true&filter_background_audio=true",
        "keyterms=" + "x" * 21,
        "&".join(f"keyterms=k{number}" for number in range(51)),
    ],
)
async def test_a_bad_query_is_an_invalid_request(
    doubles: ProviderDoubles, client: aiohttp.ClientSession, query: str
) -> None:
    url = f"{doubles.elevenlabs_base_url}/v1/speech-to-text/realtime?model_id=m&{query}"
    async with client.ws_connect(url) as socket:
        assert kinds(await receive_all(socket)) == ["invalid_request"]
        assert socket.close_code == 1008


async def test_a_model_is_needed(doubles: ProviderDoubles, client: aiohttp.ClientSession) -> None:
    async with client.ws_connect(f"{doubles.elevenlabs_base_url}/v1/speech-to-text/realtime") as socket:
        assert kinds(await receive_all(socket)) == ["invalid_request"]


async def test_a_wrong_key_is_an_auth_error(client: aiohttp.ClientSession) -> None:
    async with await ProviderDoubles.start(DoublesConfig(api_key="right")) as doubles:
        url = f"{doubles.elevenlabs_base_url}/v1/speech-to-text/realtime?model_id=m"
        async with client.ws_connect(url) as socket:
            assert kinds(await receive_all(socket)) == ["auth_error"]
            assert socket.close_code == 1008
        async with client.ws_connect(f"{url}&token=right", headers={"xi-api-key": "right"}) as socket:
            assert (await receive(socket))["message_type"] == "session_started"


async def test_a_socket_without_audio_is_closed_properly_and_without_a_word(client: aiohttp.ClientSession) -> None:
    config = DoublesConfig(elevenlabs=ElevenLabsConfig(stt_idle_close_s=0.05), timings=Timings.instant())
    async with await ProviderDoubles.start(config) as doubles:
        async with recognition(doubles, client) as socket:
            assert await receive_all(socket) == []
            assert socket.close_code == 1000
        assert doubles.journal.last(Service.ELEVENLABS_STT).ended_by == "double"


async def test_partials_that_a_final_overtakes_are_not_sent(client: aiohttp.ClientSession) -> None:
    config = DoublesConfig(timings=Timings(interim_lag_s=30.0, final_delay_s=0.0))
    async with await ProviderDoubles.start(config) as doubles, recognition(doubles, client) as socket:
        await send(socket, TABLE, commit=True)
        assert await receive(socket) == {"message_type": "committed_transcript", "text": TEXT}


async def test_the_journal_counts_audio_and_names_commits(
    doubles: ProviderDoubles, client: aiohttp.ClientSession
) -> None:
    async with recognition(doubles, client) as socket:
        await send(socket, TABLE, commit=True)
        await receive(socket)
        await receive(socket)
    exchange = doubles.journal.last(Service.ELEVENLABS_STT)
    assert exchange.audio_in_bytes == len(TABLE)
    assert exchange.messages_in == 1
    assert [event.name for event in exchange.events] == [
        "session_started",
        "commit",
        "partial_transcript",
        "committed_transcript",
    ]
