"""Contacts over REST, on SQLite and on Postgres."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.calls.stored_calls import an_organisation
from tests.contacts.contact_world import ContactWorld, contact_world
from tests.contacts.stored_contacts import ANA, BEN, EVA
from voice_agent.auth.principal import Permission, Role
from voice_agent.storage.database import Database


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    async with contact_world(database, tmp_path) as world:
        yield world


@pytest.fixture
async def small(sqlite: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    """Where the SQL cannot differ."""
    async with contact_world(sqlite, tmp_path) as world:
        yield world


async def test_a_contact_is_made_read_changed_and_deleted(world: ContactWorld) -> None:
    body = {
        "number": "612 345 678", "default_country": "ES", "given_name": " Ana ", "family_name": "García",
        "email": "Ana@Example.COM", "external_id": "A-1", "locale": "es_es", "region": "es-cn",
        "further": [{"number": BEN, "label": "work"}], "tags": ["VIP", "new"],
    }  # fmt: skip
    answer = await world.ask("POST", "/contacts", body)
    made = answer.json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/api/v1/contacts/{made['id']}"
    assert (made["e164"], made["raw_number"], made["country"], made["line_type"]) == (
        ANA,
        "612 345 678",
        "ES",
        "mobile",
    )
    assert (made["name"], made["email"], made["locale"]) == ("Ana García", "Ana@example.com", "es-ES")
    assert (made["zone_origin"], made["zone_candidates"]) == ("address", ["Atlantic/Canary"])
    assert made["further"] == [{"e164": BEN, "label": "work", "raw_number": BEN}]
    assert [tag["name"] for tag in made["tags"]] == ["new", "VIP"]

    path = f"/contacts/{made['id']}"
    read = await world.ask("GET", path)
    assert read.json() == made
    edit = {"family_name": "López", "email": None, "tags": ["old"], "further": [], "region": ""}
    changed = await world.ask("PATCH", path, edit, **{"If-Match": read.headers["ETag"]})
    body = changed.json()
    assert (body["name"], body["email"], body["further"]) == ("Ana López", "", [])
    assert ([tag["name"] for tag in body["tags"]], body["external_id"]) == (["old"], "A-1")
    assert (body["zone_origin"], body["zone_candidates"]) == ("number", ["Atlantic/Canary", "Europe/Madrid"])
    assert (await world.ask("PATCH", path, {"name": "X"}, **{"If-Match": read.headers["ETag"]})).status_code == 412

    assert (await world.ask("DELETE", path)).status_code == 204
    assert (await world.ask("PATCH", path, {"name": "X"})).status_code == 404
    assert (await world.told("GET", path))["deleted_at"] is not None
    assert (await world.told("POST", f"{path}/restore"))["deleted_at"] is None


async def test_what_is_taken_is_refused_and_named(world: ContactWorld) -> None:
    ana = await world.create(ANA, external_id="A-1")
    ben = await world.create(BEN, further=[{"number": EVA}])

    for body in ({"number": ANA}, {"number": EVA, "external_id": "A-1"}):
        refused = await world.ask("POST", "/contacts", body)
        assert (refused.status_code, ana["id"] in refused.json()["detail"]) == (409, True)
    for change in ({"number": ANA}, {"external_id": "A-1"}):
        refused = await world.ask("PATCH", f"/contacts/{ben['id']}", change)
        assert (refused.status_code, ana["id"] in refused.json()["detail"]) == (409, True)
    assert (await world.create(EVA))["e164"] == EVA  # a further number may be shared

    await world.told("DELETE", f"/contacts/{ana['id']}")
    await world.create(ANA)
    assert (await world.ask("POST", f"/contacts/{ana['id']}/restore")).status_code == 409


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"number": "12"}, "number"),
        ({"number": ANA, "further": [{"number": ANA}]}, "further"),
        ({"number": ANA, "further": [{"number": "x"}]}, "further.0.number"),
        ({"number": ANA, "email": "ana"}, "email"),
        ({"number": ANA, "locale": "spanish"}, "locale"),
        ({"number": ANA, "region": "Florida"}, "region"),
        ({"number": ANA, "zone": "Europe/Atlantis"}, "zone"),
        ({"number": ANA, "custom": {"level": 1}}, "custom.level"),
        ({"number": ANA, "tags": [" "]}, "tags"),
    ],
)
async def test_what_cannot_be_is_refused(small: ContactWorld, said: dict[str, Any], field: str) -> None:
    refused = await small.ask("POST", "/contacts", said)

    assert refused.status_code == 422
    assert refused.json()["detail"].startswith(f"{field}: ")


async def test_a_post_that_comes_twice_makes_one(small: ContactWorld) -> None:
    first = await small.ask("POST", "/contacts", {"number": ANA}, **{"Idempotency-Key": "one"})
    second = await small.ask("POST", "/contacts", {"number": ANA}, **{"Idempotency-Key": "one"})

    assert first.json() == second.json()


async def test_what_belongs_to_another_organisation_is_not_found(small: ContactWorld) -> None:
    ana = await small.create(ANA, tags=["VIP"])
    tag = ana["tags"][0]["id"]
    other = await small.api.key(await an_organisation(small.database, "Other"))

    for method, path, body in (
        ("GET", f"/contacts/{ana['id']}", None),
        ("PATCH", f"/contacts/{ana['id']}", {"name": "X"}),
        ("DELETE", f"/contacts/{ana['id']}", None),
        ("POST", f"/contacts/{ana['id']}/restore", None),
        ("GET", f"/contacts/{ana['id']}/timeline", None),
        ("PATCH", f"/tags/{tag}", {"name": "X"}),
        ("DELETE", f"/tags/{tag}", None),
    ):
        assert (await small.api.ask(method, path, other, body)).status_code == 404, path
    assert (await small.api.ask("GET", "/contacts", other)).json()["items"] == []


async def test_who_may_only_look_changes_nothing(small: ContactWorld) -> None:
    ana = await small.create(ANA)
    writer = await small.api.key(small.org_id, Permission.CONTACTS_WRITE)
    analyst = await small.api.member(small.org_id, Role.ANALYST)

    assert (await small.api.ask("GET", f"/contacts/{ana['id']}", analyst)).status_code == 200
    assert (await small.api.ask("PATCH", f"/contacts/{ana['id']}", analyst, {"name": "X"})).status_code == 403
    order = {"action": "delete", "contacts": [ana["id"]]}
    assert (await small.api.ask("POST", "/contacts/bulk", writer, order)).status_code == 403


async def test_pages_follow_one_another(world: ContactWorld) -> None:
    for last in range(5):
        await world.create(f"+3461234567{last}", name=f"Ana {last}")

    first = await world.told("GET", "/contacts?q=ana&limit=2&count=true")
    second = await world.told("GET", f"/contacts?q=ana&limit=2&cursor={first['next_cursor']}")
    third = await world.told("GET", f"/contacts?q=ana&limit=2&cursor={second['next_cursor']}")
    names = [item["name"] for page in (first, second, third) for item in page["items"]]
    assert names == [f"Ana {last}" for last in (4, 3, 2, 1, 0)]
    assert (first["total"], first["is_total_capped"], second["total"], third["next_cursor"]) == (5, False, None, None)


async def test_a_search_names_tags_lists_filters_and_what_is_deleted(world: ContactWorld) -> None:
    ana = await world.create(ANA, name="Ana", tags=["VIP", "new"])
    ben = await world.create(BEN, name="Ben", tags=["VIP"])
    gone = await world.create(EVA, name="Eva")
    await world.told("DELETE", f"/contacts/{gone['id']}")
    tags = {tag["name"]: tag["id"] for tag in ana["tags"]}

    async def found(query: str) -> list[str]:
        return [item["id"] for item in (await world.told("GET", f"/contacts?{query}"))["items"]]

    assert await found(f"tag={tags['VIP']}") == [ben["id"], ana["id"]]
    assert await found(f"tag={tags['VIP']}&tag={tags['new']}") == [ana["id"]]
    assert await found('filter={"type":"field","field":"country","values":["GB"]}') == [ben["id"]]
    assert await found("deleted=true") == [gone["id"]]
    for query in ("filter={", 'filter={"type":"x"}', f"tag={ana['id']}x", 'filter={"type":"custom_set","key":"x"}'):
        assert (await world.ask("GET", f"/contacts?{query}")).status_code == 422
    assert (await world.ask("GET", f"/contacts?list_id={ana['id']}")).status_code == 404


async def test_a_timeline_tells_what_happened(world: ContactWorld) -> None:
    before = datetime.now(UTC)
    ana = await world.create(ANA, name="Ana")
    await world.told("PATCH", f"/contacts/{ana['id']}", {"name": "Anna"})

    page = await world.told("GET", f"/contacts/{ana['id']}/timeline?limit=1")
    rest = await world.told("GET", f"/contacts/{ana['id']}/timeline?cursor={page['next_cursor']}")
    (last,), (first,) = page["items"], rest["items"]
    assert (last["kind"], last["details"]["action"], last["details"]["fields"]) == (
        "change",
        "contact.update",
        ["name"],
    )
    assert (first["details"]["action"], rest["next_cursor"]) == ("contact.create", None)
    assert datetime.fromisoformat(first["at"]) >= before
