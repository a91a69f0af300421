"""What becomes of a chunk's rows: new, changed, left alone, refused."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.contacts.import_model import ImportOptions, Treatment
from voice_agent.contacts.import_plan import CONFLICT, Known, Plan, Row, combined, draft_of
from voice_agent.contacts.model import ContactDraft, FurtherNumber
from voice_agent.phone_numbers import LineType, read_number

MADRID, OTHER, THIRD = "+34612345678", "+34612345679", "+34612345670"
SKIP, UPDATE, MERGE = Treatment.SKIP, Treatment.UPDATE, Treatment.MERGE


def a_draft(number: str = MADRID, further: tuple[str, ...] = (), **said: Any) -> ContactDraft:
    return ContactDraft(
        number=read_number(number),
        raw_number=number,
        further=tuple(FurtherNumber(number=read_number(each), raw=each) for each in further),
        **said,
    )


def ids() -> Iterator[UUID]:
    while True:
        yield uuid4()


def known(draft: ContactDraft, *, is_of_this_import: bool = False, is_listed: bool = False) -> Known:
    return Known(id=uuid4(), draft=draft, is_of_this_import=is_of_this_import, is_listed=is_listed)


def planned(rows: list[ContactDraft], *there: Known, **options: Any) -> Plan:
    plan = Plan(there, ImportOptions(**options), ids())
    for number, draft in enumerate(rows, 1):
        plan.take(Row(number=number, draft=draft))
    return plan


def test_who_is_not_there_is_new() -> None:
    plan = planned([a_draft(name="Ana"), a_draft(OTHER)])
    assert plan.counts == {"created": 2}
    assert [(each.is_new, each.is_changed, each.draft.number.e164) for each in plan.contacts] == [
        (True, False, MADRID),
        (True, False, OTHER),
    ]
    assert plan.landed == [MADRID, OTHER]
    assert plan.outcomes.settled == 2


@pytest.mark.parametrize(
    ("existing", "outcome", "name", "email"),
    [(SKIP, "skipped", "Ana", ""), (MERGE, "updated", "Ana", "a@x.test"), (UPDATE, "updated", "Eva", "a@x.test")],
)
def test_who_is_there_is_treated_as_the_options_say(existing: Treatment, outcome: str, name: str, email: str) -> None:
    ana = known(a_draft(name="Ana", email=""))
    plan = planned([a_draft(name="Eva", email="a@x.test")], ana, existing=existing)
    (contact,) = plan.contacts
    assert plan.counts == {outcome: 1}
    assert (contact.id, contact.draft.name, contact.draft.email) == (ana.id, name, email)
    assert contact.is_changed is (outcome == "updated")
    assert not contact.is_new


@pytest.mark.parametrize("existing", [MERGE, UPDATE])
def test_a_row_that_says_nothing_new_changes_nothing(existing: Treatment) -> None:
    plan = planned(
        [a_draft(name="Ana", further=(OTHER,))], known(a_draft(name="Ana", further=(OTHER,))), existing=existing
    )
    assert plan.counts == {"unchanged": 1}
    assert not plan.contacts[0].is_changed


@pytest.mark.parametrize(
    ("repeated", "counts", "name", "email"),
    [
        (SKIP, {"created": 1, "repeated": 1}, "Ana", None),
        (MERGE, {"created": 1, "updated": 1}, "Ana", "a@x.test"),
        (UPDATE, {"created": 1, "updated": 1}, "Eva", "a@x.test"),
    ],
)
def test_a_number_that_an_earlier_row_has_is_treated_as_repeated(
    repeated: Treatment, counts: dict[str, int], name: str, email: str | None
) -> None:
    plan = planned([a_draft(name="Ana"), a_draft(name="Eva", email="a@x.test")], repeated=repeated)
    (contact,) = plan.contacts
    assert plan.counts == counts
    assert contact.is_new
    assert (contact.draft.name, contact.draft.email) == (name, email)


def test_an_earlier_row_may_have_been_in_another_chunk() -> None:
    assert planned([a_draft(name="Eva")], known(a_draft(name="Ana"), is_of_this_import=True)).counts == {"repeated": 1}


def test_who_was_changed_in_this_chunk_is_repeated_in_it() -> None:
    plan = planned([a_draft(name="Eva"), a_draft(name="Mar")], known(a_draft(name="Ana")), existing=UPDATE)
    assert plan.counts == {"updated": 1, "repeated": 1}
    assert plan.contacts[0].draft.name == "Eva"


def test_who_is_listed_can_be_treated_by_itself() -> None:
    list_id = uuid4()
    ana, eva = known(a_draft(name="Ana"), is_listed=True), known(a_draft(OTHER, name="Eva"))
    plan = planned(
        [a_draft(name="A"), a_draft(OTHER, name="E")], ana, eva, existing=UPDATE, listed=SKIP, list_id=list_id
    )
    assert plan.counts == {"skipped": 1, "updated": 1}
    assert [each.joins for each in plan.contacts] == [False, True]


@pytest.mark.parametrize("existing", Treatment)
def test_everybody_joins_the_list_who_is_not_on_it(existing: Treatment) -> None:
    plan = planned([a_draft(), a_draft(OTHER)], known(a_draft(name="Ana")), existing=existing, list_id=uuid4())
    assert [each.joins for each in plan.contacts] == [True, True]


def test_tags_are_given_to_whoever_is_not_skipped() -> None:
    there = known(a_draft(THIRD))
    rows = [a_draft(tags=("vip", "fair")), a_draft(OTHER), a_draft(tags=("late",)), a_draft(THIRD, tags=("old",))]
    plan = planned(rows, there, tags=("fair",), existing=SKIP, repeated=MERGE)
    assert {each.draft.number.e164: list(each.tags) for each in plan.contacts} == {
        THIRD: [],
        MADRID: ["fair", "vip", "late"],
        OTHER: ["fair"],
    }


# --- who is meant -----------------------------------------------------------------------------------------------
def test_an_external_id_is_believed_before_a_number() -> None:
    ana = known(a_draft(name="Ana", external_id="1"))
    merged = planned([a_draft(OTHER, external_id="1")], ana)
    assert [each.number.e164 for each in merged.contacts[0].draft.further] == [OTHER]
    updated = planned([a_draft(OTHER, external_id="1")], ana, existing=UPDATE)
    assert updated.contacts[0].draft.number.e164 == OTHER
    assert updated.contacts[0].draft.raw_number == OTHER
    kept = planned([a_draft(OTHER, external_id="1")], ana, existing=UPDATE, fields={"number": SKIP})
    assert kept.counts == {"unchanged": 1}


def test_a_row_of_two_contacts_is_refused() -> None:
    there = known(a_draft(external_id="1")), known(a_draft(OTHER, external_id="2"))
    plan = planned([a_draft(OTHER, external_id="1")], *there)
    (refused,) = plan.refused
    assert plan.counts == {"refused": 1}
    assert plan.landed == []
    assert (refused.row.number, refused.column, refused.code) == (1, "external_id", CONFLICT)


def test_later_rows_find_contacts_by_what_earlier_ones_gave_them() -> None:
    rows = [a_draft(external_id="1"), a_draft(OTHER, external_id="1"), a_draft(OTHER, name="Ana"), a_draft()]
    plan = planned(rows, known(a_draft()), existing=UPDATE, repeated=UPDATE)
    assert plan.counts == {"updated": 3, "created": 1}
    assert [(each.draft.number.e164, each.draft.name, each.is_new) for each in plan.contacts] == [
        (OTHER, "Ana", False),
        (MADRID, None, True),
    ]


def test_an_external_id_that_is_taken_away_is_nobodys() -> None:
    rows = [a_draft(external_id=""), a_draft(OTHER, external_id="1")]
    plan = planned(rows, known(a_draft(external_id="1")), existing=UPDATE)
    assert plan.counts == {"updated": 1, "created": 1}


# --- fields -----------------------------------------------------------------------------------------------------
def test_each_field_may_be_treated_otherwise() -> None:
    old = a_draft(name="Ana", company="A", email="a@x.test", custom={"plan": "basic", "age": 1, "city": ""})
    new = a_draft(name="Eva", company="B", email="b@x.test", custom={"plan": "gold", "age": 2, "city": "Lugo"})
    options = ImportOptions(fields={"name": UPDATE, "email": SKIP, "custom": MERGE, "custom.age": UPDATE})
    after = combined(old, new, UPDATE, options)
    assert (after.name, after.company, after.email) == ("Eva", "B", "a@x.test")
    assert after.custom == {"plan": "basic", "age": 2, "city": "Lugo"}
    assert combined(old, a_draft(custom={"plan": "x"}), MERGE, ImportOptions()) == old


def test_what_a_row_says_to_be_empty_is_emptied_by_an_update_alone() -> None:
    old = a_draft(name="Ana", company="A")
    assert combined(old, a_draft(company=""), UPDATE, ImportOptions()).company == ""
    assert combined(old, a_draft(company=""), MERGE, ImportOptions()).company == "A"


def test_a_name_that_follows_from_its_parts_is_not_empty() -> None:
    old = a_draft(given_name="Ana", family_name="Gil")
    assert combined(old, a_draft(name="Eva"), MERGE, ImportOptions()).name is None
    assert combined(old, a_draft(name="Eva", company="C"), MERGE, ImportOptions()).company == "C"
    assert combined(old, a_draft(name="Eva"), UPDATE, ImportOptions()).name == "Eva"


def test_further_numbers_are_joined_or_replaced() -> None:
    old = a_draft(further=(OTHER,))
    new = a_draft(further=(THIRD, MADRID, OTHER))

    def further(draft: ContactDraft) -> list[str]:
        return [each.number.e164 for each in draft.further]

    assert further(combined(old, new, MERGE, ImportOptions())) == [OTHER, THIRD]
    assert further(combined(old, new, UPDATE, ImportOptions())) == [THIRD, OTHER]
    assert combined(old, new, MERGE, ImportOptions(fields={"further": SKIP})) == old
    assert combined(old, a_draft(further=(OTHER, MADRID)), MERGE, ImportOptions()) == old
    many = a_draft(further=tuple(f"+3461234567{digit}" for digit in range(8)))
    assert len(combined(old, many, MERGE, ImportOptions()).further) == 4


def test_a_new_first_number_is_not_among_the_further_ones() -> None:
    old = a_draft(further=(OTHER, THIRD), external_id="1")
    after = combined(old, a_draft(OTHER, external_id="1"), UPDATE, ImportOptions())
    assert after.number.e164 == OTHER
    assert [each.number.e164 for each in after.further] == [THIRD]


# --- a contact as a draft ---------------------------------------------------------------------------------------
def columns(**changes: Any) -> dict[str, Any]:
    return {
        "e164": MADRID, "raw_number": "612 34 56 78", "country": "ES", "line_type": "mobile", "name": "Ana Gil",
        "given_name": "Ana", "family_name": "Gil", "company": "", "email": "", "external_id": None, "locale": "",
        "region": "", "zone": "", "zone_origin": "number", "zone_candidates": ["Europe/Madrid"], "custom": {"a": 1},
        **changes,
    }  # fmt: skip


def test_a_contact_that_is_there_is_a_draft_in_which_everything_is_said() -> None:
    draft = draft_of(columns(), [(OTHER, "679", "home")])
    assert (draft.number.e164, draft.number.country, draft.number.line_type) == (MADRID, "ES", LineType.MOBILE)
    assert draft.number.zones == ("Europe/Madrid",)
    assert (draft.raw_number, draft.given_name, draft.email, draft.external_id) == ("612 34 56 78", "Ana", "", None)
    assert [(each.number.e164, each.raw, each.label) for each in draft.further] == [(OTHER, "679", "home")]
    assert draft.custom == {"a": 1}


def test_a_name_of_its_own_is_told_from_one_that_follows_from_its_parts() -> None:
    assert draft_of(columns(), []).name is None
    assert draft_of(columns(name="Anita"), []).name == "Anita"


def test_zones_that_are_not_the_numbers_are_looked_up_anew() -> None:
    explicit = columns(zone="Asia/Tokyo", zone_origin="explicit", zone_candidates=["Asia/Tokyo"])
    assert draft_of(explicit, []).number.zones == read_number(MADRID).zones


# --- chunks -----------------------------------------------------------------------------------------------------
NUMBERS = st.sampled_from([MADRID, OTHER, THIRD])
SAID = st.sampled_from([None, "", "a", "b"])
DRAFTS = st.builds(
    lambda number, name, external_id, company: a_draft(number, name=name, external_id=external_id, company=company),
    NUMBERS, SAID, SAID, SAID,
)  # fmt: skip


def after_all(chunks: list[list[ContactDraft]], options: ImportOptions) -> tuple[dict[str, int], dict[str, Any]]:
    """Return counts and contacts after chunks, each planned against what those before it have left."""
    there: list[Known] = []
    counts: dict[str, int] = {}
    for rows in chunks:
        plan = Plan(there, options, ids())
        for draft in rows:
            plan.take(Row(number=1, draft=draft))
        for outcome, count in plan.counts.items():
            counts[outcome] = counts.get(outcome, 0) + count
        there = [
            Known(id=each.id, draft=each.draft, is_of_this_import=each.is_of_this_import) for each in plan.contacts
        ]
    found = {each.draft.number.e164: each.draft for each in there}
    assert len(found) == len(there)
    return counts, found


@given(st.lists(DRAFTS, max_size=8), st.integers(0, 8), st.sampled_from(Treatment), st.sampled_from(Treatment))
def test_where_a_file_is_cut_into_chunks_makes_no_difference(
    rows: list[ContactDraft], cut: int, existing: Treatment, repeated: Treatment
) -> None:
    options = ImportOptions(existing=existing, repeated=repeated)
    whole = after_all([rows], options)
    assert after_all([rows[:cut], rows[cut:]], options) == whole
    assert after_all([[row] for row in rows], options) == whole
    assert sum(whole[0].values()) == len(rows)
