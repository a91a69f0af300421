"""Every exception of a vendor becomes one of four."""

import pytest

from voice_agent.errors import ProviderBusy, ProviderError, ProviderMisbehaved, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.failures import from_exception, from_status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRefused),
        (401, ProviderRefused),
        (403, ProviderRefused),
        (404, ProviderRefused),
        (422, ProviderRefused),
        (429, ProviderBusy),
        (503, ProviderBusy),
        (529, ProviderBusy),
        (500, ProviderUnavailable),
        (502, ProviderUnavailable),
    ],
)
def test_the_status_decides(status: int, kind: type[ProviderError]) -> None:
    error = from_status("vendor", status, "why")
    assert type(error) is kind
    assert error.provider == "vendor"
    assert "why" in str(error)


def test_an_exhausted_quota_is_no_matter_of_waiting() -> None:
    assert isinstance(from_status("openai", 429, code="insufficient_quota"), ProviderRefused)


@pytest.mark.parametrize(("header", "wanted"), [("0.5", 0.5), ("-1", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_the_hint_of_a_busy_provider(header: str, wanted: float | None) -> None:
    error = from_status("vendor", 429, headers={"X-Other": "1", "retry-after": header})
    assert isinstance(error, ProviderBusy)
    assert error.retry_after_s == wanted


def test_long_messages_are_cut() -> None:
    assert len(str(from_status("vendor", 500, "x" * 10_000))) < 400


class StatusError(Exception):
    def __init__(self, **fields: object) -> None:
        super().__init__("told")
        self.__dict__.update(fields)


class Response:
    headers = {"Retry-After": "1.5"}


def test_vendors_name_their_status_differently() -> None:
    assert isinstance(from_exception("v", StatusError(status_code=401)), ProviderRefused)
    assert isinstance(from_exception("v", StatusError(code=503)), ProviderBusy)
    assert isinstance(from_exception("v", StatusError(status=500, code="server_error")), ProviderUnavailable)
    busy = from_exception("v", StatusError(status_code=429, response=Response()))
    assert isinstance(busy, ProviderBusy)
    assert busy.retry_after_s == 1.5


def test_a_wrapped_status_is_found() -> None:
    outer = ValueError("wrapped")
    outer.__cause__ = StatusError(code=404)
    assert isinstance(from_exception("v", outer), ProviderRefused)


class ClientConnectionError(Exception):
    """Named as aiohttp's."""


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), EOFError(), ClientConnectionError()])
def test_connections_that_fail(error: Exception) -> None:
    assert isinstance(from_exception("v", error), ProviderUnavailable)
    outer = ValueError("wrapped")
    outer.__cause__ = error
    assert isinstance(from_exception("v", outer), ProviderUnavailable)


def test_anything_else_is_misbehaviour() -> None:
    assert isinstance(from_exception("v", KeyError("choices")), ProviderMisbehaved)


def test_our_own_errors_pass() -> None:
    error = ProviderBusy("v", "full")
    assert from_exception("other", error) is error
