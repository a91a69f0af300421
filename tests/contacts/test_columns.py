"""What of a contact's row is said, and what follows from it."""

from typing import Any

from tests.calls.stored_calls import NOW
from tests.contacts.stored_contacts import ANA, BEN, EVA, a_draft, zones_of_region
from voice_agent.contacts.columns import changes_of, columns_of
from voice_agent.contacts.model import ContactDraft
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ContactRow

ORG = new_id()


def columns(draft: ContactDraft) -> dict[str, Any]:
    return columns_of(draft, ORG, NOW, zones_of_region=zones_of_region)


def changes(before: dict[str, Any], draft: ContactDraft, *further: str) -> dict[str, Any]:
    return changes_of(before, draft, further, zones_of_region=zones_of_region)


def test_a_row_has_every_column() -> None:
    assert set(columns(a_draft())) == set(ContactRow.__table__.c.keys())


def test_a_name_is_made_of_its_parts_and_is_found() -> None:
    row = columns(a_draft(ANA, given_name="Ana", family_name="García", email="ana@x.example", further=[EVA]))

    assert row["name"] == "Ana García"
    assert {"34612345678", "12125550100", "ana", "garcia", "ana@x.example"} <= set(row["search_words"].split())


def test_an_explicit_zone_is_believed_before_an_address_and_an_address_before_a_number() -> None:
    explicit = columns(a_draft(EVA, zone="America/Denver", region="US-FL"))
    address = columns(a_draft(EVA, region="US-FL"))
    number = columns(a_draft(EVA, region="US-XX"))
    nothing = columns(a_draft("+88213300655"))

    assert (explicit["zone_origin"], explicit["zone_candidates"]) == ("explicit", ["America/Denver"])
    assert (address["zone_origin"], address["zone_candidates"]) == ("address", ["America/New_York", "America/Chicago"])
    assert (number["zone_origin"], number["zone_candidates"]) == ("number", ["America/New_York"])
    assert (nothing["zone_origin"], nothing["zone_candidates"]) == ("none", [])


def test_every_candidate_of_a_number_is_kept() -> None:
    assert columns(a_draft(ANA))["zone_candidates"] == ["Atlantic/Canary", "Europe/Madrid"]


def test_what_says_nothing_new_changes_nothing() -> None:
    draft = a_draft(ANA, given_name="Ana", family_name="García", external_id="A-1", custom={"a": 1}, further=[EVA])

    assert changes(columns(draft), draft, EVA) == {}
    assert changes(columns(draft), a_draft(ANA), EVA) == {}


def test_a_change_names_what_it_changes_and_what_follows() -> None:
    before = columns(a_draft(ANA, given_name="Ana", family_name="García", external_id="A-1"))

    changed = changes(before, a_draft(ANA, family_name="López", external_id="", region="US-FL"))
    assert set(changed) == {
        "name", "family_name", "external_id", "region", "zone_origin", "zone_candidates", "search_words",
    }  # fmt: skip
    assert (changed["name"], changed["external_id"]) == ("Ana López", None)


def test_a_name_that_was_said_does_not_follow_its_parts() -> None:
    before = columns(a_draft(ANA, name="Doctor García", given_name="Ana"))

    assert set(changes(before, a_draft(ANA, given_name="Anna"))) == {"given_name", "search_words"}


def test_another_number_brings_its_country_and_its_zones() -> None:
    changed = changes(columns(a_draft(ANA)), a_draft(BEN))

    assert (changed["e164"], changed["raw_number"], changed["country"]) == (BEN, BEN, "GB")
    assert "Europe/London" in changed["zone_candidates"]


def test_custom_fields_are_changed_one_by_one() -> None:
    before = columns(a_draft(ANA, custom={"level": 1, "color": "red", "gone": None}))

    assert before["custom"] == {"level": 1, "color": "red"}
    assert changes(before, a_draft(ANA, custom={"level": 2, "color": None})) == {"custom": {"level": 2}}
