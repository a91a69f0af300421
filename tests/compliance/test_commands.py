"""The operator's commands: suppress a number here or everywhere, lift it again, show the packs."""

from pathlib import Path

import pytest
from sqlalchemy import URL, select

from tests.calls.stored_calls import an_organisation
from tests.compliance.ledgers import ANA
from voice_agent.compliance import commands
from voice_agent.errors import InvalidRequest, NotFound
from voice_agent.settings import ComplianceSettings, ServerSettings, Settings
from voice_agent.storage.database import Database
from voice_agent.storage.tables import SuppressionRow


@pytest.fixture
def settings(sqlite_url: URL, tmp_path: Path) -> Settings:
    path = tmp_path / "voice_agent.db"
    Path(str(sqlite_url.database)).rename(path)
    return Settings(server=ServerSettings(data_dir=tmp_path))


async def stored(settings: Settings) -> list[SuppressionRow]:
    database = Database(URL.create("sqlite+aiosqlite", database=str(settings.server.data_dir / "voice_agent.db")))
    async with database.read() as session:
        rows = list((await session.scalars(select(SuppressionRow))).all())
    await database.close()
    return rows


async def test_a_number_is_suppressed_in_the_first_organisation_or_everywhere(settings: Settings) -> None:
    with pytest.raises(NotFound, match="organisation"):
        await commands.suppress(settings, ANA, reason="", is_global=False)
    assert await commands.suppress(settings, "+34 612 345 678", reason="a letter", is_global=True) == "global"

    database = Database(URL.create("sqlite+aiosqlite", database=str(settings.server.data_dir / "voice_agent.db")))
    org_id = await an_organisation(database)
    await database.close()
    assert await commands.suppress(settings, ANA, reason="", is_global=False) == f"organisation:{org_id}"
    rows = await stored(settings)
    assert {(row.scope, row.e164, row.created_by) for row in rows} == {
        ("global", ANA, "operator"), (f"organisation:{org_id}", ANA, "operator"),
    }  # fmt: skip


async def test_what_holds_everywhere_is_lifted_with_a_reason(settings: Settings) -> None:
    await commands.suppress(settings, ANA, reason="", is_global=True)
    await commands.lift_everywhere(settings, ANA, reason="a mistake")

    (row,) = await stored(settings)
    assert (row.lifted_by, row.lift_reason) == ("operator", "a mistake")
    with pytest.raises(NotFound):
        await commands.lift_everywhere(settings, ANA, reason="again")
    with pytest.raises(InvalidRequest):
        await commands.suppress(settings, "Ana", reason="", is_global=True)


def test_the_packs_are_shown_with_how_sure_they_are(tmp_path: Path) -> None:
    newer = "jurisdiction: GB\nname: Britain\nversion: 7\nas_of: 2027-01-01\nsources: {}\n"
    (tmp_path / "gb.yaml").write_text(newer, "utf-8")

    lines = commands.rule_packs(Settings(compliance=ComplianceSettings(packs_dir=tmp_path))).splitlines()
    assert [line.split()[0] for line in lines] == ["ES", "EU", "MX", "US", "GB", "default"]
    assert "GB       7  followed until 2027-01-01  Britain" in lines[4]
    assert "to be checked against the law itself" in lines[0]
