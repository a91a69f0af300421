"""Mappings that are kept."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.contacts.import_world import ImportWorld
from voice_agent.contacts import import_templates
from voice_agent.contacts.import_templates import check_targets, kept_mapping
from voice_agent.contacts.reading.model import MappedColumn, Mapping
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.storage.database import Database

PHONE = Mapping(columns=(MappedColumn(header="tel", target="phone"),))


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> ImportWorld:
    return await ImportWorld(sqlite, tmp_path).open()


@pytest.mark.parametrize("target", ["phone", "ignore", "custom:plan", "consent.at", "tag_if_yes"])
def test_columns_go_where_there_is_something(target: str) -> None:
    check_targets(Mapping(columns=(MappedColumn(header="a", target=target),)))


@pytest.mark.parametrize("target", ["shoe", "custom:", "custom:Not a key", ""])
def test_columns_that_go_nowhere_are_refused(target: str) -> None:
    with pytest.raises(InvalidRequest, match="is nowhere to go"):
        check_targets(Mapping(columns=(MappedColumn(header="a", target=target),)))


async def test_a_template_has_one_name_and_belongs_to_its_organisation(
    world: ImportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = world.imports.templates
    async with world.database.write() as session:
        row = await templates.save(session, world.principal, "CRM", PHONE, {"country": "ES"})
        assert kept_mapping(row) == PHONE
        assert row.options["country"] == "ES"
        with pytest.raises(Conflict, match="of this name already"):
            await templates.save(session, world.principal, "CRM", PHONE, {})
        same = await templates.save(session, world.principal, "CRM", PHONE, {}, template_id=row.id)
        assert (same.id, same.options["country"]) == (row.id, "")
        assert (await templates.named(session, world.org_id, "CRM")).id == row.id
        with pytest.raises(NotFound):
            await templates.find(session, uuid4(), row.id)
        with pytest.raises(InvalidRequest, match="no template of this name"):
            await templates.named(session, uuid4(), "CRM")
        monkeypatch.setattr(import_templates, "MOST", 1)
        with pytest.raises(Conflict, match="more are not kept"):
            await templates.save(session, world.principal, "other", PHONE, {})
        await templates.delete(session, world.principal, row.id)
    async with world.database.read() as session:
        with pytest.raises(NotFound):
            await templates.find(session, world.org_id, row.id)
