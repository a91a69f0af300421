"""Calls over REST, on SQLite and on Postgres, with a telephone company that does what a test says."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from tests.api.world import ApiWorld, api_world
from tests.calls.stored_calls import NOW, OURS, SID, SPAIN, a_call, a_stored_call, reread
from voice_agent.auth.principal import Permission, Role
from voice_agent.errors import CarrierError
from voice_agent.storage.database import Database
from voice_agent.storage.tables import (
    CallRow,
    ConversationEventRow,
    JobRow,
    RecordingRow,
    SpendRow,
    TranscriptEntryRow,
    TurnLatencyRow,
)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(database, tmp_path) as world:
        yield world


async def owner(world: ApiWorld) -> dict[str, str]:
    return await world.key(await world.organisation())


async def place(world: ApiWorld, headers: dict[str, str], **body: object) -> dict[str, Any]:
    answer = await world.ask("POST", "/calls", headers, {"to": SPAIN} | body)
    assert answer.status_code == 201, answer.text
    placed: dict[str, Any] = answer.json()
    return placed


async def test_a_call_is_placed_by_one_request_that_names_it(world: ApiWorld) -> None:
    headers = await owner(world)
    call = await place(world, headers, machine_detection="enable", ring_s=20)

    (request,) = world.carrier.placed
    assert (request.to, request.caller, request.ring_s, request.machine_detection) == (SPAIN, OURS, 20, "enable")
    assert request.url == f"https://calls.example.org/twilio/calls/{call['id']}/answer"
    assert request.status_callback.endswith(f"/{call['id']}/status")
    assert (call["state"], call["direction"], call["from"], call["created_by"]) == (
        "accepted", "outbound", OURS, "program",
    )  # fmt: skip
    assert call["call_sid"] == next(iter(world.carrier.calls))
    async with world.database.read() as session:
        spent = (await session.scalars(select(SpendRow))).one()
        assert spent.settled is None
        assert spent.reserved > 0


async def test_f36_an_answer_that_did_not_come_leaves_the_call_unknown_and_nobody_asks_again(world: ApiWorld) -> None:
    headers = await owner(world)
    world.carrier.answers = [CarrierError("no answer")]
    call = await place(world, headers)

    assert (call["state"], call["outcome"]) == ("unknown", None)
    assert (await world.ask("POST", f"/calls/{call['id']}/end", headers)).status_code == 409
    await world.calls.place(UUID(call["id"]))
    assert len(world.carrier.placed) == 1


async def test_a_refusal_is_final_and_says_why_and_costs_nothing(world: ApiWorld) -> None:
    headers = await owner(world)
    world.carrier.answers = [CarrierError("no such number", code=21211, status=400, kind="invalid_number")]
    call = await place(world, headers)

    assert (call["state"], call["outcome"], call["error_code"]) == ("failed", "invalid_number", 21211)
    async with world.database.read() as session:
        assert (await session.scalars(select(SpendRow.settled))).one() == 0


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"to": "612345678"}, 422, "country code"),
        ({"to": "+12125550100"}, 403, "allowed_countries"),
        ({"to": "+34806111222"}, 403, "cost extra"),
        ({"to": SPAIN, "from": "+34999999999"}, 422, "none of the organisation's"),
        ({"to": SPAIN, "variables": {"name": "Ana"}}, 422, "no name"),
        ({"to": SPAIN, "agent_id": str(uuid4())}, 404, "no such agent"),
        ({"to": SPAIN, "ring_s": 2}, 422, None),
        ({"to": SPAIN, "ring_s": True}, 422, None),
        ({"to": SPAIN, "tu": 1}, 422, None),
    ],
)
async def test_what_cannot_be_called_is_refused_before_anything_is_written(
    world: ApiWorld, body: dict[str, object], status: int, detail: str | None
) -> None:
    headers = await owner(world)
    answer = await world.ask("POST", "/calls", headers, body)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if detail is not None:
        assert detail in answer.json()["detail"]
    assert world.carrier.placed == []
    assert (await world.ask("GET", "/calls", headers)).json()["items"] == []


async def test_the_same_key_places_one_call_however_often_it_comes(world: ApiWorld) -> None:
    headers = {**await owner(world), "Idempotency-Key": "order-7"}
    first = await world.ask("POST", "/calls", headers, {"to": SPAIN})
    again = await world.ask("POST", "/calls", headers, {"to": SPAIN})
    other = await world.ask("POST", "/calls", headers, {"to": "+34612345679"})

    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status_code == 422
    assert len(world.carrier.placed) == 1


async def test_the_same_key_twice_at_once_places_one_call(world: ApiWorld) -> None:
    headers = {**await owner(world), "Idempotency-Key": "order-8"}
    answers = await asyncio.gather(*(world.ask("POST", "/calls", headers, {"to": SPAIN}) for _ in range(5)))

    assert len(world.carrier.placed) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert [answer.status_code for answer in answers].count(201) >= 1


async def test_a_refused_request_gives_its_key_back(world: ApiWorld) -> None:
    headers = {**await owner(world), "Idempotency-Key": "order-9"}
    assert (await world.ask("POST", "/calls", headers, {"to": "nobody"})).status_code == 422
    assert (await world.ask("POST", "/calls", headers, {"to": SPAIN})).status_code == 201


async def test_a_call_is_ended_wherever_it_is(world: ApiWorld) -> None:
    headers = await owner(world)
    org_id = (await reread(world.database, UUID((await place(world, headers))["id"]))).org_id
    asked = {}
    for state in ("intent", "accepted", "ringing", "in_progress", "ended"):
        async with world.database.write() as session:
            call = a_call(org_id, state=state, call_sid=None if state == "intent" else f"CA{state:_>32}")
            session.add(call)
        asked[state] = await world.ask("POST", f"/calls/{call.id}/end", headers)

    assert {state: answer.status_code for state, answer in asked.items()} == dict.fromkeys(asked, 200)
    assert asked["intent"].json()["state"] == "void"
    assert world.carrier.canceled == [f"CA{'accepted':_>32}", f"CA{'ringing':_>32}"]
    assert world.carrier.hung_up == [f"CA{'in_progress':_>32}"]


async def test_a_live_call_is_transferred_cold_or_with_a_briefing(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID, org_id=org_id)
    path = f"/calls/{call.id}/transfer"

    assert (await world.ask("POST", path, headers, {"target": SPAIN, "mode": "warm"})).status_code == 422
    assert (await world.ask("POST", path, headers, {"target": "+12125550100"})).status_code == 403
    body = {"target": SPAIN, "mode": "warm", "briefing": "Ana has a question"}
    assert (await world.ask("POST", path, headers, body)).status_code == 200
    ((sid, request),) = world.carrier.transferred
    assert (sid, request.target, request.whisper_url) == (
        SID, SPAIN, f"https://calls.example.org/twilio/calls/{call.id}/whisper",
    )  # fmt: skip
    assert (request.language, request.line) == ("en", "One moment, I am connecting you.")
    stored = await reread(world.database, call.id)
    assert (stored.is_ended_by_us, stored.end_reason, stored.briefing) == (True, "transferred", "Ana has a question")


async def test_a_transfer_that_the_carrier_refuses_leaves_the_agent_with_the_caller(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID, org_id=org_id)
    world.carrier.error = CarrierError("no", status=400)

    assert (await world.ask("POST", f"/calls/{call.id}/transfer", headers, {"target": SPAIN})).status_code == 502
    stored = await reread(world.database, call.id)
    assert (stored.is_ended_by_us, stored.end_reason) == (False, None)


async def test_recordings_are_paused_and_resumed_ours_and_the_carriers(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID, org_id=org_id)
    async with world.database.write() as session:
        (await session.get_one(CallRow, call.id)).is_carrier_recorded = True

    for action, is_paused in (("pause", True), ("pause", True), ("resume", False)):
        answer = await world.ask("POST", f"/calls/{call.id}/recording/{action}", headers)
        assert (answer.status_code, answer.json()["is_recording_paused"]) == (200, is_paused)
        assert (await reread(world.database, call.id)).is_recording_paused is is_paused
    assert world.holders.asked == [(SID, "pause_recording")] * 2 + [(SID, "resume_recording")]
    assert (world.carrier.paused, world.carrier.resumed) == ([SID, SID], [SID])


async def test_a_recording_whose_process_does_not_answer_comes_back_paused(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    call = await a_stored_call(world.database, state="in_progress", call_sid=SID, org_id=org_id)
    world.holders.is_there = False

    answer = await world.ask("POST", f"/calls/{call.id}/recording/pause", headers)
    assert (answer.status_code, "does not answer" in answer.text or "nobody" in answer.text) == (503, True)
    assert (await reread(world.database, call.id)).is_recording_paused


async def test_only_what_is_being_recorded_can_be_paused_and_only_by_who_may(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    ended = await a_stored_call(world.database, state="ended", call_sid=SID, org_id=org_id)
    path = f"/calls/{ended.id}/recording/pause"
    assert (await world.ask("POST", path, headers)).status_code == 409
    assert (await world.ask("POST", f"/calls/{uuid4()}/recording/resume", headers)).status_code == 404
    assert (await world.ask("POST", path, await world.member(org_id, Role.ANALYST))).status_code == 403
    assert world.holders.asked == []


async def test_calls_are_listed_page_by_page_and_by_filter(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    async with world.database.write() as session:
        for number in range(5):
            call = a_call(org_id, state="ended" if number % 2 else "in_progress", call_sid=f"CA{number}")
            call.created_at = NOW + timedelta(seconds=number)
            call.outcome = "busy" if number == 3 else None
            session.add(call)

    seen, cursor = [], ""
    while True:
        page = (await world.ask("GET", f"/calls?limit=2{cursor}", headers)).json()
        seen += [each["call_sid"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["CA4", "CA3", "CA2", "CA1", "CA0"]

    async def sids(query: str) -> list[str]:
        answer = await world.ask("GET", f"/calls?{query}", headers)
        assert answer.status_code == 200, answer.text
        return [each["call_sid"] for each in answer.json()["items"]]

    assert await sids("state=ended") == ["CA3", "CA1"]
    assert await sids("outcome=busy") == ["CA3"]
    assert await sids("direction=inbound") == []
    assert await sids("number=%2B34%20612%20345%20678&state=in_progress") == ["CA4", "CA2", "CA0"]
    assert await sids("created_from=2026-11-25T12:00:03Z") == ["CA4", "CA3"]
    assert await sids("created_to=2026-11-25T12:00:01Z") == ["CA0"]
    assert await sids(f"agent_id={uuid4()}") == []


async def a_finished_call(world: ApiWorld, org_id: UUID) -> tuple[CallRow, RecordingRow]:
    """Store a call with everything that one leaves behind."""
    call = await a_stored_call(world.database, state="ended", call_sid=SID, org_id=org_id)
    sound = world.sound
    sound.write_bytes(b"RIFF" * 100)
    await world.storage.put_file(f"recordings/{call.id}.wav", sound, content_type="audio/wav")
    async with world.database.write() as session:
        row = await session.get_one(CallRow, call.id)
        row.ended_at, row.outcome, row.variables = NOW, "human", {"name": "Ana"}
        row.disclosed_at = NOW - timedelta(minutes=1)
        recording = RecordingRow(
            id=uuid4(), org_id=org_id, call_id=call.id, kind="stream", state="stored", created_at=NOW,
            storage_key=f"recordings/{call.id}.wav", peaks_key=f"recordings/{call.id}.json", duration_s=1.5,
        )  # fmt: skip
        said = TranscriptEntryRow(
            call_id=call.id, n=0, org_id=org_id, kind="agent", started_at=0.5, ended_at=1.0, turn=1, text="Hello."
        )
        timed = TurnLatencyRow(
            call_id=call.id, segment=0, turn=1, org_id=org_id, voice_to_voice_ms=450.0, parts={"llm_ms": 200.0}
        )
        line = ConversationEventRow(call_id=call.id, segment=0, line=1, org_id=org_id, body='{"event":"x"}')
        session.add_all([recording, said, timed, line])
    return row, recording


async def test_a_call_is_shown_with_what_was_said_timed_and_recorded(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    call, recording = await a_finished_call(world, org_id)

    answer = await world.ask("GET", f"/calls/{call.id}", headers)
    shown = answer.json()
    assert answer.headers["ETag"] == f'"{call.revision}"'
    assert [entry["text"] for entry in shown["transcript"]] == ["Hello."]
    assert [turn["voice_to_voice_ms"] for turn in shown["turns"]] == [450.0]
    assert [(each["state"], each["duration_s"]) for each in shown["recordings"]] == [("stored", 1.5)]
    assert shown["variables"] == {"name": "Ana"}
    assert datetime.fromisoformat(shown["disclosed_at"]) == NOW - timedelta(minutes=1)
    events = (await world.ask("GET", f"/calls/{call.id}/events", headers)).json()
    assert events == [{"segment": 0, "line": 1, "body": {"event": "x"}}]
    assert (await world.ask("GET", f"/calls/{call.id}/events?after_segment=0&after_line=1", headers)).json() == []

    path = f"/calls/{call.id}/recordings/{recording.id}/link"
    link = (await world.ask("GET", path, headers)).json()
    heard = await world.http.get(link["url"], headers={"Range": "bytes=4-7"})
    assert (heard.status_code, heard.content, heard.headers["Cache-Control"]) == (206, b"RIFF", "no-store")
    log = (await world.ask("GET", "/audit-log?action=recording.", headers)).json()["items"]
    assert [entry["target_id"] for entry in log] == [str(recording.id)]


async def test_a_viewer_hears_no_recording(world: ApiWorld) -> None:
    org_id = await world.organisation()
    call, recording = await a_finished_call(world, org_id)
    viewer, analyst = await world.member(org_id, Role.VIEWER), await world.member(org_id, Role.ANALYST)
    path = f"/calls/{call.id}/recordings/{recording.id}/link"

    assert (await world.ask("GET", path, viewer)).status_code == 403
    assert (await world.ask("GET", path, analyst)).status_code == 200


async def test_what_belongs_to_another_organisation_is_not_there(world: ApiWorld) -> None:
    call, recording = await a_finished_call(world, await world.organisation())
    stranger = await world.key(await world.organisation("Other", "+34910000001"))
    for method, path in (
        ("GET", ""), ("GET", "/events"), ("POST", "/end"), ("DELETE", ""),
        ("GET", f"/recordings/{recording.id}/link"), ("GET", f"/recordings/{recording.id}/peaks"),
    ):  # fmt: skip
        foreign = await world.ask(method, f"/calls/{call.id}{path}", stranger)
        absent = await world.ask(method, f"/calls/{uuid4()}{path}", stranger)
        assert (foreign.status_code, foreign.json()) == (404, absent.json())
    body = {"target": SPAIN}
    assert (await world.ask("POST", f"/calls/{call.id}/transfer", stranger, body)).status_code == 404


async def test_a_deleted_call_leaves_that_it_took_place_and_a_job_for_its_files(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    call, _ = await a_finished_call(world, org_id)

    assert (await world.ask("DELETE", f"/calls/{call.id}", headers)).status_code == 204
    shown = (await world.ask("GET", f"/calls/{call.id}", headers)).json()
    assert (shown["is_erased"], shown["to"], shown["from"], shown["outcome"]) == (True, "erased", "erased", "human")
    assert shown["transcript"] == shown["turns"] == shown["recordings"] == []
    assert shown["variables"] == {}
    async with world.database.read() as session:
        job = (await session.scalars(select(JobRow))).one()
    assert job.payload == {
        "call_sid": SID, "keys": [f"recordings/{call.id}.wav", f"recordings/{call.id}.json"],
    }  # fmt: skip


async def test_everything_of_a_number_is_erased_but_calls_that_go_on(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    for state in ("ended", "failed", "in_progress"):
        await a_stored_call(world.database, state=state, org_id=org_id)
    theirs = await a_stored_call(world.database, state="ended")

    erased = (await world.ask("POST", "/calls/erase", headers, {"number": "+34 612345678"})).json()
    assert erased == {"erased": 2, "active": 1}
    assert (await reread(world.database, theirs.id)).to_number == SPAIN
    live = (await world.ask("GET", "/calls?state=in_progress", headers)).json()["items"][0]
    assert (await world.ask("DELETE", f"/calls/{live['id']}", headers)).status_code == 409


async def test_calls_past_their_time_are_erased(world: ApiWorld) -> None:
    org_id = await world.organisation()
    old = await a_stored_call(world.database, state="ended", org_id=org_id)
    async with world.database.write() as session:
        (await session.get_one(CallRow, old.id)).ended_at = NOW - timedelta(days=4_000)
        assert await world.calls.erase_past_their_time(session, org_id) == 0  # kept for ever by default
    headers = await world.key(org_id, Permission.ORGANISATION_WRITE)
    await world.ask("PATCH", "/organisation", headers, {"settings": {"retention_days": 30}})

    async with world.database.write() as session:
        assert await world.calls.erase_past_their_time(session, org_id) == 1
        assert await world.calls.erase_past_their_time(session, org_id) == 0
    assert (await reread(world.database, old.id)).erased_at is not None
