"""Contacts leave and come back the same, whatever they hold; on SQLite and on Postgres."""

import csv
import io
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import select

from tests.api.world import FEW
from tests.calls.stored_calls import NOW
from tests.contacts.list_world import ListWorld, list_world, numbers
from tests.contacts.stored_contacts import ANA, BEN, EVA, a_draft, store_contacts
from tests.contacts.test_list_filling import ACME
from voice_agent.contacts.custom_fields import definition_of
from voice_agent.contacts.export import BY_ITSELF, COLUMNS, ExportOrder, shown
from voice_agent.contacts.export_formats import CsvStyle, Format
from voice_agent.contacts.model import ContactDraft
from voice_agent.contacts.reading.header_words import target_of
from voice_agent.contacts.reading.model import FileFormat, Order, ReadOptions
from voice_agent.contacts.reading.process import inspect_file, read_chunks
from voice_agent.errors import InvalidRequest, NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import AuditRow, ContactRow


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ListWorld]:
    async with list_world(database, tmp_path) as world:
        yield world


@pytest.fixture
async def small(sqlite: Database, tmp_path: Path) -> AsyncIterator[ListWorld]:
    async with list_world(sqlite, tmp_path) as world:
        yield world


async def exported(world: ListWorld, **order: Any) -> bytes:
    pieces = await world.api.exports.begin(world.owner, ExportOrder(**order))
    return b"".join([piece async for piece in pieces])


async def phones(world: ListWorld, **order: Any) -> list[str]:
    content = await exported(world, columns=("phone",), **order)
    return [row[0] for row in csv.reader(io.StringIO(content.decode(), newline=""))][1:]


async def with_fields(world: ListWorld) -> None:
    for key, type_ in (
        ("balance", "number"),
        ("is_new", "boolean"),
        ("due", "date"),
        ("note", "text"),
    ):
        await world.told("POST", "/custom-fields", {"key": key, "label": key, "type": type_})


def drafts() -> list[ContactDraft]:
    return [
        a_draft(
            ANA, further=[BEN, EVA], name="Ana María García", given_name="Ana María", family_name="García",
            company="Harbour, S.L.", email="ana@example.org", external_id="A-1", locale="es-ES", region="ES-CN",
            zone="Atlantic/Canary", tags=("VIP", "new"),
            custom={"balance": -12.5, "is_new": True, "due": "2026-11-25", "note": 'said "yes"; maybe'},
        ),
        a_draft(BEN, name="José Ñandú", custom={"balance": 3, "is_new": False, "note": "=1+1"}),
        a_draft(EVA),
    ]  # fmt: skip


@pytest.mark.parametrize("format_", list(Format))
async def test_what_is_exported_is_read_again_as_the_same_contacts(
    small: ListWorld, tmp_path: Path, format_: Format
) -> None:
    await with_fields(small)
    await store_contacts(small.database, small.org_id, *drafts())
    path = tmp_path / f"contacts.{format_}"
    path.write_bytes(await exported(small, format=format_, style=CsvStyle(is_escaped=False), has_end=False))
    async with small.database.read() as session:
        fields = tuple(definition_of(row) for row in await small.services.fields.all(session, small.org_id))

    options = ReadOptions(custom_fields=fields)
    inspection = await inspect_file(path, FileFormat(), options)
    order = Order(mapping=inspection.mapping, format=inspection.format, options=options)
    taken, refused = [], []
    async with aclosing(read_chunks(path, order)) as chunks:
        async for chunk in chunks:
            taken += [row.draft for row in chunk.taken]
            refused += list(chunk.refused)

    assert not refused
    assert sorted(map(said, taken)) == sorted(map(said, drafts()))


def said(draft: ContactDraft) -> tuple[Any, ...]:
    """Return what a draft says, nothing and empty being the same."""
    names = ("name", "given_name", "family_name", "company", "email", "external_id", "locale", "region", "zone")
    return (
        draft.number.e164,
        [each.number.e164 for each in draft.further],
        [getattr(draft, name) or "" for name in names],
        sorted(draft.custom.items()),
        sorted(draft.tags),
    )


@pytest.mark.parametrize("count", [0, FEW - 1, FEW, 3 * FEW + 1])
async def test_every_contact_leaves_once(world: ListWorld, count: int) -> None:
    await store_contacts(world.database, world.org_id, *[a_draft(number) for number in numbers(count)])
    gone = await store_contacts(world.database, world.org_id, a_draft(ANA))
    await world.told("DELETE", f"/contacts/{gone[0].id}")

    assert sorted(await phones(world)) == numbers(count)


async def test_filters_lists_and_segments_are_respected(world: ListWorld) -> None:
    known = numbers(10)
    rows = await store_contacts(
        world.database,
        world.org_id,
        *[a_draft(number, company="ACME" if index % 2 else "") for index, number in enumerate(known)],
    )
    static, segment = await world.a_list(), await world.a_list("ACME", filter=ACME)
    await world.told("POST", f"/lists/{static}/members", {"contacts": [str(row.id) for row in rows[:7]]})
    first = {"type": "field", "field": "number", "values": known[:4]}

    assert sorted(await phones(world, filter=ACME)) == known[1::2]
    assert sorted(await phones(world, list_id=UUID(static))) == known[:7]
    assert sorted(await phones(world, list_id=UUID(segment))) == known[1::2]
    assert sorted(await phones(world, list_id=UUID(static), filter=ACME)) == known[1:7:2]
    assert sorted(await phones(world, list_id=UUID(segment), filter=first)) == known[1:4:2]


async def test_what_happens_meanwhile_neither_skips_nor_doubles_anybody(world: ListWorld) -> None:
    known = numbers(4 * FEW)
    rows = await store_contacts(world.database, world.org_id, *[a_draft(number) for number in known])
    pieces = await world.api.exports.begin(world.owner, ExportOrder(format=Format.JSONL, columns=("phone", "name")))

    lines: list[Any] = []
    async for piece in pieces:
        lines += [orjson.loads(line) for line in piece.splitlines()]
        if len(lines) == FEW - 1:
            for row in rows:
                await world.told("PATCH", f"/contacts/{row.id}", {"name": "changed"})
            later = NOW + timedelta(days=400)
            await store_contacts(world.database, world.org_id, a_draft(ANA), created_at=later)

    assert lines.pop() == {"end": True, "contacts": len(known)}
    assert sorted(line["phone"] for line in lines) == known
    assert {line["name"] for line in lines} == {"", "changed"}


async def test_an_export_is_in_the_audit_log_before_it_leaves(small: ListWorld) -> None:
    list_id = await small.a_list()
    await small.api.exports.begin(small.owner, ExportOrder(columns=("phone",), filter=ACME, list_id=UUID(list_id)))

    async with small.database.read() as session:
        entry = (await session.scalars(select(AuditRow).where(AuditRow.action == "contacts.export"))).one()
    assert entry.after == {"format": "csv", "columns": ["phone"], "list": list_id, "filter": True}


async def test_columns_and_lists_have_to_be_there(small: ListWorld) -> None:
    with pytest.raises(InvalidRequest, match="no column price"):
        await exported(small, columns=("phone", "price"))
    with pytest.raises(InvalidRequest, match="no static list"):
        await exported(small, filter={"type": "list", "values": [str(new_id())]})
    with pytest.raises(NotFound):
        await exported(small, list_id=new_id())


async def test_a_custom_field_is_called_by_its_key_where_no_column_is_called_so(small: ListWorld) -> None:
    await with_fields(small)
    await small.told("POST", "/custom-fields", {"key": "name", "label": "Name", "type": "text"})
    await store_contacts(small.database, small.org_id, a_draft(name="Ana", custom={"name": "x", "balance": -12.5}))

    line = orjson.loads((await exported(small, format=Format.JSONL)).splitlines()[0])

    assert (line["name"], line["custom.name"], line["balance"]) == ("Ana", "x", -12.5)
    assert [shown(name) for name in ("phone", "custom.due", "custom.name")] == ["phone", "due", "custom.name"]


def test_an_import_knows_every_column_that_is_written_by_itself() -> None:
    assert {name: str(target_of(name)) for name in BY_ITSELF if not name.startswith("phone")} == {
        "name": "name", "given_name": "given_name", "family_name": "family_name", "company": "company",
        "email": "email", "external_id": "external_id", "locale": "locale", "region": "region", "time_zone": "zone",
        "tags": "tags",
    }  # fmt: skip
    assert {target_of(name) for name in BY_ITSELF if name.startswith("phone")} == {target_of("phone")}


async def test_every_column_can_be_written(small: ListWorld) -> None:
    (row,) = await store_contacts(small.database, small.org_id, *drafts()[:1])

    line = orjson.loads((await exported(small, format=Format.JSONL, columns=tuple(COLUMNS))).splitlines()[0])

    assert (line["key"], line["country"], line["line_type"], line["source"]) == (str(row.id), "ES", "mobile", "api")
    assert (line["time_zones"], line["created_at"]) == (row.zone_candidates, NOW.isoformat())
    assert isinstance(row, ContactRow)
