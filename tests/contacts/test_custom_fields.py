"""Custom fields that change their type or go away, on SQLite and on Postgres."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.contacts import contact_world as worlds
from tests.contacts.contact_world import ContactWorld
from tests.contacts.stored_contacts import ANA, BEN, EVA
from voice_agent.contacts import custom_fields
from voice_agent.storage.database import Database


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    async with worlds.contact_world(database, tmp_path) as world:
        yield world


async def a_field(world: ContactWorld, key: str = "class", **said: Any) -> str:
    made = await world.told("POST", "/custom-fields", {"key": key, "label": key} | said)
    return str(made["id"])


async def test_a_type_changes_where_every_value_fits_it(world: ContactWorld) -> None:
    field = await a_field(world)
    for number, value in ((ANA, "2026-01-31"), (BEN, "2026-02-01"), (EVA, "gold")):
        await world.create(number, custom={"class": value})
    await a_field(world, "other", type="boolean")
    path = f"/custom-fields/{field}"

    refused = await world.ask("PUT", path, {"label": "Class", "type": "date"})
    assert (refused.status_code, refused.json()["detail"]) == (409, "type: 1 contacts have a value that is no date")
    assert (await world.ask("PUT", path, {"label": "Class", "type": "number"})).json()["detail"].startswith("type: 3 ")
    choices = {"label": "Class", "type": "choice", "choices": ["gold", "2026-01-31", "2026-02-01"]}
    assert (await world.told("PUT", path, choices))["type"] == "choice"
    fewer = choices | {"choices": ["gold"]}
    assert (await world.ask("PUT", path, fewer)).json()["detail"] == "type: 2 contacts have a value that is no choice"


async def test_a_truth_is_no_number_on_either_database(world: ContactWorld) -> None:
    field = await a_field(world, type="boolean")
    await world.create(ANA, custom={"class": True})

    assert (await world.ask("PUT", f"/custom-fields/{field}", {"label": "x", "type": "number"})).status_code == 409
    assert (await world.told("PUT", f"/custom-fields/{field}", {"label": "x", "type": "boolean"}))["label"] == "x"


async def test_a_field_that_goes_takes_its_values_with_it(world: ContactWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom_fields, "CLEARED_AT_ONCE", 2)
    field = await a_field(world)
    await a_field(world, "kept")
    people = [await world.create(number, custom={"class": "gold", "kept": "yes"}) for number in (ANA, BEN, EVA)]

    assert (await world.ask("DELETE", f"/custom-fields/{field}")).status_code == 204
    assert (await world.ask("DELETE", f"/custom-fields/{field}")).status_code == 404
    await world.work()
    for person in people:
        assert (await world.told("GET", f"/contacts/{person['id']}"))["custom"] == {"kept": "yes"}


async def test_a_field_that_is_there_again_keeps_its_values(world: ContactWorld) -> None:
    field = await a_field(world)
    ana = await world.create(ANA, custom={"class": "gold"})
    await world.told("DELETE", f"/custom-fields/{field}")
    await a_field(world)
    await world.work()

    assert (await world.told("GET", f"/contacts/{ana['id']}"))["custom"] == {"class": "gold"}


async def test_there_are_not_too_many(world: ContactWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom_fields, "MAX_CUSTOM_FIELDS", 1)
    await a_field(world)

    assert (await world.ask("POST", "/custom-fields", {"key": "more", "label": "More"})).status_code == 409
