"""Simulations: one against a server of its own, one against a server that runs, and how the latter is reached."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from voice_agent.errors import ScenarioError, SettingsError
from voice_agent.sandbox.carrier import Carrier, CarrierSettings
from voice_agent.sandbox.commands import simulate
from voice_agent.sandbox.local_server import local_server
from voice_agent.sandbox.simulate import Simulation, carrier_settings, run_simulation, signed_url
from voice_agent.settings import ServerSettings, Settings, TwilioSettings

ACCOUNT = "AC" + "0" * 32
TOKEN = "a-token-of-the-test"

# Three words: one alone must fit so well that it is refused at some alignments of its frames, which are chance.
GOODBYE = """
name: A short call
steps:
  - wait_for_agent: begins
  - silence: 0.5
  - wait_for_agent
  - say: thank you goodbye
  - wait_for_agent
expect:
  min_turns: 1
  heard: [thank you for calling]
  understood: [goodbye]
  ended_by: agent
limit_s: 30
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "short.yaml"
    path.write_text(GOODBYE, "utf-8")
    return path


def settings(*, public: str = "", rest: str = "https://api.twilio.com", account: str = ACCOUNT) -> Settings:
    twilio = TwilioSettings(account_sid=account, auth_token=SecretStr(TOKEN if account else ""), base_url=rest)
    return Settings(server=ServerSettings(public_base_url=public), twilio=twilio)


def test_two_callers_at_once_against_a_server_of_its_own(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "verdicts.json"

    code = simulate(str(scenario), url="", calls=2, json_file=written, data_dir=tmp_path / "data")

    output = capsys.readouterr().out
    assert code == 0, output
    assert "2 of 2 calls passed." in output
    report = json.loads(written.read_bytes())
    assert (report["scenario"], report["has_passed"], len(report["calls"])) == ("A short call", True, 2)
    assert {check["is_met"] for call in report["calls"] for check in call["checks"]} == {True}


def test_a_missed_expectation_is_exit_code_1(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.write_text(GOODBYE.replace("ended_by: agent", "ended_by: caller"), "utf-8")

    assert simulate(str(scenario), url="", calls=1, json_file=None, data_dir=tmp_path / "data") == 1
    assert "MISSED" in capsys.readouterr().out


async def test_a_server_that_runs_is_called_as_its_own_carrier_would(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = CarrierSettings(account_sid=ACCOUNT, auth_token=TOKEN)
    async with Carrier(account) as first, local_server(tmp_path / "data", first) as server:
        await first.stop()  # its port is free again for the simulation's carrier
        for name, value in {"ACCOUNT_SID": ACCOUNT, "AUTH_TOKEN": TOKEN, "BASE_URL": first.base_url}.items():
            monkeypatch.setenv(f"TWILIO_{name}", value)
        monkeypatch.setenv("DATA_DIR", str(server.data_dir))
        monkeypatch.chdir(tmp_path)

        report = await run_simulation(
            Simulation(scenario=str(scenario), url=server.voice_url, data_dir=tmp_path), Console(quiet=True)
        )

    (verdict,) = report.calls
    assert report.has_passed, verdict.checks
    assert "hang_up_failed" not in (server.data_dir / "server.log").read_text("utf-8")


async def test_a_language_that_the_local_recognition_does_not_know_needs_another_server(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="--url"):
        await run_simulation(Simulation(scenario="spanish", data_dir=tmp_path), Console(quiet=True))


async def test_a_place_that_is_taken_is_named(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with Carrier() as other:
        for name, value in {"ACCOUNT_SID": ACCOUNT, "AUTH_TOKEN": TOKEN, "BASE_URL": other.base_url}.items():
            monkeypatch.setenv(f"TWILIO_{name}", value)

        with pytest.raises(SettingsError, match=r"TWILIO_BASE_URL: the carrier cannot listen on 127\.0\.0\.1:\d+: "):
            await run_simulation(
                Simulation(scenario=str(scenario), url="http://127.0.0.1:1/twilio/voice", data_dir=tmp_path),
                Console(quiet=True),
            )


def test_a_public_address_is_signed_and_the_given_one_is_reached() -> None:
    public = settings(public="https://calls.example.org")
    url = "http://127.0.0.1:8000/twilio/voice"

    assert signed_url(public, url) == "https://calls.example.org/twilio/voice"
    assert carrier_settings(public, url).routes == {"https://calls.example.org": "http://127.0.0.1:8000"}
    assert signed_url(settings(), url) == url
    assert carrier_settings(settings(), url).routes == {}


def test_the_carrier_listens_where_the_server_looks_for_it() -> None:
    local = carrier_settings(settings(rest="http://127.0.0.1:8010"), "http://127.0.0.1:8000/twilio/voice")
    assert (local.host, local.port, local.account_sid, local.auth_token) == ("127.0.0.1", 8010, ACCOUNT, TOKEN)

    elsewhere = carrier_settings(settings(), "http://127.0.0.1:8000/twilio/voice")
    assert (elsewhere.host, elsewhere.port) == ("127.0.0.1", 0)


def test_without_an_account_no_server_would_believe_it() -> None:
    with pytest.raises(SettingsError, match="TWILIO_ACCOUNT_SID"):
        carrier_settings(settings(account=""), "http://127.0.0.1:8000/twilio/voice")
