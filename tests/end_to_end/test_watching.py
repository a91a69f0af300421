"""Somebody watches a call while it is held, and pauses its recording."""

import array
import asyncio
import io
import json
import wave
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from sqlalchemy import select

from tests.end_to_end.stand import PATIENCE_S, Stand
from voice_agent.api.live import PATH, LiveMessage
from voice_agent.auth.principal import Permission
from voice_agent.auth.service import owner_of
from voice_agent.sandbox.callers.scenario import Say, WaitForAgent
from voice_agent.storage.tables import OrganisationRow

ASK_AGAIN_S = 0.05

Heard = Callable[[dict[str, Any]], Awaitable[None]]


async def a_key(stand: Stand) -> dict[str, str]:
    """Return the headers of a program of the organisation."""
    product = stand.product
    async with product.database.write() as session:
        org_id = (await session.scalars(select(OrganisationRow.id))).one()
        _, key = await product.identity.create_key(session, owner_of(org_id), "watcher", tuple(Permission))
    return {"X-API-Key": key}


class Watched:
    """What a socket was told, and what is done when it was."""

    def __init__(self, client: aiohttp.ClientSession, on_event: Heard) -> None:
        self.events: list[dict[str, Any]] = []
        self._client = client
        self._on_event = on_event

    async def run(self, url: str, headers: dict[str, str]) -> None:
        """Watch every call, each one closely, until cancelled."""
        async with self._client.ws_connect(url + PATH, headers=headers) as socket:
            await socket.send_str('{"subscribe": {"calls": null}}')
            async for message in socket:
                LiveMessage.validate_json(message.data)
                told = json.loads(message.data)
                if told["type"] != "event":
                    continue
                self.events.append(told)
                event = told["event"]
                if event["kind"] == "call":
                    await socket.send_str(json.dumps({"subscribe": {f"call:{event['call']['id']}": ""}}))
                await self._on_event(event)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [told["event"] for told in self.events if told["event"]["kind"] == kind]


async def test_a_call_is_watched_as_it_goes_and_its_recording_paused(stand: Stand) -> None:
    headers = await a_key(stand)
    async with aiohttp.ClientSession(stand.url, headers=headers) as client:
        seen: list[str] = []

        async def pause_for_the_first_answer(event: dict[str, Any]) -> None:
            if event["kind"] != "transcript" or event["entry"] is None:
                return
            entry, path = event["entry"], f"/api/v1/calls/{event['call_id']}/recording/"
            if entry["kind"] == "caller" and not seen:
                seen.append(event["call_id"])
                async with client.post(path + "pause") as answer:
                    assert (await answer.json())["is_recording_paused"]
            elif entry["kind"] == "caller" and "bye" in entry["text"] and len(seen) == 1:
                seen.append("resumed")
                async with client.post(path + "resume") as answer:
                    assert not (await answer.json())["is_recording_paused"]

        watched = Watched(client, pause_for_the_first_answer)
        watching = asyncio.create_task(watched.run(stand.url, headers))
        held = await stand.call(
            WaitForAgent(), Say(text="what does it cost?"), WaitForAgent(), Say(text="thank you and bye")
        )
        call = await filed(client, seen[0])
        sound = await recording(client, call)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    assert [event["call"]["is_recording_paused"] for event in watched.of("call")][-2:] == [False, False]
    assert {event["call"]["is_recording_paused"] for event in watched.of("call")} == {False, True}
    assert {event["call"]["call_sid"] for event in watched.of("call")} == {held.call_sid}
    assert "what does it cost?" in [event["text"] for event in watched.of("words")]
    last = {event["number"]: event["entry"] for event in watched.of("transcript") if event["segment"] == 0}
    told = [(entry["kind"], entry["text"]) for entry in last.values() if entry is not None]
    assert told == [(entry["kind"], entry["text"]) for entry in call["transcript"]]
    assert {event["turn"]["turn"] for event in watched.of("turn")} == {turn["turn"] for turn in call["turns"]}

    _, agent = sound
    first, answer, last_words = [entry for entry in call["transcript"] if entry["kind"] == "agent"]
    assert loudest(agent, first) > 1_000
    assert loudest(agent, answer) == 0
    assert loudest(agent, last_words) > 1_000


async def filed(client: aiohttp.ClientSession, call_id: str) -> dict[str, Any]:
    """Return a call once its recording is stored."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with client.get(f"/api/v1/calls/{call_id}") as answer:
                call: dict[str, Any] = await answer.json()
            if [each["state"] for each in call["recordings"]] == ["stored"]:
                return call
            await asyncio.sleep(ASK_AGAIN_S)


async def recording(
    client: aiohttp.ClientSession, call: dict[str, Any]
) -> tuple["array.array[int]", "array.array[int]"]:
    """Return the samples of the two channels: the caller's and the agent's."""
    (stored,) = call["recordings"]
    async with client.get(f"/api/v1/calls/{call['id']}/recordings/{stored['id']}/link") as answer:
        url = (await answer.json())["url"]
    async with client.get(url) as answer:
        with wave.open(io.BytesIO(await answer.read())) as file:
            samples = array.array("h", file.readframes(file.getnframes()))
    return samples[::2], samples[1::2]


def loudest(channel: "array.array[int]", entry: dict[str, Any]) -> int:
    """Return the highest amplitude while an entry sounded, a little within its ends."""
    begin, end = int((entry["started_at"] + 0.15) * 8_000), int((entry["ended_at"] - 0.05) * 8_000)
    return max(map(abs, channel[begin:end]), default=0)
