"""What `voice-agent contacts export` does: a file of the first organisation's contacts, from the database alone.

It is written under another name and renamed when it is whole.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from voice_agent.auth.principal import system
from voice_agent.auth.repository import oldest_organisation
from voice_agent.compliance.packs import load_packs
from voice_agent.compliance.service import ComplianceService
from voice_agent.contacts import list_repository
from voice_agent.contacts.custom_fields import CustomFieldService
from voice_agent.contacts.export import ContactExport, ExportOrder
from voice_agent.contacts.export_formats import CsvStyle, Format
from voice_agent.contacts.service import ContactService
from voice_agent.contacts.tags import TagService
from voice_agent.errors import InvalidRequest, NotFound
from voice_agent.jobs.outbox import JobOutbox
from voice_agent.settings import Settings
from voice_agent.storage.database import Database, database_url


def export_contacts(
    settings: Settings, file: Path, *, list_name: str, filter_text: str, columns: str, is_escaped: bool
) -> None:
    """Write contacts to a file. Raises InvalidRequest or NotFound; then the file is as it was before."""
    asyncio.run(_export(settings, file, list_name, _order(file, filter_text, columns, is_escaped=is_escaped)))


def _order(file: Path, filter_text: str, columns: str, *, is_escaped: bool) -> ExportOrder:
    try:
        format_ = Format(file.suffix.lower().removeprefix("."))
    except ValueError:
        raise InvalidRequest(f"{file.name}: the name has to end in .csv, .xlsx or .jsonl") from None
    try:
        chosen: Any = orjson.loads(filter_text) if filter_text else None
    except orjson.JSONDecodeError:
        raise InvalidRequest("filter: is no JSON") from None
    return ExportOrder(
        format=format_,
        columns=tuple(column.strip() for column in columns.split(",") if column.strip()),
        filter=chosen,
        style=CsvStyle(is_escaped=is_escaped),
    )


async def _export(settings: Settings, file: Path, list_name: str, order: ExportOrder) -> None:
    database = Database(database_url(settings))
    unfinished = file.with_name(file.name + ".part")
    try:
        if not database.is_pooled_by_transaction:
            await database.migrate()
        org_id, list_id = await _found(database, list_name)
        order = ExportOrder(
            format=order.format, columns=order.columns, filter=order.filter, style=order.style, list_id=list_id
        )
        pieces = await _exports(settings, database).begin(system(org_id, "command line"), order)
        with unfinished.open("wb") as written:
            async for piece in pieces:
                written.write(piece)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
        await database.close()


async def _found(database: Database, list_name: str) -> tuple[UUID, UUID | None]:
    """Return the keys of the first organisation and of its list of this name, None without one. Raises NotFound."""
    async with database.read() as session:
        organisation = await oldest_organisation(session)
        if organisation is None:
            raise NotFound("there is no organisation yet: create an owner first")
        if not list_name:
            return organisation.id, None
        row = await list_repository.named(session, organisation.id, list_name)
        if row is None:
            raise NotFound(f"there is no list called {list_name}")
        return organisation.id, row.id


def _exports(settings: Settings, database: Database) -> ContactExport:
    packs = load_packs(settings.compliance.packs_dir)
    ledger = ComplianceService(packs, clock=_now)
    fields, tags = CustomFieldService(database, JobOutbox(), _now), TagService(_now)
    contacts = ContactService(fields, tags, ledger, zones_of_region=packs.zones_of_region, clock=_now)
    return ContactExport(database, contacts, _now)


def _now() -> datetime:
    return datetime.now(UTC)
