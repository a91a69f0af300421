"""Shapes of the REST interface: what bodies become, and what rows are shown as."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import ValidationError

from voice_agent.contacts.import_model import ImportOptions, options_of
from voice_agent.contacts.import_schemas import (
    ImportChoices,
    ImportColumn,
    ImportFormat,
    ImportOut,
    NewImportBody,
    mapping_struct,
)
from voice_agent.contacts.reading.model import FileFormat, FileKind
from voice_agent.storage.tables import ChangeSetRow, ImportRow

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def a_row(**changes: object) -> ImportRow:
    row = ImportRow(
        id=uuid4(), org_id=uuid4(), name="x", source="url", source_ref="https://x.test/a.csv?key=hush", state="running",
        counts={"created": 5}, cursor=5, rows_total=15, rows_per_s=5.0, error="", created_by="Ana", created_at=NOW,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def test_choices_that_nobody_makes_are_the_defaults_of_an_import() -> None:
    assert options_of(ImportChoices().plain()) == ImportOptions()


def test_a_format_and_a_mapping_become_what_files_are_read_by() -> None:
    body = ImportFormat.model_validate({"kind": "csv", "delimiter": ";"})
    assert body.struct() == FileFormat(kind=FileKind.CSV, delimiter=";")
    assert mapping_struct(None).columns == ()
    (column,) = mapping_struct([ImportColumn(header="tel", target="phone", label="home")]).columns
    assert (column.header, column.target, column.label) == ("tel", "phone", "home")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "source": "url"},
        {"name": "x", "source": "paste", "text": ""},
        {"name": "x", "key": "imports/a"},
        {"name": " "},
        {"name": "x", "options": {"country": "es"}},
        {"name": "x", "more": 1},
        {"name": "x", "format": {"delimiter": ";;"}},
    ],
)
def test_bodies_are_read_strictly(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NewImportBody.model_validate(body)


def test_an_import_is_shown_without_the_keys_of_its_address_and_with_the_time_left() -> None:
    shown = ImportOut.of(a_row())
    assert (shown.source_ref, shown.seconds_left, shown.counts.created) == ("https://x.test/a.csv", 2.0, 5)
    assert (shown.undo, shown.has_rejected) == (None, False)


def test_an_import_that_is_taken_back_says_how_far() -> None:
    changes = ChangeSetRow(state="undone", undone=4, kept=1)
    undo = ImportOut.of(a_row(state="done"), changes).undo
    assert undo is not None
    assert (undo.state, undo.undone, undo.kept) == ("undone", 4, 1)
    assert ImportOut.of(a_row(state="done"), ChangeSetRow(state="done", undone=0, kept=0)).undo is None
