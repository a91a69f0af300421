"""Looking for campaigns and their contacts, on SQLite and on Postgres; what changes them is tested where it is done."""

import pytest

from tests.calls.stored_calls import NOW, an_organisation
from tests.campaigns.stored_campaigns import a_stored_campaign, an_attempt, notes_of, reread, stored_contacts
from voice_agent.calls.model import Outcome
from voice_agent.campaigns import repository
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.campaigns.repository import CampaignFilter, ContactFilter
from voice_agent.storage.database import Database

C, S = ContactState, CampaignState


async def test_campaigns_are_found_by_state_and_name_of_one_organisation(database: Database) -> None:
    ours, theirs = await an_organisation(database), await an_organisation(database, "Other")
    spring = await a_stored_campaign(database, ours, S.RUNNING, name="Spring 100%")
    gone = await a_stored_campaign(database, ours, S.ARCHIVED, name="Old", archived_at=NOW)
    await a_stored_campaign(database, theirs, S.RUNNING, name="Spring 100%")

    async def names(**wanted: object) -> list[str]:
        async with database.read() as session:
            found = CampaignFilter(**wanted)  # type: ignore[arg-type]
            return [row.name for row in await repository.page(session, ours, found, before=None, limit=10)]

    assert await names() == ["Spring 100%"]
    assert await names(states=frozenset({S.ARCHIVED})) == ["Old"]
    assert await names(name="100%") == ["Spring 100%"]
    assert await names(name="200%") == []
    async with database.read() as session:
        assert await repository.find(session, theirs, spring.id) is None
        assert (await repository.find(session, ours, gone.id)) is not None
        assert await repository.named(session, ours, "Old") is None
        assert (await repository.named(session, ours, "Spring 100%")) is not None
        assert len(await repository.live(session)) == 2


async def test_pages_go_on_where_the_one_before_ended(sqlite: Database) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite))
    await stored_contacts(sqlite, campaign, *[C.DUE] * 5)

    async with sqlite.read() as session:
        first = await repository.contacts_page(session, campaign, ContactFilter(), before=None, limit=3)
        place = (first[-1].created_at, first[-1].id)
        rest = await repository.contacts_page(session, campaign, ContactFilter(), before=place, limit=3)
        walked = await repository.contacts_walk(session, campaign, C.DUE, after="", limit=2)
        further = await repository.contacts_walk(session, campaign, C.DUE, C.DONE, after=walked[-1].e164, limit=9)

    assert len({row.id for row in [*first, *rest]}) == 5
    assert len({row.id for row in [*walked, *further]}) == 5


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (ContactFilter(), 4),
        (ContactFilter(states=frozenset({C.DONE, C.SKIPPED})), 3),
        (ContactFilter(outcomes=frozenset({Outcome.BUSY})), 1),
        (ContactFilter(reason="consent"), 2),
        (ContactFilter(number="+34612000000"), 1),
        (ContactFilter(variant="b"), 1),
    ],
)
async def test_contacts_are_found_by_what_became_of_them(sqlite: Database, wanted: ContactFilter, count: int) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite))
    await stored_contacts(sqlite, campaign, C.DONE, last_outcome="busy", variant="b")
    await stored_contacts(sqlite, campaign, C.SKIPPED, C.SKIPPED, first=5, skip_reason="consent_missing")
    await stored_contacts(sqlite, campaign, C.DUE, first=9)

    async with sqlite.read() as session:
        assert len(await repository.contacts_page(session, campaign, wanted, before=None, limit=9)) == count


async def test_reopened_contacts_are_due_now_and_not_before_a_moment_that_was_promised(database: Database) -> None:
    campaign = await a_stored_campaign(database, await an_organisation(database), S.RUNNING)
    later = NOW.replace(year=2027)
    (done,) = await stored_contacts(database, campaign, C.DONE, settled_at=NOW, skip_reason="x")
    (cooling,) = await stored_contacts(database, campaign, C.COOLDOWN, first=5, next_attempt_at=later)

    async with database.write() as session:
        moved = await repository.move_contacts(session, campaign, ContactFilter(), NOW, limit=10)

    assert moved == 2
    row = await reread(database, done)
    assert (row.state, row.next_attempt_at, row.skip_reason, row.settled_at) == ("due", NOW, "", None)
    assert (await reread(database, cooling)).next_attempt_at == later


async def test_the_log_is_read_by_kind_and_its_lines_are_not_endless(sqlite: Database) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite))
    async with sqlite.write() as session:
        await repository.note(session, campaign, "state", "x" * 2_000, None, "ana", NOW)
        await repository.note(session, campaign, "hold", "held", {"code": "budget"}, "scheduler", NOW)

    async with sqlite.read() as session:
        held = await repository.notes_page(session, campaign, kind="hold", before=None, limit=9)
        every = await repository.notes_page(session, campaign, kind="", before=None, limit=9)
    assert [note.details for note in held] == [{"code": "budget"}]
    assert len(every) == len(await notes_of(sqlite, campaign)) == 2
    assert max(len(note.text) for note in every) == repository.LONGEST_NOTE


async def test_active_calls_are_counted(sqlite: Database) -> None:
    campaign = await a_stored_campaign(sqlite, await an_organisation(sqlite))
    talking, over = await stored_contacts(sqlite, campaign, C.IN_CALL, C.DONE)
    await an_attempt(sqlite, campaign, talking, "in_progress")
    await an_attempt(sqlite, campaign, over, "ended")

    async with sqlite.read() as session:
        assert await repository.count_active(session, campaign) == 1
        assert [call.state for call in await repository.active_calls(session, campaign)] == ["in_progress"]
