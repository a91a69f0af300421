"""What time brings."""

from datetime import datetime, timedelta

import pytest

from tests.calls.stored_calls import NOW
from tests.campaigns.dialling_world import dialling_world
from voice_agent.campaigns import timetable
from voice_agent.campaigns.model import CampaignEvent, CampaignState
from voice_agent.storage.database import Database
from voice_agent.storage.tables import CampaignRow

PAST, FUTURE = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
_E, _S = CampaignEvent, CampaignState


@pytest.mark.parametrize(
    ("state", "starts_at", "ends_at", "release_at", "event"),
    [
        (_S.SCHEDULED, NOW, None, None, _E.START),
        (_S.SCHEDULED, FUTURE, None, None, None),
        (_S.SCHEDULED, None, None, None, None),
        (_S.SCHEDULED, PAST - timedelta(hours=1), PAST, None, _E.END_REACHED),
        (_S.READY, PAST, None, None, None),
        (_S.RUNNING, PAST, NOW, None, _E.END_REACHED),
        (_S.RUNNING, PAST, FUTURE, None, None),
        (_S.PAUSED, None, NOW, None, _E.END_REACHED),
        (_S.STOPPING, None, NOW, None, None),
        (_S.HELD, None, None, NOW, _E.RELEASE),
        (_S.HELD, None, None, FUTURE, None),
        (_S.HELD, None, None, None, None),
        (_S.HELD, None, NOW, NOW, _E.END_REACHED),
    ],
)
async def test_beginnings_ends_and_releases(
    sqlite: Database, state: CampaignState, starts_at: datetime | None, ends_at: datetime | None,
    release_at: datetime | None, event: CampaignEvent | None,
) -> None:  # fmt: skip
    world = await dialling_world(sqlite)
    dates = {"starts_at": starts_at, "ends_at": ends_at}
    campaign = await world.campaign(state, **{name: at.isoformat() for name, at in dates.items() if at is not None})
    async with sqlite.write() as session:
        (await session.get_one(CampaignRow, campaign.id)).release_at = release_at

    async with sqlite.read() as session:
        found = [(row.id, event) for row, event in await timetable.due(session, NOW)]
    assert found == ([] if event is None else [(campaign.id, event)])
    assert event is None or event in timetable.WORDS
