"""What crosses the pipe: it survives MessagePack, and tells what to do."""

import msgspec

from voice_agent.contacts.fields import FieldType
from voice_agent.contacts.model import ContactDraft
from voice_agent.contacts.reading.model import (
    ROW_WORDS,
    Chunk,
    Column,
    FileFormat,
    FileKind,
    FileProblem,
    FileRefused,
    Inspection,
    MappedColumn,
    Mapping,
    Order,
    RowProblem,
    RowRefusal,
    RowWarning,
    SaidConsent,
    TakenRow,
    Target,
)
from voice_agent.phone_numbers import read_number

DRAFT = ContactDraft(number=read_number("+34612345678"), raw_number="+34612345678", name="Ana", custom={"n": 1})


def test_a_chunk_survives_the_pipe() -> None:
    chunk = Chunk(
        taken=(TakenRow(1, DRAFT, SaidConsent(at="2026-01-02"), True, (RowWarning("tel", "plus", "34612345678"),)),),
        refused=(RowRefusal(2, "tel", "missing", "there is no number", ("", "Eva")),),
        last_row=3,
        blank=1,
        bytes_read=10,
        size_bytes=20,
    )

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(chunk), type=Chunk) == chunk


def test_an_order_survives_the_pipe_and_json() -> None:
    order = Order(
        mapping=Mapping(columns=(MappedColumn(header="tel", target=Target.PHONE), MappedColumn(header="x"))),
        format=FileFormat(kind=FileKind.CSV, delimiter=";"),
        start_row=7,
    )

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(order), type=Order) == order
    assert msgspec.json.decode(msgspec.json.encode(order), type=Order) == order


def test_an_inspection_proposes_a_mapping() -> None:
    inspection = Inspection(
        format=FileFormat(kind=FileKind.CSV),
        columns=(
            Column(header="tel", samples=("1",), target="phone", confidence=1.0, label="mobile"),
            Column(header="age", samples=("41",), target="custom:age", confidence=0.5, new_field=FieldType.NUMBER),
        ),
        size_bytes=1,
        rows_estimate=1,
    )

    assert inspection.mapping.columns == (
        MappedColumn(header="tel", target="phone", label="mobile"),
        MappedColumn(header="age", target="custom:age"),
    )


def test_a_refusal_of_a_file_is_a_refusal_of_the_request() -> None:
    error = FileRefused(FileProblem.BOMB, "no")

    assert (error.problem, error.http_status, str(error)) == (FileProblem.BOMB, 422, "no")


def test_every_problem_of_a_row_but_that_of_a_value_has_words() -> None:
    assert set(ROW_WORDS) == set(RowProblem) - {RowProblem.BAD_VALUE}
