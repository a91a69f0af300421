"""How a file is read: what was found, what was corrected, which custom fields are made."""

from pathlib import Path

import pytest

from tests.contacts.import_world import ImportWorld
from voice_agent.contacts.fields import CustomField, FieldType
from voice_agent.contacts.import_orders import mapping_of, new_fields
from voice_agent.contacts.reading.model import Column, FileRefused, MappedColumn, Mapping
from voice_agent.errors import InvalidRequest
from voice_agent.storage.database import Database

CONTENT = b"phone,plan,age,import_reason\n+34612345678,gold,33,bad\n+34612345679,basic,40,bad\n"


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> ImportWorld:
    return await ImportWorld(sqlite, tmp_path).open()


def to(**targets: str) -> Mapping:
    return Mapping(columns=tuple(MappedColumn(header=header, target=target) for header, target in targets.items()))


def test_the_fields_that_are_made_are_those_that_are_not_there_of_the_type_that_was_found() -> None:
    columns = [
        Column(header="age", samples=("3",), target="custom:age", confidence=0.5, new_field=FieldType.NUMBER),
        Column(header="plan", samples=("x",), target="ignore", confidence=0.5),
    ]
    mapping = to(age="custom:age", plan="custom:tariff", city="custom:city", other="name", bad="custom:No Key")
    known = [CustomField(key="city", label="City")]
    assert new_fields(mapping, columns, known) == [
        CustomField(key="age", label="age", type=FieldType.NUMBER),
        CustomField(key="tariff", label="plan"),
    ]
    assert new_fields(to(a="custom:x", b="custom:x"), [], []) == [CustomField(key="x", label="a")]


async def test_columns_that_are_not_named_go_where_they_went_and_our_own_marks_nowhere(world: ImportWorld) -> None:
    row = await world.uploaded(CONTENT)
    assert [each.target for each in mapping_of(row).columns] == ["phone", "custom:plan", "custom:age", "ignore"]
    async with world.database.read() as session:
        await world.importer.orders.choose_mapping(session, row, to(plan="company"))
        assert [each.target for each in mapping_of(row).columns] == ["phone", "company", "custom:age", "ignore"]
        with pytest.raises(InvalidRequest, match="the file has no column 'shoe'"):
            await world.importer.orders.choose_mapping(session, row, to(shoe="name"))
        with pytest.raises(FileRefused, match="must be telephone numbers"):
            await world.importer.orders.choose_mapping(session, row, to(phone="ignore"))


async def test_a_template_holds_for_the_columns_that_it_has(world: ImportWorld) -> None:
    row = await world.uploaded(CONTENT)
    fitted = world.importer.orders.fitted(row, to(Plan="company", other="email"))
    assert [each.target for each in fitted.columns] == ["phone", "company", "custom:age", "ignore"]


async def test_an_order_begins_behind_the_rows_that_are_settled_and_has_the_fields_that_are_made(
    world: ImportWorld,
) -> None:
    row = await world.uploaded(CONTENT, options={"country": "ES", "bad_values": "refuse"})
    row.cursor = 7
    async with world.database.write() as session:
        order = await world.importer.orders.order_of(session, row)
        assert order.start_row == 7
        assert (order.options.default_country, order.options.refuses_bad_values) == ("ES", True)
        assert [field.key for field in order.options.custom_fields] == ["plan", "age"]
        await world.importer.orders.make_fields(session, world.principal, row)
        await world.importer.orders.make_fields(session, world.principal, row)
        existing = (await world.importer.orders.read_options(session, row)).custom_fields
        assert [(field.key, field.type) for field in existing] == [("plan", "text"), ("age", "number")]
