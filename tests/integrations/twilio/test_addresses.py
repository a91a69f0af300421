"""Where Twilio reaches us."""

from uuid import UUID, uuid4

import pytest

from voice_agent.integrations.twilio.addresses import MEDIA_PATH, VOICE_PATH, TwilioAddresses, call_of

CALL = UUID("01936300-0000-7000-8000-000000000001")


@pytest.mark.parametrize("base", ["https://calls.example.org", "https://calls.example.org/"])
def test_addresses_are_public_ones(base: str) -> None:
    addresses = TwilioAddresses(base)

    assert addresses.of(VOICE_PATH) == "https://calls.example.org/twilio/voice"
    assert addresses.media == "wss://calls.example.org" + MEDIA_PATH
    assert addresses.answer(CALL) == f"https://calls.example.org/twilio/calls/{CALL}/answer"


def test_without_tls_the_media_socket_has_none_either() -> None:
    assert TwilioAddresses("http://127.0.0.1:8000").media == "ws://127.0.0.1:8000" + MEDIA_PATH


def test_every_address_of_a_call_names_it() -> None:
    addresses, call = TwilioAddresses("https://calls.example.org"), uuid4()
    every = [
        addresses.answer(call),
        addresses.status(call),
        addresses.machine(call),
        addresses.recording(call),
        addresses.after_dial(call),
        addresses.whisper(call),
    ]

    assert len(set(every)) == len(every)
    assert {call_of(address) for address in every} == {call}


@pytest.mark.parametrize("url", ["", "https://other.example.org/answer", "https://x/twilio/calls/nonsense/answer"])
def test_other_addresses_name_no_call(url: str) -> None:
    assert call_of(url) is None
