"""How an import's file is read: what was found in it, what people corrected, and the organisation's custom fields.

What a file is and where its columns go is kept with the import, as it was found and then as it was corrected. A column
may go to a custom field that there is none of yet: it is made when the import starts, of the type that its values have.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.principal import Principal
from voice_agent.contacts.custom_fields import CustomFieldService
from voice_agent.contacts.fields import KEY, CustomField, FieldType
from voice_agent.contacts.import_model import BadValue, ImportOptions
from voice_agent.contacts.reading.columns import check_mapping, with_template
from voice_agent.contacts.reading.model import (
    CUSTOM,
    Column,
    FileFormat,
    Inspection,
    MappedColumn,
    Mapping,
    Order,
    ReadOptions,
    Target,
)
from voice_agent.contacts.rejected import MARKS
from voice_agent.errors import InvalidRequest
from voice_agent.storage.tables import ImportRow

NOTHING = Mapping(columns=())


def plain(value: Any) -> Any:
    """Return a struct as a document of the database."""
    return msgspec.to_builtins(value)


def format_of(row: ImportRow) -> FileFormat:
    """Return what an import's file is, as far as that is known or chosen."""
    return msgspec.convert(row.format, FileFormat)


def mapping_of(row: ImportRow) -> Mapping:
    """Return where an import's columns go, or a mapping that was chosen before its file came."""
    return msgspec.convert(row.mapping, Mapping) if row.mapping else NOTHING


def columns_of(row: ImportRow) -> list[Column]:
    """Return an import's columns as they were found."""
    return msgspec.convert(row.columns, list[Column])


def chosen_options(row: ImportRow) -> ImportOptions:
    """Return what people decided about an import."""
    return msgspec.convert(row.options, ImportOptions)


class ImportOrders:
    """One for the process."""

    def __init__(self, fields: CustomFieldService) -> None:
        self._fields = fields

    async def read_options(self, session: AsyncSession, row: ImportRow) -> ReadOptions:
        """Return what is known beside the file."""
        return _read_options(chosen_options(row), await self._existing(session, row.org_id))

    async def order_of(self, session: AsyncSession, row: ImportRow) -> Order:
        """Return how an import's file is read from where it is. Raises InvalidRequest for an unusable mapping."""
        mapping = mapping_of(row)
        fields = await self._existing(session, row.org_id)
        fields += new_fields(mapping, columns_of(row), fields)
        check_mapping(mapping, fields)
        return Order(
            mapping=mapping,
            format=format_of(row),
            options=_read_options(chosen_options(row), fields),
            start_row=row.cursor,
        )

    def note(self, row: ImportRow, inspection: Inspection, wanted: Mapping) -> None:
        """Write down what a file is; of `wanted` those columns hold that it has."""
        row.format = plain(inspection.format)
        row.columns = plain(_without_marks(inspection.columns))
        row.rows_total = inspection.rows_estimate
        row.mapping = plain(with_template(wanted, columns_of(row)))

    def fitted(self, row: ImportRow, template: Mapping) -> Mapping:
        """Return where an import's columns go by a template; those that it does not have, as they were taken for."""
        return with_template(template, columns_of(row)) if row.columns else template

    async def choose_mapping(self, session: AsyncSession, row: ImportRow, wanted: Mapping) -> None:
        """Write down where columns go; those that are not named go where they went. Raises InvalidRequest."""
        columns = columns_of(row)
        if not columns:  # the file is not here yet: what it has of these columns holds once it is
            row.mapping = plain(wanted)
            return
        if unknown := {each.header for each in wanted.columns} - {each.header for each in columns}:
            raise InvalidRequest(f"mapping: the file has no column {min(unknown)!r}")
        named = {each.header: each for each in mapping_of(row).columns} | {each.header: each for each in wanted.columns}
        mapping = Mapping(columns=tuple(named.get(each.header) or MappedColumn(header=each.header) for each in columns))
        fields = await self._existing(session, row.org_id)
        check_mapping(mapping, [*fields, *new_fields(mapping, columns, fields)])
        row.mapping = plain(mapping)

    async def make_fields(self, session: AsyncSession, principal: Principal, row: ImportRow) -> None:
        """Make the custom fields that an import's columns go to and that are not there. Raises Conflict: too many."""
        existing = await self._existing(session, row.org_id)
        for field in new_fields(mapping_of(row), columns_of(row), existing):
            await self._fields.add(session, principal, field)

    async def _existing(self, session: AsyncSession, org_id: UUID) -> list[CustomField]:
        return [
            CustomField(key=each.key, label=each.label, type=FieldType(each.type), choices=tuple(each.choices))
            for each in await self._fields.all(session, org_id)
        ]


def new_fields(mapping: Mapping, columns: Iterable[Column], existing: Iterable[CustomField]) -> list[CustomField]:
    """Return the custom fields that a mapping names and that are not there: of the type that was found, else texts."""
    types = {column.header: column.new_field for column in columns}
    known = {field.key for field in existing}
    made: dict[str, CustomField] = {}
    for column in mapping.columns:
        key = column.target.removeprefix(CUSTOM)
        if column.target.startswith(CUSTOM) and KEY.fullmatch(key) and key not in known:
            found = types.get(column.header) or FieldType.TEXT
            made.setdefault(key, CustomField(key=key, label=column.header.strip()[:200] or key, type=found))
    return list(made.values())


def _read_options(options: ImportOptions, fields: Sequence[CustomField]) -> ReadOptions:
    return ReadOptions(
        default_country=options.country,
        custom_fields=tuple(fields),
        refuses_bad_values=options.bad_values is BadValue.REFUSE,
    )


def _without_marks(columns: Iterable[Column]) -> list[Column]:
    """Return the columns, those ignored that our own file of bad rows adds."""
    return [
        msgspec.structs.replace(column, target=Target.IGNORE.value, confidence=1.0, new_field=None)
        if column.header.strip().casefold() in MARKS
        else column
        for column in columns
    ]
