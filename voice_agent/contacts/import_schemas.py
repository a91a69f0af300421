"""What the REST interface of imports takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from pydantic import BaseModel, Field, StringConstraints, model_validator

from voice_agent.compliance.model import Basis, Purpose
from voice_agent.contacts.fetching import without_secrets
from voice_agent.contacts.fields import FieldType
from voice_agent.contacts.import_model import (
    LARGEST_PASTE,
    ROWS_OF_A_BATCH,
    BadValue,
    Counts,
    ImportSource,
    ImportState,
    Treatment,
    seconds_left,
)
from voice_agent.contacts.import_orders import chosen_options, columns_of, format_of, mapping_of
from voice_agent.contacts.model import MAX_TAGS
from voice_agent.contacts.reading.model import (
    MAX_COLUMNS,
    FileFormat,
    FileKind,
    MappedColumn,
    Mapping,
    Preview,
    PreviewRow,
    RowWarning,
)
from voice_agent.rest.inputs import Name, RequestBody
from voice_agent.storage.tables import ChangeSetRow, ImportRow, ImportTemplateRow

Country = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2})?$")]
Sign = Annotated[str, Field(max_length=1)]
Header = Annotated[str, Field(max_length=1_000)]
Tag = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
FieldName = Annotated[
    str,
    StringConstraints(
        pattern=r"^(name|given_name|family_name|company|email|external_id|locale|region|zone|number|further"
        r"|custom(\.[a-z][a-z0-9_]{0,63})?)$"
    ),
]


class ImportFormat(RequestBody):
    """What a file is. What is null is found out."""

    kind: FileKind | None = Field(None, strict=False)
    encoding: Literal["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "cp1252", "latin-1"] | None = None
    delimiter: Sign | None = Field(None, description="Between cells; empty for a file of one column.")
    quote: Sign | None = Field(None, description="Around cells; empty where none is used.")
    sheet: str | None = Field(None, max_length=100, description="Of a workbook.")
    has_header: bool | None = None
    decimal: Literal[".", ","] | None = None
    is_day_first: bool | None = Field(None, description="Whether 03/04/2026 is in April.")

    def struct(self) -> FileFormat:
        """Return it as it is read by."""
        return msgspec.convert(self.model_dump(mode="json"), FileFormat)


class ImportColumn(RequestBody):
    """Where a column goes."""

    header: Header
    target: str = Field(
        "ignore",
        max_length=71,
        description="phone (up to five columns), name, given_name, family_name, company, email, external_id, locale, "
        "country, region, postal_code, zone, tags, tag_if_yes, do_not_call, consent.at, consent.expires, "
        "consent.purpose, consent.basis, consent.wording, consent.proof, custom:KEY or ignore.",
    )
    label: str = Field("", max_length=40, description="Of a further number, such as home.")


Columns = Annotated[list[ImportColumn], Field(max_length=MAX_COLUMNS)]


def mapping_struct(columns: list[ImportColumn] | None) -> Mapping:
    """Return columns as files are read by."""
    return Mapping(
        columns=tuple(MappedColumn(header=each.header, target=each.target, label=each.label) for each in columns or ())
    )


class ImportChoices(RequestBody):
    """What becomes of an import's rows."""

    country: Country = Field("", description="ISO 3166 country of numbers that have no country's code.")
    bad_values: BadValue = Field(BadValue.DROP, strict=False, description="Of optional fields: left out, or the row.")
    list_id: UUID | None = Field(None, strict=False, description="Static list that every row's contact joins.")
    tags: list[Tag] = Field([], max_length=MAX_TAGS, description="Given to every contact that is made or changed.")
    existing: Treatment = Field(Treatment.MERGE, strict=False, description="Of contacts that were there before.")
    repeated: Treatment = Field(Treatment.SKIP, strict=False, description="Of contacts of earlier rows of the file.")
    listed: Treatment | None = Field(
        None, strict=False, description="Of contacts that are on the list already; null: as of the others."
    )
    consent_purpose: Purpose = Field(Purpose.MARKETING, strict=False, description="Where a row does not say it.")
    consent_basis: Basis = Field(Basis.OTHER, strict=False, description="Where a row does not say it.")
    fields: dict[FieldName, Annotated[Treatment, Field(strict=False)]] = Field(
        {}, max_length=500, description="Treatment of single fields, `custom` or `custom.KEY` among them."
    )

    def plain(self) -> dict[str, Any]:
        """Return it as a document."""
        return self.model_dump(mode="json")


class NewImportBody(RequestBody):
    """An import."""

    source: ImportSource = Field(ImportSource.UPLOAD, strict=False)
    name: Name = Field(description="The file's name, or what people call it.")
    url: str | None = Field(None, max_length=2_000, description="Of the source `url`: an address of a file.")
    key: str | None = Field(None, max_length=400, description="Of the source `storage`: the key of a file.")
    text: str | None = Field(None, max_length=LARGEST_PASTE, description="Of the source `paste`.")
    template: str | None = Field(None, max_length=200, description="Name of a template to begin from.")
    format: ImportFormat | None = None
    mapping: Columns | None = Field(None, description="As far as it is known before the file is here.")
    options: ImportChoices | None = None

    @model_validator(mode="after")
    def _has_what_its_source_needs(self) -> Self:
        needed = {ImportSource.URL: "url", ImportSource.STORAGE: "key", ImportSource.PASTE: "text"}
        for source, field in needed.items():
            if (self.source is source) != bool(getattr(self, field)):
                raise ValueError(f"{field}: goes with the source {source.value}, and with no other")
        return self


class ImportEditBody(RequestBody):
    """What is corrected; what is absent stays."""

    name: Name | None = None
    format: ImportFormat | None = Field(None, description="Looks into the file again, and guesses its columns anew.")
    mapping: Columns | None = Field(None, description="Columns that go elsewhere; the others stay.")
    options: ImportChoices | None = Field(None, description="All of them.")
    template: str | None = Field(None, max_length=200, description="Name of a template whose mapping is to be used.")


class BatchBody(RequestBody):
    """Rows that are pushed."""

    rows: list[dict[str, Any]] = Field(min_length=1, max_length=ROWS_OF_A_BATCH, description="Objects, by column.")


class BatchOut(BaseModel):
    """Rows that are kept."""

    number: int
    rows: int


class FoundColumn(BaseModel):
    """A column of the file."""

    header: str
    samples: list[str]
    target: str
    """Where it goes."""

    label: str
    guess: str
    """What it was taken for."""

    confidence: float
    new_field: FieldType | None
    """Type of the custom field that the guess would make."""


class FormatOut(BaseModel):
    """What the file is; null: not known yet."""

    kind: FileKind | None
    encoding: str | None
    delimiter: str | None
    quote: str | None
    sheet: str | None
    has_header: bool | None
    decimal: str | None
    is_day_first: bool | None


class OptionsOut(BaseModel):
    """What becomes of rows."""

    country: str
    bad_values: BadValue
    list_id: UUID | None
    tags: list[str]
    existing: Treatment
    repeated: Treatment
    listed: Treatment | None
    consent_purpose: Purpose
    consent_basis: Basis
    fields: dict[str, Treatment]


class CountsOut(BaseModel):
    """Settled rows by what became of them, and what they did beside."""

    created: int
    updated: int
    unchanged: int
    skipped: int
    repeated: int
    refused: int
    blank: int
    listed: int
    suppressed: int
    suppressions: int
    consents: int
    warnings: int
    repaired: int


class UndoOut(BaseModel):
    """How far an import is taken back."""

    state: Literal["undoing", "undone", "failed"]
    undone: int
    kept: int
    """Contacts that were left alone, because they have been changed since."""


class ImportOut(BaseModel):
    """An import, and how far it is."""

    id: UUID
    name: str
    source: ImportSource
    source_ref: str
    state: ImportState
    size_bytes: int | None
    sha256: str | None
    rows_total: int | None
    """Rows of the file; an estimate until its end was seen."""

    rows_settled: int
    counts: CountsOut
    rows_per_s: float | None
    """Over the last seconds."""

    seconds_left: float | None
    has_rejected: bool
    """Whether there is a file of bad rows."""

    undo: UndoOut | None
    error: str
    retry_of: UUID | None
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: ImportRow, changes: ChangeSetRow | None = None) -> Self:
        """Return what the interface shows of a row; `changes` is its change set."""
        return cls.model_validate(shown(row, changes))


class ImportDetail(ImportOut):
    """An import with what people decide about it."""

    format: FormatOut
    columns: list[FoundColumn]
    options: OptionsOut

    @classmethod
    def of(cls, row: ImportRow, changes: ChangeSetRow | None = None) -> Self:
        """Return what the interface shows of a row."""
        goes = {column.header: column for column in mapping_of(row).columns}
        columns = [
            FoundColumn(
                header=column.header,
                samples=list(column.samples),
                target=goes[column.header].target if column.header in goes else "ignore",
                label=goes[column.header].label if column.header in goes else "",
                guess=column.target,
                confidence=column.confidence,
                new_field=column.new_field,
            )
            for column in columns_of(row)
        ]
        content = {
            "format": msgspec.to_builtins(format_of(row)),
            "columns": columns,
            "options": msgspec.to_builtins(chosen_options(row)),
        }
        return cls.model_validate(shown(row, changes) | content)


def shown(row: ImportRow, changes: ChangeSetRow | None) -> dict[str, Any]:
    """Return the fields of `ImportOut`."""
    is_undone = changes is not None and changes.state in ("undoing", "undone")
    return {
        "id": row.id,
        "name": row.name,
        "source": row.source,
        "source_ref": without_secrets(row.source_ref) if row.source == ImportSource.URL else row.source_ref,
        "state": row.state,
        "size_bytes": row.size_bytes,
        "sha256": row.sha256,
        "rows_total": row.rows_total,
        "rows_settled": row.cursor,
        "counts": msgspec.to_builtins(Counts(**row.counts)),
        "rows_per_s": row.rows_per_s,
        "seconds_left": seconds_left(row.rows_total, row.cursor, row.rows_per_s),
        "has_rejected": row.rejected_key is not None,
        "undo": UndoOut.model_validate(changes, from_attributes=True) if is_undone else None,
        "error": row.error,
        "retry_of": row.retry_of,
        "created_by": row.created_by,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


class RejectedOut(BaseModel):
    """Where the file of the bad rows can be read for a short while."""

    url: str
    expires_at: datetime
    rows: int


class WarningOut(BaseModel):
    """What was mended, or left out."""

    column: str
    code: str
    raw: str

    @classmethod
    def of(cls, warning: RowWarning) -> Self:
        """Return what the interface shows of a warning."""
        return cls(column=warning.column, code=warning.code, raw=warning.raw)


class PreviewRowOut(BaseModel):
    """A row, and what would become of it."""

    row: int
    cells: list[str]
    number: str | None
    """E.164, of a row that can be taken."""

    name: str | None
    fields: dict[str, Any]
    """What else it says of its contact."""

    do_not_call: bool
    warnings: list[WarningOut]
    column: str | None
    """Of a row that cannot be taken: the header of the cell that is wrong, a code, and why."""

    code: str | None
    reason: str | None

    @classmethod
    def of(cls, row: PreviewRow) -> Self:
        """Return what the interface shows of a row."""
        shape: dict[str, Any] = {"row": row.row, "cells": list(row.cells), "number": None, "name": None, "fields": {}}
        shape |= {"do_not_call": False, "warnings": [], "column": None, "code": None, "reason": None}
        if row.taken is not None:
            draft = row.taken.draft
            said = {name: getattr(draft, name) for name in _SAID}
            shape["number"], shape["name"] = draft.number.e164, draft.display_name or None
            shape["fields"] = {name: value for name, value in said.items() if value} | draft.custom
            shape["do_not_call"] = row.taken.is_do_not_call
            shape["warnings"] = [WarningOut.of(each) for each in row.taken.warnings]
        if row.refused is not None:
            shape |= {"column": row.refused.column, "code": row.refused.code, "reason": row.refused.reason}
            shape["warnings"] = [WarningOut.of(each) for each in row.refused.warnings]
        return cls(**shape)


_SAID = ("company", "email", "external_id", "locale", "region", "zone")


class PreviewOut(BaseModel):
    """What an import would do."""

    first: list[PreviewRowOut]
    worst: list[PreviewRowOut]
    """Refused rows first, then those with most warnings."""

    rows: int
    """How many were looked at."""

    is_whole: bool
    """Whether that is the whole file."""

    taken: int
    refused: int
    blank: int
    duplicates: int
    """Rows whose number an earlier row has."""

    codes: dict[str, int]

    @classmethod
    def of(cls, preview: Preview) -> Self:
        """Return what the interface shows of a preview."""
        return cls(
            first=[PreviewRowOut.of(row) for row in preview.first],
            worst=[PreviewRowOut.of(row) for row in preview.worst],
            rows=preview.rows,
            is_whole=preview.is_whole,
            taken=preview.taken,
            refused=preview.refused,
            blank=preview.blank,
            duplicates=preview.duplicates,
            codes=preview.codes,
        )


class TemplateBody(RequestBody):
    """A mapping that is used again."""

    name: Name
    mapping: Annotated[list[ImportColumn], Field(min_length=1, max_length=MAX_COLUMNS)]
    options: ImportChoices = Field(default_factory=ImportChoices)


class ImportTemplateOut(BaseModel):
    """A template."""

    id: UUID
    name: str
    mapping: list[ImportColumn]
    options: OptionsOut
    created_at: datetime

    @classmethod
    def of(cls, row: ImportTemplateRow) -> Self:
        """Return what the interface shows of a row."""
        columns = [ImportColumn(**each) for each in row.mapping["columns"]]
        return cls(
            id=row.id,
            name=row.name,
            mapping=columns,
            options=OptionsOut.model_validate(row.options),
            created_at=row.created_at,
        )
