"""The messages of the two synthesis sockets."""

import json

import pytest
from pydantic import SecretStr

from voice_agent.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderUnavailable
from voice_agent.integrations.elevenlabs.synthesis_wire import Dialogue, MultiContext, failure, read, wire_for
from voice_agent.pipeline.ports import Voice
from voice_agent.settings import ElevenLabsSettings

SETTINGS = ElevenLabsSettings(api_key=SecretStr("k"), base_url="https://api.elevenlabs.io")


@pytest.mark.parametrize(
    ("model", "wire", "has_language"),
    [
        ("", MultiContext, True),
        ("eleven_turbo_v2_5", MultiContext, True),
        ("eleven_multilingual_v2", MultiContext, False),
        ("eleven_v3_conversational", Dialogue, False),
        ("eleven_v4_turbo", Dialogue, False),
    ],
)
def test_the_model_decides_the_socket(model: str, wire: type, has_language: bool) -> None:
    made = wire_for(SETTINGS, Voice("v/1", model=model, language="es"))
    assert isinstance(made, wire)
    assert made.url.startswith("wss://api.elevenlabs.io/v1/text-to-")
    assert ("language_code=es" in made.url) == has_language
    assert "output_format=ulaw_8000" in made.url
    assert "v/1" not in made.url


def test_a_context_of_the_speech_socket() -> None:
    wire = MultiContext(SETTINGS, Voice("v", speed=0.9), "eleven_flash_v2_5")
    (opening,) = wire.open("c1")
    assert json.loads(opening) == {"text": " ", "context_id": "c1", "voice_settings": {"speed": 0.9}}
    assert json.loads(wire.speak("c1", "Hi. ")) == {"text": "Hi. ", "context_id": "c1", "flush": True}
    assert json.loads(wire.close("c1")) == {"context_id": "c1", "close_context": True}
    assert [json.loads(m) for m in wire.keep_alive([])] == [{"text": ""}]
    assert [json.loads(m) for m in wire.keep_alive(["c1"])] == [{"text": "", "context_id": "c1"}]


def test_a_context_of_the_dialogue_socket() -> None:
    wire = Dialogue(SETTINGS, Voice("v"), "eleven_v4")
    (opening,) = wire.open("c1")
    assert json.loads(opening) == {"voices": ["v"], "context_id": "c1"}
    said = json.loads(wire.speak("c1", "Hi. "))
    assert said == {"inputs": [{"text": "Hi. ", "voice_id": "v"}], "context_id": "c1", "flush": True}
    assert json.loads(wire.close("c1")) == {"context_id": "c1", "close_context": True}
    assert [json.loads(m) for m in wire.keep_alive(["c1"])] == [{"keep_alive": True}]


@pytest.mark.parametrize(
    ("starts", "durations"),
    [
        ("charStartTimesMs", "charDurationsMs"),
        ("charsStartTimesMs", "charsDurationsMs"),
        ("char_start_times_ms", "char_durations_ms"),
    ],
)
def test_every_spelling_of_timing(starts: str, durations: str) -> None:
    alignment = {"chars": ["H", "i"], starts: [0, 60], durations: [60, 80]}
    event = read(json.dumps({"audio": "//8=", "normalizedAlignment": alignment, "contextId": "c1"}).encode())
    assert event.audio == b"\xff\xff"
    assert event.timing is not None
    assert (event.timing.starts_ms, event.timing.durations_ms, event.timing.length_ms) == ([0, 60], [60, 80], 140)


@pytest.mark.parametrize("final", ["isFinal", "is_final"])
@pytest.mark.parametrize("context", ["contextId", "context_id"])
def test_every_spelling_of_the_end(final: str, context: str) -> None:
    event = read(json.dumps({final: True, context: "c1"}).encode())
    assert event.is_final
    assert event.context_id == "c1"


def test_unknown_messages_mean_nothing() -> None:
    event = read(b'{"type":"flush_done","context_id":"c1","x":[1]}')
    assert not event.is_final
    assert event.audio is None
    assert event.timing is None
    assert failure(event) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("invalid_api_key", ProviderRefused),
        ("voice_not_found", ProviderRefused),
        ("system_busy", ProviderBusy),
        ("max_active_conversations", ProviderUnavailable),
        ("input_timeout_exceeded", ProviderUnavailable),
    ],
)
def test_errors(error: str, kind: type[ProviderError]) -> None:
    event = read(json.dumps({"message": "m" * 1_000, "error": error, "code": 1008}).encode())
    found = failure(event)
    assert type(found) is kind
    assert len(str(found)) < 400
