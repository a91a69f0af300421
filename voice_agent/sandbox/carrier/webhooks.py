"""Requests from the carrier to the server: signed, bounded in time, retried by the URL's fragment.

Sources: https://www.twilio.com/docs/usage/webhooks/webhooks-security (signature) and
https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides (`#rc=2&rp=5xx,ct`). By default only a failed
connection is retried, once; a slow or failing answer is not.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp
import msgspec

from voice_agent.sandbox.carrier.journal import Journal, WebhookSent
from voice_agent.sandbox.carrier.record import new_sid
from voice_agent.sandbox.carrier.twiml import Method

USER_AGENT = "TwilioProxy/1.1"
MAX_ANSWER_BYTES = 1_000_000
MAX_SOUND_BYTES = 16_000_000


def signature(auth_token: str, url: str, parameters: Mapping[str, str]) -> str:
    """Return X-Twilio-Signature for a request: `url` without fragment, form fields of a POST (none for a GET)."""
    signed = url + "".join(name + parameters[name] for name in sorted(parameters))
    return base64.b64encode(hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


class Overrides(msgspec.Struct, frozen=True):
    """How often and how long one webhook is tried."""

    connect_timeout_ms: int = 5_000
    read_timeout_ms: int = 15_000
    total_timeout_ms: int = 15_000
    retries: int = 1
    retried: frozenset[str] = frozenset({"ct"})


_RANGES = {"ct": (100, 10_000), "rt": (100, 15_000), "tt": (100, 15_000), "rc": (0, 5)}


def split_overrides(url: str) -> tuple[str, Overrides]:
    """Return the URL without its fragment, and what the fragment asks for; values out of range are ignored."""
    parts = urlsplit(url)
    fields = dict(parse_qsl(parts.fragment))
    numbers: dict[str, int] = {}
    for name, (least, most) in _RANGES.items():
        text = fields.get(name, "")
        if text.isdecimal() and least <= int(text) <= most:
            numbers[name] = int(text)
    overrides = Overrides(
        connect_timeout_ms=numbers.get("ct", 5_000),
        read_timeout_ms=numbers.get("rt", 15_000),
        total_timeout_ms=numbers.get("tt", 15_000),
        retries=numbers.get("rc", 1),
        retried=frozenset(fields.get("rp", "ct").split(",")),
    )
    return urlunsplit(parts._replace(fragment="")), overrides


class Answer(msgspec.Struct, frozen=True):
    """What the server answered; `status` 0 where no answer came, with the reason in `text`."""

    status: int
    content_type: str = ""
    text: str = ""
    is_connect_failure: bool = False

    @property
    def is_ok(self) -> bool:
        """Whether the answer is a 2xx."""
        return 200 <= self.status < 300


Routes = dict[str, str | tuple[str, ...]]
"""Public prefixes of addresses, and the local one or ones that they stand for."""


def resolve(url: str, routes: Routes) -> tuple[str, ...]:
    """Return where `url` is really reached: a public prefix of `routes` is replaced by its local ones, in order.

    An entry for http or https serves the media sockets (ws, wss) of the same host too.
    """
    for public, local in routes.items():
        places = (local,) if isinstance(local, str) else local
        if url.startswith(public):
            return tuple(place + url.removeprefix(public) for place in places)
        socket_prefix = public.replace("http", "ws", 1)
        if url.startswith(socket_prefix):
            return tuple(place.replace("http", "ws", 1) + url.removeprefix(socket_prefix) for place in places)
    return (url,)


class WebhookClient:
    """Sends webhooks for one account. Use as an async context manager."""

    def __init__(self, auth_token: str, journal: Journal, routes: Routes) -> None:
        self._auth_token = auth_token
        self._journal = journal
        self._routes = routes
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the client.

        A connection for each webhook: one that is kept dies when the server tires of it (uvicorn after 5 s), and a POST
        that meets its end must not be sent again.
        """
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
        )

    async def close(self) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    async def request(
        self, url: str, parameters: dict[str, str], *, method: Method, call_sid: str, token: str = ""
    ) -> Answer:
        """Request `url` and return the last answer; never raises for what the server does.

        `token` marks copies of one message; without one this is a message of its own.
        """
        target, overrides = split_overrides(url)
        token = token or new_sid("")
        answer = Answer(0)
        for _ in range(1 + overrides.retries):
            answer = await self._attempt(target, parameters, method, token, overrides, call_sid)
            if not _is_retried(answer, overrides.retried):
                break
        return answer

    async def download(self, url: str) -> bytes:
        """Return what is at `url`, at most 16 MB; empty where nothing could be had."""
        if self._session is None:
            raise RuntimeError("WebhookClient is not open")
        timeout = aiohttp.ClientTimeout(total=15.0)
        try:
            async with self._session.get(resolve(url, self._routes)[0], timeout=timeout) as response:
                return await response.content.read(MAX_SOUND_BYTES) if response.ok else b""
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return b""

    async def _attempt(
        self, url: str, parameters: dict[str, str], method: Method, token: str, overrides: Overrides, call_sid: str
    ) -> Answer:
        if method == "GET":
            separator = "&" if urlsplit(url).query else "?"
            url, body = f"{url}{separator}{urlencode(parameters)}", None
        else:
            body = parameters
        headers = {
            "X-Twilio-Signature": signature(self._auth_token, url, body or {}),
            "I-Twilio-Idempotency-Token": token,
        }
        began = time.monotonic()
        answer = await self._exchange(url, body, headers, method, overrides)
        took_ms = (time.monotonic() - began) * 1_000
        self._journal.write(
            WebhookSent(
                at=self._journal.now,
                call_sid=call_sid,
                url=url,
                method=method,
                parameters=parameters,
                status=answer.status,
                took_ms=round(took_ms, 1),
            )
        )
        return answer

    async def _exchange(
        self, url: str, body: dict[str, str] | None, headers: dict[str, str], method: Method, overrides: Overrides
    ) -> Answer:
        timeout = aiohttp.ClientTimeout(
            total=overrides.total_timeout_ms / 1_000,
            sock_connect=overrides.connect_timeout_ms / 1_000,
            sock_read=overrides.read_timeout_ms / 1_000,
        )
        answer = Answer(0)
        for place in resolve(url, self._routes):
            answer = await self._ask(place, body, headers, method, timeout)
            if not answer.is_connect_failure:
                break
        return answer

    async def _ask(
        self,
        place: str,
        body: dict[str, str] | None,
        headers: dict[str, str],
        method: Method,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - of aiohttp, not ours
    ) -> Answer:
        if self._session is None:
            raise RuntimeError("WebhookClient is not open")
        try:
            async with self._session.request(method, place, data=body, headers=headers, timeout=timeout) as response:
                content = await response.content.read(MAX_ANSWER_BYTES)
                return Answer(response.status, response.content_type, content.decode("utf-8", "replace"))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Answer(0, text=type(error).__name__, is_connect_failure=True)
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            return Answer(0, text=type(error).__name__)


def _is_retried(answer: Answer, retried: frozenset[str]) -> bool:
    if answer.is_ok:
        return False
    kind = "ct" if answer.is_connect_failure else "rt" if answer.status == 0 else f"{answer.status // 100}xx"
    return kind in retried or "all" in retried
