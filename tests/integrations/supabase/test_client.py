"""Supabase's tokens, against the double of Supabase Auth on a real port."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from voice_agent.errors import NotAuthenticated, ProviderUnavailable
from voice_agent.integrations.supabase.client import (
    KEYS_KEPT_S,
    LARGEST_ANSWER_BYTES,
    LEEWAY_S,
    REFETCH_S,
    RETRY_S,
    SupabaseClient,
)
from voice_agent.sandbox.supabase.auth import SupabaseAuth, User
from voice_agent.settings import SupabaseSettings

SECRET = "a legacy secret of a project, long enough for HS256"
JWKS = "GET /auth/v1/.well-known/jwks.json"
USER = "GET /auth/v1/user"


class World:
    """A double, a client of it, and the clock of the client."""

    def __init__(self, supabase: SupabaseAuth, *, secret: str = "") -> None:
        self.supabase = supabase
        self.now_s = 1_000.0
        self.client = self.another_client(secret=secret)
        self.ana = supabase.add_user("ana@harbour.test", "pw")

    def another_client(self, *, secret: str = "", url: str = "") -> SupabaseClient:
        settings = SupabaseSettings.model_validate(
            {"url": url or self.supabase.url, "publishable_key": "sb_publishable_x", "jwt_secret": secret}
        )
        return SupabaseClient(settings, clock=lambda: self.now_s)

    async def refused(self, token: str) -> None:
        with pytest.raises(NotAuthenticated):
            await self.client.verify(token)

    def asked(self, what: str) -> int:
        return self.supabase.requests.count(what)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with await SupabaseAuth.start() as supabase:
        world = World(supabase)
        yield world
        await world.client.close()


@pytest.fixture
async def legacy() -> AsyncIterator[World]:
    async with await SupabaseAuth.start(secret=SECRET) as supabase:
        world = World(supabase, secret=SECRET)
        yield world
        await world.client.close()


async def test_a_user_is_known_by_their_id_and_confirmed_address(world: World) -> None:
    identity = await world.client.verify(world.supabase.issue(world.ana))

    assert (identity.external_id, identity.email) == (world.ana.id, "ana@harbour.test")


async def test_supabase_is_not_asked_for_each_request(world: World) -> None:
    for _ in range(20):
        await world.client.verify(world.supabase.issue(world.ana))

    assert world.supabase.requests == [JWKS, USER]


async def test_many_at_once_fetch_the_keys_once(world: World) -> None:
    await asyncio.gather(*(world.client.verify(world.supabase.issue(world.ana)) for _ in range(20)))

    assert world.asked(JWKS) == 1


@pytest.mark.parametrize("is_rsa", [False, True])
async def test_a_rotated_key_is_fetched_and_older_tokens_stay_good(world: World, is_rsa: bool) -> None:
    old = world.supabase.issue(world.ana)
    await world.client.verify(old)
    world.supabase.rotate(is_rsa=is_rsa)
    world.now_s += REFETCH_S

    assert (await world.client.verify(world.supabase.issue(world.ana))).external_id == world.ana.id
    await world.client.verify(old)
    assert world.asked(JWKS) == 2


async def test_made_up_key_names_make_one_request_in_thirty_seconds(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    await world.client.verify(world.supabase.issue(world.ana))
    for seconds in range(int(REFETCH_S) * 2):
        await world.refused(jwt.encode({}, key, algorithm="ES256", headers={"kid": f"made-up-{seconds}"}))
        world.now_s += 1

    assert world.asked(JWKS) == 2


async def test_a_revoked_key_is_worthless_once_the_keys_are_fetched_anew(world: World) -> None:
    old = world.supabase.issue(world.ana)
    await world.client.verify(old)
    world.supabase.rotate()
    world.supabase.revoke(world.supabase.key_names[0])

    world.now_s += KEYS_KEPT_S
    await world.refused(old)


async def test_f43_known_keys_outlast_an_outage_of_supabase(world: World) -> None:
    token = world.supabase.issue(world.ana)
    await world.client.verify(token)
    world.supabase.is_down = True
    world.now_s += KEYS_KEPT_S * 3

    assert (await world.client.verify(token)).email == "ana@harbour.test"


async def test_without_any_keys_it_is_supabase_that_failed_and_not_the_token(world: World) -> None:
    token = world.supabase.issue(world.ana)
    world.supabase.is_down = True
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await world.client.verify(token)
    assert world.asked(JWKS) == 1

    world.supabase.is_down = False
    world.now_s += RETRY_S
    assert (await world.client.verify(token)).external_id == world.ana.id


async def test_where_the_user_cannot_be_asked_for_the_address_is_not_believed(world: World) -> None:
    await world.client.verify(world.supabase.issue(world.ana))
    ben = world.supabase.add_user("ben@harbour.test")
    token = world.supabase.issue(ben)
    world.supabase.is_down = True

    assert (await world.client.verify(token)).email == ""
    world.supabase.is_down = False
    assert (await world.client.verify(token)).email == "ben@harbour.test"


async def test_an_unconfirmed_address_is_no_address_whatever_the_token_and_its_user_say(world: World) -> None:
    eve = world.supabase.add_user("owner@harbour.test", is_confirmed=False, metadata={"email_verified": True})

    assert (await world.client.verify(world.supabase.issue(eve))).email == ""


async def test_a_user_who_signed_out_before_we_knew_them_stays_out(world: World) -> None:
    await world.refused(world.supabase.issue(world.ana, session_id="over"))


async def test_anonymous_users_and_api_keys_are_nobody(world: World) -> None:
    ghost = world.supabase.add_user("", is_anonymous=True)
    await world.refused(world.supabase.issue(ghost))
    for role in ("anon", "service_role", "", None, ["authenticated"]):
        await world.refused(world.supabase.issue(world.ana, role=role))
    for flag in ("true", 1, "false"):
        await world.refused(world.supabase.issue(world.ana, is_anonymous=flag))
    await world.refused("sb_secret_abcdef")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None}, {"iss": "https://evil.test/auth/v1"}, {"iss": ""}, {"aud": None}, {"aud": "anon"},
        {"aud": ["authenticated"]}, {"aud": ["authenticated", "x"]}, {"exp": None}, {"exp": "soon"}, {"exp": 0},
        {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 65}, {"iat": None},
        {"iat": int((datetime.now(UTC) + timedelta(hours=1)).timestamp())},
        {"nbf": int((datetime.now(UTC) + timedelta(hours=1)).timestamp())},
    ],
    ids=lambda claim: next(iter(claim)),
)  # fmt: skip
async def test_a_token_with_a_wrong_claim_is_refused(world: World, changes: dict[str, Any]) -> None:
    await world.refused(world.supabase.issue(world.ana, **changes))


@pytest.mark.parametrize(("age_s", "is_good"), [(LEEWAY_S - 5, True), (LEEWAY_S + 5, False)])
async def test_a_token_ends(legacy: World, age_s: int, is_good: bool) -> None:
    await legacy.client.verify(legacy.supabase.issue(legacy.ana))
    expired = int(datetime.now(UTC).timestamp()) - age_s
    token = legacy.supabase.issue(legacy.ana, exp=expired)
    if is_good:
        assert (await legacy.client.verify(token)).external_id == legacy.ana.id
    else:
        await legacy.refused(token)


async def is_refused(client: SupabaseClient, token: str) -> bool:
    try:
        await client.verify(token)
    except NotAuthenticated:
        return True
    return False


def segment(content: dict[str, Any] | bytes) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(head: dict[str, Any], body: str, key: bytes) -> str:
    signed = f"{segment(head)}.{body}"
    return f"{signed}.{segment(hmac.digest(key, signed.encode(), hashlib.sha256))}"


async def test_keys_and_algorithms_cannot_be_exchanged(world: World) -> None:
    """CVE-2022-29217 and its kin: the head of a token chooses a key, and never what is done with it."""
    good = world.supabase.issue(world.ana)
    body = good.split(".")[1]
    (name,) = world.supabase.key_names
    (published,) = world.supabase.public_keys()
    pem = jwt.PyJWK(published).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = jwt.decode(good, options={"verify_signature": False})
    bad = {
        "HS256 with the public key": by_hand({"alg": "HS256", "kid": name}, body, pem),
        "HS256 with the published form": by_hand({"alg": "HS256", "kid": name}, body, json.dumps(published).encode()),
        "HS256 with no key": by_hand({"alg": "HS256", "kid": name}, body, b""),
        "none": f"{segment({'alg': 'none', 'kid': name})}.{body}.",
        "None": f"{segment({'alg': 'None'})}.{body}.",
        "no algorithm": by_hand({"kid": name}, body, pem),
        "RS256 under the name of an EC key": jwt.encode(claims, own, algorithm="RS256", headers={"kid": name}),
        "another EC key": jwt.encode(
            claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": name}
        ),
        "another curve": jwt.encode(
            claims, ec.generate_private_key(ec.SECP384R1()), algorithm="ES384", headers={"kid": name}
        ),
        "no key name": jwt.encode(claims, own, algorithm="RS256"),
        "a key name that is no text": by_hand({"alg": "ES256", "kid": [name]}, body, pem),
        "a key of its own": jwt.encode(
            claims, own, algorithm="RS256",
            headers={"kid": "mine", "jwk": jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key(), as_dict=True)},
        ),
        "no signature": good.rsplit(".", 1)[0] + ".",
        "a signature of zeros": good.rsplit(".", 1)[0] + "." + segment(b"\0" * 64),
        "another body": ".".join([good.split(".")[0], segment(claims | {"sub": "owner"}), good.split(".")[2]]),
        "nothing": "", "dots": "..", "too long": good + "A" * 20_000, "no text of a token": "\N{SNOWMAN}.x.y",
    }  # fmt: skip
    for why, token in bad.items():
        assert await is_refused(world.client, token), why


async def test_a_legacy_project_signs_with_its_secret_and_publishes_no_key(legacy: World) -> None:
    assert (await legacy.client.verify(legacy.supabase.issue(legacy.ana))).email == "ana@harbour.test"
    assert legacy.asked(JWKS) == 0
    await legacy.refused(jwt.encode({"sub": "x"}, "another secret, as long as the right one", algorithm="HS256"))
    await legacy.refused(by_hand({"alg": "HS512"}, segment({"sub": "x"}), SECRET.encode()))


async def test_without_a_legacy_secret_hs256_is_refused(legacy: World) -> None:
    client = legacy.another_client()
    with pytest.raises(NotAuthenticated):
        await client.verify(legacy.supabase.issue(legacy.ana))
    await client.close()


@asynccontextmanager
async def publishing(body: bytes) -> AsyncIterator[str]:
    """Answer `body` as the key set; yields the address."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/auth/v1/.well-known/jwks.json", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b"x" * (LARGEST_ANSWER_BYTES + 1)],
    ids=["empty", "list", "half", "no text", "too long"],
)
async def test_an_answer_that_is_no_key_set_is_no_answer(world: World, body: bytes) -> None:
    async with publishing(body) as url:
        client = world.another_client(url=url)
        with pytest.raises(ProviderUnavailable):
            await client.verify(world.supabase.issue(world.ana))
        await client.close()


async def test_keys_that_are_for_something_else_are_left_out(world: World) -> None:
    (good,) = world.supabase.public_keys()
    unusable: list[Any] = [
        7, {}, {"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"}, good | {"kid": "b", "use": "enc"},
        good | {"kid": "c", "alg": "HS256"}, good | {"kid": "d", "crv": "P-521"}, good | {"kid": "e", "x": "AA"},
        good | {"kid": "f", "d": "AA"}, good | {"kid": 8},
    ]  # fmt: skip
    key = ec.generate_private_key(ec.SECP256R1())
    async with publishing(json.dumps({"keys": [*unusable, good]}).encode()) as url:
        client = world.another_client(url=url)
        token = world.supabase.issue(world.ana, iss=f"{url}/auth/v1")
        assert (await client.verify(token)).external_id == world.ana.id
        for name in "abcdef":
            assert await is_refused(client, jwt.encode({}, key, algorithm="ES256", headers={"kid": name}))
        await client.close()


async def test_closing_twice_is_no_error_and_a_closed_client_can_be_used_again(world: World) -> None:
    await world.client.verify(world.supabase.issue(world.ana))
    await world.client.close()
    await world.client.close()
    await world.client.verify(world.supabase.issue(world.ana))


def test_a_user_is_a_record() -> None:
    assert User(id="1", email="e", password="p").is_confirmed
