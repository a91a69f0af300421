"""Passwords."""

import pytest

from voice_agent.auth.passwords import LONGEST, SHORTEST, hashed, is_right
from voice_agent.errors import InvalidRequest


async def test_a_password_is_kept_as_argon2id_and_recognised() -> None:
    stored = await hashed("correct horse battery")

    assert stored.startswith("$argon2id$")
    assert await is_right("correct horse battery", stored)
    assert not await is_right("correct horse batterx", stored)


async def test_where_there_is_no_account_no_password_is_right() -> None:
    assert not await is_right("nobody has this password", None)
    assert not await is_right("x", "not a hash")


@pytest.mark.parametrize("password", ["", "x" * (SHORTEST - 1), "x" * (LONGEST + 1)])
async def test_too_short_and_too_long_are_refused(password: str) -> None:
    with pytest.raises(InvalidRequest, match="password"):
        await hashed(password)
