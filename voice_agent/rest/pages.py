"""Long lists in pages, by cursor: what was added or deleted meanwhile shifts nothing.

A cursor is the place of the last row that was shown, (created_at, id), newest first. It is opaque to clients.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Generic, Protocol, Self, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from voice_agent.errors import InvalidRequest

Place = tuple[datetime, UUID]

Limit = Annotated[int, Query(ge=1, le=200, description="Most items of a page.")]
CursorText = Annotated[
    str | None, Query(pattern=r"^A[A-Za-v][A-Za-z0-9_-]{30}$", description="`next_cursor` of the page before.")
]
"""The first two characters keep the moment before the year 6500: whatever has the form is a place."""

DEFAULT_LIMIT = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR_BYTES = 24

_Item = TypeVar("_Item", bound=BaseModel)


class Placed(Protocol):
    """A row with a place in a list."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        ...

    @property
    def id(self) -> UUID:
        """Its key."""
        ...


_Row = TypeVar("_Row", bound=Placed)


class Page(BaseModel, Generic[_Item]):
    """A part of a list, newest first."""

    items: list[_Item]
    next_cursor: str | None
    """For the page after it; null where this is the last one."""

    @classmethod
    def of(cls, rows: Sequence[_Row], limit: int, show: Callable[[_Row], _Item]) -> Self:
        """Return the page of `rows`, of which one more than `limit` was asked for."""
        shown = rows[:limit]
        following = cursor(shown[-1]) if len(rows) > limit else None
        return cls(items=[show(row) for row in shown], next_cursor=following)


def cursor(row: Placed) -> str:
    """Return the cursor of what follows `row`."""
    microseconds = (row.created_at - _EPOCH) // (datetime.resolution)
    return urlsafe_b64encode(microseconds.to_bytes(8, "big") + row.id.bytes).decode()


def place(text: str | None) -> Place | None:
    """Return the place that a cursor names, None without one. Raises InvalidRequest."""
    if text is None:
        return None
    try:
        packed = urlsafe_b64decode(text.encode())
        if len(packed) != _CURSOR_BYTES:
            raise ValueError
        microseconds = int.from_bytes(packed[:8], "big")
        return _EPOCH + microseconds * datetime.resolution, UUID(bytes=packed[8:])
    except (ValueError, OverflowError):
        raise InvalidRequest("cursor: is none of ours") from None
