"""What a contact is called before it is a row."""

from typing import Any

import pytest

from tests.contacts.stored_contacts import a_draft


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"name": "Doctor", "given_name": "Ana"}, "Doctor"),
        ({"given_name": "Ana", "family_name": "García"}, "Ana García"),
        ({"name": "", "family_name": "García"}, "García"),
        ({}, ""),
    ],
)
def test_a_contact_is_called_by_its_name_or_by_its_parts(said: dict[str, Any], name: str) -> None:
    assert a_draft(**said).display_name == name
