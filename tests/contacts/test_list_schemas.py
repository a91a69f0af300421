from typing import Any

import pytest
from pydantic import ValidationError

from voice_agent.contacts.list_schemas import ListBody, ListCombination, Members
from voice_agent.errors import InvalidRequest
from voice_agent.storage.ids import new_id


@pytest.mark.parametrize("body", [{}, {"contacts": [str(new_id())], "filter": {"type": "suppressed"}}])
def test_members_are_named_in_one_way(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="by contacts or by filter"):
        Members(**body).check()


@pytest.mark.parametrize("body", [{"contacts": []}, {"contacts": [str(new_id())] * 1_001}, {"contacts": ["1"]}])
def test_members_are_at_most_a_thousand_keys(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Members(**body)


def test_a_list_without_a_filter_is_static() -> None:
    assert ListBody(name=" Spring ").new().filter is None
    assert ListBody(name="Spring").new().name == "Spring"


def test_lists_are_combined_in_known_ways() -> None:
    keys = [new_id(), new_id()]

    assert ListCombination(name="x", how="union", lists=keys).lists == keys
    with pytest.raises(ValidationError):
        ListCombination(name="x", how="xor", lists=keys)
