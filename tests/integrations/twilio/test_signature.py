"""F23, S02: who may speak to our webhooks and open our media socket."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from twilio.request_validator import RequestValidator

from voice_agent.integrations.twilio.signature import SIGNATURE_HEADER, WebhookSignature

TOKEN = "0123456789abcdef0123456789abcdef"
BASE = "https://calls.example.org"
FORM = FormData([("CallSid", "CA1"), ("From", "+15550001111"), ("CallStatus", "ringing"), ("Empty", "")])

PROXIES: dict[str, list[tuple[str, str]]] = {
    "direct": [("host", "calls.example.org")],
    "TLS ended in front": [("host", "calls.example.org"), ("x-forwarded-proto", "https")],
    "host rewritten": [("host", "10.0.0.7:8000"), ("x-forwarded-host", "calls.example.org")],
    "port rewritten": [("host", "calls.example.org:8000"), ("x-forwarded-port", "443")],
    "tunnel": [
        ("host", "localhost:8000"),
        ("x-forwarded-proto", "https,http"),
        ("x-forwarded-for", "1.2.3.4, 10.0.0.1"),
    ],
    "RFC 7239": [("host", "app"), ("forwarded", 'for="[2001:db8::1]";proto=https;host=calls.example.org')],
    "says http": [("host", "calls.example.org"), ("x-forwarded-proto", "http"), ("x-forwarded-ssl", "off")],
    "lies about the host": [("host", "evil.example.net"), ("x-forwarded-host", "evil.example.net")],
}


def signed(url: str, form: FormData = FORM, token: str = TOKEN) -> str:
    signature: str = RequestValidator(token).compute_signature(url, form)
    return signature


def request(path: str, query: str, headers: list[tuple[str, str]], signature: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in [*headers, (SIGNATURE_HEADER.lower(), signature)]]
    scope = {"type": "http", "method": "POST", "scheme": "http", "path": path, "headers": raw}
    return Request({**scope, "query_string": query.encode(), "server": ("127.0.0.1", 8000)})


def path_and_query(received: Request) -> str:
    query = received.url.query
    return received.url.path + (f"?{query}" if query else "")


@pytest.mark.parametrize("headers", PROXIES.values(), ids=PROXIES.keys())
@pytest.mark.parametrize("query", ["", "attempt=a1&x=%20"])
def test_f23_a_genuine_webhook_passes_behind_every_proxy(headers: list[tuple[str, str]], query: str) -> None:
    url = f"{BASE}/twilio/voice" + (f"?{query}" if query else "")
    received = request("/twilio/voice", query, headers, signed(url))

    signature = WebhookSignature(TOKEN, BASE)

    assert signature.check(path_and_query(received), FORM, received.headers.get(SIGNATURE_HEADER))


@pytest.mark.parametrize("headers", PROXIES.values(), ids=PROXIES.keys())
def test_f23_headers_cannot_move_the_address_that_was_signed(headers: list[tuple[str, str]]) -> None:
    """A signature over any address that the headers name, but not the configured one, is refused."""
    hosts = [value for name, value in headers if name in {"host", "x-forwarded-host"}]
    for host in [*hosts, "evil.example.net"]:
        for scheme in ("http", "https"):
            if f"{scheme}://{host}" == BASE:
                continue
            received = request("/twilio/voice", "", headers, signed(f"{scheme}://{host}/twilio/voice"))
            header = received.headers.get(SIGNATURE_HEADER)
            assert not WebhookSignature(TOKEN, BASE).check(path_and_query(received), FORM, header)


def test_f23_forged_tampered_and_misdirected_webhooks_are_refused() -> None:
    signature = WebhookSignature(TOKEN, BASE)
    genuine = signed(f"{BASE}/twilio/voice")

    assert signature.check("/twilio/voice", FORM, genuine)
    assert not signature.check("/twilio/voice", FORM, signed(f"{BASE}/twilio/voice", token="another"))
    assert not signature.check("/twilio/voice", FormData([*FORM.multi_items(), ("To", "+1900")]), genuine)
    assert not signature.check("/twilio/voice", FormData([("CallSid", "CA2")]), genuine)
    assert not signature.check("/twilio/after", FORM, genuine), "replayed to another hook"
    assert not signature.check("/twilio/voice?admin=1", FORM, genuine)
    assert not WebhookSignature(TOKEN, "https://other.example.org").check("/twilio/voice", FORM, genuine)


@pytest.mark.parametrize("header", [None, "", " ", "é", "=", "A" * 100_000])
def test_f23_a_missing_or_absurd_signature_is_refused(header: str | None) -> None:
    assert not WebhookSignature(TOKEN, BASE).check("/twilio/voice", FORM, header)


def test_f23_without_a_token_or_an_address_everything_is_refused() -> None:
    assert not WebhookSignature("", BASE).check("/x", FORM, signed(f"{BASE}/x", token=""))
    assert not WebhookSignature(TOKEN, "").check("/x", FORM, signed("/x"))


def test_repeated_and_empty_fields_are_part_of_the_signature() -> None:
    form = FormData([("b", "2"), ("a", "1"), ("b", "1"), ("b", "2"), ("c", "")])
    genuine = signed(f"{BASE}/hook", form)

    assert WebhookSignature(TOKEN, BASE).check("/hook", form, genuine)
    assert not WebhookSignature(TOKEN, BASE).check("/hook", FormData([("b", "2"), ("a", "1")]), genuine)


def test_a_file_hidden_behind_a_field_of_the_same_name_is_refused() -> None:
    form = FormData([("CallSid", UploadFile(io.BytesIO(b"x"))), ("CallSid", "CA1")])

    assert not WebhookSignature(TOKEN, BASE).check("/hook", form, "irrelevant")


@pytest.mark.parametrize("written", [BASE, f"{BASE}:443", f"{BASE}/"])
@pytest.mark.parametrize("spelled", [BASE, f"{BASE}:443"])
def test_the_default_port_may_be_spelled_out_on_either_side(written: str, spelled: str) -> None:
    assert WebhookSignature(TOKEN, written).check("/hook", FORM, signed(f"{spelled}/hook"))


def test_another_port_is_another_address() -> None:
    local = "http://127.0.0.1:8000"

    assert WebhookSignature(TOKEN, local).check("/hook", FORM, signed(f"{local}/hook"))
    assert not WebhookSignature(TOKEN, local).check("/hook", FORM, signed("http://127.0.0.1/hook"))
    assert WebhookSignature(TOKEN, "http://[::1]").check("/hook", FORM, signed("http://[::1]:80/hook"))


def test_s02_an_upgrade_is_signed_over_the_wss_address_without_parameters() -> None:
    signature = WebhookSignature(TOKEN, BASE)
    genuine = signed("wss://calls.example.org/twilio/media", FormData())

    assert signature.check_upgrade("/twilio/media", genuine)
    assert signature.check_upgrade("/twilio/media", signed("wss://calls.example.org:443/twilio/media", FormData()))
    assert not signature.check_upgrade("/twilio/other", genuine)
    assert not signature.check_upgrade("/twilio/media", signed(f"{BASE}/twilio/media", FormData()))
    assert not signature.check("/twilio/media", FormData(), genuine), "an upgrade's signature opens no webhook"


@given(st.lists(st.tuples(st.text(), st.text())), st.text(alphabet=st.characters(codec="utf-8")))
def test_no_form_and_no_header_raises(pairs: list[tuple[str, str]], header: str) -> None:
    signature = WebhookSignature(TOKEN, BASE)
    form = FormData([*pairs])

    try:
        genuine = signed(f"{BASE}/hook", form)
    except UnicodeEncodeError:  # a lone surrogate cannot have been sent
        return
    assert signature.check("/hook", form, genuine)
    assert not signature.check("/hook", form, header)
