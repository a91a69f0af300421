"""Tokens crafted beyond those of `walk.bad_tokens`: other algorithms, keys of their own, heads and bodies that lie.

Reliability.md section 5, row 13: forty in all.
"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.auth.walk import bad_tokens
from voice_agent.auth.tokens import API_KEY_PREFIX, AUDIENCE, ISSUER, new_secret, read_access_token
from voice_agent.errors import NotAuthenticated

KEY = b"k" * 32
USER = "019aa000-0000-7000-8000-000000000001"


def segment(content: dict[str, Any] | bytes) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    content = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": USER, "epoch": 0,
        "iat": int(now.timestamp()), "exp": int((now + timedelta(hours=1)).timestamp()),
    }  # fmt: skip
    return {name: value for name, value in (content | changes).items() if value is not None}


def by_hand(head: dict[str, Any], key: bytes = KEY, content: dict[str, Any] | bytes | None = None) -> str:
    signed = f"{segment(head)}.{segment(claims() if content is None else content)}"
    return f"{signed}.{segment(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def crafted() -> dict[str, str]:
    """Return bad tokens by what is wrong with them."""
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    public = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key(), as_dict=True)
    hs256 = {"alg": "HS256", "typ": "JWT"}
    return {
        "signed by RSA": jwt.encode(claims(), rsa_key, algorithm="RS256"),
        "signed by ECDSA": jwt.encode(claims(), ec_key, algorithm="ES256"),
        "signed by EdDSA": jwt.encode(claims(), ed25519.Ed25519PrivateKey.generate(), algorithm="EdDSA"),
        "HMAC with a public key": by_hand(hs256, public),
        "its own key in the head": by_hand(hs256 | {"jwk": jwk}, public),
        "a key to be fetched": by_hand(hs256 | {"jku": "https://evil.test/jwks.json", "kid": "1"}, public),
        "a path as key": by_hand(hs256 | {"kid": "../../../../dev/null"}, b""),
        "none in other letters": by_hand({"alg": "nOnE"}).rsplit(".", 1)[0] + ".",
        "another algorithm in the head": by_hand({"alg": "HS384"}),
        "no algorithm in the head": by_hand({"typ": "JWT"}),
        "a critical extension": by_hand(hs256 | {"crit": ["exp"], "exp": 1}),
        "a body that is no object": by_hand(hs256, content=b"[]"),
        "a body that is no JSON": by_hand(hs256, content=b"\xff\xfe"),
        "expiry as text": by_hand(hs256, content=claims(exp="soon")),
        "expiry without end": by_hand(hs256, content=claims(exp=float("inf"))),
        "no time of issue": by_hand(hs256, content=claims(iat=None)),
        "an issuer that is a list": by_hand(hs256, content=claims(iss=[ISSUER])),
        "a subject that is an object": by_hand(hs256, content=claims(sub={"id": USER})),
        "an API key": new_secret(API_KEY_PREFIX),
        "four parts": by_hand(hs256) + ".x",
    }


BAD = crafted()


@pytest.mark.parametrize("why", BAD)
def test_g17_a_crafted_token_is_refused(why: str) -> None:
    with pytest.raises(NotAuthenticated):
        read_access_token(KEY, BAD[why])


def test_the_same_token_made_well_is_good_and_there_are_forty_bad_ones() -> None:
    assert str(read_access_token(KEY, by_hand({"alg": "HS256"})).user_id) == USER
    assert len(BAD | bad_tokens(KEY, USER)) >= 40


@given(st.text())
def test_no_text_fails_in_another_way(token: str) -> None:
    with pytest.raises(NotAuthenticated):
        read_access_token(KEY, token)
