from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contacts.filter_oracle import KEYS, leaves, trees
from voice_agent.calls.model import Outcome
from voice_agent.contacts.filters import (
    CUSTOM_TYPES,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_VALUES,
    CallOutcome,
    Calls,
    Filter,
    conditions,
    document_of,
    in_utc,
    read_filter,
)
from voice_agent.errors import InvalidRequest

SPAIN = {"type": "field", "field": "country", "values": ["ES"]}

_NAMES = st.sampled_from(["type", "of", "values", "key"]) | st.text()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(_NAMES, inner),
)


def nested(depth: int) -> dict[str, Any]:
    """Return a filter of `depth` parts within each other."""
    return SPAIN if depth == 1 else {"type": "not", "of": nested(depth - 1)}


@given(leaves | trees)
def test_what_is_written_is_read_again(part: Filter) -> None:
    assert read_filter(document_of(part)) == part


@given(ANYTHING)
def test_any_value_is_a_filter_or_is_refused(document: object) -> None:
    with pytest.raises(InvalidRequest, match="^filter"):
        read_filter(document)


@pytest.mark.parametrize(
    ("document", "refusal"),
    [
        ([], r"^filter: Expected `object`"),
        ({"type": "everything"}, r"^filter\.type: Invalid value 'everything'"),
        ({"type": "all", "of": []}, r"^filter: there is nothing in it"),
        ({"type": "any", "of": [SPAIN, {"type": "any", "of": []}]}, r"^filter\.of\[1\]: there is nothing in it"),
        (
            {"type": "not", "of": {"type": "all", "of": [SPAIN | {"values": [1]}]}},
            r"^filter\.of\.of\[0\]\.values\[0\]: ",
        ),
        (SPAIN | {"value": "ES"}, "unknown field `value`"),
        (SPAIN | {"values": []}, "needs values"),
        (SPAIN | {"values": ["\0"]}, "the character NUL"),
        (SPAIN | {"test": "contains", "values": [""]}, "every text has the empty one"),
        (SPAIN | {"test": "is_set"}, "is_set takes no values"),
        ({"type": "words", "query": "!?"}, "there is no word in it"),
        ({"type": "zone", "values": []}, "needs values"),
        ({"type": "tag", "values": ["vip"]}, r"values\[0\]: Invalid UUID"),
        ({"type": "moment", "field": "created"}, "needs a bound"),
        ({"type": "moment", "field": "created", "since": "2026-01-01T00:00:00"}, r"^filter\.since: .*timezone"),
        ({"type": "moment", "field": "created", "until": "0001-01-01T00:00:00Z"}, "between 1900 and 9000"),
        ({"type": "moment", "field": "created", "within_days": 0}, r"within_days: Expected `int` >= 1"),
        ({"type": "custom_is", "key": "a", "values": []}, "needs values"),
        ({"type": "custom_is", "key": "a", "values": [None]}, r"values\[0\]"),
        ({"type": "custom_is", "key": "a", "values": [2**53 + 1]}, r"values\[0\]"),
        ({"type": "custom_is", "key": "$.a", "values": [1]}, r"^filter\.key"),
        ({"type": "custom_contains", "key": "a", "values": [""]}, "every text contains the empty one"),
        ({"type": "custom_number", "key": "a"}, "needs a bound"),
        ({"type": "custom_date", "key": "a"}, "needs a bound"),
        ({"type": "custom_date", "key": "a", "since": "25/11/2026"}, r"^filter\.since"),
        ({"type": "last_call", "outcomes": []}, "needs values"),
        ({"type": "calls", "outcomes": ["won"]}, r"outcomes\[0\]"),
    ],
)
def test_a_refusal_names_the_place(document: object, refusal: str) -> None:
    with pytest.raises(InvalidRequest, match=refusal):
        read_filter(document)


def test_depth_conditions_and_values_are_bounded() -> None:
    assert list(conditions(read_filter(nested(MAX_DEPTH))))
    with pytest.raises(InvalidRequest, match="nested"):
        read_filter(nested(MAX_DEPTH + 1))
    with pytest.raises(InvalidRequest, match="nested"):
        read_filter(nested(500))

    assert len(list(conditions(read_filter({"type": "any", "of": [SPAIN] * MAX_CONDITIONS})))) == MAX_CONDITIONS
    with pytest.raises(InvalidRequest, match="51 conditions, 50 are allowed"):
        read_filter({"type": "any", "of": [SPAIN] * (MAX_CONDITIONS + 1)})

    many = SPAIN | {"values": ["ES"] * MAX_VALUES}
    assert read_filter(many)
    with pytest.raises(InvalidRequest, match="1001 values, 1000 are allowed"):
        read_filter({"type": "all", "of": [many, SPAIN]})


def test_a_very_deep_document_is_refused_without_recursion() -> None:
    document: Any = SPAIN
    for _ in range(100_000):
        document = {"type": "not", "of": document}

    with pytest.raises(InvalidRequest, match="nested"):
        read_filter(document)
    while isinstance(document["of"], dict) and "of" in document["of"]:  # or Python would free it by recursion
        document = document["of"]


def test_conditions_are_told_without_what_joins_them() -> None:
    part = read_filter({"type": "any", "of": [{"type": "not", "of": SPAIN}, {"type": "tag", "values": [str(KEYS[0])]}]})

    assert [document_of(each)["type"] for each in conditions(part)] == ["field", "tag"]


def test_outcomes_are_those_of_calls() -> None:
    assert [each.value for each in CallOutcome] == [each.value for each in Outcome]


def test_where_no_number_of_calls_is_said_one_is_meant() -> None:
    said = [Calls(), Calls(at_least=0), Calls(at_least=3), Calls(at_most=2)]

    assert [calls.least for calls in said] == [1, 0, 3, 0]


def test_every_question_about_custom_fields_says_of_which_types() -> None:
    names = {kind.__struct_config__.tag for kind in CUSTOM_TYPES}

    assert names == {"custom_is", "custom_contains", "custom_number", "custom_date", "custom_set"}


def test_moments_are_compared_in_utc() -> None:
    assert in_utc(datetime.fromisoformat("2026-11-25T01:00:00+02:00")) == datetime(2026, 11, 24, 23, tzinfo=UTC)
