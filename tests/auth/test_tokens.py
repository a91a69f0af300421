"""Access tokens and secrets; test_gate tries 28 bad tokens on every route."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.auth.walk import bad_tokens
from voice_agent.auth.tokens import (
    LEEWAY_S,
    AccessClaims,
    fingerprint,
    issue_access_token,
    new_secret,
    read_access_token,
)
from voice_agent.errors import NotAuthenticated

KEY = b"k" * 32


def test_a_token_says_who_it_is_for_until_it_expires() -> None:
    claims = AccessClaims(user_id=uuid4(), epoch=3)
    now = datetime.now(UTC)

    assert read_access_token(KEY, issue_access_token(KEY, claims, now=now, lifetime_s=60)) == claims
    old = issue_access_token(KEY, claims, now=now - timedelta(seconds=61 + LEEWAY_S), lifetime_s=60)
    with pytest.raises(NotAuthenticated, match="expired"):
        read_access_token(KEY, old)


def test_a_token_that_is_not_ours_is_refused_whatever_is_wrong_with_it() -> None:
    still_ours = {"no such user", "an old epoch", "user is a number"}  # the database knows better
    for why, token in bad_tokens(KEY, str(uuid4())).items():
        if why not in still_ours:
            with pytest.raises(NotAuthenticated):
                read_access_token(KEY, token)


def test_secrets_are_long_and_only_their_fingerprint_is_kept() -> None:
    secret = new_secret("va_")

    assert secret.startswith("va_")
    assert len(secret) > 43
    assert new_secret() != new_secret()
    assert len(fingerprint(secret)) == 64
    assert fingerprint("\ud800") != fingerprint("")
