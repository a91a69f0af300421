"""The doctor against doubles of the providers on a real port."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from voice_agent.doctor import Finding, State, examine, report
from voice_agent.settings import AREAS, variable_name

CANARY = "sk-canary-7f3a"
ACCOUNT_SID = "AC" + "0" * 32


@dataclass
class ProviderDouble:
    """All four providers on one port, told apart by their paths."""

    status: int = 200
    body: dict[str, object] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    """Path to the credential that came with it."""
    base_url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        headers = request.headers
        names = ("Authorization", "x-goog-api-key", "xi-api-key")
        self.asked[request.path] = next((headers[name] for name in names if name in headers), "")
        return web.json_response(self.body, status=self.status)


@pytest.fixture
async def double() -> AsyncIterator[ProviderDouble]:
    double = ProviderDouble(body={"sid": ACCOUNT_SID, "status": "active", "type": "Full"})
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", double.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    double.base_url = f"http://{host}:{port}"
    yield double
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for area in AREAS.values():
        for name in area.model_fields:
            monkeypatch.delenv(variable_name(area, name), raising=False)


@pytest.fixture
def all_accounts(double: ProviderDouble, monkeypatch: pytest.MonkeyPatch) -> ProviderDouble:
    environment = {
        "PUBLIC_BASE_URL": "https://calls.example.org",
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": CANARY,
        "OPENAI_API_KEY": CANARY,
        "GOOGLE_API_KEY": CANARY,
        "ELEVENLABS_API_KEY": CANARY,
        "OPENAI_BASE_URL": f"{double.base_url}/openai/v1",
        "GOOGLE_BASE_URL": f"{double.base_url}/google",
        "ELEVENLABS_BASE_URL": f"{double.base_url}/elevenlabs",
        "TWILIO_BASE_URL": f"{double.base_url}/twilio",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return double


async def findings() -> dict[str, Finding]:
    """Run the doctor as the command does, outside this loop."""
    found = await asyncio.to_thread(examine)
    assert CANARY not in report(found)
    return {finding.subject: finding for finding in found}


async def test_without_accounts_there_is_no_fault() -> None:
    found = await findings()

    assert found["settings"].state is State.GOOD
    assert found["Twilio"].state is State.NOTE
    assert not any(finding.is_fault for finding in found.values())
    assert "OpenAI" not in found


async def test_working_accounts_are_asked_one_question_each(all_accounts: ProviderDouble) -> None:
    found = await findings()

    for name in ("Twilio", "OpenAI", "Google", "ElevenLabs", "PUBLIC_BASE_URL"):
        assert found[name].state is State.GOOD, name
    assert set(all_accounts.asked) == {
        f"/twilio/2010-04-01/Accounts/{ACCOUNT_SID}.json",
        "/openai/v1/models",
        "/google/v1beta/models",
        "/elevenlabs/v1/models",
    }
    assert all_accounts.asked["/openai/v1/models"] == f"Bearer {CANARY}"
    assert all_accounts.asked["/google/v1beta/models"] == CANARY


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_keys_are_named_with_the_variable_to_change(all_accounts: ProviderDouble, status: int) -> None:
    all_accounts.status = status

    found = await findings()

    for name in ("OpenAI", "Google", "ElevenLabs"):
        assert found[name].is_fault
        assert f"{name.upper()}_API_KEY" in found[name].remedy
    assert found["Twilio"].is_fault
    assert "TWILIO_AUTH_TOKEN" in found["Twilio"].remedy


async def test_an_elevenlabs_key_limited_to_speech_is_a_good_one(all_accounts: ProviderDouble) -> None:
    all_accounts.status = 401
    all_accounts.body = {"detail": {"status": "missing_permissions", "message": "models_read"}}

    found = await findings()

    assert found["ElevenLabs"].state is State.GOOD


@pytest.mark.parametrize(("status", "words"), [(429, "used up"), (500, "HTTP 500")])
async def test_other_answers_are_told_apart(all_accounts: ProviderDouble, status: int, words: str) -> None:
    all_accounts.status = status

    found = await findings()

    assert found["OpenAI"].is_fault
    assert words in found["OpenAI"].what


async def test_trial_and_suspended_accounts_are_recognised(all_accounts: ProviderDouble) -> None:
    all_accounts.body = {"sid": ACCOUNT_SID, "status": "active", "type": "Trial"}
    assert (await findings())["Twilio"].state is State.NOTE

    all_accounts.body = {"sid": ACCOUNT_SID, "status": "suspended", "type": "Full"}
    assert "suspended" in (await findings())["Twilio"].what


@pytest.mark.usefixtures("all_accounts")
async def test_a_machine_without_a_network_gets_its_answer(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    for name in ("OPENAI", "GOOGLE", "ELEVENLABS", "TWILIO"):
        monkeypatch.setenv(f"{name}_BASE_URL", f"http://127.0.0.1:{unused_tcp_port}")

    found = await findings()

    for name in ("OpenAI", "Google", "ElevenLabs", "Twilio"):
        assert found[name].is_fault
        assert "cannot be reached" in found[name].what
        assert f"{name.upper()}_BASE_URL" in found[name].remedy


async def test_f57_bad_settings_are_the_only_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", CANARY)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "changeme")

    found = await asyncio.to_thread(examine)

    assert [finding.what.split()[0] for finding in found] == ["PORT", "TWILIO_AUTH_TOKEN"]
    assert CANARY not in report(found)


@pytest.mark.usefixtures("all_accounts")
async def test_twilio_without_a_public_address_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUBLIC_BASE_URL")
    assert (await findings())["PUBLIC_BASE_URL"].is_fault

    monkeypatch.setenv("PUBLIC_BASE_URL", "http://127.0.0.1:8000")
    assert (await findings())["PUBLIC_BASE_URL"].state is State.NOTE


def test_misspelled_names_in_the_file_are_noticed() -> None:
    Path(".env").write_text("TWILIO_AUTHTOKEN=x\nport=8001\n", "utf-8")

    (found,) = [finding for finding in examine() if finding.subject == ".env"]

    assert found.what.startswith("TWILIO_AUTHTOKEN ")
    assert found.state is State.NOTE


async def test_a_folder_that_cannot_be_written_to_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file in the way: root may write everywhere else."""
    (tmp_path / "taken").write_text("", "utf-8")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "taken" / "calls"))

    found = await findings()

    assert found[f"DATA_DIR ({tmp_path / 'taken' / 'calls'})"].is_fault


def test_a_report_has_a_line_for_each_finding_and_its_remedy_beneath() -> None:
    text = report([Finding("a", State.GOOD, "fine"), Finding("b", State.FAULT, "broken", "mend it")])

    assert text == "ok    a: fine\nFAULT b: broken\n      mend it"
