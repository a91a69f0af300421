"""Mappings that are used again: where columns go, by their headers, and what becomes of rows."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.contacts import import_repository as repository
from voice_agent.contacts.fields import KEY
from voice_agent.contacts.import_model import options_of
from voice_agent.contacts.import_orders import plain
from voice_agent.contacts.reading.model import CUSTOM, Mapping, Target
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ImportTemplateRow

MOST = 200
"""Of an organisation."""


class ImportTemplates:
    """One for the process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._clock = clock

    async def find(self, session: AsyncSession, org_id: UUID, template_id: UUID) -> ImportTemplateRow:
        """Return a template. Raises NotFound."""
        row = await repository.template(session, org_id, template_id)
        if row is None:
            raise NotFound("there is no such template")
        return row

    async def named(self, session: AsyncSession, org_id: UUID, name: str) -> ImportTemplateRow:
        """Return the template of a name. Raises InvalidRequest: it is named by a field of something else."""
        row = await repository.template_named(session, org_id, name)
        if row is None:
            raise InvalidRequest("template: there is no template of this name")
        return row

    async def save(
        self,
        session: AsyncSession,
        principal: Principal,
        name: str,
        mapping: Mapping,
        options: dict[str, Any],
        *,
        template_id: UUID | None = None,
    ) -> ImportTemplateRow:
        """Keep a template: a new one, or in place of one. Raises NotFound, Conflict (its name) or InvalidRequest."""
        check_targets(mapping)
        kept_options = plain(options_of(options))
        other = await repository.template_named(session, principal.org_id, name)
        if other is not None and other.id != template_id:
            raise Conflict("name: there is a template of this name already")
        if template_id is None:
            row = await self._new(session, principal.org_id)
        else:
            row = await self.find(session, principal.org_id, template_id)
        row.name, row.mapping, row.options = name, plain(mapping), kept_options
        session.add(row)
        await session.flush()
        await self._audit(session, principal, "import_template.save", row)
        return row

    async def delete(self, session: AsyncSession, principal: Principal, template_id: UUID) -> None:
        """Delete a template; imports that used it keep what it said. Raises NotFound."""
        row = await self.find(session, principal.org_id, template_id)
        await session.delete(row)
        await self._audit(session, principal, "import_template.delete", row)

    async def _new(self, session: AsyncSession, org_id: UUID) -> ImportTemplateRow:
        await repository.lock_places(session, org_id)  # two at once are counted one after the other
        if len(await repository.templates(session, org_id)) >= MOST:
            raise Conflict(f"there are {MOST} templates, and more are not kept")
        return ImportTemplateRow(id=new_id(), org_id=org_id, created_at=self._clock())

    async def _audit(self, session: AsyncSession, principal: Principal, action: str, row: ImportTemplateRow) -> None:
        after = {"name": row.name}
        await audit.record(
            session, principal, action, target_kind="import_template", target_id=str(row.id), after=after
        )


def kept_mapping(row: ImportTemplateRow) -> Mapping:
    """Return a template's mapping."""
    return msgspec.convert(row.mapping, Mapping)


def check_targets(mapping: Mapping) -> None:
    """Refuse columns that go nowhere that there is. Raises InvalidRequest."""
    for column in mapping.columns:
        key = column.target.removeprefix(CUSTOM)
        if column.target not in set(Target) and not (column.target.startswith(CUSTOM) and KEY.fullmatch(key)):
            raise InvalidRequest(f"mapping: column {column.header!r}: {column.target!r} is nowhere to go")
    headers = [column.header for column in mapping.columns]
    if len(set(headers)) != len(headers):
        raise InvalidRequest("mapping: a column is in it twice")
