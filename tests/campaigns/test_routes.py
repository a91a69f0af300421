"""Campaigns over REST, from the draft to the archive."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from tests.campaigns.campaign_world import CampaignWorld, campaign_world
from voice_agent.auth.principal import Role
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignContactRow, CampaignRevisionRow, CampaignRow


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[CampaignWorld]:
    async with campaign_world(sqlite, tmp_path) as opened:
        yield opened


async def test_a_campaign_is_made_looked_at_launched_paused_and_stopped(world: CampaignWorld) -> None:
    ready = await world.ready(people=3)
    assert (ready["state"], ready["contacts"], ready["preflight"]["is_ready"]) == ("ready", 3, True)

    running = await world.told("POST", f"/campaigns/{ready['id']}/start")
    assert (running["state"], running["tally"]["due"], running["open"]) == ("running", 3, 3)
    paused = await world.told("POST", f"/campaigns/{ready['id']}/pause", {"reason": "lunch"})
    assert (paused["state"], paused["reason"]) == ("paused", "lunch")
    resumed = await world.told("POST", f"/campaigns/{ready['id']}/resume")
    assert resumed["state"] == "running"
    stopped = await world.told("POST", f"/campaigns/{ready['id']}/stop", {"mode": "emergency"})
    assert stopped["state"] == "stopping"

    notes = (await world.told("GET", f"/campaigns/{ready['id']}/notes?kind=state"))["items"]
    assert [note["details"]["event"] for note in reversed(notes)] == [
        "validate", "found_ready", "start", "pause", "drained", "resume", "stop",
    ]  # fmt: skip


async def test_what_the_table_does_not_allow_is_a_conflict(world: CampaignWorld) -> None:
    campaign = await world.campaign()
    for verb, body in (("start", None), ("pause", {}), ("resume", None), ("stop", {}), ("unschedule", None)):
        answer = await world.ask("POST", f"/campaigns/{campaign['id']}/{verb}", body)
        assert answer.status_code == 409, (verb, answer.text)
        assert "draft" in answer.json()["detail"]


async def test_edits_make_revisions_and_one_that_was_made_from_an_older_state_is_refused(world: CampaignWorld) -> None:
    campaign = await world.ready()
    path = f"/campaigns/{campaign['id']}"

    edited = await world.ask("PUT", path, {"name": "Spring 2", "plan": world.plan(weight=5)}, **{"If-Match": '"1"'})
    assert (edited.status_code, edited.json()["state"], edited.headers["etag"]) == (200, "ready", '"2"')
    stale = await world.ask("PUT", path, {"name": "Spring 3", "plan": world.plan()}, **{"If-Match": '"1"'})
    assert stale.status_code == 412
    redrafted = await world.told("PUT", path, {"name": "Spring 2", "plan": world.plan(purpose="survey")})

    assert (redrafted["state"], redrafted["preflight"], redrafted["revision"]) == ("draft", None, 3)
    assert [each["number"] for each in await world.told("GET", f"{path}/revisions")] == [3, 2, 1]
    assert (await world.told("GET", f"{path}/revisions/2"))["plan"]["weight"] == 5
    assert await world.told("GET", f"{path}/revisions/1/difference/2") == [{"field": "weight", "old": 1, "new": 5}]
    assert (await world.ask("GET", f"{path}/revisions/9")).status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "spam"},
        {"audience": {"lists": [str(uuid4())]}},
        {"variants": [{"agent_id": str(uuid4())}]},
        {"pool_id": str(uuid4())},
        {"audience": {"filter": {"type": "nonsense"}}},
    ],
)
async def test_a_plan_that_cannot_be_right_is_refused(world: CampaignWorld, changes: dict[str, object]) -> None:
    answer = await world.ask("POST", "/campaigns", {"name": "Spring", "plan": world.plan(**changes)})

    assert answer.status_code == 422, answer.text


async def test_a_name_is_used_once_and_again_after_the_archive(world: CampaignWorld) -> None:
    first = await world.campaign()
    assert (await world.ask("POST", "/campaigns", {"name": "Spring", "plan": world.plan()})).status_code == 409

    await world.told("POST", f"/campaigns/{first['id']}/archive")
    second = await world.campaign()

    assert [each["id"] for each in (await world.told("GET", "/campaigns"))["items"]] == [second["id"]]
    archived = await world.told("GET", "/campaigns?state=archived&name=spr")
    assert [each["id"] for each in archived["items"]] == [first["id"]]


async def test_the_same_creation_twice_is_one(world: CampaignWorld) -> None:
    body = {"name": "Spring", "plan": world.plan()}
    first, again = [await world.ask("POST", "/campaigns", body, **{"Idempotency-Key": "k1"}) for _ in range(2)]

    assert first.json()["id"] == again.json()["id"]


async def test_contacts_are_listed_by_state_and_reason(world: CampaignWorld) -> None:
    campaign = await world.campaign()
    contacts = await world.people("+34612345601", "+447400123456")
    await world.told("POST", f"/campaigns/{campaign['id']}/contacts", {"contacts": contacts})

    await world.looked_at(campaign["id"])

    page = await world.told("GET", f"/campaigns/{campaign['id']}/contacts?reason=not_permitted&state=pending")
    assert [each["e164"] for each in page["items"]] == ["+447400123456"]
    preflight = await world.told("GET", f"/campaigns/{campaign['id']}/preflight")
    (skipped,) = preflight["skipped"]
    assert (skipped["reason"], skipped["samples"]) == ("not_permitted", [page["items"][0]["id"]])
    assert (preflight["contacts"], preflight["kept"], preflight["progress"]) == (2, 1, 1.0)


async def test_contacts_that_join_a_campaign_that_dials_are_due_and_join_once(world: CampaignWorld) -> None:
    running = await world.launched()
    more = await world.people("+34612345699")
    path = f"/campaigns/{running['id']}/contacts"

    assert await world.told("POST", path, {"contacts": more}) == {"added": 1}
    assert await world.told("POST", path, {"contacts": more}) == {"added": 0}
    assert (await world.get(running["id"]))["tally"]["due"] == 3


async def test_contacts_whose_part_is_over_are_called_again_but_not_who_refused(world: CampaignWorld) -> None:
    running = await world.launched(people=3)
    async with world.database.write() as session:
        query = select(CampaignContactRow).order_by(CampaignContactRow.e164)
        done, refused, busy = (await session.scalars(query)).all()
        done.state, refused.state, busy.state, busy.last_outcome = "done", "suppressed", "exhausted", "busy"
    path = f"/campaigns/{running['id']}/contacts/reopen"

    assert await world.told("POST", path, {"outcomes": ["busy"]}) == {"reopened": 1}
    assert await world.told("POST", path, {"contacts": [str(refused.contact_id)]}) == {"reopened": 0}
    assert (await world.ask("POST", path, {"states": ["suppressed"]})).status_code == 422
    assert await world.told("POST", path, {}) == {"reopened": 1}
    tally = (await world.get(running["id"]))["tally"]
    assert (tally["due"], tally["suppressed"]) == (2, 1)


async def test_a_copy_has_the_plan_and_a_campaign_of_outcomes_the_contacts(world: CampaignWorld) -> None:
    running = await world.launched(people=3)
    async with world.database.write() as session:
        first = (await session.scalars(select(CampaignContactRow).order_by(CampaignContactRow.e164))).first()
        assert first is not None
        first.state, first.last_outcome = "exhausted", "no_answer"
    path = f"/campaigns/{running['id']}"

    copy = await world.told("POST", f"{path}/clone", {"name": "Again"})
    again = await world.told("POST", f"{path}/from-outcomes", {"name": "Once more", "outcomes": ["no_answer"]})
    looked_at = await world.looked_at(again["id"])

    assert (copy["state"], copy["cloned_from"], copy["contacts"]) == ("draft", running["id"], 0)
    assert (looked_at["cloned_from"], looked_at["contacts"], looked_at["state"]) == (running["id"], 1, "ready")


async def test_a_test_call_goes_to_an_own_number_and_belongs_to_no_campaign(world: CampaignWorld) -> None:
    running = await world.launched()
    await world.our_number("+34910000001")
    path = f"/campaigns/{running['id']}"

    call = await world.told("POST", f"{path}/test-call", {"to": "+34910000001"})

    assert call["purpose"] == "test"
    assert (await world.told("GET", f"{path}/attempts"))["items"] == []
    for body, status in (
        ({"to": "+34612345601"}, 403),
        ({"to": "+34910000001", "variant": "zz"}, 422),
        ({"to": "+34910000001", "campaign_contact_id": str(uuid4())}, 404),
    ):
        assert (await world.ask("POST", f"{path}/test-call", body)).status_code == status


async def test_only_drafts_are_deleted(world: CampaignWorld) -> None:
    draft, ready = await world.campaign("Draft"), await world.ready("Ready")

    assert (await world.ask("DELETE", f"/campaigns/{ready['id']}")).status_code == 409
    await world.told("DELETE", f"/campaigns/{draft['id']}")

    assert (await world.ask("GET", f"/campaigns/{draft['id']}")).status_code == 404
    async with world.database.read() as session:
        rows = (await session.scalars(select(CampaignRevisionRow.campaign_id))).all()
    assert UUID(draft["id"]) not in rows


async def test_scheduling_needs_a_moment_in_the_future(world: CampaignWorld) -> None:
    at_once, later = await world.ready("Now"), await world.ready("Later", starts_at="2099-01-01T00:00:00Z")

    assert (await world.ask("POST", f"/campaigns/{at_once['id']}/schedule")).status_code == 409
    scheduled = await world.told("POST", f"/campaigns/{later['id']}/schedule")
    assert (scheduled["state"], scheduled["starts_at"]) == ("scheduled", "2099-01-01T00:00:00Z")
    assert (await world.told("POST", f"/campaigns/{later['id']}/unschedule"))["state"] == "ready"


async def test_dispositions_are_an_organisations_own_words(world: CampaignWorld) -> None:
    made = await world.told("POST", "/dispositions", {"key": "sold", "label": "Sold", "is_goal": True})
    assert (await world.ask("POST", "/dispositions", {"key": "sold", "label": "Again"})).status_code == 409

    await world.told("PUT", f"/dispositions/{made['id']}", {"label": "Verkauft"})
    (listed,) = await world.told("GET", "/dispositions")
    assert (listed["label"], listed["is_goal"], listed["key"]) == ("Verkauft", False, "sold")
    await world.told("DELETE", f"/dispositions/{made['id']}")
    assert await world.told("GET", "/dispositions") == []
    assert (await world.ask("DELETE", f"/dispositions/{made['id']}")).status_code == 404


async def test_others_see_nothing_and_a_viewer_neither_launches_nor_sees_contacts(world: CampaignWorld) -> None:
    ready = await world.ready()
    other = await world.api.key(await world.api.organisation("Other", "+34910000009"))
    viewer = await world.api.member(world.org_id, Role.VIEWER)
    path = f"/campaigns/{ready['id']}"

    assert (await world.api.ask("GET", path, other)).status_code == 404
    assert (await world.api.ask("POST", f"{path}/start", other)).status_code == 404
    assert (await world.api.ask("GET", path, viewer)).status_code == 200
    assert (await world.api.ask("GET", f"{path}/contacts", viewer)).status_code == 403
    assert (await world.api.ask("POST", f"{path}/start", viewer)).status_code == 403
    async with world.database.read() as session:
        assert (await session.get_one(CampaignRow, UUID(ready["id"]))).state == "ready"
