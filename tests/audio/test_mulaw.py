"""mu-law, against the recommendation's own numbers and against itself."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from voice_agent.audio import mulaw


def _pcm16(*samples: int) -> bytes:
    return array("h", samples).tobytes()


def test_silence_is_sample_value_zero() -> None:
    assert mulaw.silence(3) == b"\xff\xff\xff"
    assert mulaw.decode(mulaw.silence(2)) == _pcm16(0, 0)
    assert mulaw.encode(_pcm16(0)) == bytes([mulaw.SILENCE_BYTE])


def test_the_loudest_codes_are_those_of_g_711() -> None:
    assert mulaw.decode(b"\x00\x80") == _pcm16(-32_124, 32_124)


@given(st.binary(max_size=400))
def test_decoding_and_encoding_gives_every_code_back_but_the_second_zero(code: bytes) -> None:
    assert mulaw.encode(mulaw.decode(code)) == code.replace(b"\x7f", b"\xff")


def test_levels() -> None:
    assert mulaw.rms(b"") == mulaw.mean(b"") == 0
    assert mulaw.rms(_pcm16(300, -300)) == 300
    assert mulaw.mean(_pcm16(300, -100)) == 100


def test_a_byte_is_an_eighth_of_a_millisecond() -> None:
    assert mulaw.duration_ms(mulaw.FRAME_BYTES) == mulaw.FRAME_MS


def test_two_channels_are_interleaved_left_first() -> None:
    left, right = mulaw.encode(_pcm16(1_000, 2_000)), mulaw.encode(_pcm16(-3_000, 0))
    one, two = array("h", mulaw.decode(left)), array("h", mulaw.decode(right))
    assert mulaw.interleave(left, right) == _pcm16(one[0], two[0], one[1], two[1])
