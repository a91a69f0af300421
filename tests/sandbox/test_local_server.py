"""The child process: started, refused, ended."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from voice_agent.errors import SandboxServerError
from voice_agent.sandbox.carrier import Carrier, CarrierSettings
from voice_agent.sandbox.local_server import environment, local_server


async def test_it_answers_while_the_context_is_open_and_not_after(tmp_path: Path) -> None:
    async with Carrier() as carrier, aiohttp.ClientSession() as session:
        async with local_server(tmp_path / "data", carrier) as server:
            async with session.get(f"{server.base_url}/healthz") as answer:
                assert answer.status == 200
            assert server.voice_url == f"{server.base_url}/twilio/voice"
            assert server.status_url == f"{server.base_url}/twilio/status"
            assert server.log_file == tmp_path / "data/server.log"
            async with session.post(server.voice_url, data={"CallSid": "CA1"}) as unsigned:
                assert unsigned.status == 403
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{server.base_url}/healthz")

    assert "providers_ready" in (tmp_path / "data/server.log").read_text("utf-8")


async def test_a_server_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    async with Carrier(CarrierSettings(account_sid="no-account")) as carrier:
        with pytest.raises(SandboxServerError, match="exit code 2") as refused:
            async with local_server(tmp_path, carrier):
                pytest.fail("it started")

    assert "TWILIO_ACCOUNT_SID must be AC followed by 32 hexadecimal digits" in str(refused.value)
    assert carrier.settings.auth_token not in str(refused.value)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")

    async with Carrier() as carrier:
        with pytest.raises(SandboxServerError, match=r"data/server\.log cannot be written"):
            async with local_server(tmp_path / "data", carrier):
                pytest.fail("it started")


async def test_a_command_runs_beside_the_server_with_its_settings(tmp_path: Path) -> None:
    async with Carrier() as carrier, local_server(tmp_path, carrier) as server, aiohttp.ClientSession() as session:
        key = await server.command("api-key", "test")
        async with session.get(f"{server.base_url}/api/v1/me", headers={"X-API-Key": key}) as answer:
            assert (answer.status, (await answer.json())["name"]) == (200, "test")
        with pytest.raises(SandboxServerError, match=r"`voice-agent password`: exit code 1: .*\n  there is no account"):
            await server.command("password", "nobody@harbour.test", "--new", "correct horse battery")


async def test_cancelled_while_it_starts_it_leaves_no_process(tmp_path: Path) -> None:
    async with Carrier() as carrier:

        async def start() -> None:
            async with local_server(tmp_path, carrier):
                pytest.fail("it was ready too soon")

        starting = asyncio.create_task(start())
        for _ in range(500):
            await asyncio.sleep(0.01)
            if (tmp_path / "server.log").exists():
                break
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    # The leak check sees what is left: the pipes of a process that lives.


async def test_nothing_of_the_users_settings_reaches_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "LANGUAGE_MODEL", "LANGSMITH_TRACING", "TWILIO_AUTH_TOKEN", "PUBLIC_BASE_URL"):
        monkeypatch.setenv(name, "the user's")

    async with Carrier() as carrier:
        given = environment(tmp_path, carrier)

    assert "the user's" not in given.values()
    assert given["TWILIO_BASE_URL"] == carrier.base_url
    assert given["DATA_DIR"] == str(tmp_path)
