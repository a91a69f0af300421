"""What the rest of the SQL finds: contacts by any of their numbers, own numbers, the first organisation."""

from uuid import UUID

import pytest

from tests.calls.stored_calls import NOW, OURS, an_organisation
from tests.compliance.ledgers import ANA, BEN
from voice_agent.compliance import repository
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ContactPhoneRow, ContactRow, PhoneNumberRow


def a_contact(org_id: UUID, number: str) -> ContactRow:
    return ContactRow(id=new_id(), org_id=org_id, e164=number, raw_number=number, created_at=NOW, updated_at=NOW)


@pytest.fixture
async def org_id(database: Database) -> UUID:
    return await an_organisation(database)


async def test_contacts_are_found_by_their_first_number_and_by_further_ones(database: Database, org_id: UUID) -> None:
    ana, gone = a_contact(org_id, ANA), a_contact(org_id, BEN)
    gone.deleted_at = NOW
    async with database.write() as session:
        session.add_all([ana, gone])
        await session.flush()
        session.add(ContactPhoneRow(contact_id=ana.id, e164=BEN, org_id=org_id, rank=1, raw_number=BEN))
    async with database.read() as session:
        found = [await repository.contacts_with(session, org_id, number) for number in (ANA, BEN, OURS)]
        elsewhere = await repository.contacts_with(session, new_id(), ANA)

    assert [[row.id for row in rows] for rows in found] == [[ana.id], [ana.id], []]
    assert list(elsewhere) == []


async def test_a_number_is_ones_own_in_one_organisation_alone(database: Database, org_id: UUID) -> None:
    async with database.write() as session:
        session.add(PhoneNumberRow(id=new_id(), org_id=org_id, e164=OURS, created_at=NOW))
    async with database.read() as session:
        assert await repository.is_own_number(session, org_id, OURS)
        assert not await repository.is_own_number(session, org_id, ANA)
        assert not await repository.is_own_number(session, new_id(), OURS)


def test_scopes_have_names() -> None:
    org_id, campaign_id = new_id(), new_id()

    assert repository.scope_of(None) == "global"
    assert repository.scope_of(org_id) == f"organisation:{org_id}"
    assert repository.scope_of(org_id, campaign_id) == f"campaign:{campaign_id}"
