"""Fetching from addresses that people give: against real servers on loopback, which a rule allows for the test."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from structlog.testing import capture_logs

from voice_agent.contacts.fetching import (
    CheckedResolver,
    Fetcher,
    FetchFailed,
    FetchRefused,
    FetchRules,
    check_url,
    is_public,
    networks,
    without_secrets,
)

LOOPBACK = FetchRules(allows_http=True, allowed=networks("127.0.0.0/8"), largest_bytes=1_000)
PUBLIC = "93.184.215.14"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Names(AbstractResolver):
    """A name server that answers what a test says, another thing each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - the port's shape
    ) -> list[ResolveResult]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in answer
        ]

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve every path; give the address with a name that only `Names` knows."""
    server = web.Server(handler)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://files.test:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def fetcher(rules: FetchRules = LOOPBACK, names: Names | None = None) -> Fetcher:
    return Fetcher(rules, resolver=names or Names(["127.0.0.1"]))


async def fetch(fetching: Fetcher, url: str) -> bytes:
    async with fetching.opened(url) as pieces:
        return b"".join([piece async for piece in pieces])


async def content(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=b"phone\n+34612345678\n")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - an address, not a binding
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)
def test_an_address_that_only_we_can_reach_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", f"::ffff:{PUBLIC}"])
def test_an_address_that_anybody_can_reach_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/a.csv", "must begin with https"),
        ("ftp://example.com/a.csv", "must begin with https"),
        ("file:///etc/passwd", "must begin with https"),
        ("//example.com/a.csv", "must begin with https"),
        ("https:///a.csv", "no address"),
        ("https://[::1/a.csv", "no address"),
        ("https://example.com:99999/", "no address"),
        ("https://example.com/" + "a" * 2_000, "no address"),
        ("https://ana:secret@example.com/a.csv", "user and password"),
        ("https://127.0.0.1/a.csv", "not public"),
        ("https://[::ffff:10.0.0.1]/a.csv", "not public"),
        ("https://169.254.169.254/latest/meta-data/", "not public"),
    ],
)
def test_an_address_that_can_never_be_fetched_is_refused_without_asking_anybody(url: str, why: str) -> None:
    with pytest.raises(FetchRefused, match=why):
        check_url(url, FetchRules())


def test_an_address_is_told_without_its_keys() -> None:
    assert without_secrets("https://x.test:8443/a.csv?token=1#part") == "https://x.test:8443/a.csv"


async def test_a_file_is_fetched() -> None:
    async with serving(content) as url:
        assert await fetch(fetcher(), f"{url}/a.csv") == b"phone\n+34612345678\n"


async def test_a_name_with_one_address_that_is_not_public_is_refused_whole() -> None:
    names = Names([PUBLIC, "10.0.0.1"])
    with pytest.raises(FetchRefused, match="not public"):
        await fetch(fetcher(FetchRules(allows_http=True), names), "http://files.test/")
    assert names.asked == 1


async def test_the_connection_goes_to_the_addresses_that_were_looked_at() -> None:
    """A name that answers otherwise the second time is asked once only."""
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    async with serving(content) as url:
        await fetch(fetcher(names=names), url)
    assert names.asked == 1


async def test_the_systems_resolver_is_checked_as_well() -> None:
    resolver = CheckedResolver(FetchRules())
    with pytest.raises(FetchRefused, match="not public"):
        await resolver.resolve("localhost", 80, socket.AF_INET)
    await resolver.close()


async def test_redirects_are_followed_three_times() -> None:
    async def lead_on(request: web.BaseRequest) -> web.StreamResponse:
        left = int(request.path[1:])
        if left:
            raise web.HTTPFound(f"/{left - 1}")
        return await content(request)

    async with serving(lead_on) as url:
        assert len(await fetch(fetcher(), f"{url}/3")) == 19
        with pytest.raises(FetchRefused, match="more than 3 times"):
            await fetch(fetcher(), f"{url}/4")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://10.0.0.1/", "not public"),
        ("http://169.254.169.254/latest/meta-data/", "not public"),
        ("file:///etc/passwd", "must begin with"),
        ("http://a:b@files.test/", "user and password"),
    ],
)
async def test_a_redirect_is_looked_at_as_the_first_address_was(target: str, why: str) -> None:
    async def lead_on(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": target})

    async with serving(lead_on) as url:
        with pytest.raises(FetchRefused, match=why):
            await fetch(fetcher(), url)


async def test_a_redirect_to_a_name_within_our_network_is_refused() -> None:
    async def lead_on(_: web.BaseRequest) -> web.StreamResponse:
        raise web.HTTPFound("http://inside.test/")

    async with serving(lead_on) as url:
        with pytest.raises(FetchRefused, match="not public"):
            await fetch(fetcher(names=Names(["127.0.0.1"], ["10.0.0.7"])), url)


async def test_too_large_a_file_is_refused_by_what_is_said_of_it_and_by_what_comes() -> None:
    async def long(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/told":
            return web.Response(body=b"x" * 1_001)
        answer = web.StreamResponse()
        await answer.prepare(request)
        with suppress(ConnectionError):
            for _ in range(100):
                await answer.write(b"x" * 100)
        return answer

    async with serving(long) as url:
        for path in ("told", "untold"):
            with pytest.raises(FetchRefused, match="has more than"):
                await fetch(fetcher(), f"{url}/{path}")


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, FetchRefused), (403, FetchRefused), (204, FetchRefused), (429, FetchFailed), (503, FetchFailed)],
)
async def test_what_is_no_file_is_refused_and_what_may_come_later_has_failed(
    status: int, error: type[Exception]
) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status)

    async with serving(answer) as url:
        with pytest.raises(error, match=str(status)):
            await fetch(fetcher(), url)


async def test_nothing_is_unpacked() -> None:
    async def packed(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})

    async with serving(packed) as url:
        with pytest.raises(FetchRefused, match="packs the file"):
            await fetch(fetcher(), url)


async def test_a_server_that_is_not_there_or_breaks_off_has_failed_this_time() -> None:
    async def break_off(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"x")
        assert request.transport is not None
        request.transport.abort()
        return answer

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(FetchFailed, match="cannot be reached"):
        await fetch(fetcher(), f"http://files.test:{port}")
    async with serving(break_off) as url:
        with pytest.raises(FetchFailed, match="cannot be reached"):
            await fetch(fetcher(), url)


async def test_a_server_that_takes_too_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voice_agent.contacts.fetching.WHOLE_S", 0.1)
    never = asyncio.Event()

    async def wait(request: web.BaseRequest) -> web.StreamResponse:
        await never.wait()
        return await content(request)

    async with serving(wait) as url:
        with pytest.raises(FetchFailed, match="too long"):
            await fetch(fetcher(), url)
        never.set()


async def test_neither_the_log_nor_an_error_has_the_addresses_key() -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404)

    with capture_logs() as entries:
        async with serving(answer) as url:
            with pytest.raises(FetchRefused) as refusal:
                await fetch(fetcher(), f"{url}/a.csv?key=hush")
    assert "hush" not in str(entries) + str(refusal.value)


def test_networks_are_read_as_settings_have_them() -> None:
    assert networks("") == ()
    assert [str(each) for each in networks("10.0.0.0/8, fd00::/8")] == ["10.0.0.0/8", "fd00::/8"]
    with pytest.raises(ValueError, match="nonsense"):
        networks("nonsense")
