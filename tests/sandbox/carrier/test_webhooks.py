import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from tests.sandbox.carrier.server import FakeServer
from voice_agent.sandbox.carrier.journal import Journal, WebhookSent
from voice_agent.sandbox.carrier.webhooks import (
    Overrides,
    Routes,
    WebhookClient,
    resolve,
    signature,
    split_overrides,
)

_NAMES = st.text("abcXYZ09_", min_size=1, max_size=8)


@given(st.dictionaries(_NAMES, st.text(max_size=12), max_size=6))
def test_signatures_are_those_that_the_sdk_accepts(parameters: dict[str, str]) -> None:
    url = "https://calls.example.org/twilio/voice?a=1"
    validator = RequestValidator("token")
    assert validator.validate(url, parameters, signature("token", url, parameters))
    assert not validator.validate(url, parameters | {"More": "1"}, signature("token", url, parameters))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://x.example/a", Overrides()),
        ("http://x.example/a#rc=3&rp=5xx,rt", Overrides(retries=3, retried=frozenset({"5xx", "rt"}))),
        ("http://x.example/a#ct=200&rt=300&tt=400", Overrides(200, 300, 400)),
        ("http://x.example/a#rc=9&tt=99999&ct=x", Overrides()),
    ],
)
def test_overrides_are_read_from_the_fragment(url: str, expected: Overrides) -> None:
    assert split_overrides(url) == ("http://x.example/a", expected)


def test_a_public_address_is_reached_where_the_server_really_is() -> None:
    routes: Routes = {
        "https://calls.example.org": "http://127.0.0.1:8000",
        "https://two.example.org": ("http://127.0.0.1:8001", "http://127.0.0.1:8002"),
    }
    assert resolve("https://calls.example.org/voice", routes) == ("http://127.0.0.1:8000/voice",)
    assert resolve("wss://calls.example.org/media", routes) == ("ws://127.0.0.1:8000/media",)
    assert resolve("wss://two.example.org/m", routes) == ("ws://127.0.0.1:8001/m", "ws://127.0.0.1:8002/m")
    assert resolve("https://other.example.org/voice", routes) == ("https://other.example.org/voice",)


async def test_another_worker_is_asked_where_the_first_refuses_the_connection(
    server: FakeServer, unused_tcp_port: int
) -> None:
    routes: Routes = {"https://calls.example.org": (f"http://127.0.0.1:{unused_tcp_port}", server.url)}
    client = WebhookClient("token", Journal(lambda: 0.0), routes)
    await client.open()
    answer = await client.request("https://calls.example.org/twiml/x", {}, method="POST", call_sid="CA1")
    await client.close()
    assert (answer.status, len(server.posts)) == (200, 1)


@pytest.fixture
async def client() -> AsyncIterator[tuple[WebhookClient, Journal]]:
    journal = Journal(lambda: 0.0)
    client = WebhookClient("token", journal, {})
    await client.open()
    yield client, journal
    await client.close()


async def test_a_failing_answer_is_retried_only_where_the_url_says_so(
    server: FakeServer, client: tuple[WebhookClient, Journal]
) -> None:
    server.documents["broken"] = lambda _: web.Response(status=503)
    url = f"{server.url}/twiml/broken"
    await client[0].request(url, {"A": "1"}, method="POST", call_sid="CA1")
    assert len(server.posts) == 1
    await client[0].request(f"{url}#rc=2&rp=5xx", {"A": "1"}, method="POST", call_sid="CA1")
    assert len(server.posts) == 4
    tokens = {headers["I-Twilio-Idempotency-Token"] for _, _, headers in server.posts[1:]}
    assert len(tokens) == 1
    assert [entry.status for entry in client[1] if isinstance(entry, WebhookSent)] == [503] * 4


async def test_a_refused_connection_is_retried_once(client: tuple[WebhookClient, Journal]) -> None:
    answer = await client[0].request("http://127.0.0.1:9/voice", {}, method="POST", call_sid="CA1")
    assert (answer.status, answer.is_connect_failure) == (0, True)
    assert len(list(client[1])) == 2


async def test_a_slow_answer_is_given_up(server: FakeServer, client: tuple[WebhookClient, Journal]) -> None:
    gate = asyncio.Event()

    async def wait(_: object) -> str:
        await gate.wait()
        return ""

    server.documents["slow"] = wait
    answer = await client[0].request(f"{server.url}/twiml/slow#tt=100", {}, method="POST", call_sid="CA1")
    gate.set()
    assert answer.status == 0


async def test_a_get_carries_its_fields_and_signature_in_the_query(
    server: FakeServer, client: tuple[WebhookClient, Journal]
) -> None:
    await client[0].request(f"{server.url}/twiml/x?a=1", {"CallSid": "CA1"}, method="GET", call_sid="CA1")
    _, fields, headers = server.posts[0]
    assert fields == {"a": "1", "CallSid": "CA1"}
    signed = f"{server.url}/twiml/x?a=1&CallSid=CA1"
    assert RequestValidator("token").validate(signed, {}, headers["X-Twilio-Signature"])
