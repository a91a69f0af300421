"""Who is called: lists, segments and filters become contacts of a campaign, on SQLite and on Postgres."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.calls.stored_calls import NOW, an_organisation
from tests.campaigns.stored_campaigns import a_document, a_stored_campaign, jobs_of, notes_of
from tests.contacts.stored_contacts import a_draft, store_contacts
from voice_agent.campaigns import audience
from voice_agent.campaigns.audience import AudienceToFollow, Entry, LiveAudiences, Reached
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.campaigns.plan import read_plan
from voice_agent.errors import InvalidRequest
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import CampaignContactRow, CampaignRow, ContactListRow, ContactRow, ListMemberRow

S, C = CampaignState, ContactState
CONTEXT = JobContext(job_id="1", kind="x", tries=1, is_last=False)
PENDING = Entry(state=C.PENDING, now=NOW)


async def people(database: Database, org_id: UUID, count: int, first: int = 0, **said: Any) -> list[ContactRow]:
    drafts = [a_draft(f"+3461234{first + index:04d}", **said) for index in range(count)]
    return await store_contacts(database, org_id, *drafts)


async def a_list(
    database: Database, org_id: UUID, contacts: list[ContactRow], filter_: dict[str, Any] | None = None, **said: Any
) -> str:
    row = ContactListRow(
        id=new_id(), org_id=org_id, name=uuid4().hex, kind="static" if filter_ is None else "dynamic",
        filter=filter_, created_by="test", created_at=NOW, updated_at=NOW, **said,
    )  # fmt: skip
    async with database.write() as session:
        session.add(row)
        await session.flush()
        session.add_all(
            ListMemberRow(list_id=row.id, contact_id=contact.id, org_id=org_id, added_at=NOW) for contact in contacts
        )
    return str(row.id)


def named(*names: str) -> dict[str, Any]:
    return {"type": "field", "field": "given_name", "values": list(names)}


async def filled(
    database: Database, campaign: CampaignRow, size: int = 2, entry: Entry = PENDING
) -> list[CampaignContactRow]:
    reached: Reached | None = Reached()
    plan = read_plan(campaign.plan)
    while reached is not None:
        async with database.write() as session:
            _, reached = await audience.fill_window(session, campaign, plan, reached, entry, size=size)
    return await rows_of(database, campaign)


async def rows_of(database: Database, campaign: CampaignRow) -> list[CampaignContactRow]:
    query = select(CampaignContactRow).where(CampaignContactRow.campaign_id == campaign.id)
    async with database.read() as session:
        return list((await session.scalars(query.order_by(CampaignContactRow.e164))).all())


async def a_campaign_for(database: Database, org_id: UUID, state: CampaignState = S.DRAFT, **said: Any) -> CampaignRow:
    return await a_stored_campaign(database, org_id, state, plan=a_document(audience=said), launched_at=NOW)


async def test_lists_segments_and_filters_together_say_who_is_called(database: Database) -> None:
    org_id = await an_organisation(database)
    anas = await people(database, org_id, 3, given_name="Ana", custom={"score": 7, "city": "Leon"})
    evas = await people(database, org_id, 3, first=10, given_name="Eva")
    await people(database, org_id, 2, first=20, given_name="Leo")
    static = await a_list(database, org_id, [*anas, evas[0]])
    segment = await a_list(database, org_id, [], named("Eva"))
    without = await a_list(database, org_id, [anas[0]])
    without_segment = await a_list(database, org_id, [], {"type": "field", "field": "company", "values": ["None Ltd"]})
    campaign = await a_campaign_for(
        database,
        org_id,
        lists=[static, segment],
        without_lists=[without, without_segment],
        filter={"type": "not", "of": named("Leo")},
        rank_field="score",
    )

    rows = await filled(database, campaign)

    assert [row.contact_id for row in rows] == [anas[1].id, anas[2].id, *(eva.id for eva in evas)]
    assert {row.state for row in rows} == {"pending"}
    assert rows[0].variables == {"name": "Ana", "given_name": "Ana", "score": "7", "city": "Leon"}
    assert (rows[0].rank, rows[-1].rank, rows[0].variant, rows[0].next_attempt_at) == (7, 0, "a", None)


async def test_a_filter_alone_chooses_among_all_and_nothing_chooses_nobody(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    await people(sqlite, org_id, 3, given_name="Ana")
    await people(sqlite, org_id, 2, first=10, given_name="Leo")

    assert len(await filled(sqlite, await a_campaign_for(sqlite, org_id, filter=named("Ana")))) == 3
    assert await filled(sqlite, await a_campaign_for(sqlite, org_id)) == []


async def test_nobody_is_in_a_campaign_twice_and_other_organisations_are_not(database: Database) -> None:
    ours, theirs = await an_organisation(database), await an_organisation(database, "Other")
    contacts = await people(database, ours, 4, given_name="Ana")
    foreign = await people(database, theirs, 2, given_name="Ana")
    lists = [await a_list(database, ours, contacts), await a_list(database, ours, contacts[1:])]
    campaign = await a_campaign_for(database, ours, lists=lists)

    await asyncio.gather(filled(database, campaign), filled(database, campaign))
    async with database.write() as session:
        ids = [contact.id for contact in (*foreign, contacts[0])]
        added = await audience.add(session, campaign, read_plan(campaign.plan), ids, PENDING)

    assert added == 0
    assert len(await rows_of(database, campaign)) == 4


async def test_a_list_that_is_archived_meanwhile_brings_nobody_and_goes_on_leaving_out(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    anas = await people(sqlite, org_id, 2, given_name="Ana")
    gone = await a_list(sqlite, org_id, anas, archived_at=NOW)
    kept = await a_list(sqlite, org_id, anas[:1])

    assert len(await filled(sqlite, await a_campaign_for(sqlite, org_id, lists=[gone, kept]))) == 1
    assert await filled(sqlite, await a_campaign_for(sqlite, org_id, lists=[kept], without_lists=[gone])) == []


async def test_what_an_audience_names_has_to_be_there(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    unknown, tag = str(uuid4()), {"type": "tag", "values": [str(uuid4())]}
    good = await a_list(sqlite, org_id, [])
    async with sqlite.read() as session:
        await audience.check_audience(session, org_id, read_plan(a_document(audience={"lists": [good]})))
        for said in ({"lists": [unknown]}, {"without_lists": [unknown]}, {"filter": tag}):
            with pytest.raises(InvalidRequest):
                await audience.check_audience(session, org_id, read_plan(a_document(audience=said)))


async def test_an_audience_is_cleared_bit_by_bit_and_only_of_who_waits_for_the_launch(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    await people(sqlite, org_id, 3, given_name="Ana")
    campaign = await a_campaign_for(sqlite, org_id, filter=named("Ana"))
    await filled(sqlite, campaign)
    async with sqlite.write() as session:
        first = (await session.scalars(select(CampaignContactRow))).first()
        assert first is not None
        first.state = "done"

    gone = []
    for _ in range(2):
        async with sqlite.write() as session:
            gone.append(await audience.clear(session, campaign, limit=1))
            left = await audience.count(session, campaign)

    assert (gone, left) == ([1, 1], 1)


# --- live audiences ---------------------------------------------------------------------------------------------------
async def follow(database: Database, campaign: CampaignRow, now: Any = NOW + timedelta(hours=1)) -> None:
    live = LiveAudiences(database, JobOutbox(), lambda: now, window=2)
    await live.follow(AudienceToFollow(org_id=campaign.org_id, campaign_id=campaign.id), CONTEXT)


async def test_whoever_comes_to_fit_joins_while_it_runs_and_is_due(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    await people(sqlite, org_id, 3, given_name="Ana")
    campaign = await a_campaign_for(sqlite, org_id, S.RUNNING, filter=named("Ana"), is_live=True)
    await filled(sqlite, campaign)
    await people(sqlite, org_id, 3, first=10, given_name="Ana")

    await follow(sqlite, campaign)
    await follow(sqlite, campaign)

    rows = await rows_of(sqlite, campaign)
    assert [row.state for row in rows] == ["pending"] * 3 + ["due"] * 3
    assert rows[-1].next_attempt_at == NOW + timedelta(hours=1)
    assert sum(note.details["new"] for note in await notes_of(sqlite, campaign) if note.details) == 3


async def test_no_more_join_in_a_day_than_the_plan_says(database: Database) -> None:
    org_id = await an_organisation(database)
    await people(database, org_id, 5, given_name="Ana")
    campaign = await a_campaign_for(database, org_id, S.RUNNING, filter=named("Ana"), is_live=True, daily_new=2)

    await follow(database, campaign)
    await follow(database, campaign)
    after_a_day = len(await rows_of(database, campaign))
    await follow(database, campaign, NOW + timedelta(days=1))

    assert (after_a_day, len(await rows_of(database, campaign))) == (2, 4)


@pytest.mark.parametrize(("state", "is_live"), [(S.PAUSED, True), (S.RUNNING, False)])
async def test_nobody_joins_one_that_does_not_run_or_does_not_follow(
    sqlite: Database, state: CampaignState, is_live: bool
) -> None:
    org_id = await an_organisation(sqlite)
    await people(sqlite, org_id, 1, given_name="Ana")
    campaign = await a_campaign_for(sqlite, org_id, state, filter=named("Ana"), is_live=is_live)

    await follow(sqlite, campaign)
    await LiveAudiences(sqlite, JobOutbox(), lambda: NOW).look()

    assert await rows_of(sqlite, campaign) == []
    assert await jobs_of(sqlite) == []


async def test_live_campaigns_are_looked_after_once_in_a_while(sqlite: Database) -> None:
    org_id = await an_organisation(sqlite)
    campaign = await a_campaign_for(sqlite, org_id, S.RUNNING, is_live=True)
    live = LiveAudiences(sqlite, JobOutbox(), lambda: NOW)

    await live.look()
    await live.look()

    (job,) = await jobs_of(sqlite)
    assert job.payload == {"org_id": str(org_id), "campaign_id": str(campaign.id)}


@given(
    st.lists(st.lists(st.integers(0, 7), max_size=8), max_size=3),
    st.lists(st.integers(0, 7), max_size=8),
    st.integers(1, 4),
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_an_audience_is_the_union_of_its_lists_without_the_others_each_once(
    sqlite: Database, members: list[list[int]], without: list[int], size: int
) -> None:
    org_id = await an_organisation(sqlite)
    contacts = await people(sqlite, org_id, 8)
    lists = [await a_list(sqlite, org_id, [contacts[index] for index in set(each)]) for each in members]
    out = await a_list(sqlite, org_id, [contacts[index] for index in set(without)])
    campaign = await a_campaign_for(sqlite, org_id, lists=lists, without_lists=[out])

    rows = await filled(sqlite, campaign, size=size)

    expected = {contacts[index].id for each in members for index in each} - {contacts[index].id for index in without}
    assert sorted(row.contact_id for row in rows if row.contact_id) == sorted(expected)
    assert len(await filled(sqlite, campaign, size=size)) == len(rows)
