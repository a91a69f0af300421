"""F57: settings that cannot be used are named, explained and never shown."""

import logging
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from voice_agent.errors import SettingsError
from voice_agent.settings import (
    AREAS,
    PipelineSettings,
    Settings,
    is_loopback,
    load_settings,
    settings_table,
    variable_name,
)

CANARY = "sk-canary-7f3a"
ACCOUNT_SID = "AC" + "0" * 32


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no .env of the machine that the tests run on."""
    monkeypatch.chdir(tmp_path)
    for area in AREAS.values():
        for field in area.model_fields:
            monkeypatch.delenv(variable_name(area, field), raising=False)


def test_nothing_needs_to_be_set() -> None:
    settings = load_settings()

    assert settings.server.port == 8000
    assert (settings.speech_to_text, settings.text_to_speech) == ("local", "local")
    assert not settings.twilio.has_token


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=9000\nMAX_CALLS=5\nTWILIO_BASE_URL=https://api.dublin.ie1.twilio.com/\n", "utf-8")
    monkeypatch.setenv("PORT", "9001")

    settings = load_settings()

    assert (settings.server.port, settings.server.max_calls) == (9001, 5)
    assert settings.twilio.base_url == "https://api.dublin.ie1.twilio.com"


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("OPENAI_API_KEY", "")

    assert load_settings().server.port == 8000


def test_the_tree_is_frozen() -> None:
    settings = load_settings()

    for area, name in ((settings, "server"), (settings.server, "port")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(area, name, getattr(area, name))


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("PORT", "99999", "less than or equal to 65535"),
        ("PORT", CANARY, "valid integer"),
        ("MAX_CALLS", "0", "greater than or equal to 1"),
        ("LOG_LEVEL", CANARY, "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("SPEECH_TO_TEXT", CANARY, "'auto', 'elevenlabs', 'openai' or 'local'"),
        ("PUBLIC_BASE_URL", f"http://{CANARY}.example.org", "https://"),
        ("PUBLIC_BASE_URL", CANARY, "http:// or https://"),
        ("PUBLIC_BASE_URL", f"https://user:{CANARY}@example.org", "without user"),
        ("PUBLIC_BASE_URL", f"https://example.org/?x={CANARY}", "without user, query"),
        ("PUBLIC_BASE_URL", f"https://example.org:{CANARY}", "not a URL"),
        ("OPENAI_BASE_URL", f"ftp://{CANARY}", "http:// or https://"),
        ("TWILIO_ACCOUNT_SID", CANARY, "AC followed by 32"),
        ("TWILIO_AUTH_TOKEN", "changeme", "placeholder"),
        ("OPENAI_API_KEY", f"<{CANARY}>", "placeholder"),
        ("ELEVENLABS_API_KEY", "  TODO ", "placeholder"),
        ("LANGUAGE_MODEL", CANARY, "form provider:model"),
        ("FALLBACK_MODEL", f"{CANARY}:", "form provider:model"),
    ],
)
def test_f57_a_bad_setting_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    message = str(caught.value)
    assert message.startswith(f"{variable} ")
    assert reason in message
    assert CANARY not in message
    assert value.strip() not in message
    assert caught.value.__cause__ is None


def test_f57_everything_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"PORT": "x", "TWILIO_ACCOUNT_SID": "x", "GOOGLE_BASE_URL": "x"}.items():
        monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert [line.split()[0] for line in str(caught.value).splitlines()] == [
        "PORT",
        "TWILIO_ACCOUNT_SID",
        "GOOGLE_BASE_URL",
    ]


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({"SPEECH_TO_TEXT": "elevenlabs"}, "ELEVENLABS_API_KEY"),
        ({"TEXT_TO_SPEECH": "elevenlabs"}, "ELEVENLABS_API_KEY"),
        ({"SPEECH_TO_TEXT": "openai"}, "OPENAI_API_KEY"),
        ({"LANGUAGE_MODEL": "openai:gpt"}, "OPENAI_API_KEY"),
        ({"FALLBACK_MODEL": "google_genai:gemini"}, "GOOGLE_API_KEY"),
        ({"TWILIO_AUTH_TOKEN": CANARY}, "TWILIO_ACCOUNT_SID"),
        ({"TWILIO_ACCOUNT_SID": ACCOUNT_SID}, "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"),
    ],
)
def test_f57_a_choice_without_its_key_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], missing: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith(missing)
    assert CANARY not in str(caught.value)


def test_a_server_that_speaks_openais_protocol_may_take_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE_MODEL", "openai:llama")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")

    assert load_settings().pipeline.language_model == "openai:llama"


@pytest.mark.parametrize(
    "url",
    [
        "https://calls.example.org",
        "https://calls.example.org/voice/",
        "http://127.0.0.1:8000",
        "http://[::1]:1",
        "http://localhost",
    ],
)
def test_public_addresses_that_can_be_used(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", url)

    assert load_settings().server.public_base_url == url.rstrip("/")


@pytest.mark.parametrize("host", ["localhost", "app.localhost", "127.0.0.9", "::1"])
def test_hosts_that_are_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "example.org", "localhost.example.org", "::", ""])
def test_hosts_that_are_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("environment", "speech_to_text", "text_to_speech"),
    [
        ({}, "local", "local"),
        ({"OPENAI_API_KEY": CANARY}, "openai", "local"),
        ({"OPENAI_API_KEY": CANARY, "ELEVENLABS_API_KEY": CANARY}, "elevenlabs", "elevenlabs"),
        ({"ELEVENLABS_API_KEY": CANARY, "SPEECH_TO_TEXT": "local", "TEXT_TO_SPEECH": "local"}, "local", "local"),
    ],
)
def test_auto_follows_the_keys(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], speech_to_text: str, text_to_speech: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    settings = load_settings()

    assert (settings.speech_to_text, settings.text_to_speech) == (speech_to_text, text_to_speech)


def test_secrets_do_not_show_in_text_and_logs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", ACCOUNT_SID)
    for area in AREAS.values():
        for name, field in area.model_fields.items():
            if isinstance(field.default, SecretStr):
                monkeypatch.setenv(variable_name(area, name), CANARY)

    settings = load_settings()
    logging.getLogger(__name__).warning("%r %s", settings, settings.model_dump())

    assert settings.openai.api_key.get_secret_value() == CANARY
    assert CANARY not in caplog.text
    assert CANARY not in settings.model_dump_json()


def test_the_table_lists_every_variable_with_its_default_and_meaning() -> None:
    table = settings_table()

    for area in AREAS.values():
        for name, field in area.model_fields.items():
            assert f"| `{variable_name(area, name)}` | " in table
            assert field.description, name
    assert "| `PORT` | `8000` | Port to listen on" in table
    assert "| `TWILIO_AUTH_TOKEN` |  | " in table
    assert "One of `auto`, `silero`, `webrtc`." in table


def test_no_two_fields_share_a_variable() -> None:
    names = [variable_name(area, field) for area in AREAS.values() for field in area.model_fields]

    assert len(names) == len(set(names))


def test_conventional_names_stay() -> None:
    names = {variable_name(area, field) for area in AREAS.values() for field in area.model_fields}

    for service in ("TWILIO", "OPENAI", "GOOGLE", "ELEVENLABS"):
        assert f"{service}_BASE_URL" in names
    assert names >= {
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "OPENAI_API_KEY",
        "GOOGLE_API_KEY",
        "ELEVENLABS_API_KEY",
    }
    assert names >= {"PUBLIC_BASE_URL", "DATABASE_URL", "REDIS_URL", "SUPABASE_URL"}


def test_settings_built_by_hand_are_checked_as_well() -> None:
    with pytest.raises(ValidationError, match="ELEVENLABS_API_KEY"):
        Settings(pipeline=PipelineSettings(text_to_speech="elevenlabs"))
