"""What becomes of a contact that is erased, and of two requests at once; test_routes has the rest."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.contacts.contact_world import ContactWorld, contact_world
from tests.contacts.stored_contacts import ANA, BEN, EVA, a_draft
from voice_agent.contacts.service import ContactService
from voice_agent.errors import Conflict
from voice_agent.storage.database import Database
from voice_agent.storage.tables import AuditRow, ContactPhoneRow, ContactRow, SuppressionRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ContactWorld]:
    async with contact_world(database, tmp_path) as world:
        yield world


async def test_who_is_erased_leaves_no_number_and_stays_suppressed(world: ContactWorld) -> None:
    ana = await world.create(ANA, name="Ana García", further=[{"number": EVA}])
    other = await world.create(BEN, further=[{"number": EVA}])
    merged = await world.create("+34612345679", name="Ana G.")
    await world.told("POST", f"/contacts/{ana['id']}/merge", {"others": [merged["id"]]})
    compliance = world.api.compliance
    async with world.database.write() as session:
        for number in (ANA, EVA):
            await compliance.suppress_many(
                session, world.org_id, [number], source="api", reason="asked", created_by="x"
            )

    assert (await world.ask("DELETE", f"/contacts/{ana['id']}?erase=true")).status_code == 204
    async with world.database.read() as session:
        assert {str(each) for each in await session.scalars(select(ContactRow.id))} == {other["id"]}
        assert (await session.scalars(select(ContactPhoneRow.e164))).all() == [EVA]
        numbers = set(await session.scalars(select(SuppressionRow.e164)))
        log = " ".join(f"{row.before} {row.after}" for row in await session.scalars(select(AuditRow)))
        suppressed = await compliance.suppressed_among(session, world.org_id, [ANA, EVA, BEN])
    assert numbers == {None, EVA}  # another contact has that one
    assert suppressed == {ANA, EVA}
    assert ANA not in log
    assert "García" not in log
    assert (await world.ask("GET", f"/contacts/{ana['id']}")).status_code == 404
    assert (await world.ask("GET", f"/contacts/{merged['id']}")).status_code == 404


async def test_of_two_that_make_the_same_contact_one_is_told_of_the_other(world: ContactWorld) -> None:
    contacts: ContactService = world.services.contacts

    async def make() -> UUID | str:
        try:
            async with world.database.write() as session:
                return (await contacts.create(session, world.owner, a_draft(ANA))).id
        except Conflict as refused:
            return str(refused)

    answers = await asyncio.gather(*(make() for _ in range(4)))
    (made,) = [answer for answer in answers if isinstance(answer, UUID)]
    assert {answer for answer in answers if isinstance(answer, str)} == {f"number: contact {made} has it already"}


async def test_of_two_that_take_the_same_number_one_is_refused(world: ContactWorld) -> None:
    ids = [(await world.create(number))["id"] for number in (ANA, BEN)]

    answers = await asyncio.gather(*(world.ask("PATCH", f"/contacts/{each}", {"number": EVA}) for each in ids))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_what_changes_nothing_leaves_the_revision(world: ContactWorld) -> None:
    ana = await world.create(ANA, name="Ana", tags=["VIP"], further=[{"number": BEN}])
    first = await world.ask("GET", f"/contacts/{ana['id']}")
    same = {"name": "Ana", "number": "+34 612 345 678", "tags": ["vip"], "further": [{"number": BEN}]}

    again = await world.ask("PATCH", f"/contacts/{ana['id']}", same)
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.json() == first.json()
    restored = await world.told("POST", f"/contacts/{ana['id']}/restore")
    assert restored == first.json()


async def test_a_page_of_nobody_has_no_details(world: ContactWorld) -> None:
    async with world.database.read() as session:
        assert await world.services.contacts.details(session, []) == []
