import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.sandbox.providers.completions import fragments, openai_error


@given(st.text())
def test_fragments_join_to_the_arguments(arguments: str) -> None:
    pieces = fragments(arguments)
    assert "".join(pieces) == arguments
    assert all(1 <= len(piece) <= 8 for piece in pieces)


@pytest.mark.parametrize(
    ("status", "code"), [(401, "invalid_api_key"), (429, "rate_limit_exceeded"), (500, None), (418, None)]
)
def test_errors_carry_the_code_of_their_status(status: int, code: str | None) -> None:
    assert json.loads(openai_error(status))["error"]["code"] == code


def test_an_error_may_be_named() -> None:
    assert json.loads(openai_error(429, "insufficient_quota"))["error"]["code"] == "insufficient_quota"
