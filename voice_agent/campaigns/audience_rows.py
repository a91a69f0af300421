"""What a contact becomes in a campaign: what the agent is told, which variant speaks, when their turn is. Pure."""

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any
from uuid import UUID

from voice_agent.agents.model import LONGEST_VALUE
from voice_agent.campaigns.plan import Variant

STANDARD = ("name", "given_name", "family_name", "company", "email", "external_id", "locale")
"""Fields that every contact has, by the names under which agents know them."""

MOST_RANK = 1_000_000


def variables_of(standard: Mapping[str, str | None], custom: Mapping[str, Any]) -> dict[str, str]:
    """Return what is known of a contact as text, without what is empty; a field of ours goes before a custom one."""
    known = {key: _text(value) for key, value in custom.items()}
    known |= {name: value for name in STANDARD if (value := (standard.get(name) or ""))}
    return {name: value[:LONGEST_VALUE] for name, value in known.items() if value.strip()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def variant_of(campaign_id: UUID, contact_id: UUID, variants: Sequence[Variant]) -> str:
    """Return the key of a contact's variant: by the weights, and the same whenever it is asked.

    Which one somebody gets in one campaign says nothing about the next one.
    """
    bounds = list(accumulate(variant.weight for variant in variants))
    digest = hashlib.sha256(campaign_id.bytes + contact_id.bytes).digest()
    return variants[bisect_right(bounds, int.from_bytes(digest[:8], "big") % bounds[-1])].key


def rank_of(custom: Mapping[str, Any], field: str) -> int:
    """Return a contact's rank by a custom field; 0 where there is none, or it is no number."""
    value = custom.get(field) if field else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(max(-MOST_RANK, min(MOST_RANK, value)))
