"""The audit log."""

from typing import Any
from uuid import uuid4

from msgspec import structs

from tests.calls.stored_calls import an_organisation
from voice_agent.auth import audit
from voice_agent.auth.principal import system
from voice_agent.storage.database import Database


async def test_an_entry_stands_or_falls_with_the_deed(database: Database) -> None:
    principal = system(await an_organisation(database), "retention")

    async def fail() -> None:
        async with database.write() as session:
            await audit.record(session, principal, "call.delete", target_kind="call", target_id="1")
            raise RuntimeError

    try:
        await fail()
    except RuntimeError:
        pass
    async with database.write() as session:
        await audit.record(session, principal, "call.delete", target_kind="call", target_id="2", after={"n": 1})

    async with database.read() as session:
        (entry,) = await audit.page(session, principal.org_id, limit=10)
        assert (entry.target_id, entry.actor_kind, entry.actor_name, entry.after) == (
            "2",
            "system",
            "retention",
            {"n": 1},
        )
        assert await audit.page(session, principal.org_id, audit.AuditFilter(action="call%"), limit=10) == []


async def test_entries_are_chosen_by_who_and_when(database: Database) -> None:
    principal = system(await an_organisation(database), "retention")
    ana = structs.replace(principal, kind="user", id=uuid4())
    async with database.write() as session:
        await audit.record(session, principal, "call.delete", target_kind="call", target_id="1")
        await audit.record(session, ana, "call.delete", target_kind="call", target_id="2")

    async def chosen(**by: Any) -> list[str]:
        async with database.read() as session:
            entries = await audit.page(session, principal.org_id, audit.AuditFilter(**by), limit=10)
        return [entry.target_id for entry in entries]

    async with database.read() as session:
        second, first = await audit.page(session, principal.org_id, limit=10)
    assert await chosen(actor_id=ana.id) == ["2"]
    assert await chosen(actor_id=uuid4()) == []
    assert await chosen(since=second.created_at) == ["2"]
    assert await chosen(until=second.created_at) == ["1"]
    assert await chosen(since=first.created_at, action="call.") == ["2", "1"]
