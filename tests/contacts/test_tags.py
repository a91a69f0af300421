"""Tags that very many contacts have, and very many tags; test_routes has the rest."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contacts.contact_world import ContactWorld, contact_world
from tests.contacts.stored_contacts import ANA, BEN
from voice_agent.contacts import tags
from voice_agent.storage.database import Database


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    async with contact_world(sqlite, tmp_path) as world:
        yield world


async def test_a_tag_that_very_many_have_is_taken_from_them_before_it_goes(
    world: ContactWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tags, "MOST_LOST", 1)
    for number in (ANA, BEN):
        tag = (await world.create(number, tags=["VIP"]))["tags"][0]["id"]

    refused = await world.ask("DELETE", f"/tags/{tag}")
    assert (refused.status_code, "POST /contacts/bulk" in refused.json()["detail"]) == (409, True)
    await world.bulk("untag", tag="VIP", filter={"type": "tag", "values": [tag]})
    assert (await world.ask("DELETE", f"/tags/{tag}")).status_code == 204


async def test_there_are_not_too_many(world: ContactWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags, "MAX_TAGS_IN_ALL", 1)
    await world.told("POST", "/tags", {"name": "one"})

    assert (await world.ask("POST", "/tags", {"name": "two"})).status_code == 409
    assert (await world.ask("POST", "/contacts", {"number": ANA, "tags": ["two"]})).status_code == 409
    assert len(await world.told("GET", "/tags")) == 1
