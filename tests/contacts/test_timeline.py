"""What a contact's timeline has of each source, on SQLite and on Postgres."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from tests.api.world import now
from tests.calls.stored_calls import a_call, an_organisation
from tests.contacts.contact_world import ContactWorld, contact_world
from tests.contacts.stored_contacts import ANA, BEN
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ConsentRow, ContactRow, ImportRow, SuppressionRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    async with contact_world(database, tmp_path) as world:
        yield world


async def timeline(world: ContactWorld, contact_id: str, *, limit: int = 200) -> list[dict[str, Any]]:
    """Return all entries, by pages."""
    found: list[dict[str, Any]] = []
    path = f"/contacts/{contact_id}/timeline?limit={limit}"
    page = await world.told("GET", path)
    found += page["items"]
    while page["next_cursor"]:
        page = await world.told("GET", f"{path}&cursor={page['next_cursor']}")
        found += page["items"]
    return found


async def test_calls_words_and_changes_are_one_list(world: ContactWorld) -> None:
    ana = await world.create(ANA, further=[{"number": BEN}])
    import_id, other_id = new_id(), await an_organisation(world.database, "Other")
    for_ana = a_call(world.org_id, state="ended")
    from_ben, of_others = a_call(world.org_id, state="ended"), a_call(other_id, state="ended")
    from_ben.direction, from_ben.from_number, from_ben.to_number = "inbound", BEN, "+34910000000"
    async with world.database.write() as session:
        imported = ImportRow(
            id=import_id, org_id=world.org_id, name="people.csv", source="upload", state="done", created_at=now()
        )
        session.add_all([for_ana, from_ben, of_others, imported])
        await session.execute(update(ContactRow).where(ContactRow.id == UUID(ana["id"])).values(created_in=import_id))
        digest = await world.api.compliance._digests.of(session, ANA)
        consent = ConsentRow(
            org_id=world.org_id, digest=digest, e164=ANA, purpose="marketing", action="grant", basis="written",
            at=now() - timedelta(days=1), created_at=now(),
        )  # fmt: skip
        suppression = SuppressionRow(
            org_id=world.org_id, scope=f"organisation:{world.org_id}", digest=digest, e164=ANA, source="api",
            created_at=now() - timedelta(hours=2), lifted_at=now() - timedelta(hours=1), lift_reason="asked",
        )  # fmt: skip
        session.add_all([consent, suppression])
    await world.bulk("tag", tag="VIP", contacts=[ana["id"]])

    entries = await timeline(world, ana["id"])
    kinds = [(entry["kind"], entry["details"].get("action", entry["details"].get("direction"))) for entry in entries]
    assert sorted(kinds, key=str) == sorted(
        [
            ("call", "outbound"), ("call", "inbound"), ("import", None), ("change", "contact.create"),
            ("change", "contacts.tag"), ("consent", "grant"), ("suppression", "suppressed"), ("suppression", "lifted"),
        ],
        key=str,
    )  # fmt: skip
    assert [entry["at"] for entry in entries] == sorted((entry["at"] for entry in entries), reverse=True)
    assert await timeline(world, ana["id"], limit=1) == entries
    assert await timeline(world, ana["id"], limit=3) == entries
