import msgspec
import pytest

from voice_agent.sandbox.providers.config import DoublesConfig, Timings


def test_the_defaults_are_the_conditions_of_the_benchmarks() -> None:
    timings = DoublesConfig().timings
    assert (timings.interim_lag_s, timings.final_delay_s) == (0.15, 0.1)
    assert (timings.first_token_s, timings.token_s) == (0.15, 0.015)
    assert (timings.first_audio_s, timings.chunk_ms, timings.audio_speed) == (0.08, 200, 10.0)


def test_a_configuration_is_read_from_yaml() -> None:
    text = b"api_key: k\ntimings: {first_token_s: 0.5}\nelevenlabs: {spelling: snake}\n"
    config = msgspec.yaml.decode(text, type=DoublesConfig)
    assert (config.api_key, config.timings.first_token_s, config.elevenlabs.spelling) == ("k", 0.5, "snake")


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(msgspec.ValidationError, match="frist_token_s"):
        msgspec.yaml.decode(b"timings: {frist_token_s: 1}", type=DoublesConfig)


def test_realistic_is_slower_and_instant_does_not_wait() -> None:
    assert Timings.realistic().final_delay_s > Timings().final_delay_s
    instant = Timings.instant()
    assert instant.first_token_s == instant.token_s == instant.first_audio_s == instant.final_delay_s == 0.0
