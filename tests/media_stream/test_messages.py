import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media_stream import twilio_messages as twilio
from voice_agent.media_stream.messages import (
    NUMBERLESS,
    Connected,
    Dtmf,
    Malformed,
    Mark,
    Media,
    MediaFormat,
    OutboundMessages,
    Start,
    Stop,
    Unknown,
    decode,
)

STREAM = twilio.STREAM


def test_every_documented_message_is_decoded() -> None:
    assert isinstance(decode(twilio.connected()), Connected)
    assert isinstance(decode(twilio.stop(4)), Stop)
    media = decode(twilio.media(2, b"\x00\x7f\xff", at_ms=60))
    assert isinstance(media, Media)
    assert (media.sequence_number, media.media.timestamp, media.media.payload) == (2, 60, b"\x00\x7f\xff")
    dtmf = decode(twilio.dtmf(3, "#"))
    assert isinstance(dtmf, Dtmf)
    assert dtmf.dtmf.digit == "#"
    mark = decode(twilio.mark(9, "0:1:2"))
    assert isinstance(mark, Mark)
    assert mark.mark.name == "0:1:2"


def test_start_carries_the_ids_and_the_parameters() -> None:
    start = decode(twilio.start(parameters={"ticket": "t_93"}))
    assert isinstance(start, Start)
    assert start.stream_sid == STREAM
    assert start.start.call_sid == twilio.CALL
    assert start.start.media_format == MediaFormat()
    assert start.start.custom_parameters == {"ticket": "t_93"}


def test_missing_and_null_parameters_are_none() -> None:
    without = decode(twilio.start())
    null = decode(b'{"event":"start","streamSid":"MZ","start":{"callSid":"CA","customParameters":null}}')
    assert isinstance(without, Start)
    assert isinstance(null, Start)
    assert without.start.custom_parameters is None
    assert null.start.custom_parameters is None


def test_counters_may_be_numbers_or_absent() -> None:
    number = decode(b'{"event":"media","sequenceNumber":7,"streamSid":"MZ","media":{"timestamp":20,"payload":""}}')
    absent = decode(b'{"event":"media","streamSid":"MZ","media":{"payload":"fw=="}}')
    assert isinstance(number, Media)
    assert isinstance(absent, Media)
    assert (number.sequence_number, number.media.timestamp) == (7, 20)
    assert (absent.sequence_number, absent.media.timestamp) == (NUMBERLESS, NUMBERLESS)


def test_an_undocumented_event_is_unknown_with_its_number() -> None:
    message = decode(b'{"event":"weather","sequenceNumber":"5","streamSid":"MZ","weather":{"sky":"blue"}}')
    assert message == Unknown("weather", "MZ", 5)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"media"',
        b"\xff\xfe",
        b'{"event":"mark","streamSid":"\xff","mark":{"name":"a"}}',
        b'{"event":"mark","streamSid":"\\ud800","mark":{"name":"a"}}',
        b"{}",
        b'{"event":5}',
        b'{"event":"media"}',
        b'{"event":"media","streamSid":"MZ","media":{}}',
        b'{"event":"media","streamSid":"MZ","media":{"payload":"?"}}',
        b'{"event":"media","streamSid":"MZ","media":{"payload":"","timestamp":NaN}}',
        b'{"event":"media","streamSid":"MZ","media":{"payload":"","timestamp":"-1"}}',
        b'{"event":"media","streamSid":"MZ","sequenceNumber":"99999999999999999999","media":{"payload":""}}',
        b'{"event":"start","streamSid":"","start":{"callSid":"CA"}}',
        b'{"event":"start","streamSid":"MZ","start":{"callSid":"CA","customParameters":{"a":1}}}',
        b'{"event":"dtmf","streamSid":"MZ","dtmf":{"digit":"12"}}',
        b'{"event":"mark","streamSid":"MZ","mark":{"name":"' + b"n" * 129 + b'"}}',
        b'{"event":"' + b"e" * 129 + b'"}',
        b'{"event":"weather","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"event":"media","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_what_is_no_message_is_malformed(frame: bytes) -> None:
    assert isinstance(decode(frame), Malformed)


def test_a_fault_names_the_field_and_quotes_nothing() -> None:
    assert decode(b'{"event":"media","streamSid":"MZ","media":{"payload":"secret!"}}') == Malformed(
        "ValidationError at $.media.payload"
    )
    assert decode(b'{"event":5}') == Malformed("no event")


@given(st.binary(max_size=400))
def test_no_bytes_raise(frame: bytes) -> None:
    decode(frame)


@given(st.binary(max_size=2_000), st.text(max_size=20), st.text(max_size=20))
def test_outbound_messages_are_json_with_exactly_the_documented_fields(mulaw: bytes, sid: str, name: str) -> None:
    messages = OutboundMessages(sid)
    payload = base64.b64encode(mulaw).decode()
    assert json.loads(messages.media(mulaw)) == {"event": "media", "streamSid": sid, "media": {"payload": payload}}
    assert json.loads(messages.mark(name)) == {"event": "mark", "streamSid": sid, "mark": {"name": name}}
    assert json.loads(messages.clear()) == {"event": "clear", "streamSid": sid}
