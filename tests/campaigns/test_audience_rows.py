"""What a contact becomes in a campaign."""

from collections import Counter
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.campaigns.audience_rows import MOST_RANK, rank_of, variables_of, variant_of
from voice_agent.campaigns.plan import Variant

AGENT = uuid4()


def variants(*weights: int) -> list[Variant]:
    return [Variant(key=f"v{index}", agent_id=AGENT, weight=weight) for index, weight in enumerate(weights)]


def test_an_agent_is_told_what_is_known_as_text() -> None:
    known = variables_of(
        {"name": "Ana López", "given_name": "Ana", "company": "", "external_id": None},
        {
            "balance": 12.5,
            "visits": 3.0,
            "is_member": True,
            "has_debt": False,
            "city": "x" * 900,
            "gone": None,
            "a": " ",
        },
    )

    assert known == {
        "name": "Ana López", "given_name": "Ana", "balance": "12.5", "visits": "3", "is_member": "yes",
        "has_debt": "no", "city": "x" * 500,
    }  # fmt: skip


def test_a_custom_field_does_not_hide_one_of_ours() -> None:
    assert variables_of({"name": "Ana"}, {"name": "Eve"}) == {"name": "Ana"}
    assert variables_of({"name": ""}, {"name": "Eve"}) == {"name": "Eve"}


@given(st.uuids(), st.uuids(), st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any))
def test_a_contact_keeps_its_variant_and_nobody_gets_one_without_weight(
    campaign: UUID, contact: UUID, weights: list[int]
) -> None:
    chosen = variant_of(campaign, contact, variants(*weights))

    assert chosen == variant_of(campaign, contact, variants(*weights))
    assert weights[int(chosen[1:])] > 0


def test_variants_share_contacts_by_their_weights() -> None:
    campaign = UUID(int=5)
    counts = Counter(variant_of(campaign, UUID(int=index), variants(1, 3)) for index in range(4_000))

    assert 900 < counts["v0"] < 1_100


def test_another_campaign_shares_them_otherwise() -> None:
    contacts = [UUID(int=index) for index in range(200)]
    one, other = ([variant_of(UUID(int=each), contact, variants(1, 1)) for contact in contacts] for each in (1, 2))

    assert 60 < sum(first == second for first, second in zip(one, other, strict=True)) < 140


@pytest.mark.parametrize(
    ("value", "rank"),
    [(3, 3), (-2.9, -2), (10**12, MOST_RANK), (float("-inf"), -MOST_RANK), ("5", 0), (True, 0), (None, 0)],
)
def test_a_rank_is_a_number_of_a_custom_field(value: object, rank: int) -> None:
    assert rank_of({"score": value}, "score") == rank
    assert rank_of({"score": value}, "") == 0
