"""`voice-agent contacts export`: a database and a file, and nothing else."""

import asyncio
import csv
from pathlib import Path
from uuid import UUID

import pytest

from tests.calls.stored_calls import NOW
from tests.contacts.list_world import numbers
from tests.contacts.stored_contacts import a_draft, store_contacts
from voice_agent.auth.commands import create_owner
from voice_agent.contacts.export_command import export_contacts
from voice_agent.errors import InvalidRequest, NotFound
from voice_agent.settings import Settings, load_settings
from voice_agent.storage.database import Database, database_url
from voice_agent.storage.tables import ContactListRow, ListMemberRow


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return load_settings()


async def store(settings: Settings, org_id: UUID) -> None:
    """Store five contacts, two of them on a list."""
    database = Database(database_url(settings))
    try:
        rows = await store_contacts(database, org_id, *[a_draft(number, name="=1") for number in numbers(5)])
        async with database.write() as session:
            listed = ContactListRow(org_id=org_id, name="Fair", kind="static", created_at=NOW, updated_at=NOW)
            session.add(listed)
            await session.flush()
            session.add_all(
                [ListMemberRow(list_id=listed.id, contact_id=r.id, org_id=org_id, added_at=NOW) for r in rows[:2]]
            )
    finally:
        await database.close()


def exported(settings: Settings, file: Path, *, list_: str = "", filter_: str = "", columns: str = "") -> None:
    export_contacts(settings, file, list_name=list_, filter_text=filter_, columns=columns, is_escaped=True)


def test_a_file_is_written_whole_or_not_at_all(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    with pytest.raises(NotFound, match="create an owner first"):
        exported(settings, file)
    org_id = asyncio.run(create_owner(settings, "ana@harbour.test", "correct horse battery"))
    asyncio.run(store(settings, org_id))

    exported(settings, file, columns="phone, name")
    with file.open(newline="") as content:
        assert sorted(csv.reader(content))[:2] == [[numbers(1)[0], "'=1"], [numbers(2)[1], "'=1"]]

    whole = file.read_bytes()
    exported(settings, tmp_path / "some.jsonl", list_="Fair", columns="phone")
    assert len((tmp_path / "some.jsonl").read_bytes().splitlines()) == 3
    chosen = '{"type": "field", "field": "number", "values": ["' + numbers(1)[0] + '"]}'
    exported(settings, tmp_path / "one.jsonl", filter_=chosen)
    assert len((tmp_path / "one.jsonl").read_bytes().splitlines()) == 2

    with pytest.raises(NotFound, match="no list called Autumn"):
        exported(settings, file, list_="Autumn")
    with pytest.raises(InvalidRequest, match="no column price"):
        exported(settings, file, columns="price")
    with pytest.raises(InvalidRequest, match="is no JSON"):
        exported(settings, file, filter_="{")
    with pytest.raises(InvalidRequest, match="has to end in"):
        exported(settings, tmp_path / "out.pdf")
    assert file.read_bytes() == whole
    assert not list(tmp_path.glob("*.part"))
