"""Cursors."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from voice_agent.errors import InvalidRequest
from voice_agent.rest.pages import Page, cursor, place


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
