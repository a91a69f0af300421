"""What the child answers, asked here."""

import os
import tempfile
from pathlib import Path

import msgspec
import pytest

from tests.contacts.reading.corpus import NASTY, xlsx
from tests.contacts.reading.world import FIELDS, mapping, written
from voice_agent.contacts.fields import FieldType
from voice_agent.contacts.reading.frames import HEADER, Answer, Inspect, PreviewIt, Read, unpack
from voice_agent.contacts.reading.model import (
    CHUNK_ROWS,
    Chunk,
    FileFormat,
    FileKind,
    FileProblem,
    FileRefused,
    Inspection,
    Order,
    Preview,
    ReadOptions,
)
from voice_agent.contacts.reading.worker import answers, serve

OPTIONS = ReadOptions(default_country="ES", custom_fields=FIELDS)
ORDER = Order(mapping=mapping(tel="phone", nombre="name"), options=OPTIONS)


def table(rows: int) -> str:
    return "tel,nombre\n" + "".join(f"{612000000 + number},Persona {number}\n" for number in range(rows))


def only(answered: list[Answer]) -> Answer:
    (answer,) = answered
    return answer


def chunks_of(path: Path, order: Order = ORDER) -> list[Chunk]:
    chunks = []
    for answer in answers(Read(path=str(path), order=order)):
        assert isinstance(answer, Chunk)
        chunks.append(answer)
    return chunks


def test_an_inspection_tells_columns_and_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "tel;nombre;edad\n612345678;Ana;41\n612345679;Eva;\n")

    inspection = only(list(answers(Inspect(path=str(path), options=OPTIONS))))

    assert isinstance(inspection, Inspection)
    assert [(column.header, column.target, column.new_field) for column in inspection.columns] == [
        ("tel", "phone", None),
        ("nombre", "name", None),
        ("edad", "custom:edad", FieldType.NUMBER),
    ]
    assert inspection.columns[2].samples == ("41",)
    assert (inspection.rows_estimate, inspection.size_bytes) == (2, path.stat().st_size)
    assert inspection.format.kind is FileKind.CSV


@pytest.mark.parametrize("rows", [0, 1, 7_000, 20_000])
def test_rows_are_estimated_within_a_tenth(tmp_path: Path, rows: int) -> None:
    inspection = only(list(answers(Inspect(path=str(written(tmp_path, table(rows)))))))

    assert isinstance(inspection, Inspection)
    assert abs(inspection.rows_estimate - rows) <= rows / 10


def test_sheets_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, xlsx([["tel"], ["612345678"]], title="Gente"))

    inspection = only(list(answers(Inspect(path=str(path)))))

    assert isinstance(inspection, Inspection)
    assert [sheet.name for sheet in inspection.sheets] == ["Gente"]
    assert inspection.format == FileFormat(
        kind=FileKind.XLSX, sheet="Gente", has_header=True, decimal=".", is_day_first=True
    )


def test_a_preview_is_of_the_first_rows(tmp_path: Path) -> None:
    preview = only(list(answers(PreviewIt(path=str(written(tmp_path, table(60))), order=ORDER))))

    assert isinstance(preview, Preview)
    assert (preview.rows, len(preview.first), preview.is_whole) == (60, 50, True)


def test_every_row_is_in_one_chunk(tmp_path: Path) -> None:
    path = written(tmp_path, table(1_201) + "\n,\nnone,Eva\n")

    chunks = chunks_of(path)

    assert [len(chunk.taken) + len(chunk.refused) + chunk.blank for chunk in chunks] == [500, 500, 204, 0]
    assert [chunk.last_row for chunk in chunks] == [500, 1_000, 1_204, 1_204]
    assert [chunk.is_last for chunk in chunks] == [False, False, False, True]
    assert [row.row for chunk in chunks for row in chunk.taken] == list(range(1, 1_202))
    assert [(row.row, row.cells) for row in chunks[2].refused] == [(1_204, ("none", "Eva"))]
    assert chunks[2].blank == 2
    assert chunks[-1].bytes_read == chunks[-1].size_bytes == path.stat().st_size


@pytest.mark.parametrize("start", [0, 1, 499, 500, 777, 1_201, 5_000])
def test_reading_goes_on_where_it_was_left(tmp_path: Path, start: int) -> None:
    path = written(tmp_path, table(1_201))

    rows = [
        row.row for chunk in chunks_of(path, msgspec.structs.replace(ORDER, start_row=start)) for row in chunk.taken
    ]

    assert rows == list(range(start + 1, 1_202))


def test_long_rows_make_small_chunks(tmp_path: Path) -> None:
    path = written(tmp_path, "tel,nombre\n" + f"612345678,{'x' * 30_000}\n" * 200)

    sizes = [len(chunk.taken) for chunk in chunks_of(path)]

    assert sum(sizes) == 200
    assert max(sizes) < CHUNK_ROWS / 5


def test_a_mapping_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, table(1))
    for wrong in (mapping(nombre="name"), mapping(tel="phone", baja="do_not_call")):
        with pytest.raises(FileRefused) as refusal:
            chunks_of(path, msgspec.structs.replace(ORDER, mapping=wrong))
        assert refusal.value.problem is FileProblem.MAPPING


def frames_of(request: Inspect | Read) -> list[Answer]:
    with tempfile.TemporaryFile() as file:
        serve(request, file.fileno())
        file.seek(0)
        content = file.read()
    found = []
    while content:
        kind, length = HEADER.unpack_from(content)
        found.append(unpack(kind, content[HEADER.size : HEADER.size + length]))
        content = content[HEADER.size + length :]
    return found


def test_answers_are_written_as_frames(tmp_path: Path) -> None:
    path = written(tmp_path, table(3))

    assert frames_of(Read(path=str(path), order=ORDER)) == chunks_of(path)


def test_refusals_are_written_too(tmp_path: Path) -> None:
    with pytest.raises(FileRefused) as refusal:
        frames_of(Inspect(path=str(written(tmp_path, b"%PDF-1.7"))))

    assert refusal.value.problem is FileProblem.NOT_CONTACTS


@pytest.mark.parametrize("name", NASTY)
def test_nasty_files_are_refused(tmp_path: Path, name: str) -> None:
    make, problems = NASTY[name]

    with pytest.raises(FileRefused) as refusal:
        frames_of(Inspect(path=str(written(tmp_path, make()))))

    assert refusal.value.problem in problems
    assert os.listdir(tmp_path) == ["contacts"]
