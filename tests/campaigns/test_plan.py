"""Plans as documents."""

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from voice_agent.campaigns.plan import (
    DEFAULT_RETRIES,
    Audience,
    Plan,
    differences,
    document_of,
    fingerprint,
    is_looked_at_again,
    read_plan,
    stored_plan,
)
from voice_agent.errors import InvalidRequest

AGENT = str(uuid4())


def document(**changes: Any) -> dict[str, Any]:
    return {"purpose": "service", "audience": {}, "variants": [{"agent_id": AGENT}], **changes}


def test_a_plan_needs_a_purpose_an_audience_and_an_agent() -> None:
    plan = msgspec.convert(document(), Plan)

    assert plan.retries == DEFAULT_RETRIES
    assert msgspec.convert(msgspec.to_builtins(plan), Plan) == plan


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"variants": []}, "variants"),
        ({"variants": [{"agent_id": "x"}]}, "agent_id"),
        ({"windows": [{"days": ["mon"], "opens": "9:00", "closes": "20:00"}]}, "opens"),
        ({"windows": [{"days": [], "opens": "09:00", "closes": "20:00"}]}, "days"),
        ({"caps": {"gap_min": 1}}, "gap_min"),
        ({"pacing": {"calls_per_second": 0}}, "calls_per_second"),
        ({"budget": -1}, "budget"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_right_is_refused_naming_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(document(**changes), Plan)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"purpose": "spam"}, "purpose: 'spam'"),
        ({"purpose": "test"}, "purpose"),
        ({"variants": [{"agent_id": AGENT}, {"agent_id": AGENT}]}, "same key"),
        ({"variants": [{"agent_id": AGENT, "weight": 0}]}, "weight"),
        ({"windows": [{"days": ["mon"], "opens": "09:00", "closes": "09:00"}]}, "00:00 to 24:00"),
        ({"windows": [{"days": ["mon"], "opens": "24:00", "closes": "09:00"}]}, "windows"),
        ({"starts_at": "2026-11-26T10:00:00Z", "ends_at": "2026-11-26T10:00:00Z"}, "ends_at"),
        ({"starts_at": "2026-11-26T10:00:00"}, "starts_at"),
        ({"retries": {"invalid_number": {}}}, "invalid_number"),
        ({"retries": {"sunshine": {}}}, "sunshine"),
        ({"machines": {"message": "a\0b"}}, "NUL"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_reading_a_plan_refuses_what_cannot_be_right(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read_plan(document(**changes))


def test_a_plan_is_stored_as_a_document_and_read_again() -> None:
    plan = read_plan(
        document(
            windows=[{"days": ["fri"], "opens": "22:00", "closes": "02:00"}],
            starts_at="2026-11-26T10:00:00+01:00",
            ends_at="2026-12-01T10:00:00Z",
            black_out=["2026-12-24"],
            retries={"busy": {"after_min": [5]}},
        )
    )

    assert stored_plan(msgspec.json.decode(msgspec.json.encode(document_of(plan)))) == plan


def test_an_audience_names_nobody_without_lists_and_filter() -> None:
    assert Audience().is_empty
    assert not Audience(filter={"all": []}).is_empty


@pytest.mark.parametrize(
    ("changes", "is_again"),
    [
        ({"purpose": "marketing"}, True),
        ({"audience": {"is_live": True}}, True),
        ({"budget": 1}, True),
        ({"windows": [{"days": ["mon"], "opens": "09:00", "closes": "20:00"}]}, True),
        ({"weight": 5}, False),
        ({"pacing": {"max_calls": 2}}, False),
        ({"ends_at": "2026-12-01T10:00:00Z"}, False),
    ],
)
def test_what_audience_and_law_depend_on_is_looked_at_again(changes: dict[str, Any], is_again: bool) -> None:
    old, new = read_plan(document()), read_plan(document(**changes))

    assert is_looked_at_again(old, new) is is_again
    same = fingerprint(old, contacts=3, agents={"a": "1"}) == fingerprint(new, contacts=3, agents={"a": "1"})
    assert same is not is_again


def test_another_audience_or_another_version_of_an_agent_has_another_fingerprint() -> None:
    plan = read_plan(document())
    marks = {fingerprint(plan, contacts=contacts, agents={"a": "1"}) for contacts in (1, 2)}

    assert len(marks | {fingerprint(plan, contacts=1, agents={"a": "2"})}) == 3


def test_differences_are_told_field_by_field() -> None:
    old, new = document(pacing={"max_calls": 1}), document(pacing={"max_calls": 2}, weight=3)

    assert differences(old, new) == {"pacing.max_calls": (1, 2), "weight": (None, 3)}
