"""Walks every route of an application with every kind of bad identity (G17)."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import jwt
from fastapi import FastAPI
from fastapi.routing import APIRoute

from voice_agent.auth.tokens import ALGORITHM, AUDIENCE, ISSUER

PUBLIC = re.compile(r"/healthz|/readyz|/twilio/.*|/api/v1/files/\{token\}|/api/v1/auth/(sign-in|refresh|sign-out)")
"""Routes with another proof than a credential: a signature, a signed address, a password, a refresh token; or none."""


def guarded_routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield method and path of every route that needs a credential, with keys put into the path."""
    for method, path in _routes(app.routes, ""):
        if not PUBLIC.fullmatch(path):
            yield method, re.sub(r"\{(\w+)\}", lambda match: _filling(match[1]), path)


def _filling(parameter: str) -> str:
    return "1" if parameter in {"number", "other"} else str(uuid4())


def _routes(routes: object, prefix: str) -> Iterator[tuple[str, str]]:
    for route in routes:  # type: ignore[attr-defined] # FastAPI's routes and the routers that it keeps included
        if isinstance(route, APIRoute):
            yield from ((method, prefix + route.path) for method in sorted(route.methods or ()))
        elif hasattr(route, "original_router"):
            inner = getattr(route, "include_context", None)
            yield from _routes(route.original_router.routes, prefix + getattr(inner, "prefix", ""))


def bad_tokens(key: bytes, user_id: str) -> dict[str, str]:
    """Return tokens that nobody should accept, by what is wrong with them; `key` is the right one."""
    now = datetime.now(UTC)
    good = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": user_id, "epoch": 0,
        "iat": int(now.timestamp()), "exp": int((now + timedelta(hours=1)).timestamp()),
    }  # fmt: skip

    def signed(changes: dict[str, object], secret: bytes = key, algorithm: str | None = ALGORITHM) -> str:
        content = {name: value for name, value in (good | changes).items() if value is not None}
        return jwt.encode(content, secret if algorithm != "none" else "", algorithm=algorithm)

    whole = signed({})
    head, body, tail = whole.split(".")
    return {
        "garbage": "garbage",
        "empty parts": "..",
        "no algorithm": signed({}, algorithm="none"),
        "another key": signed({}, b"x" * 32),
        "an empty key": signed({}, b"\0" * 32),
        "another hash": signed({}, key + key, "HS512"),
        "expired": signed({"exp": int((now - timedelta(hours=1)).timestamp())}),
        "no expiry": signed({"exp": None}),
        "no user": signed({"sub": None}),
        "no such user": signed({"sub": str(uuid4())}),
        "user is no key": signed({"sub": "owner"}),
        "user is a number": signed({"sub": "1"}),
        "no issuer": signed({"iss": None}),
        "another issuer": signed({"iss": "https://evil.test"}),
        "no audience": signed({"aud": None}),
        "another audience": signed({"aud": "authenticated"}),
        "a list of audiences": signed({"aud": ["x", "y"]}),
        "an old epoch": signed({"epoch": 7}),
        "no epoch": signed({"epoch": None}),
        "an epoch that is no number": signed({"epoch": "zero"}),
        "issued in the future": signed({"iat": int((now + timedelta(hours=2)).timestamp())}),
        "not yet good": signed({"nbf": int((now + timedelta(hours=2)).timestamp())}),
        "no signature": f"{head}.{body}.",
        "half a signature": f"{head}.{body}.{tail[:20]}",
        "another body": f"{head}.{jwt.utils.base64url_encode(b'{}').decode()}.{tail}",
        "another head": f"{jwt.utils.base64url_encode(b'{}').decode()}.{body}.{tail}",
        "spaces": f" {head} . {body} . {tail} ",
        "very long": "e" * 20_000,
    }


async def statuses(client: httpx.AsyncClient, app: FastAPI, headers: dict[str, str]) -> dict[str, int]:
    """Return what each guarded route answers to these headers."""
    return {
        f"{method} {path}": (await client.request(method, path, headers=headers)).status_code
        for method, path in guarded_routes(app)
    }
