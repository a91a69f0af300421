"""A double of Supabase Auth (GoTrue) on a real port: password and refresh grants, the user, the signing keys.

It does what clients of ours and of the console rely on: refresh tokens are single use and a second use ends the
session, signing keys rotate while older tokens stay good, a project with a legacy secret signs HS256 and publishes no
key, errors come in the form that the request's `X-Supabase-Api-Version` asks for. It does not send mail, and it checks
no password's strength. Users and faults are set by the methods of `SupabaseAuth`.

Source: https://supabase.com/docs/reference/api, https://supabase.com/docs/guides/auth/debugging/error-codes.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import jwt
import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PREFIX = "/auth/v1"
LIFETIME_S = 3_600
NEW_ERRORS = "2024-01-01"
"""The API version from which on errors have their code in `code`."""

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class AuthFailure(Exception):
    """What GoTrue answers instead."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class User(msgspec.Struct, kw_only=True):
    """Somebody who can sign in."""

    id: str
    email: str
    password: str
    is_confirmed: bool = True
    is_anonymous: bool = False
    metadata: dict[str, Any] = {}
    """`user_metadata`, which the user may edit."""


class _Session(msgspec.Struct):
    id: str
    user_id: str
    is_over: bool = False


class SupabaseAuth:
    """A running double: `async with await SupabaseAuth.start() as supabase`."""

    def __init__(self, secret: str, clock: Callable[[], datetime]) -> None:
        self.url = ""
        """The project's address: what SUPABASE_URL is set to."""

        self.requests: list[str] = []
        """Method and path of what came in."""

        self.is_down = False
        """Whether every request is answered 503."""

        self._secret = secret
        self._clock = clock
        self._users: dict[str, User] = {}
        self._sessions: dict[str, _Session] = {}
        self._refresh_tokens: dict[str, tuple[str, bool]] = {}
        """Session and whether it was used, by token."""

        self._keys: dict[str, PrivateKey] = {}
        self._runner: web.AppRunner | None = None
        if not secret:
            self.rotate()

    @classmethod
    async def start(
        cls,
        *,
        secret: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        """Start listening; port 0 takes a free one. With `secret` it is a legacy project that signs HS256."""
        double = cls(secret, clock)
        app = web.Application(middlewares=[double._answered])
        app.add_routes(
            [
                web.post(f"{PREFIX}/token", double._token),
                web.get(f"{PREFIX}/user", double._user),
                web.post(f"{PREFIX}/logout", double._logout),
                web.get(f"{PREFIX}/health", _health),
                web.get(f"{PREFIX}/.well-known/jwks.json", double._jwks),
            ]
        )
        double._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await double._runner.setup()
        await web.TCPSite(double._runner, host, port).start()
        double.url = f"http://{host}:{double._runner.addresses[0][1]}"
        return double

    async def close(self) -> None:
        """Stop listening. Safe to call twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- what a test or a user of the sandbox sets --------------------------------------------------------------
    @property
    def issuer(self) -> str:
        """The `iss` of its tokens."""
        return self.url + PREFIX

    @property
    def key_names(self) -> list[str]:
        """Names of the signing keys, the present one last."""
        return list(self._keys)

    def add_user(
        self,
        email: str,
        password: str = "",
        *,
        is_confirmed: bool = True,
        is_anonymous: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> User:
        """Add somebody who can sign in."""
        user = User(
            id=str(uuid4()),
            email=email,
            password=password,
            is_confirmed=is_confirmed,
            is_anonymous=is_anonymous,
            metadata=metadata or {},
        )
        self._users[user.id] = user
        return user

    def rotate(self, *, is_rsa: bool = False) -> str:
        """Sign with a new key from now on; older ones stay published. Returns its name."""
        name = str(uuid4())
        self._keys[name] = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if is_rsa
            else ec.generate_private_key(ec.SECP256R1())
        )
        return name

    def revoke(self, name: str) -> None:
        """Publish a key no more."""
        del self._keys[name]

    def public_keys(self) -> list[dict[str, Any]]:
        """Return the published keys (JWK)."""
        return [_jwk(name, key) for name, key in self._keys.items()]

    def issue(self, user: User, **changes: Any) -> str:
        """Return an access token; `changes` replace claims, None leaves one out."""
        session = self._begin(user)
        return self._access_token(user, session, changes)

    # --- sessions -----------------------------------------------------------------------------------------------
    def _begin(self, user: User) -> _Session:
        session = _Session(str(uuid4()), user.id)
        self._sessions[session.id] = session
        return session

    def _access_token(self, user: User, session: _Session, changes: dict[str, Any]) -> str:
        now_s = int(self._clock().timestamp())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": user.id,
            "aud": "authenticated",
            "role": "authenticated",
            "exp": now_s + LIFETIME_S,
            "iat": now_s,
            "email": user.email,
            "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": user.metadata,
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": now_s}],
            "session_id": session.id,
            "is_anonymous": user.is_anonymous,
        }
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        if self._secret:
            return jwt.encode(claims, self._secret, algorithm="HS256")
        name, key = list(self._keys.items())[-1]
        return jwt.encode(claims, key, algorithm=_algorithm(key), headers={"kid": name})

    def _pair(self, user: User, session: _Session) -> web.Response:
        refresh = secrets.token_urlsafe(9)
        self._refresh_tokens[refresh] = (session.id, False)
        return web.json_response(
            {
                "access_token": self._access_token(user, session, {}),
                "token_type": "bearer",
                "expires_in": LIFETIME_S,
                "expires_at": int(self._clock().timestamp()) + LIFETIME_S,
                "refresh_token": refresh,
                "user": _shown(user, self._clock()),
            }
        )

    # --- requests -----------------------------------------------------------------------------------------------
    @web.middleware
    async def _answered(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        try:
            if self.is_down:
                raise AuthFailure(503, "unexpected_failure", "The service is not available")
            is_public = request.path.endswith(("/jwks.json", "/health"))
            if not is_public and not request.headers.get("apikey"):
                hint = "No `apikey` request header or url param was found."
                return web.json_response({"message": "No API key found in request", "hint": hint}, status=401)
            answer: web.StreamResponse = await handler(request)
        except AuthFailure as failure:
            return _refusal(request, failure)
        return answer

    async def _token(self, request: web.Request) -> web.Response:
        body = await _body(request)
        match request.query.get("grant_type"):
            case "password":
                return self._by_password(str(body.get("email", "")).lower(), str(body.get("password", "")))
            case "refresh_token":
                return self._by_refresh_token(str(body.get("refresh_token", "")))
        raise AuthFailure(400, "validation_failed", "unsupported_grant_type")

    def _by_password(self, email: str, password: str) -> web.Response:
        user = next((each for each in self._users.values() if each.email.lower() == email), None)
        if user is None or not user.password or user.password != password:
            raise AuthFailure(400, "invalid_credentials", "Invalid login credentials")
        if not user.is_confirmed:
            raise AuthFailure(400, "email_not_confirmed", "Email not confirmed")
        return self._pair(user, self._begin(user))

    def _by_refresh_token(self, token: str) -> web.Response:
        session_id, was_used = self._refresh_tokens.get(token, ("", False))
        session = self._sessions.get(session_id)
        if session is None:
            raise AuthFailure(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        if was_used:
            session.is_over = True
            raise AuthFailure(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
        if session.is_over:
            raise AuthFailure(400, "session_not_found", "Session from session_id claim in JWT does not exist")
        self._refresh_tokens[token] = (session_id, True)
        return self._pair(self._users[session.user_id], session)

    async def _user(self, request: web.Request) -> web.Response:
        user, _ = self._who(request)
        return web.json_response(_shown(user, self._clock()))

    async def _logout(self, request: web.Request) -> web.Response:
        user, session = self._who(request)
        scope = request.query.get("scope", "global")
        for each in self._sessions.values():
            is_meant = {"global": True, "local": each is session, "others": each is not session}.get(scope, False)
            if each.user_id == user.id and is_meant:
                each.is_over = True
        return web.Response(status=204)

    def _who(self, request: web.Request) -> tuple[User, _Session]:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AuthFailure(401, "no_authorization", "This endpoint requires a Bearer token")
        try:
            key, algorithm = self._verifying(jwt.get_unverified_header(token))
            claims = jwt.decode(token, key, algorithms=[algorithm], audience="authenticated", issuer=self.issuer)
        except (jwt.PyJWTError, KeyError) as error:
            raise AuthFailure(403, "bad_jwt", f"invalid JWT: {error}") from None
        session = self._sessions.get(str(claims.get("session_id")))
        if session is None or session.is_over or claims["sub"] not in self._users:
            raise AuthFailure(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        return self._users[claims["sub"]], session

    def _verifying(self, head: dict[str, Any]) -> tuple[Any, str]:
        if self._secret:
            return self._secret, "HS256"
        key = self._keys[head["kid"]]
        return key.public_key(), _algorithm(key)

    async def _jwks(self, _: web.Request) -> web.Response:
        headers = {"Cache-Control": "public, max-age=600"}
        return web.json_response({"keys": self.public_keys()}, headers=headers)


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"name": "GoTrue", "version": "sandbox", "description": "a double"})


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await request.read(), type=dict[str, Any])
    except msgspec.DecodeError:
        raise AuthFailure(400, "bad_json", "Could not parse request body as JSON") from None


def _refusal(request: web.Request, failure: AuthFailure) -> web.Response:
    if request.headers.get("X-Supabase-Api-Version", "") >= NEW_ERRORS:
        body: dict[str, Any] = {"code": failure.code, "message": str(failure)}
    else:
        body = {"code": failure.status, "error_code": failure.code, "msg": str(failure)}
    return web.json_response(body, status=failure.status, headers={"X-Sb-Error-Code": failure.code})


def _algorithm(key: PrivateKey) -> str:
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"


def _jwk(name: str, key: PrivateKey) -> dict[str, Any]:
    public: dict[str, Any]
    if isinstance(key, rsa.RSAPrivateKey):
        public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return public | {"kid": name, "alg": _algorithm(key), "use": "sig", "key_ops": ["verify"], "ext": True}


def _shown(user: User, now: datetime) -> dict[str, Any]:
    confirmed = {"email_confirmed_at": now.isoformat(), "confirmed_at": now.isoformat()} if user.is_confirmed else {}
    return {
        "id": user.id,
        "aud": "authenticated",
        "role": "authenticated",
        "email": user.email,
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": user.metadata,
        "identities": [],
        "is_anonymous": user.is_anonymous,
    } | confirmed
