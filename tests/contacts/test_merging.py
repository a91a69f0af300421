"""Which value each field keeps when several contacts become one."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from voice_agent.contacts.merging import Candidate, Phone, merged
from voice_agent.errors import InvalidRequest


def a_candidate(number: str, *further: str, **columns: Any) -> Candidate:
    empty = dict.fromkeys(("name", "given_name", "family_name", "company", "email", "locale", "region", "zone"), "")
    plain = {"e164": number, "raw_number": number, "country": "ES", "line_type": "mobile", "external_id": None}
    phones = [Phone(each, each) for each in further]
    return Candidate(id=uuid4(), columns={**empty, **plain, "custom": {}, **columns}, further=phones)


def test_a_contact_keeps_what_it_has_and_gets_what_it_has_not() -> None:
    kept = a_candidate("+1", name="Ana", email="ana@x.example", custom={"a": 1})
    one = a_candidate("+2", name="Anna", company="Harbour", custom={"a": 2, "b": 2})
    two = a_candidate("+3", company="Port", external_id="X-1", custom={"b": 3, "c": 3})

    result = merged(kept, [one, two], {})
    columns = result.columns
    assert (columns["name"], columns["email"], columns["company"]) == ("Ana", "ana@x.example", "Harbour")
    assert (columns["external_id"], columns["custom"]) == ("X-1", {"a": 1, "b": 2, "c": 3})
    assert (columns["e164"], [phone.e164 for phone in result.further]) == ("+1", ["+2", "+3"])
    assert columns["region"] == ""


def test_a_choice_counts_also_where_it_is_empty() -> None:
    kept = a_candidate("+1", "+4", name="Ana", email="ana@x.example", external_id="K", custom={"a": 1, "b": 1})
    other = a_candidate("+2", name="Anna", custom={"a": 2})
    choose = dict.fromkeys(("number", "name", "email", "external_id", "custom.a", "custom.b"), other.id)

    result = merged(kept, [other], choose)
    assert (result.columns["e164"], [phone.e164 for phone in result.further]) == ("+2", ["+1", "+4"])
    assert (result.columns["name"], result.columns["email"], result.columns["external_id"]) == ("Anna", "", None)
    assert result.columns["custom"] == {"a": 2}


def test_a_name_that_is_made_of_its_parts_is_made_again() -> None:
    kept = a_candidate("+1", name="Ana", given_name="Ana")
    other = a_candidate("+2", name="Ana García", given_name="Ana", family_name="García")

    result = merged(kept, [other], {})
    assert (result.columns["name"], result.columns["family_name"]) == ("", "García")
    assert merged(kept, [other], {"name": other.id}).columns["name"] == "Ana García"
    assert merged(a_candidate("+1"), [other], {}).columns["name"] == "Ana García"


def test_numbers_beyond_five_are_left_out_and_counted() -> None:
    result = merged(a_candidate("+1", "+2", "+3"), [a_candidate("+3", "+4"), a_candidate("+5", "+6", "+7")], {})

    assert [phone.e164 for phone in result.further] == ["+2", "+3", "+4", "+5"]
    assert result.left_out == 2


@pytest.mark.parametrize("field", ["shoe_size", "e164"])
def test_what_cannot_be_chosen_is_refused(field: str) -> None:
    kept = a_candidate("+1")
    with pytest.raises(InvalidRequest, match=f"choose.{field}: there is no such field"):
        merged(kept, [], {field: kept.id})
    with pytest.raises(InvalidRequest, match="is none of these contacts"):
        merged(kept, [], {"name": UUID(int=1)})
