from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete, select

from tests.calls.stored_calls import NOW, an_organisation
from tests.contacts.list_world import numbers
from tests.contacts.stored_contacts import a_draft, store_contacts
from voice_agent.contacts.windows import contacts_window, members_window
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ContactListRow, ContactRow, ListMemberRow


@pytest.fixture
async def org_id(database: Database) -> UUID:
    """An organisation beside another one with contacts."""
    other = await an_organisation(database, "Other")
    await store_contacts(database, other, *[a_draft(number) for number in numbers(5)])
    return await an_organisation(database)


@pytest.mark.parametrize("count", [0, 3, 7])
async def test_every_contact_is_in_one_window_whatever_is_made_and_deleted_meanwhile(
    database: Database, org_id: UUID, count: int
) -> None:
    known = await store_contacts(database, org_id, *[a_draft(number) for number in numbers(count)])

    met: list[UUID] = []
    place = None
    while True:
        async with database.write() as session:
            among, place = await contacts_window(session, org_id, after=place, size=3)
            rows = (await session.scalars(select(ContactRow).where(among))).all()
            met += [row.id for row in rows]
            if rows:
                await session.execute(delete(ContactRow).where(ContactRow.id == rows[-1].id))
        if place is None:
            break
        earlier = NOW - timedelta(days=len(met))
        await store_contacts(database, org_id, a_draft(f"+3469999{len(met):04d}"), created_at=earlier)

    assert sorted(met) == sorted(row.id for row in known)


async def test_every_member_of_a_list_is_in_one_window(database: Database, org_id: UUID) -> None:
    rows = await store_contacts(database, org_id, *[a_draft(number) for number in numbers(8)])
    list_id = new_id()
    members = sorted(row.id for row in rows[:7])
    async with database.write() as session:
        times = {"created_at": NOW, "updated_at": NOW}
        session.add(ContactListRow(id=list_id, org_id=org_id, name="x", kind="static", **times))
        await session.flush()
        session.add_all(
            [ListMemberRow(list_id=list_id, contact_id=each, org_id=org_id, added_at=NOW) for each in members]
        )

    met: list[UUID] = []
    sizes: list[int] = []
    after = None
    async with database.read() as session:
        while True:
            among, after = await members_window(session, org_id, list_id, after=after, size=3)
            found = (await session.scalars(select(ContactRow.id).where(among))).all()
            met += found
            sizes.append(len(found))
            if after is None:
                break

    assert (sorted(met), sizes) == (members, [3, 3, 1])
