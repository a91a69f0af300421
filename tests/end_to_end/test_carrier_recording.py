"""A call that Twilio records as well: from the request over REST to the sound behind a link; nothing is left there."""

import asyncio
import io
import wave
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import aiohttp
from sqlalchemy import select

from tests.calls.stored_calls import OURS, SPAIN
from tests.contracts.eventually import eventually
from tests.end_to_end.stand import PATIENCE_S, Stand
from tests.jobs.world import until
from voice_agent.audio.mulaw import interleave
from voice_agent.auth.principal import Permission
from voice_agent.auth.service import owner_of
from voice_agent.sandbox.callers import Caller, Scenario, prepare
from voice_agent.sandbox.callers.scenario import HangUp, Say, Step, WaitForAgent
from voice_agent.sandbox.carrier import Callee, RecordingFault
from voice_agent.sandbox.carrier.journal import RecordingFaulted
from voice_agent.storage.tables import OrganisationRow

STEPS = (WaitForAgent(), Say(text="what does it cost?"), WaitForAgent(), HangUp())


class Client:
    """A program that uses the REST interface."""

    def __init__(self, stand: Stand, http: aiohttp.ClientSession, key: str) -> None:
        self._stand = stand
        self._http = http
        self._headers = {"X-API-Key": key}

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Make a request and return what it is answered; any refusal fails the test."""
        url = f"{self._stand.url}/api/v1{path}"
        async with self._http.request(method, url, json=body, headers=self._headers) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.status != 204 else None

    async def sound(self, url: str) -> bytes:
        """Return what a link leads to, as a player without any key gets it."""
        async with self._http.get(url) as answer:
            assert answer.status == 200
            return await answer.read()

    async def recording(self, call_id: str) -> dict[str, Any]:
        """Return the carrier's recording of a call, once it is stored or has failed."""

        async def is_settled() -> bool:
            return bool(states := await self.carrier_recordings(call_id)) and states[0]["state"] != "pending"

        await until(is_settled)
        (recording,) = await self.carrier_recordings(call_id)
        return recording

    async def carrier_recordings(self, call_id: str) -> list[dict[str, Any]]:
        """Return the carrier's recordings of a call, as they stand."""
        shown = await self.ask("GET", f"/calls/{call_id}")
        return [each for each in shown["recordings"] if each["kind"] == "carrier"]


async def a_client(stand: Stand, http: aiohttp.ClientSession) -> Client:
    """Return a program of the first organisation, which may call Spain."""
    async with stand.product.database.write() as session:
        org_id: UUID = (await session.scalars(select(OrganisationRow.id))).one()
        _, key = await stand.product.identity.create_key(session, owner_of(org_id), "program", tuple(Permission))
    client = Client(stand, http, key)
    await client.ask("PATCH", "/organisation", {"settings": {"allowed_countries": ["ES"], "daily_spend_cap": 20}})
    await client.ask("POST", "/phone-numbers", {"e164": OURS})
    return client


async def a_callee(stand: Stand, *steps: Step) -> Caller:
    """Have somebody who follows the steps behind the number."""
    rendering = await prepare(Scenario(name="callee", steps=steps, limit_s=PATIENCE_S))
    for clip in rendering.clips.values():
        stand.doubles.phrases.add(clip.mulaw, clip.label)
    person = Caller(rendering)
    stand.carrier.register(SPAIN, Callee(ring_s=0.0, person=lambda: person))
    return person


async def the_end(stand: Stand, call_sid: str) -> None:
    call = stand.carrier.find_call(call_sid)
    assert call is not None
    async with asyncio.timeout(2 * PATIENCE_S):
        await call.ended.wait()


async def test_f46_a_call_recorded_by_the_carrier_is_fetched_plays_and_is_gone_there(stand: Stand) -> None:
    stand.carrier.recordings.faults.order(RecordingFault.NOT_READY, RecordingFault.BROKEN)
    person = await a_callee(stand, *STEPS)
    async with aiohttp.ClientSession() as http:
        client = await a_client(stand, http)
        placed = await client.ask("POST", "/calls", {"to": SPAIN, "carrier_recording": True})
        await the_end(stand, placed["call_sid"])
        recording = await client.recording(placed["id"])

        assert (recording["state"], recording["is_partial"], recording["reason"]) == ("stored", False, "")
        assert set(recording["loudness_db"]) == {"caller", "agent"}
        link = await client.ask("GET", f"/calls/{placed['id']}/recordings/{recording['id']}/link")
        content = await client.sound(link["url"])
        await client.ask("GET", f"/calls/{placed['id']}/recordings/{recording['id']}/peaks")

    assert len(content) == recording["size_bytes"]
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8_000, 2)
        assert file.getnframes() / 8_000 == recording["duration_s"]
        pcm = file.readframes(file.getnframes())
    both = interleave(bytes(person.said), bytes(person.heard))
    assert pcm == both[: len(pcm)]
    assert any(pcm[::4])
    (at_carrier,) = stand.carrier.recordings.of_call(placed["call_sid"])
    assert at_carrier.status == "deleted"
    faults = [entry.fault for entry in stand.carrier.journal if isinstance(entry, RecordingFaulted)]
    assert faults == ["not_ready", "broken"]


async def test_a_call_that_is_deleted_before_its_recording_came_leaves_none_anywhere(stand: Stand) -> None:
    await a_callee(stand, *STEPS)
    stand.carrier.recordings.faults.order(*[RecordingFault.NOT_READY] * 50)
    async with aiohttp.ClientSession() as http:
        client = await a_client(stand, http)
        placed = await client.ask("POST", "/calls", {"to": SPAIN, "carrier_recording": True})
        await the_end(stand, placed["call_sid"])
        await until(lambda: client.carrier_recordings(placed["id"]))
        await client.ask("DELETE", f"/calls/{placed['id']}")
        (at_carrier,) = stand.carrier.recordings.of_call(placed["call_sid"])
        await eventually(lambda: at_carrier.status == "deleted")
        shown = await client.ask("GET", f"/calls/{placed['id']}")

    assert (shown["is_erased"], shown["recordings"]) == (True, [])
