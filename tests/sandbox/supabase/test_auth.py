"""The double of Supabase Auth does what clients rely on."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import pytest

from voice_agent.sandbox.supabase.auth import SupabaseAuth

HEADERS = {"apikey": "sb_publishable_x"}
NEW = {**HEADERS, "X-Supabase-Api-Version": "2024-01-01"}


@pytest.fixture
async def supabase() -> AsyncIterator[SupabaseAuth]:
    async with await SupabaseAuth.start() as running:
        running.add_user("ana@harbour.test", "pw")
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(
    http: aiohttp.ClientSession, supabase: SupabaseAuth, method: str, path: str, **request: Any
) -> tuple[int, Any]:
    request.setdefault("headers", HEADERS)
    async with http.request(method, f"{supabase.url}/auth/v1{path}", **request) as answer:
        return answer.status, await answer.json() if answer.content_type == "application/json" else None


async def sign_in(http: aiohttp.ClientSession, supabase: SupabaseAuth) -> Any:
    body = {"email": "Ana@harbour.test", "password": "pw"}
    status, answer = await ask(http, supabase, "POST", "/token?grant_type=password", json=body)
    assert status == 200
    return answer


async def refresh(http: aiohttp.ClientSession, supabase: SupabaseAuth, token: str) -> tuple[int, Any]:
    return await ask(http, supabase, "POST", "/token?grant_type=refresh_token", json={"refresh_token": token})


def bearer(token: str) -> dict[str, str]:
    return {**HEADERS, "Authorization": f"Bearer {token}"}


async def test_signing_in_gives_a_token_that_the_published_key_verifies(
    supabase: SupabaseAuth, http: aiohttp.ClientSession
) -> None:
    answer = await sign_in(http, supabase)
    _, keys = await ask(http, supabase, "GET", "/.well-known/jwks.json", headers={})

    (published,) = keys["keys"]
    assert "d" not in published
    claims = jwt.decode(
        answer["access_token"], jwt.PyJWK(published), ["ES256"], audience="authenticated", issuer=supabase.issuer
    )
    assert claims["sub"] == answer["user"]["id"]
    assert answer["token_type"] == "bearer"


async def test_a_refresh_token_is_single_use_and_a_second_use_ends_the_session(
    supabase: SupabaseAuth, http: aiohttp.ClientSession
) -> None:
    first = (await sign_in(http, supabase))["refresh_token"]
    status, answer = await refresh(http, supabase, first)
    assert status == 200

    status, again = await refresh(http, supabase, first)
    assert (status, again["error_code"]) == (400, "refresh_token_already_used")
    status, after = await refresh(http, supabase, answer["refresh_token"])
    assert (status, after["error_code"]) == (400, "session_not_found")
    assert (await refresh(http, supabase, "made up"))[1]["error_code"] == "refresh_token_not_found"


async def test_errors_come_in_both_forms(supabase: SupabaseAuth, http: aiohttp.ClientSession) -> None:
    wrong = {"email": "ana@harbour.test", "password": "no"}
    path = "/token?grant_type=password"

    assert await ask(http, supabase, "POST", path, json=wrong) == (
        400, {"code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials"},
    )  # fmt: skip
    assert await ask(http, supabase, "POST", path, json=wrong, headers=NEW) == (
        400, {"code": "invalid_credentials", "message": "Invalid login credentials"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/token?grant_type=password", b"{", 400, "bad_json"),
        ("POST", "/token?grant_type=magic", b"{}", 400, "validation_failed"),
        ("POST", "/token?grant_type=password", b'{"email":"new@harbour.test","password":"pw"}', 400,
         "email_not_confirmed"),
        ("GET", "/user", None, 401, "no_authorization"),
    ],
)  # fmt: skip
async def test_what_it_refuses(
    supabase: SupabaseAuth,
    http: aiohttp.ClientSession,
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    code: str,
) -> None:
    supabase.add_user("new@harbour.test", "pw", is_confirmed=False)

    answered, answer = await ask(http, supabase, method, path, data=body)
    assert (answered, answer["error_code"]) == (status, code)


async def test_a_request_without_api_key_is_turned_away(supabase: SupabaseAuth, http: aiohttp.ClientSession) -> None:
    assert (await ask(http, supabase, "GET", "/user", headers={}))[0] == 401
    assert (await ask(http, supabase, "GET", "/health", headers={}))[0] == 200


async def test_a_user_sees_themselves_until_they_sign_out(supabase: SupabaseAuth, http: aiohttp.ClientSession) -> None:
    here, elsewhere = (await sign_in(http, supabase))["access_token"], (await sign_in(http, supabase))["access_token"]
    status, user = await ask(http, supabase, "GET", "/user", headers=bearer(here))
    assert (status, user["email"]) == (200, "ana@harbour.test")
    assert user["email_confirmed_at"]

    assert (await ask(http, supabase, "POST", "/logout?scope=others", headers=bearer(here)))[0] == 204
    assert (await ask(http, supabase, "GET", "/user", headers=bearer(elsewhere)))[0] == 403
    assert (await ask(http, supabase, "POST", "/logout", headers=bearer(here)))[0] == 204
    assert (await ask(http, supabase, "GET", "/user", headers=bearer(here)))[1]["error_code"] == "session_not_found"
    assert (await ask(http, supabase, "GET", "/user", headers=bearer("x.y.z")))[1]["error_code"] == "bad_jwt"


async def test_keys_rotate_and_can_be_revoked(supabase: SupabaseAuth, http: aiohttp.ClientSession) -> None:
    old = (await sign_in(http, supabase))["access_token"]
    name = supabase.rotate(is_rsa=True)
    new = (await sign_in(http, supabase))["access_token"]

    assert jwt.get_unverified_header(new) == {"alg": "RS256", "kid": name, "typ": "JWT"}
    assert [(await ask(http, supabase, "GET", "/user", headers=bearer(t)))[0] for t in (old, new)] == [200, 200]
    supabase.revoke(supabase.key_names[0])
    assert [(await ask(http, supabase, "GET", "/user", headers=bearer(t)))[0] for t in (old, new)] == [403, 200]


async def test_a_legacy_project_publishes_no_key(http: aiohttp.ClientSession) -> None:
    async with await SupabaseAuth.start(secret="a legacy secret that is long enough") as supabase:
        supabase.add_user("ana@harbour.test", "pw")
        token = (await sign_in(http, supabase))["access_token"]

        assert jwt.get_unverified_header(token)["alg"] == "HS256"
        assert await ask(http, supabase, "GET", "/.well-known/jwks.json") == (200, {"keys": []})
        assert (await ask(http, supabase, "GET", "/user", headers=bearer(token)))[0] == 200


async def test_it_can_be_down(supabase: SupabaseAuth, http: aiohttp.ClientSession) -> None:
    supabase.is_down = True

    assert (await ask(http, supabase, "GET", "/health"))[0] == 503
    assert supabase.requests == ["GET /auth/v1/health"]
