"""What is read about whoever is in a call."""

from tests.calls.stored_calls import NOW, an_organisation
from tests.contacts.stored_contacts import a_draft, store_contacts
from voice_agent.calls import outcome_rows
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CampaignContactRow, CampaignRow, DispositionRow


async def test_dispositions_are_those_of_the_organisation_by_key(sqlite: Database) -> None:
    ours, others = await an_organisation(sqlite), await an_organisation(sqlite, "Other")
    async with sqlite.write() as session:
        for org_id, key in ((ours, "wrong"), (ours, "sold"), (others, "theirs")):
            session.add(DispositionRow(id=new_id(), org_id=org_id, key=key, label=key.title(), created_at=NOW))
    async with sqlite.read() as session:
        assert [row.key for row in await outcome_rows.dispositions(session, ours)] == ["sold", "wrong"]


async def test_nobody_knows_the_zone_of_a_contact_who_is_gone(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    async with sqlite.read() as session:
        assert await outcome_rows.zone_of(session, org_id, new_id()) == ""


async def test_a_contacts_own_zone_is_known_by_the_campaigns_row(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    (contact,) = await store_contacts(sqlite, org_id, a_draft(), zone="Atlantic/Canary")
    campaign = CampaignRow(
        id=new_id(), org_id=org_id, name="Spring", state="running", plan={}, created_at=NOW, updated_at=NOW
    )
    row = CampaignContactRow(
        id=new_id(),
        org_id=org_id,
        campaign_id=campaign.id,
        contact_id=contact.id,
        e164=contact.e164,
        state="due",
        created_at=NOW,
    )
    async with sqlite.write() as session:
        session.add(campaign)
        await session.flush()
        session.add(row)
    async with sqlite.read() as session:
        assert await outcome_rows.zone_of(session, org_id, row.id) == "Atlantic/Canary"
        assert await outcome_rows.zone_of(session, new_id(), row.id) == ""
