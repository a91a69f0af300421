"""`voice-agent campaigns`: what is told, and what is done."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.campaigns.stored_campaigns import a_campaign, stored_contacts
from voice_agent.auth.commands import create_owner
from voice_agent.campaigns import commands
from voice_agent.campaigns.model import CampaignState, ContactState
from voice_agent.cli import app
from voice_agent.errors import Conflict, NotFound
from voice_agent.settings import Settings, load_settings
from voice_agent.storage.database import Database, database_url
from voice_agent.storage.tables import CampaignRow

C, S = ContactState, CampaignState


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return load_settings()


async def a_running_one(settings: Settings) -> CampaignRow:
    org_id = await create_owner(settings, "ana@harbour.test", "correct horse battery")
    database = Database(database_url(settings))
    async with database.write() as session:
        row = a_campaign(org_id, S.RUNNING, name="Spring")
        session.add(row)
    await stored_contacts(database, row, C.DONE, C.DUE)
    await database.close()
    return row


async def test_a_campaign_is_shown_paused_refused_and_stopped(settings: Settings) -> None:
    with pytest.raises(NotFound, match="create an owner first"):
        await commands.list_campaigns(settings)
    row = await a_running_one(settings)

    assert await commands.list_campaigns(settings) == "Spring: running, 1 of 2 contacts are over"
    assert "paused" in await commands.pause(settings, "Spring", "lunch")
    shown = await commands.show(settings, str(row.id))
    assert "lunch" in shown
    assert "(command line)" in shown
    with pytest.raises(Conflict, match="not been looked at"):
        await commands.start(settings, "Spring")
    assert "stopping" in await commands.stop(settings, "Spring", "over", is_emergency=True)
    for name in ("Autumn", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(NotFound, match="no campaign"):
            await commands.show(settings, name)


async def test_without_campaigns_it_says_so(settings: Settings) -> None:
    await create_owner(settings, "ana@harbour.test", "correct horse battery")

    assert await commands.list_campaigns(settings) == "There are no campaigns yet."


def test_the_verbs_are_commands(settings: Settings) -> None:
    asyncio.run(a_running_one(settings))
    run = CliRunner().invoke

    assert "Spring: running" in run(app, ["campaigns", "list"]).output
    assert "1 due" in run(app, ["campaigns", "show", "Spring"]).output
    assert "paused" in run(app, ["campaigns", "pause", "Spring", "--reason", "lunch"]).output
    assert isinstance(run(app, ["campaigns", "start", "Spring"]).exception, Conflict)
    assert "stopping" in run(app, ["campaigns", "stop", "Spring", "--emergency"]).output
