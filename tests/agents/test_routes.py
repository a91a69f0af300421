"""Agents and numbers over REST, on SQLite and on Postgres."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.api.world import ApiWorld, api_world
from tests.calls.stored_calls import SPAIN
from voice_agent.agents.files import load_agent
from voice_agent.storage.database import Database

DEFINITION: dict[str, Any] = msgspec.to_builtins(load_agent().definition)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(database, tmp_path) as world:
        yield world


async def made(world: ApiWorld, headers: dict[str, str], name: str = "Anna", **changes: object) -> str:
    answer = await world.ask("POST", "/agents", headers, {"name": name, "definition": DEFINITION | changes})
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["id"]
    return key


async def published(world: ApiWorld, headers: dict[str, str], name: str = "Anna", **changes: object) -> str:
    key = await made(world, headers, name, **changes)
    assert (await world.ask("POST", f"/agents/{key}/publish", headers)).status_code == 200
    return key


async def test_an_agent_is_drafted_published_edited_compared_and_rolled_back(world: ApiWorld) -> None:
    headers = await world.key(await world.organisation())
    key = await published(world, headers)
    edit = {"definition": DEFINITION | {"prompt": "Be brief.", "limits": {"duration_s": 60.0, "idle_s": 8.0}}}
    edited = await world.ask("PUT", f"/agents/{key}/draft", headers, edit)
    assert (edited.json()["number"], edited.json()["state"]) == (2, "draft")
    assert (await world.ask("POST", f"/agents/{key}/roll-back", headers, {"number": 1})).status_code == 409
    await world.ask("POST", f"/agents/{key}/publish", headers)

    changes = (await world.ask("GET", f"/agents/{key}/versions/1/difference/2", headers)).json()
    assert {change["field"]: change["new"] for change in changes} == {
        "prompt": "Be brief.", "limits.duration_s": 60.0,
    }  # fmt: skip
    back = await world.ask("POST", f"/agents/{key}/roll-back", headers, {"number": 1})
    assert back.json()["number"] == 3
    shown = (await world.ask("GET", f"/agents/{key}", headers)).json()
    assert shown["published_version"] == 3
    assert [(each["number"], each["state"]) for each in shown["versions"]] == [
        (3, "published"), (2, "retired"), (1, "retired"),
    ]  # fmt: skip
    third = (await world.ask("GET", f"/agents/{key}/versions/3", headers)).json()
    assert third["definition"]["prompt"] == DEFINITION["prompt"]
    log = (await world.ask("GET", "/audit-log?action=agent.", headers)).json()["items"]
    assert [entry["action"] for entry in log][:4] == ["agent.roll_back", "agent.publish", "agent.edit", "agent.publish"]


async def test_an_edit_from_an_old_state_is_refused(world: ApiWorld) -> None:
    headers = await world.key(await world.organisation())
    key = await made(world, headers)
    read = (await world.ask("GET", f"/agents/{key}", headers)).headers["ETag"]
    edit = {"definition": DEFINITION}

    first = await world.ask("PUT", f"/agents/{key}/draft", {**headers, "If-Match": read}, edit)
    second = await world.ask("PUT", f"/agents/{key}/draft", {**headers, "If-Match": read}, edit)
    assert (first.status_code, second.status_code) == (200, 412)
    assert first.headers["ETag"] != read


async def test_a_draft_can_be_thrown_away_but_not_the_only_version(world: ApiWorld) -> None:
    headers = await world.key(await world.organisation())
    key = await made(world, headers)
    assert (await world.ask("DELETE", f"/agents/{key}/draft", headers)).status_code == 409
    await world.ask("POST", f"/agents/{key}/publish", headers)
    assert (await world.ask("POST", f"/agents/{key}/publish", headers)).status_code == 409
    assert (await world.ask("DELETE", f"/agents/{key}/draft", headers)).status_code == 404
    await world.ask("PUT", f"/agents/{key}/draft", headers, {"definition": DEFINITION})
    assert (await world.ask("DELETE", f"/agents/{key}/draft", headers)).status_code == 204


@pytest.mark.parametrize(
    ("definition", "complaint"),
    [
        ({}, "name"),
        (DEFINITION | {"language": "de"}, "language"),
        (DEFINITION | {"prompt": "Hello {{who}}"}, "nobody says what who is"),
        (DEFINITION | {"endpointing": {"hurry_s": 1.0}}, "hurry_s"),
    ],
)
async def test_a_definition_that_cannot_be_used_is_refused_by_field(
    world: ApiWorld, definition: dict[str, object], complaint: str
) -> None:
    headers = await world.key(await world.organisation())
    answer = await world.ask("POST", "/agents", headers, {"name": "X", "definition": definition})
    assert answer.status_code == 422
    assert complaint in answer.text


async def test_an_agent_goes_out_as_yaml_and_comes_back_the_same(world: ApiWorld) -> None:
    headers = await world.key(await world.organisation())
    key = (await world.ask("GET", "/agents", headers)).json()["items"][0]["id"]
    document = await world.ask("GET", f"/agents/{key}/versions/1/yaml", headers)
    assert document.headers["content-type"].startswith("application/yaml")

    sent = {**headers, "Content-Type": "application/yaml"}
    taken = await world.http.post("/api/v1/agents/import", headers=sent, content=document.content)
    assert taken.status_code == 409
    renamed = document.content.replace(b"name: Harbour Dental reception", b"name: Copy", 1)
    copy = (await world.http.post("/api/v1/agents/import", headers=sent, content=renamed)).json()
    original, again = [
        (await world.ask("GET", f"/agents/{each}/versions/1", headers)).json() for each in (key, copy["id"])
    ]
    assert again["definition"] == original["definition"] | {"name": "Copy"}
    assert again["dialogue"] == original["dialogue"]
    for nonsense in (b"[", b"\xff\xfe", b"name: 1", b"definition: {}"):
        refused = await world.http.post("/api/v1/agents/import", headers=sent, content=nonsense)
        assert refused.status_code == 422, nonsense


async def test_a_name_is_taken_once_until_its_agent_is_archived(world: ApiWorld) -> None:
    headers = await world.key(await world.organisation())
    key = await made(world, headers)
    again = await world.ask("POST", "/agents", headers, {"name": "Anna", "definition": DEFINITION})
    assert again.status_code == 409
    assert (await world.ask("DELETE", f"/agents/{key}", headers)).status_code == 204
    assert (await world.ask("GET", f"/agents/{key}", headers)).status_code == 404
    await made(world, headers)


async def test_there_are_templates_to_begin_from_in_both_languages(world: ApiWorld) -> None:
    headers = await world.key(await world.organisation())
    found = (await world.ask("GET", "/agent-templates", headers)).json()

    assert [template["key"] for template in found] == [
        f"{kind}.{language}"
        for kind in ("lead_qualification", "reception", "reminder", "survey")
        for language in ("en", "es")
    ]
    for template in found:
        assert template["language"] == template["key"][-2:]
        body = {"name": template["key"], "definition": template["definition"]}
        assert (await world.ask("POST", "/agents", headers, body)).status_code == 201


async def test_a_number_is_answered_by_whom_it_is_bound_to(world: ApiWorld) -> None:
    org_id = await world.organisation()
    headers = await world.key(org_id)
    key = await published(world, headers, name="Eva", limits={"duration_s": 99.0, "idle_s": 5.0})
    added = await world.ask("POST", "/phone-numbers", headers, {"e164": "+34910000099", "agent_id": key})
    assert (added.status_code, added.json()["country"]) == (201, "ES")
    number_id = added.json()["id"]

    async def answering(number: str) -> tuple[object, int | None]:
        async with world.database.read() as session:
            whose, version = await world.agents.for_number(session, number)
            return whose, None if version is None else version.definition["limits"]["duration_s"]

    assert await answering("+34910000099") == (org_id, 99.0)
    assert await answering("+15550000000") == (org_id, 900.0)  # nobody's: the first organisation's first agent
    bind = {"agent_id": None, "label": "front"}
    assert (await world.ask("PATCH", f"/phone-numbers/{number_id}", headers, bind)).json()["label"] == "front"
    assert await answering("+34910000099") == (org_id, 900.0)

    again = await world.ask("POST", "/phone-numbers", headers, {"e164": "+34910000099"})
    assert again.status_code == 409
    assert (await world.ask("POST", "/phone-numbers", headers, {"e164": "+3491"})).status_code == 422
    assert (await world.ask("POST", "/phone-numbers", headers, {"e164": "+34000000000"})).status_code == 422
    assert (await world.ask("DELETE", f"/phone-numbers/{number_id}", headers)).status_code == 204
    assert len((await world.ask("GET", "/phone-numbers", headers)).json()) == 1


async def test_an_archived_agent_answers_and_places_no_call(world: ApiWorld) -> None:
    headers = await world.key(await world.organisation())
    key = await published(world, headers)
    await world.ask("DELETE", f"/agents/{key}", headers)

    answer = await world.ask("POST", "/calls", headers, {"to": SPAIN, "agent_id": key})
    assert answer.status_code == 404
    draft_only = await made(world, headers, name="Draft")
    answer = await world.ask("POST", "/calls", headers, {"to": SPAIN, "agent_id": draft_only})
    assert "not published" in answer.json()["detail"]


async def test_agents_and_numbers_of_others_are_not_there(world: ApiWorld) -> None:
    headers = await world.key(await world.organisation())
    key = await published(world, headers)
    number = (await world.ask("GET", "/phone-numbers", headers)).json()[0]["id"]
    stranger = await world.key(await world.organisation("Other", "+34910000001"))
    for method, path, body in (
        ("GET", "/agents/{}", None), ("GET", "/agents/{}/versions/1", None), ("POST", "/agents/{}/publish", None),
        ("PUT", "/agents/{}/draft", {"definition": DEFINITION}), ("DELETE", "/agents/{}", None),
        ("GET", "/agents/{}/versions/1/yaml", None), ("POST", "/agents/{}/roll-back", {"number": 1}),
    ):  # fmt: skip
        foreign = await world.ask(method, path.format(key), stranger, body)
        absent = await world.ask(method, path.format(uuid4()), stranger, body)
        assert (foreign.status_code, foreign.json()) == (404, absent.json())
    bind = {"agent_id": None}
    assert (await world.ask("PATCH", f"/phone-numbers/{number}", stranger, bind)).status_code == 404
    assert (
        await world.ask("POST", "/phone-numbers", stranger, {"e164": "+34910000098", "agent_id": key})
    ).status_code == 422
    own = (await world.ask("GET", "/phone-numbers", stranger)).json()[0]["id"]
    answer = await world.ask("PATCH", f"/phone-numbers/{own}", stranger, {"agent_id": key})
    assert (answer.status_code, answer.json()["detail"]) == (422, "agent_id: there is no such agent")
