"""The fields that an organisation gives its contacts: their definitions, and what contacts have in them.

A field's type can change only where every value that is there fits the new one. A field that is taken away takes its
values with it, in a job, some contacts at a time. Works in the caller's transaction; the job has its own.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import String, func, literal, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.contacts.fields import KEY, CustomField, FieldType, ValueRefused, check_value
from voice_agent.contacts.model import MAX_CUSTOM_FIELDS
from voice_agent.contacts.ports import JobRequests
from voice_agent.errors import Conflict, InvalidRequest, NotFound
from voice_agent.jobs.model import JobContext
from voice_agent.jobs.service import Jobs
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import insert_rows, update_rows
from voice_agent.storage.tables import ContactRow, CustomFieldRow
from voice_agent.storage.tables.columns import JsonDocument

CLEAR_FIELD = "contacts.clear_field"
CLEAR_JOB_S = 3_600.0
CLEARED_AT_ONCE = 1_000


class FieldToClear(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a job: the values of a field that is no more."""

    org_id: UUID
    key: str


class CustomFieldService:
    """One for the process."""

    def __init__(self, database: Database, jobs: JobRequests, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._database = database
        self._jobs = jobs
        self._clock = clock

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do. Before `Jobs.open`."""
        jobs.register(CLEAR_FIELD, FieldToClear, self.clear, timeout_s=CLEAR_JOB_S)

    async def all(self, session: AsyncSession, org_id: UUID) -> list[CustomFieldRow]:
        """Return the fields, oldest first."""
        query = select(CustomFieldRow).where(CustomFieldRow.org_id == org_id)
        return list(await session.scalars(query.order_by(CustomFieldRow.created_at, CustomFieldRow.id)))

    async def find(self, session: AsyncSession, org_id: UUID, field_id: UUID) -> CustomFieldRow:
        """Return a field. Raises NotFound."""
        query = select(CustomFieldRow).where(CustomFieldRow.id == field_id, CustomFieldRow.org_id == org_id)
        row = await session.scalar(query.with_for_update())
        if row is None:
            raise NotFound("there is no such custom field")
        return row

    async def add(self, session: AsyncSession, principal: Principal, field: CustomField) -> CustomFieldRow:
        """Give contacts a field. Raises Conflict for a key in use, InvalidRequest for one that cannot be."""
        _check(field)
        count = select(func.count()).select_from(CustomFieldRow).where(CustomFieldRow.org_id == principal.org_id)
        if (await session.execute(count)).scalar_one() >= MAX_CUSTOM_FIELDS:
            raise Conflict(f"there are {MAX_CUSTOM_FIELDS} custom fields, and more are not allowed")
        row = {
            "id": new_id(),
            "org_id": principal.org_id,
            "key": field.key,
            "label": field.label,
            "type": field.type.value,
            "choices": list(field.choices),
            "created_at": self._clock(),
        }
        if not await insert_rows(session, CustomFieldRow, [row]):
            raise Conflict("key: there is a custom field with this key already")
        added = await session.get_one(CustomFieldRow, row["id"])
        await self._audit(session, principal, "custom_field.create", added)
        return added

    async def change(
        self, session: AsyncSession, principal: Principal, field_id: UUID, field: CustomField
    ) -> CustomFieldRow:
        """Change label, type or choices; the key stays. Raises NotFound, InvalidRequest, or Conflict with a count.

        Conflict: so many contacts have a value that does not fit the new type or choices.
        """
        row = await self.find(session, principal.org_id, field_id)
        new = msgspec.structs.replace(field, key=row.key)
        _check(new)
        if (new.type.value, list(new.choices)) != (row.type, row.choices):
            misfits = await self._misfits(session, principal.org_id, new)
            if misfits:
                raise Conflict(f"type: {misfits} contacts have a value that is no {new.type}")
        row.label, row.type, row.choices = new.label, new.type.value, list(new.choices)
        await self._audit(session, principal, "custom_field.change", row)
        return row

    async def remove(self, session: AsyncSession, principal: Principal, field_id: UUID) -> None:
        """Take a field away, and its values in a job. Raises NotFound."""
        row = await self.find(session, principal.org_id, field_id)
        await session.delete(row)
        await self._audit(session, principal, "custom_field.delete", row)
        work = FieldToClear(org_id=row.org_id, key=row.key)
        await self._jobs.request(session, CLEAR_FIELD, work, job_id=f"clear-field-{row.id}")

    async def check(self, session: AsyncSession, org_id: UUID, custom: Mapping[str, Any]) -> dict[str, Any]:
        """Return values of custom fields as they are kept; None takes one away. Raises InvalidRequest."""
        if not custom:
            return {}
        fields = {row.key: definition_of(row) for row in await self.all(session, org_id)}
        checked: dict[str, Any] = {}
        for key, value in custom.items():
            if key not in fields:
                raise InvalidRequest(f"custom.{key}: there is no such custom field")
            try:
                checked[key] = None if value is None else check_value(fields[key], value)
            except ValueRefused as error:
                raise InvalidRequest(f"custom.{key}: {error}") from None
        return checked

    async def clear(self, work: FieldToClear, context: JobContext) -> None:  # noqa: ARG002 - the port's shape
        """Take the values of a field away; stops where there is a field of this key again."""
        after: UUID | None = None
        is_done = False
        while not is_done:
            async with self._database.write() as session:
                after = await self._clear_some(session, work, after)
            is_done = after is None

    async def _clear_some(self, session: AsyncSession, work: FieldToClear, after: UUID | None) -> UUID | None:
        again = select(CustomFieldRow.id).where(CustomFieldRow.org_id == work.org_id, CustomFieldRow.key == work.key)
        if await session.scalar(again) is not None:
            return None
        query = select(ContactRow.id, ContactRow.custom, ContactRow.revision).where(ContactRow.org_id == work.org_id)
        if after is not None:
            query = query.where(ContactRow.id > after)
        rows = (await session.execute(query.order_by(ContactRow.id).limit(CLEARED_AT_ONCE).with_for_update())).all()
        changed = [
            {
                "id": row.id,
                "custom": {key: value for key, value in row.custom.items() if key != work.key},
                "revision": row.revision + 1,
                "updated_at": self._clock(),
            }
            for row in rows
            if work.key in row.custom
        ]
        await update_rows(session, ContactRow, changed, keys=("id",))
        return rows[-1].id if len(rows) == CLEARED_AT_ONCE else None

    async def _misfits(self, session: AsyncSession, org_id: UUID, field: CustomField) -> int:
        found = type_coerce(ContactRow.custom, String).op("->")(literal(field.key, String))
        value = type_coerce(found, JsonDocument)
        query = (
            select(value.label("value"), func.count().label("contacts"))
            .where(ContactRow.org_id == org_id, ContactRow.deleted_at.is_(None), value.is_not(None))
            .group_by(value)
        )
        return sum(row.contacts for row in await session.execute(query) if not _fits(field, row.value))

    async def _audit(self, session: AsyncSession, principal: Principal, action: str, row: CustomFieldRow) -> None:
        after = {"key": row.key, "label": row.label, "type": row.type}
        await audit.record(session, principal, action, target_kind="custom_field", target_id=str(row.id), after=after)


def definition_of(row: CustomFieldRow) -> CustomField:
    """Return a field as `contacts.fields` knows it."""
    return CustomField(key=row.key, label=row.label, type=FieldType(row.type), choices=tuple(row.choices))


def _fits(field: CustomField, value: Any) -> bool:
    try:
        return bool(check_value(field, value) == value)
    except ValueRefused:
        return False


def _check(field: CustomField) -> None:
    if not KEY.fullmatch(field.key):
        raise InvalidRequest("key: begins with a small letter, then small letters, digits and _, 64 at the most")
    if (field.type is FieldType.CHOICE) != bool(field.choices):
        raise InvalidRequest("choices: a choice needs some, and nothing else has any")
