"""Tags and custom fields over REST."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contacts.contact_world import ContactWorld, contact_world
from tests.contacts.stored_contacts import ANA
from voice_agent.storage.database import Database


@pytest.fixture
async def small(sqlite: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    """Where the SQL cannot differ."""
    async with contact_world(sqlite, tmp_path) as world:
        yield world


async def test_tags_are_named_renamed_and_deleted(small: ContactWorld) -> None:
    tag = await small.told("POST", "/tags", {"name": "VIP"})
    ana = await small.create(ANA, tags=["vip"])
    assert ana["tags"] == [tag]
    assert (await small.ask("POST", "/tags", {"name": "Vip"})).status_code == 409

    await small.told("PATCH", f"/tags/{tag['id']}", {"name": "vip"})
    other = await small.told("POST", "/tags", {"name": "other"})
    assert (await small.ask("PATCH", f"/tags/{tag['id']}", {"name": "OTHER"})).status_code == 409
    assert [each["name"] for each in await small.told("GET", "/tags")] == ["other", "vip"]
    await small.told("DELETE", f"/tags/{tag['id']}")
    assert (await small.told("GET", f"/contacts/{ana['id']}"))["tags"] == []
    assert await small.told("GET", "/tags") == [other]


async def test_custom_fields_have_types(small: ContactWorld) -> None:
    level = await small.told("POST", "/custom-fields", {"key": "level", "label": "Level", "type": "number"})
    assert (await small.ask("POST", "/custom-fields", {"key": "level", "label": "Again"})).status_code == 409
    assert (await small.ask("POST", "/custom-fields", {"key": "c", "label": "C", "type": "choice"})).status_code == 422

    ana = await small.create(ANA, custom={"level": 3})
    assert ana["custom"] == {"level": 3}
    assert (await small.ask("PATCH", f"/contacts/{ana['id']}", {"custom": {"level": "x"}})).status_code == 422
    changed = await small.told("PUT", f"/custom-fields/{level['id']}", {"label": "Class", "type": "number"})
    assert (changed["label"], changed["key"]) == ("Class", "level")
    assert (await small.told("GET", "/custom-fields")) == [changed]
