"""Plans as documents."""

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from voice_agent.campaigns.plan import DEFAULT_RETRIES, Plan

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
