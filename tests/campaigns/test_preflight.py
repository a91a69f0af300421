"""The look before a launch: whom it keeps and whom not, on SQLite and on Postgres; broken off, again, and stale."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.api.world import now
from tests.campaigns.campaign_world import CampaignWorld, campaign_world
from tests.contacts.contact_world import a_context
from voice_agent.campaigns import preflight as module
from voice_agent.campaigns.life import Cause
from voice_agent.campaigns.preflight import CampaignToLookAt, Look, Preflight, PreflightPorts, look_of
from voice_agent.errors import Conflict
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignContactRow, CampaignRow, PhoneNumberRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[CampaignWorld]:
    async with campaign_world(database, tmp_path) as opened:
        yield opened


@pytest.fixture
async def small(sqlite: Database, tmp_path: Path) -> AsyncIterator[CampaignWorld]:
    async with campaign_world(sqlite, tmp_path) as opened:
        yield opened


def looking(world: CampaignWorld, **said: object) -> Preflight:
    """Return a preflight that looks at two contacts at a time."""
    ports = PreflightPorts(
        database=world.database,
        life=world.parts.life,
        compliance=world.api.compliance,
        jobs=JobOutbox(),
        policy=world.api.calls.policy,
        missing_settings=("TWILIO_AUTH_TOKEN",) if said else (),
    )
    return Preflight(ports, clock=now, window=2, chunk=2)


async def begun(world: CampaignWorld, campaign_id: str, look: Preflight) -> CampaignToLookAt:
    async with world.database.write() as session:
        row = await session.get_one(CampaignRow, UUID(campaign_id))
        row = await look.begin(session, row, Cause(by=world.owner))
        found = look_of(row)
    assert found is not None
    return CampaignToLookAt(org_id=world.org_id, campaign_id=row.id, run=found.run)


async def look_at(world: CampaignWorld, campaign_id: str) -> Look:
    async with world.database.read() as session:
        found = look_of(await session.get_one(CampaignRow, UUID(campaign_id)))
    assert found is not None
    return found


async def test_contacts_are_kept_or_skipped_with_their_reasons(world: CampaignWorld) -> None:
    contacts = await world.people(*(f"+3461234560{index}" for index in range(4)), tags=["VIP"])
    british = await world.people("+447400123456", tags=["VIP"])
    await world.told("POST", "/suppressions", {"numbers": ["+34612345600"]})
    tag = (await world.told("GET", f"/contacts/{contacts[0]}"))["tags"][0]["id"]
    campaign = await world.campaign(audience={"filter": {"type": "tag", "values": [tag]}})
    look = looking(world)

    await look.work(await begun(world, campaign["id"], look), a_context())

    shown = await world.get(campaign["id"])
    found = shown["preflight"]
    assert (shown["state"], found["contacts"], found["kept"], found["countries"]) == ("ready", 5, 3, {"ES": 3})
    assert {each["reason"]: each["count"] for each in found["skipped"]} == {"suppressed": 1, "not_permitted": 1}
    assert [each["code"] for each in found["findings"]] == ["contacts_skipped"]
    assert 0 < found["cost_low"] < found["cost_high"]
    async with world.database.read() as session:
        query = select(CampaignContactRow).where(CampaignContactRow.contact_id == UUID(british[0]))
        (row,) = (await session.scalars(query)).all()
    assert (row.state, row.skip_reason.startswith("not_permitted:")) == ("pending", True)


async def test_looked_at_again_an_audience_is_what_it_is_then(small: CampaignWorld) -> None:
    await small.people("+34612345600", "+34612345601", given_name="Ana")
    (eve,) = await small.people("+34612345602", given_name="Ana")
    fits = {"type": "field", "field": "given_name", "values": ["Ana"]}
    campaign = await small.campaign(audience={"filter": fits})
    assert (await small.looked_at(campaign["id"]))["contacts"] == 3

    await small.told("PATCH", f"/contacts/{eve}", {"given_name": "Eve"})
    shown = await small.looked_at(campaign["id"])

    assert (shown["contacts"], shown["preflight"]["kept"]) == (2, 2)


async def test_what_blocks_a_launch_sends_it_back_to_draft_and_says_why(small: CampaignWorld) -> None:
    async with small.database.write() as session:
        for number in (await session.scalars(select(PhoneNumberRow))).all():
            await session.delete(number)
    campaign = await small.campaign(budget=0)
    look = looking(small, is_without="settings")

    await look.work(await begun(small, campaign["id"], look), a_context())

    shown = await small.get(campaign["id"])
    assert (shown["state"], shown["preflight"]["is_ready"]) == ("draft", False)
    blocking = {each["code"] for each in shown["preflight"]["findings"] if each["severity"] == "blocks"}
    assert blocking == {"no_contacts", "no_number", "no_budget", "settings_missing"}
    assert "TWILIO_AUTH_TOKEN" in shown["reason"]
    assert (await small.ask("POST", f"/campaigns/{campaign['id']}/start")).status_code == 409


async def test_a_variable_that_the_agent_needs_and_nobody_knows_is_a_reason(small: CampaignWorld) -> None:
    agent = (await small.told("GET", f"/agents/{small.agent_id}/versions/1"))["definition"]
    agent["variables"] = {"given_name": {"is_required": True}}
    await small.told("PUT", f"/agents/{small.agent_id}/draft", {"definition": agent})
    await small.told("POST", f"/agents/{small.agent_id}/publish")
    known, unknown = await small.people("+34612345600", given_name="Ana"), await small.people("+34612345601")
    campaign = await small.campaign()
    await small.told("POST", f"/campaigns/{campaign['id']}/contacts", {"contacts": [*known, *unknown]})

    found = (await small.looked_at(campaign["id"]))["preflight"]

    assert (found["kept"], found["skipped"][0]["reason"]) == (1, "variable_missing")
    assert "given_name" in found["findings"][0]["text"]


async def test_an_agent_that_is_gone_blocks(small: CampaignWorld) -> None:
    campaign = await small.campaign()
    await small.told("DELETE", f"/agents/{small.agent_id}")

    found = (await small.looked_at(campaign["id"]))["preflight"]

    assert "agent_not_published" in {each["code"] for each in found["findings"]}


async def test_numbers_that_the_law_forbids_to_show_block(small: CampaignWorld) -> None:
    async with small.database.write() as session:
        for number in (await session.scalars(select(PhoneNumberRow))).all():
            number.e164 = "+34600000000"

    shown = await small.ready(people=2)

    (finding,) = shown["preflight"]["findings"]
    assert (finding["code"], finding["severity"], finding["count"]) == ("no_legal_number", "blocks", 2)
    assert shown["state"] == "draft"


async def test_a_look_that_is_broken_off_goes_on_where_it_was(small: CampaignWorld) -> None:
    contacts = await small.people(*(f"+3461234560{index}" for index in range(5)))
    campaign = await small.campaign()
    await small.told("POST", f"/campaigns/{campaign['id']}/contacts", {"contacts": contacts})
    look = looking(small)
    work = await begun(small, campaign["id"], look)
    for _ in range(3):  # cleared, filled, two contacts
        answered = await look._answered(work)
        async with small.database.write() as session:
            assert await look._step(session, work, answered)
    halfway = await look_at(small, campaign["id"])
    async with small.database.write() as session:
        assert await look._step(session, work, answered), "what another run has noted is not noted twice"

    await look.work(work, a_context())

    assert (halfway.counts.contacts, halfway.total, halfway.progress) == (2, 5, 0.4)
    assert (await small.get(campaign["id"]))["preflight"]["contacts"] == 5


async def test_of_two_looks_the_later_one_counts_and_a_failed_one_says_so(
    small: CampaignWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = await small.launched()
    await small.told("POST", f"/campaigns/{campaign['id']}/pause", {})
    look = looking(small)
    first = await begun(small, campaign["id"], look)
    second = await begun(small, campaign["id"], look)
    await look.work(first, a_context())
    assert (await look_at(small, campaign["id"])).is_running

    async def broken(*_: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(module.Preflight, "_clear", broken)
    with pytest.raises(RuntimeError) as error:
        await look.work(second, a_context())
    await look.give_up(second, error.value)

    failed = await look_at(small, campaign["id"])
    assert (failed.stage, failed.error, failed.progress) == ("failed", "RuntimeError", 1.0)
    assert (await small.get(campaign["id"]))["state"] == "paused"
    assert (await small.ask("POST", f"/campaigns/{campaign['id']}/resume")).status_code == 409


async def test_a_paused_campaign_that_was_changed_goes_on_only_after_a_look(small: CampaignWorld) -> None:
    campaign = await small.launched()
    path = f"/campaigns/{campaign['id']}"
    await small.told("POST", f"{path}/pause", {})
    edited = await small.told("PUT", path, {"name": "Spring", "plan": small.plan(purpose="reminder")})
    assert edited["state"] == "paused"
    assert (await small.ask("POST", f"{path}/resume")).status_code == 409

    looked_at = await small.looked_at(campaign["id"])

    assert (looked_at["state"], looked_at["preflight"]["is_ready"]) == ("paused", True)
    assert (await small.told("POST", f"{path}/resume"))["state"] == "running"


@pytest.mark.parametrize("what", ["contacts", "agent", "time"])
async def test_a_look_is_stale_when_what_it_looked_at_has_changed(small: CampaignWorld, what: str) -> None:
    campaign = await small.ready()
    path = f"/campaigns/{campaign['id']}"
    if what == "contacts":
        await small.told("POST", f"{path}/contacts", {"contacts": await small.people("+34612345699")})
    elif what == "agent":
        await small.told("POST", f"/agents/{small.agent_id}/roll-back", {"number": 1})
    else:
        async with small.database.write() as session:
            row = await session.get_one(CampaignRow, UUID(campaign["id"]))
            old = (now() - timedelta(hours=25)).isoformat()
            row.preflight = (row.preflight or {}) | {"started_at": old}

    answer = await small.ask("POST", f"{path}/start")

    assert answer.status_code == 409
    assert "validate it again" in answer.json()["detail"]


async def test_a_campaign_that_dials_is_not_looked_at(small: CampaignWorld) -> None:
    campaign = await small.launched()

    with pytest.raises(Conflict):
        await begun(small, campaign["id"], looking(small))
    assert (await small.ask("POST", f"/campaigns/{campaign['id']}/validate")).status_code == 409
