"""What requests bring: bodies, whole numbers, moments, texts."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import Field, TypeAdapter, ValidationError

from voice_agent.rest.inputs import FIRST_MOMENT, LAST_MOMENT, WHOLE, Moment, Name, Ordinal, RequestBody, SearchText

MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


NAME: TypeAdapter[str] = TypeAdapter(Name)


class Inner(RequestBody):
    text: str = ""


class Order(RequestBody):
    seconds: Annotated[int, Field(ge=1, le=60), WHOLE] | None = None
    anything: dict[str, Any] = {}
    inner: Inner | None = None


@pytest.mark.parametrize(("given", "read"), [(30, 30), (30.0, 30), (None, None)])
def test_a_whole_number_may_be_written_as_json_has_it(given: object, read: object) -> None:
    assert Order.model_validate({"seconds": given}).seconds == read


@pytest.mark.parametrize("given", [True, "30", 30.5, 0, 61, 1e300, float("inf")])
def test_what_is_no_whole_number_within_bounds_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        Order.model_validate({"seconds": given})


def test_the_bounds_are_in_the_schema() -> None:
    whole = Order.model_json_schema()["properties"]["seconds"]["anyOf"][0]
    assert whole == {"type": "integer", "minimum": 1, "maximum": 60}


@pytest.mark.parametrize(
    "body",
    [
        {"anything": {"a": ["\0"]}},
        {"anything": {"\ud800": 1}},
        {"anything": {"a": float("nan")}},
        {"inner": {"text": "\0"}},
        {"unknown\ud800": 1},
        {"unknown": 1},
    ],
)
def test_what_no_database_keeps_and_what_is_not_known_is_refused(body: object) -> None:
    with pytest.raises(ValidationError):
        Order.model_validate(body)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-25T12:00:00Z", datetime(2026, 11, 25, 12, tzinfo=UTC)),
        ("2026-11-25t12:00:00.25z", datetime(2026, 11, 25, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-11-25T12:00:00+02:00", datetime(2026, 11, 25, 10, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", FIRST_MOMENT),
        ("9999-12-31T23:59:59-12:00", LAST_MOMENT),
    ],
)
def test_a_moment_is_read_in_utc(text: str, moment: datetime) -> None:
    read = MOMENT.validate_python(text)

    assert (read, read.utcoffset()) == (moment, timedelta())


@pytest.mark.parametrize("text", ["0.5", "1764072000", "2026-11-25", "2026-11-25T12:00:00", "2026-13-01T00:00:00Z", ""])
def test_what_has_no_zone_or_is_a_count_of_seconds_is_no_moment(text: str) -> None:
    with pytest.raises(ValidationError):
        MOMENT.validate_python(text)


def test_a_name_is_taken_without_blanks_around_it() -> None:
    assert NAME.validate_python("\t Anna Ruiz\n") == "Anna Ruiz"


@pytest.mark.parametrize("text", ["", " \t\r\n", "a" * 201, " " * 200 + "a"])
def test_blanks_are_no_name_and_they_count(text: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(text)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/versions/1", 200),
        ("/versions/2147483647", 200),
        ("/versions/0", 422),
        ("/versions/2147483648", 422),
        ("/versions/1?text=Anna%20%C3%B1", 200),
        ("/versions/1?text=a%00b", 422),
        ("/versions/1?text=a%0A%00", 422),
    ],
)
async def test_what_a_column_cannot_hold_does_not_reach_it(path: str, status: int) -> None:
    app = FastAPI()

    @app.get("/versions/{number}")
    async def read(number: Ordinal, text: Annotated[SearchText, Query()] = "") -> dict[str, Any]:
        return {"number": number, "text": text}

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get(path)).status_code == status
