"""Cursors."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from voice_agent.errors import InvalidRequest
from voice_agent.rest.pages import CursorText, Page, cursor, place


@dataclass
class Row:
    created_at: datetime
    id: UUID


class Item(BaseModel):
    id: UUID

    @classmethod
    def of(cls, row: Row) -> "Item":
        return cls(id=row.id)


def row(second: int = 0) -> Row:
    return Row(datetime(2026, 11, 25, tzinfo=UTC) + timedelta(seconds=second), uuid4())


@given(st.integers(0, 10**16), st.uuids())
def test_a_cursor_names_its_row_to_the_microsecond(microseconds: int, key: UUID) -> None:
    there = Row(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds), key)

    assert place(cursor(there)) == (there.created_at, key)


@given(st.text(max_size=60))
def test_what_is_none_of_ours_is_refused(text: str) -> None:
    try:
        place(text)
    except InvalidRequest:
        return
    assert len(text) >= 32


CURSOR: TypeAdapter[str | None] = TypeAdapter(CursorText)


@given(st.datetimes(datetime(1970, 1, 1), datetime(6500, 1, 1)), st.uuids())  # noqa: DTZ001 - Hypothesis wants it so
def test_a_cursor_has_the_form_that_the_contract_says(moment: datetime, key: UUID) -> None:
    text = cursor(Row(moment.replace(tzinfo=UTC), key))

    assert CURSOR.validate_python(text) == text


@given(st.from_regex(r"A[A-Za-v][A-Za-z0-9_-]{30}", fullmatch=True))
def test_whatever_has_the_form_is_a_place(text: str) -> None:
    assert place(CURSOR.validate_python(text)) is not None


def test_no_cursor_is_the_beginning() -> None:
    assert place(None) is None
    with pytest.raises(InvalidRequest):
        place("")


def test_a_page_shows_its_limit_and_says_where_it_goes_on() -> None:
    rows = [row(second) for second in range(3)]

    page = Page[Item].of(rows, 2, Item.of)
    assert [item.id for item in page.items] == [each.id for each in rows[:2]]
    assert page.next_cursor == cursor(rows[1])
    assert Page[Item].of(rows, 3, Item.of).next_cursor is None
