"""What requests bring: the base of every JSON body, and the values that several of them have.

A body is read strictly: nothing that it does not know, no text for a number, no `true` for 1. What no database keeps is
refused before anything is done with it. A whole number may be written 30.0, as JSON has it (RFC 8259 section 6 and JSON
Schema's `integer`).
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Path
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from voice_agent.storage.storable import why_not_storable

LARGEST = 2**31 - 1
"""Of a database's integer column."""

FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
LAST_MOMENT = datetime.max.replace(tzinfo=UTC)

_BLANKS = " \t\r\n"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class RequestBody(BaseModel):
    """A JSON object that a request brings."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _can_be_kept(cls, value: Any) -> Any:
        if reason := why_not_storable(value):
            raise ValueError(reason)
        return value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _rfc_3339(value: Any) -> Any:
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError("a moment is written with its zone, such as 2026-11-25T12:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # on the first or the last day that there is: in UTC it is another one
        return FIRST_MOMENT if moment.year == FIRST_MOMENT.year else LAST_MOMENT


def _trimmed(text: str) -> str:
    return text.strip(_BLANKS)


Name = Annotated[str, Field(max_length=200, pattern=r"[^ \t\r\n]"), AfterValidator(_trimmed)]
"""What people call something: not only blanks, which are taken off its ends."""

WHOLE = BeforeValidator(_whole)
"""Goes after a whole number's bounds in the `Annotated` of a body's field."""

Moment = Annotated[AwareDatetime, BeforeValidator(_rfc_3339), AfterValidator(_in_utc)]
"""A moment of a query, in RFC 3339's form; in UTC when it has been read."""

SearchText = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
"""A text of a query."""

Ordinal = Annotated[int, Path(ge=1, le=LARGEST)]
"""A number in a path that counts from 1."""
