"""Which country a number is of; test_routes has what is done with numbers."""

from datetime import UTC, datetime

import pytest

from voice_agent.agents.numbers import NumberService
from voice_agent.agents.service import AgentService


@pytest.mark.parametrize(
    ("number", "country"),
    [("+34910000000", "ES"), ("+12125550123", "US"), ("+525512345678", "MX"), ("+34", ""), ("call me", "")],
)
def test_a_number_says_its_country(number: str, country: str) -> None:
    def clock() -> datetime:
        return datetime.now(UTC)

    assert NumberService(AgentService(clock), clock).country_of(number) == country
