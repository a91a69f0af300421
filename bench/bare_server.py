"""The floor of the latency and density benchmarks: the least server that can hold a call, in a straight line.

No framework, no speculation, no barge-in, no record: 200 ms of silence by energy, commit, final transcript, model,
first clause, its audio; the next sentence after that. It asks the same doubles over the same sockets. One file, written
for reading and for comparison; never for callers.
"""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web

from voice_agent.audio.mulaw import FRAME_BYTES, decode, rms

SILENT_FRAMES = 10
"""200 ms: the VAD stop of the goal's conditions."""

SPEECH_RMS = 300
"""By energy: clean recordings need no more, and a model's hangover would come on top of the 200 ms."""

TWIML = '<Response><Connect><Stream url="{url}"/></Connect></Response>'


class Call:
    """One call, from the start of its stream."""

    def __init__(self, socket: web.WebSocketResponse, session: aiohttp.ClientSession) -> None:
        self._socket = socket
        self._session = session
        self._said: list[dict[str, str]] = [{"role": "system", "content": "You are a receptionist."}]
        self._stream_sid = ""
        self._is_speaking = False
        self._silent = 0
        self._voiced = 0
        self._turn: asyncio.Task[None] | None = None
        self._finals: asyncio.Queue[str] = asyncio.Queue()
        self._turns = 0

    async def hold(self) -> None:
        """Serve the media stream to its end."""
        key = {"xi-api-key": os.environ["ELEVENLABS_API_KEY"]}
        base = "ws" + os.environ["ELEVENLABS_BASE_URL"].removeprefix("http")
        stt_url = f"{base}/v1/speech-to-text/realtime?model_id=scribe_v2_realtime&audio_format=ulaw_8000"
        tts_url = f"{base}/v1/text-to-speech/bench-voice/multi-stream-input?output_format=ulaw_8000&auto_mode=true"
        async with (
            self._session.ws_connect(stt_url, headers=key) as self._stt,
            self._session.ws_connect(tts_url, headers=key) as self._tts,
        ):
            readers = [asyncio.create_task(self._read_stt()), asyncio.create_task(self._read_tts())]
            async for message in self._socket:
                await self._receive(orjson.loads(message.data))
            for task in [*readers, *([self._turn] if self._turn else [])]:
                task.cancel()

    async def _receive(self, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            self._stream_sid = message["start"]["streamSid"]
            await self._speak("Good morning, Harbour Dental, how can I help you?")
        elif message["event"] == "media":
            await self._hear(message["media"]["payload"])

    async def _hear(self, payload: str) -> None:
        chunk = {"message_type": "input_audio_chunk", "audio_base_64": payload, "commit": False, "sample_rate": 8000}
        await self._stt.send_str(orjson.dumps(chunk).decode())
        frame = base64.b64decode(payload)
        if len(frame) != FRAME_BYTES:
            return
        if rms(decode(frame)) > SPEECH_RMS:
            self._voiced += 1
            self._silent = 0
            self._is_speaking = self._is_speaking or self._voiced > 5
        else:
            self._voiced = 0
            self._silent += 1
        if self._is_speaking and self._silent >= SILENT_FRAMES:
            self._is_speaking = False
            self._turn = asyncio.create_task(self._answer())

    async def _answer(self) -> None:
        commit = {"message_type": "input_audio_chunk", "audio_base_64": "", "commit": True, "sample_rate": 8000}
        await self._stt.send_str(orjson.dumps(commit).decode())
        text = await self._finals.get()
        if not text:
            return
        self._said.append({"role": "user", "content": text})
        reply = piece = ""
        self._turns += 1
        async for token in self._tokens():
            if piece and token[0] == " " and piece[-1] in ".,?!":
                await self._say(piece + " ")
                piece = ""
                token = token[1:]
            piece += token
            reply += token
        await self._say(piece + " ")
        await self._finish()
        self._said.append({"role": "assistant", "content": reply})

    async def _tokens(self) -> AsyncIterator[str]:
        body = {"model": "bench-model", "messages": self._said, "stream": True}
        key = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
        url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
        async with self._session.post(url, data=orjson.dumps(body), headers=key) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    choices = orjson.loads(line[6:])["choices"]
                    if choices and choices[0]["delta"].get("content"):
                        yield choices[0]["delta"]["content"]

    async def _speak(self, text: str) -> None:
        self._turns += 1
        await self._say(text + " ")
        await self._finish()

    async def _say(self, text: str) -> None:
        message = {"text": text, "context_id": f"t{self._turns}", "flush": True}
        await self._tts.send_str(orjson.dumps(message).decode())

    async def _finish(self) -> None:
        message = {"context_id": f"t{self._turns}", "close_context": True}
        await self._tts.send_str(orjson.dumps(message).decode())

    async def _read_stt(self) -> None:
        async for message in self._stt:
            event = orjson.loads(message.data)
            if event["message_type"] == "committed_transcript":
                self._finals.put_nowait(event["text"])

    async def _read_tts(self) -> None:
        async for message in self._tts:
            event = orjson.loads(message.data)
            if event.get("audio"):
                out = {"event": "media", "streamSid": self._stream_sid, "media": {"payload": event["audio"]}}
                await self._socket.send_str(orjson.dumps(out).decode())


async def serve() -> None:
    """Serve on a free port until the process is ended."""
    application = web.Application()

    async def answer(request: web.Request) -> web.Response:
        url = f"ws://{request.host}/media"
        return web.Response(text=TWIML.format(url=url), content_type="text/xml")

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await Call(socket, session).hold()
        return socket

    application.router.add_post("/twilio/voice", answer)
    application.router.add_get("/media", stream)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        sys.stdout.write(f"Listening at http://127.0.0.1:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
