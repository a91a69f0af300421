import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_agent.media_stream import tickets
from voice_agent.media_stream.tickets import LIFETIME_S, TicketOffice, Verdict

SECRET = b"0123456789abcdef"


def an_office(secret: bytes = SECRET) -> TicketOffice:
    count = iter(range(10**9))
    return TicketOffice(secret, lambda size: next(count).to_bytes(size, "big"))


def test_a_ticket_is_good_once_for_its_call() -> None:
    office = an_office()
    ticket = office.issue("CA1", 1_000.0)
    assert office.redeem(ticket, "CA1", 1_001.0) is Verdict.ACCEPTED
    assert office.redeem(ticket, "CA1", 1_001.0) is Verdict.REPLAYED


def test_a_ticket_fits_a_parameter_and_a_url() -> None:
    ticket = an_office().issue("CA1", 1_000.0)
    assert len(ticket) < 100
    assert set(ticket) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


def test_another_call_or_secret_is_refused_and_leaves_the_ticket_good() -> None:
    office = an_office()
    ticket = office.issue("CA1", 1_000.0)
    assert office.redeem(ticket, "CA2", 1_000.0) is Verdict.FORGED
    assert an_office(b"another secret, also long").redeem(ticket, "CA1", 1_000.0) is Verdict.FORGED
    assert office.redeem(ticket, "CA1", 1_000.0) is Verdict.ACCEPTED


def test_a_ticket_expires() -> None:
    office = an_office()
    ticket = office.issue("CA1", 1_000.0)
    assert office.redeem(ticket, "CA1", 1_000.0 + LIFETIME_S) is Verdict.EXPIRED


def test_offices_that_share_a_secret_accept_each_others_tickets() -> None:
    assert an_office().redeem(an_office().issue("CA1", 1_000.0), "CA1", 1_000.0) is Verdict.ACCEPTED


def test_used_tickets_are_forgotten_once_they_have_expired() -> None:
    office = an_office()
    for second in range(10 * LIFETIME_S):
        assert office.redeem(office.issue("CA1", second), "CA1", second) is Verdict.ACCEPTED
    assert len(office._used) <= LIFETIME_S + 1


def test_too_many_at_once_fail_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MAX_USED", 2)
    office = an_office()
    verdicts = [office.redeem(office.issue("CA1", 0.0), "CA1", 0.0) for _ in range(3)]
    assert verdicts == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.REPLAYED]
    assert office.redeem(office.issue("CA1", 100.0), "CA1", 100.0) is Verdict.ACCEPTED


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        TicketOffice(b"short", bytes)


@given(st.text(max_size=100), st.text(max_size=40))
def test_no_text_raises_or_is_accepted(ticket: str, call_sid: str) -> None:
    assert an_office().redeem(ticket, call_sid, 0.0) is Verdict.FORGED


@given(st.integers(0, 67), st.characters(codec="ascii"))
def test_a_changed_ticket_is_never_accepted(at: int, letter: str) -> None:
    office = an_office()
    ticket = office.issue("CA1", 1_000.0)
    changed = ticket[:at] + letter + ticket[at + 1 :]
    if changed != ticket:
        assert office.redeem(changed, "CA1", 1_000.0) is Verdict.FORGED
