"""Lists over REST; tests/contacts/test_lists.py and test_list_filling.py ask the same routes what they do."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.contacts.list_world import ListWorld, list_world, numbers
from tests.contacts.stored_contacts import ANA, a_draft, store_contacts
from tests.contacts.test_list_filling import ACME, EVERYBODY
from voice_agent.auth.principal import Permission, Role
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[ListWorld]:
    async with list_world(sqlite, tmp_path) as world:
        yield world


async def test_a_list_is_made_read_changed_and_archived(world: ListWorld) -> None:
    made = await world.ask("POST", "/lists", {"name": "Spring", "description": "Sale"})
    body = made.json()
    path = f"/lists/{body['id']}"
    assert (made.status_code, made.headers["Location"]) == (201, f"/api/v1{path}")
    assert (body["kind"], body["filter"], body["members"]) == ("static", None, None)
    assert (await world.told("GET", "/lists"))["items"] == [body]
    assert (await world.told("GET", "/lists?kind=dynamic"))["items"] == []

    changed = await world.ask("PATCH", path, {"name": "Summer"}, **{"If-Match": made.headers["ETag"]})
    assert (changed.json()["name"], changed.json()["description"]) == ("Summer", "Sale")
    assert (await world.ask("PATCH", path, {"name": "X"}, **{"If-Match": made.headers["ETag"]})).status_code == 412
    assert (await world.ask("DELETE", path, **{"If-Match": made.headers["ETag"]})).status_code == 412
    assert (await world.ask("DELETE", path, **{"If-Match": changed.headers["ETag"]})).status_code == 204
    assert (await world.told("GET", "/lists"))["items"] == []


async def test_a_segment_has_whoever_fits_its_filter(world: ListWorld) -> None:
    await store_contacts(
        world.database, world.org_id, *[a_draft(number, company="ACME") for number in numbers(4)], a_draft(ANA)
    )
    segment = await world.a_list("ACME", filter=ACME)

    assert await world.members(segment) == set(numbers(4))
    page = await world.told("GET", f"/lists/{segment}/members?limit=3")
    rest = await world.told("GET", f"/lists/{segment}/members?limit=3&cursor={page['next_cursor']}")
    assert {each["e164"] for each in [*page["items"], *rest["items"]]} == set(numbers(4))
    assert (await world.told("GET", f"/lists/{segment}/count"))["members"] == 4

    edited = await world.told("PATCH", f"/lists/{segment}", {"filter": {"type": "not", "of": ACME}})
    assert edited["filter"] == {"type": "not", "of": ACME}
    assert await world.members(segment) == {ANA}


async def test_contacts_are_put_on_a_list_once_and_taken_off(world: ListWorld) -> None:
    rows = await store_contacts(world.database, world.org_id, *[a_draft(number) for number in numbers(5)])
    list_id = await world.a_list()
    keys = {"contacts": [str(row.id) for row in rows[:3]]}

    first = await world.told("POST", f"/lists/{list_id}/members", keys)
    again = await world.told("POST", f"/lists/{list_id}/members", {"contacts": [*keys["contacts"], str(new_id())]})
    assert (first, again["changed"]) == ({"changed": 3, "change_set": None}, 0)
    page = await world.told("GET", f"/lists/{list_id}/members?limit=2")
    rest = await world.told("GET", f"/lists/{list_id}/members?limit=2&cursor={page['next_cursor']}")
    assert [each["id"] for each in [*page["items"], *rest["items"]]] == sorted(keys["contacts"], reverse=True)

    removed = await world.told("POST", f"/lists/{list_id}/members/remove", {"contacts": keys["contacts"][:1]})
    assert (removed["changed"], await world.rows(list_id)) == (1, 2)


async def test_a_request_that_comes_twice_makes_one_list(world: ListWorld) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await world.told("POST", "/lists", {"name": "Spring"}, **key)

    assert await world.told("POST", "/lists", {"name": "Spring"}, **key) == first


REFUSED: list[tuple[str, dict[str, Any], int]] = [
    ("/lists", {"name": "X", "filter": {"type": "everything"}}, 422),
    ("/lists", {"name": "X", "filter": {"type": "tag", "values": [str(new_id())]}}, 422),
    ("/lists/{static}/members", {}, 422),
    ("/lists/{static}/members", {"filter": {"type": "all", "of": []}}, 422),
    ("/lists/{segment}/members", {"filter": EVERYBODY}, 409),
    ("/lists/{segment}/members", {"contacts": [str(new_id())]}, 409),
    ("/lists/{segment}/members/remove", {"filter": EVERYBODY}, 409),
    ("/lists/{segment}/members/remove", {"contacts": [str(new_id())]}, 409),
    ("/lists/{static}/freeze", {"name": "X"}, 409),
    (f"/lists/{new_id()}/clone", {"name": "X"}, 404),
    ("/lists/combine", {"name": "X", "how": "union", "lists": ["{static}", "{static}"]}, 422),
    ("/lists/combine", {"name": "X", "how": "union", "lists": ["{static}", str(new_id())]}, 404),
]


async def test_what_cannot_be_done_is_refused(world: ListWorld) -> None:
    keys = {"static": await world.a_list(), "segment": await world.a_list("All", filter=EVERYBODY)}

    for path, body, status in REFUSED:
        if "lists" in body:
            body = body | {"lists": [each.format(**keys) for each in body["lists"]]}
        assert (await world.ask("POST", path.format(**keys), body)).status_code == status, (path, body)


async def test_a_static_list_takes_no_filter(world: ListWorld) -> None:
    static = await world.a_list()

    assert (await world.ask("PATCH", f"/lists/{static}", {"filter": EVERYBODY})).status_code == 422


async def test_lists_are_read_by_analysts_and_changed_by_managers(world: ListWorld) -> None:
    list_id = await world.a_list()
    viewer = await world.api.member(world.org_id, Role.VIEWER)
    analyst = await world.api.member(world.org_id, Role.ANALYST)
    writer = await world.api.key(world.org_id, Permission.CONTACTS_WRITE)

    assert (await world.api.ask("GET", f"/lists/{list_id}", viewer)).status_code == 403
    assert (await world.api.ask("GET", f"/lists/{list_id}", analyst)).status_code == 200
    assert (await world.api.ask("DELETE", f"/lists/{list_id}", analyst)).status_code == 403
    assert (await world.api.ask("DELETE", f"/lists/{list_id}", writer)).status_code == 204
