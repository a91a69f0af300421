"""The parts put together."""

from pathlib import Path
from uuid import uuid4

from tests.contacts.import_world import ImportWorld, csv_of
from voice_agent.contacts.imports import fetch_rules
from voice_agent.settings import ImportSettings
from voice_agent.storage.database import Database


def test_what_may_be_fetched_is_what_the_settings_say() -> None:
    rules = fetch_rules(ImportSettings(allow_http=True, allowed_networks="10.1.0.0/16"))
    assert rules.allows_http
    assert [str(network) for network in rules.allowed] == ["10.1.0.0/16"]
    assert fetch_rules(ImportSettings()).allowed == ()


async def test_an_import_of_this_process_asks_for_no_job_and_others_do(sqlite: Database, tmp_path: Path) -> None:
    world = await ImportWorld(sqlite, tmp_path).open()
    ours, other = await world.uploaded(csv_of(1)), await world.uploaded(csv_of(1))
    world.imports.ours.add(ours.id)
    await world.start(ours)
    await world.start(other)
    assert await world.jobs() == [f"contacts.import-{other.id}"]
    assert (await world.reread(ours)).state == "running"
    assert uuid4() not in world.imports.ours
