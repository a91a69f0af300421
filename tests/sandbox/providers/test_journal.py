import msgspec
import pytest

from voice_agent.sandbox.providers.journal import KEPT_EVENTS, KEPT_TEXT, Exchange, Journal, Service


def test_exchanges_are_found_by_service_and_number() -> None:
    journal = Journal()
    first = journal.open(Service.GEMINI, "/a")
    second = journal.open(Service.OPENAI_CHAT, "/b")
    third = journal.open(Service.GEMINI, "/c")
    assert journal.exchanges() == [first, second, third]
    assert journal.exchanges(Service.GEMINI) == [first, third]
    assert journal.exchanges(Service.GEMINI, after=first.number) == [third]
    assert journal.last(Service.GEMINI) is third
    with pytest.raises(LookupError, match="elevenlabs_stt"):
        journal.last(Service.ELEVENLABS_STT)


def test_a_cleared_journal_goes_on_counting() -> None:
    journal = Journal()
    journal.open(Service.GEMINI, "/a")
    journal.clear()
    assert journal.exchanges() == []
    assert journal.open(Service.GEMINI, "/b").number == 2


def test_lines_are_bounded_in_number_and_length() -> None:
    exchange = Journal().open(Service.GEMINI, "/a")
    for _ in range(KEPT_EVENTS + 5):
        exchange.note("in", "request", "x" * (KEPT_TEXT + 1))
    assert len(exchange.events) == KEPT_EVENTS
    assert len(exchange.named("request")[0].text) == KEPT_TEXT
    assert exchange.named("other") == []


def test_an_exchange_survives_json() -> None:
    exchange = Journal().open(Service.OPENAI_CHAT, "/a")
    exchange.note("out", "first_token")
    assert msgspec.json.decode(msgspec.json.encode(exchange), type=Exchange) == exchange
