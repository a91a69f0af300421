"""Fetching a file from an address that somebody gave, without reaching what only this machine can reach.

How it works
------------
A server that fetches what it is told to is a way into its own network (OWASP, server-side request forgery). So:

- only https, and http where a setting allows it; no user and password in the address
- every address that the name resolves to must be public: one that is not refuses the whole. The connection goes to the
  addresses that were looked at and to no others, so a name that answers otherwise the second time (DNS rebinding) is
  of no use. An address that carries another one inside (IPv4-mapped, 6to4, Teredo, NAT64) counts as both
- redirects are followed by hand, three at the most, each looked at as the first address was
- no proxy of the environment, no cookies, nothing unpacked: what comes is the file, as many bytes as are counted

Nothing here writes an address into a log: people put keys into them.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from urllib.parse import urljoin, urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from voice_agent.errors import InvalidRequest, VoiceAgentError

MOST_REDIRECTS = 3
CONNECT_S = 10.0
QUIET_S = 30.0
"""The longest between two pieces."""

WHOLE_S = 900.0
"""The longest that a file may take: 500 MB at 5 Mbit/s."""

PIECE_BYTES = 262_144

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class FetchRefused(InvalidRequest):
    """What is asked for is not fetched, now or later: its address, what answers there, or its size."""


class FetchFailed(VoiceAgentError):
    """It could not be fetched this time: no answer, one that broke off, or an error of the other server."""

    http_status = 502


class FetchRules(msgspec.Struct, frozen=True, kw_only=True):
    """What may be fetched."""

    allows_http: bool = False
    allowed: tuple[Network, ...] = ()
    """Networks that may be reached although they are not public."""

    largest_bytes: int = 500_000_000


def networks(text: str) -> tuple[Network, ...]:
    """Read networks in CIDR form, with commas between them. Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def check_url(url: str, rules: FetchRules) -> None:
    """Refuse an address that can be refused without asking anybody. Raises FetchRefused."""
    try:
        parts = urlsplit(url)
        port_is_there = parts.port is None or parts.port > 0
    except ValueError:
        raise FetchRefused("url: this is no address") from None
    if parts.scheme not in ({"https", "http"} if rules.allows_http else {"https"}):
        raise FetchRefused("url: must begin with https://")
    if not parts.hostname or not port_is_there or len(url) > 2_000:
        raise FetchRefused("url: this is no address")
    if parts.username is not None or parts.password is not None:
        raise FetchRefused("url: user and password are not sent: use an address that needs none")
    try:
        literal = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return
    _check_address(literal, rules)


def without_secrets(url: str) -> str:
    """Return an address without the query, which may hold a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def is_public(address: Address) -> bool:
    """Tell whether an address, and each that it carries, is one that anybody can reach."""
    return all(each.is_global and not each.is_multicast and not each.is_reserved for each in _meant(address))


def _meant(address: Address) -> list[Address]:
    meant: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            # For itself it is reserved: what counts is whom it reaches.
            return [address.ipv4_mapped]
        if address.sixtofour is not None:
            meant.append(address.sixtofour)
        if address.teredo is not None:
            meant += address.teredo
        if address in _NAT64:
            return [ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
    return meant


def _check_address(address: Address, rules: FetchRules) -> None:
    if not is_public(address) and not any(address in network for network in rules.allowed):
        raise FetchRefused("url: leads into a network that is not public")


class CheckedResolver(AbstractResolver):
    """Resolves names as the system does, and refuses those with an address that is not to be reached."""

    def __init__(self, rules: FetchRules, resolver: AbstractResolver | None = None) -> None:
        self._rules = rules
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses, each of which was looked at. Raises FetchRefused."""
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            _check_address(ipaddress.ip_address(each["host"].partition("%")[0]), self._rules)
        return found

    async def close(self) -> None:
        """Close what resolves."""
        await self._resolver.close()


class Fetcher:
    """Fetches files by the rules."""

    def __init__(self, rules: FetchRules, *, resolver: AbstractResolver | None = None) -> None:
        """`resolver` stands in for the system's, in tests."""
        self.rules = rules
        self._resolver = resolver

    @asynccontextmanager
    async def opened(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the pieces of the file at an address. Raises FetchRefused or FetchFailed, also while they are read."""
        try:
            async with asyncio.timeout(WHOLE_S), self._session() as session, self._answer(session, url) as answer:
                self._check_head(answer)
                async with aclosing(self._pieces(answer)) as pieces:
                    yield pieces
        except TimeoutError:
            raise FetchFailed("the other server takes too long") from None
        except aiohttp.ClientError as error:
            raise FetchFailed(f"the other server cannot be reached: {type(error).__name__}") from None

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        resolver = CheckedResolver(self.rules, self._resolver)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=1)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=QUIET_S)
        try:
            async with aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                auto_decompress=False,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "voice-agent"},
            ) as session:
                yield session
        finally:
            await resolver.close()

    @asynccontextmanager
    async def _answer(self, session: aiohttp.ClientSession, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        for _ in range(MOST_REDIRECTS + 1):
            check_url(url, self.rules)
            async with session.get(url, allow_redirects=False) as answer:
                if answer.status not in _REDIRECTS:
                    yield answer
                    return
                url = urljoin(url, answer.headers.get("Location", ""))
        raise FetchRefused(f"url: leads on more than {MOST_REDIRECTS} times")

    def _check_head(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status in {408, 425, 429} or answer.status >= 500:
            raise FetchFailed(f"the other server answers {answer.status}")
        if answer.status != 200:
            raise FetchRefused(f"url: the server there answers {answer.status}")
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchRefused("url: the server there packs the file although it was asked not to")
        if (answer.content_length or 0) > self.rules.largest_bytes:
            raise self._too_large()

    async def _pieces(self, answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
        size_bytes = 0
        async for piece in answer.content.iter_chunked(PIECE_BYTES):
            size_bytes += len(piece)
            if size_bytes > self.rules.largest_bytes:
                raise self._too_large()
            yield piece

    def _too_large(self) -> FetchRefused:
        return FetchRefused(f"url: the file has more than {self.rules.largest_bytes // 1_000_000} MB")
