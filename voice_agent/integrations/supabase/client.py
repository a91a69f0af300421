"""Supabase Auth's access tokens, verified here: no request to Supabase for each of ours.

How it works: the token's head names a key (`kid`); the project publishes its public keys (JWKS), which are kept for
`KEYS_KEPT_S` and fetched again for an unknown name, at most once in `REFETCH_S`, so that made-up names cost Supabase
nothing. The algorithm follows from the key, never from the token (RFC 8725 section 3.1). Keys once fetched outlast an
outage of Supabase. HS256 is for projects with a legacy secret, and only where that is set.

`user_metadata` is the user's own to edit and is not looked at. Whether an address is confirmed is not in the token: it
is asked once for each user, and only invitations depend on it.

Source: https://supabase.com/docs/guides/auth/signing-keys, https://supabase.com/docs/guides/auth/jwt-fields.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import jwt
import msgspec
import structlog
from jwt.types import Options

from voice_agent.auth.gate import ExternalIdentity
from voice_agent.errors import NotAuthenticated, ProviderMisbehaved, ProviderUnavailable
from voice_agent.settings import SupabaseSettings

log = structlog.get_logger(__name__)

PROVIDER = "supabase"
AUDIENCE = ROLE = "authenticated"

KEYS_KEPT_S = 600.0
"""What Supabase's own `Cache-Control` says."""

REFETCH_S = 30.0
RETRY_S = 1.0
"""After a fetch that failed while there are no keys yet."""

TIMEOUT_S = 5.0
LEEWAY_S = 10
LONGEST_TOKEN = 16_384
LARGEST_ANSWER_BYTES = 262_144
REMEMBERED_ADDRESSES = 10_000
SYMMETRIC = "HS256"

_OPTIONS: Options = {"require": ["exp", "iat", "sub", "aud", "iss"], "strict_aud": True}


class SupabaseClient:
    """Verifies tokens of one project: `ExternalTokens` of the gate. Close it at the end."""

    def __init__(self, settings: SupabaseSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds that only ever grow."""
        self._url = f"{settings.url.rstrip('/')}/auth/v1"
        self._api_key = settings.publishable_key or settings.secret_key.get_secret_value()
        self._secret = settings.jwt_secret.get_secret_value()
        self._clock = clock
        self._http: aiohttp.ClientSession | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at_s: float | None = None
        self._next_fetch_s = 0.0
        self._fetching = asyncio.Lock()
        self._addresses: OrderedDict[str, str] = OrderedDict()

    async def close(self) -> None:
        """Release connections. Safe to call twice."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def verify(self, token: str) -> ExternalIdentity:
        """Return whose token it is.

        Raises NotAuthenticated, or ProviderUnavailable where the keys were never fetched and cannot be now.
        """
        if len(token) > LONGEST_TOKEN:
            raise NotAuthenticated("the token is not valid")
        claims = await self._claims(token)
        if claims.get("role") != ROLE or claims.get("is_anonymous", False) is not False:
            raise NotAuthenticated("the token is not that of a user who has signed in")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= 64:
            raise NotAuthenticated("the token is not valid")
        return ExternalIdentity(external_id=subject, email=await self._confirmed_address(subject, token))

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            key, algorithm = await self._key_for(jwt.get_unverified_header(token))
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=AUDIENCE,
                issuer=self._url,
                leeway=LEEWAY_S,
                options=_OPTIONS,
            )
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("the token has expired") from None
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError):
            raise NotAuthenticated("the token is not valid") from None

    async def _key_for(self, head: Mapping[str, Any]) -> tuple[jwt.PyJWK | bytes, str]:
        """Return the key that the token's head names, and the one algorithm that it is for."""
        if head.get("alg") == SYMMETRIC:
            if not self._secret:
                raise NotAuthenticated("the token is not valid")
            return self._secret.encode(), SYMMETRIC
        name = head.get("kid")
        if not isinstance(name, str):
            raise NotAuthenticated("the token is not valid")
        key = await self._public_key(name)
        return key, key.algorithm_name

    # --- public keys ------------------------------------------------------------------------------------------
    async def _public_key(self, name: str) -> jwt.PyJWK:
        if self._is_wanted(name):
            async with self._fetching:
                if self._is_wanted(name):  # nobody fetched them while we waited
                    await self._fetch_keys()
        if self._fetched_at_s is None:
            raise ProviderUnavailable(PROVIDER, "its signing keys cannot be fetched")
        key = self._keys.get(name)
        if key is None:
            raise NotAuthenticated("the token is not valid")
        return key

    def _is_wanted(self, name: str) -> bool:
        now_s = self._clock()
        is_old = self._fetched_at_s is None or now_s - self._fetched_at_s >= KEYS_KEPT_S
        return (is_old or name not in self._keys) and now_s >= self._next_fetch_s

    async def _fetch_keys(self) -> None:
        try:
            answer = await self._get("/.well-known/jwks.json")
        except (ProviderUnavailable, ProviderMisbehaved) as error:
            log.warning("supabase_keys_not_fetched", reason=str(error))
            self._next_fetch_s = self._clock() + (RETRY_S if self._fetched_at_s is None else REFETCH_S)
            return
        listed = answer.get("keys")
        self._keys = _usable(listed if isinstance(listed, list) else [])
        self._fetched_at_s = self._clock()
        self._next_fetch_s = self._fetched_at_s + REFETCH_S

    # --- addresses --------------------------------------------------------------------------------------------
    async def _confirmed_address(self, subject: str, token: str) -> str:
        """Return the user's address if it is confirmed, else nothing; nothing too where Supabase cannot be asked."""
        if subject in self._addresses:
            self._addresses.move_to_end(subject)
            return self._addresses[subject]
        try:
            user = await self._get("/user", {"Authorization": f"Bearer {token}"})
        except (ProviderUnavailable, ProviderMisbehaved) as error:
            log.warning("supabase_user_not_fetched", reason=str(error))
            return ""
        address = user.get("email")
        if user.get("id") != subject or not user.get("email_confirmed_at") or not isinstance(address, str):
            return ""
        self._addresses[subject] = address
        while len(self._addresses) > REMEMBERED_ADDRESSES:
            self._addresses.popitem(last=False)
        return address

    # --- HTTP -------------------------------------------------------------------------------------------------
    async def _get(self, path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object at `path`. Raises NotAuthenticated for 401 and 403."""
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        sent = {"apikey": self._api_key, **(headers or {})}
        try:
            async with self._http.get(self._url + path, headers=sent, allow_redirects=False) as answer:
                if answer.status in {401, 403} and headers:
                    raise NotAuthenticated("the token is not valid any more: sign in again")
                if answer.status != 200:
                    raise ProviderUnavailable(PROVIDER, f"HTTP {answer.status}")
                body = await _limited(answer.content)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ProviderUnavailable(PROVIDER, type(error).__name__) from error
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise ProviderMisbehaved(PROVIDER, "its answer is no JSON object") from None


async def _limited(content: aiohttp.StreamReader) -> bytes:
    body = b""
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES:
            raise ProviderMisbehaved(PROVIDER, "its answer is too long")
    return body


def _usable(listed: list[Any]) -> dict[str, jwt.PyJWK]:
    """Return the public keys that we accept signatures of, by name; others are none of our business."""
    keys: dict[str, jwt.PyJWK] = {}
    for each in listed:
        algorithm = _algorithm(each) if isinstance(each, dict) else ""
        if not algorithm:
            continue
        try:
            keys[each["kid"]] = jwt.PyJWK(each, algorithm)
        except (jwt.PyJWTError, TypeError, ValueError, KeyError) as error:
            log.warning("supabase_key_unusable", reason=type(error).__name__)
    return keys


def _algorithm(key: Mapping[str, Any]) -> str:
    """Return the one algorithm that a key is for, nothing for a key that signs no tokens or is not public."""
    algorithm = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}.get((str(key.get("kty")), key.get("crv")), "")
    is_for_tokens = key.get("alg", algorithm) == algorithm and key.get("use", "sig") == "sig" and "d" not in key
    return algorithm if is_for_tokens and isinstance(key.get("kid"), str) else ""
