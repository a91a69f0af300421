"""JSON: lines, arrays, and what people put in them."""

import json
from itertools import chain, islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contacts.reading.world import text_rows, written
from voice_agent.contacts.reading.json_rows import (
    Flat,
    headers_of_objects,
    is_one_a_line,
    json_rows,
    objects,
)
from voice_agent.contacts.reading.model import (
    MAX_CELL,
    MAX_COLUMNS,
    MAX_ROW,
    CellRepair,
    FileProblem,
    FileRefused,
    RowProblem,
)
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.contacts.reading.text_source import TextSource


def flats(folder: Path, text: str | bytes, *, is_lines: bool) -> list[tuple[Flat, RowProblem | None, bool]]:
    with TextSource(written(folder, text), "utf-8") as source:
        return list(objects(source, is_lines=is_lines))


def test_values_are_flattened_and_stay_as_written(tmp_path: Path) -> None:
    text = (
        '{"a": {"b": 34612345678901234567, "c": [1.50, "x", null, true]}, "d": null, "e": false, '
        '"f": [{"g": 1}, [2]], "n": NaN, "h": []}'
    )

    ((flat, problem, _),) = flats(tmp_path, text, is_lines=True)

    assert problem is None
    assert flat == {
        "a.b": "34612345678901234567",
        "a.c": "1.50, x, true",
        "d": "",
        "e": "false",
        "f.1.g": "1",
        "f.2": "2",
        "n": "NaN",
        "h": "",
    }


def test_a_bad_line_is_a_problem_of_its_own(tmp_path: Path) -> None:
    text = '{"a": 1}\n{"a": \n\n[1]\n7\n"x"\n' + "[" * 100_000 + '\n{"a": "\\ud800"}\n'

    found = flats(tmp_path, text, is_lines=True)

    assert [problem for _, problem, _ in found] == [None, *[RowProblem.NOT_AN_OBJECT] * 5, None]
    assert found[1][0] == {"": '{"a":'}
    assert found[2][0] == {"": "[...]"}
    assert found[3][0] == {"": "7"}
    assert found[6][0] == {"a": "\ufffd"}


def test_objects_that_are_too_deep_too_wide_or_too_long_are_told(tmp_path: Path) -> None:
    deep = '{"a":' * 20 + "1" + "}" * 20
    wide = json.dumps({str(number): 1 for number in range(MAX_COLUMNS + 9)})
    long = json.dumps({"a": "x" * (MAX_CELL + 1)})

    found = flats(tmp_path, f"{deep}\n{wide}\n{long}\n", is_lines=True)

    assert [problem for _, problem, _ in found] == [RowProblem.BROKEN, RowProblem.BROKEN, RowProblem.CELL_TOO_LONG]


@pytest.mark.parametrize(
    "text",
    ['[{"a": 1}, {"a": 2}]', '\n[\n {"a":\n 1},\n{"a": 2}\n]\n', '{"a":\n1}\n{"a":\n2}', '[{"a":1}][{"a":2}]'],
)
def test_arrays_and_objects_one_after_another(tmp_path: Path, text: str) -> None:
    assert [flat for flat, _, _ in flats(tmp_path, text, is_lines=False)] == [{"a": "1"}, {"a": "2"}]


def test_an_array_is_longer_than_one_piece(tmp_path: Path) -> None:
    text = json.dumps([{"a": "x" * 50, "n": number} for number in range(3_000)])

    found = flats(tmp_path, text, is_lines=False)

    assert [flat["n"] for flat, _, _ in found] == [str(number) for number in range(3_000)]


def test_a_number_at_the_end_of_a_piece_is_whole(tmp_path: Path) -> None:
    text = "[" + " " * (64 * 1024 - 4) + "12345]"

    assert [flat for flat, _, _ in flats(tmp_path, text, is_lines=False)] == [{"": "12345"}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"a": 1}, {"a"', FileProblem.BROKEN),
        ('{"a":' * 200_000, FileProblem.BROKEN),
        ('[{"a": "' + "x" * (MAX_ROW + 10), FileProblem.ROW_TOO_LONG),
    ],
)
def test_an_array_that_cannot_be_read_on_is_refused(tmp_path: Path, text: str, problem: FileProblem) -> None:
    with pytest.raises(FileRefused) as refusal:
        flats(tmp_path, text, is_lines=False)
    assert refusal.value.problem is problem


def test_brackets_are_between_objects_however_many(tmp_path: Path) -> None:
    assert flats(tmp_path, "[" * 200_000, is_lines=False) == []


@pytest.mark.parametrize(
    ("head", "is_lines"),
    [
        ('{"a": 1}\n{"a": 2}', True),
        ('\n {"a": 1}', True),
        ("[1]", False),
        ("{\n", False),
        ('{\n"a": 1}', False),
        ('{"a": bad}\n{"a": 2}', True),
        ('{"a": cut', True),
    ],
)
def test_lines_are_told_from_one_text(head: str, *, is_lines: bool) -> None:
    assert is_one_a_line(head) is is_lines


def test_columns_are_the_keys_in_their_order() -> None:
    assert headers_of_objects([{"b": "1"}, {"a": "2", "b": "3", "": "4"}]) == ("b", "a")
    with pytest.raises(FileRefused) as refusal:
        headers_of_objects({str(number): ""} for number in range(MAX_COLUMNS + 1))
    assert refusal.value.problem is FileProblem.TOO_MANY_COLUMNS


def test_rows_have_the_columns_and_tell_of_other_keys(tmp_path: Path) -> None:
    def read(source: TextSource) -> list[SourceRow]:
        found = objects(source, is_lines=True)
        first = list(islice(found, 1))
        return list(json_rows(chain(first, found), ("a", "b")))

    rows = text_rows(tmp_path, b'{"a": 1, "b": 2}\n{"b": "\xf1", "c": 3}\n{"a": 4}\nno\n', read)

    assert rows == [
        SourceRow(1, ["1", "2"]),
        SourceRow(2, ["", "ñ"], None, (CellRepair.ENCODING, CellRepair.UNKNOWN_KEYS)),
        SourceRow(3, ["4", ""]),
        SourceRow(4, ["no"], RowProblem.NOT_AN_OBJECT),
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(text=st.text(alphabet='{}[]":,\\u0123d8e. \n', max_size=120), is_lines=st.booleans())
def test_whatever_is_written_there_are_objects_or_a_refusal(tmp_path: Path, text: str, *, is_lines: bool) -> None:
    try:
        found = flats(tmp_path, text, is_lines=is_lines)
    except FileRefused:
        return
    assert all(cell.encode() or True for flat, _, _ in found for cell in flat.values())
