"""The audit log."""

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
        assert await audit.page(session, principal.org_id, action="call%", limit=10) == []
