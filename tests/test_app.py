"""The composition root: the application under a plain ASGI client. tests/end_to_end holds calls with it."""

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from voice_agent.app import create_app
from voice_agent.errors import AgentDefinitionError, SettingsError
from voice_agent.integrations.twilio.addresses import VOICE_PATH
from voice_agent.settings import AREAS, PipelineSettings, ServerSettings, Settings, variable_name

URL = "https://calls.example.org"


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for area in AREAS.values():
        for field in area.model_fields:
            monkeypatch.delenv(variable_name(area, field), raising=False)


def _settings(folder: Path, **server: object) -> Settings:
    return Settings(
        server=ServerSettings.model_validate({"data_dir": folder / "data", **server}),
        pipeline=PipelineSettings(voice_activity="webrtc"),
    )


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[FastAPI]:
    built = create_app(_settings(tmp_path), URL)
    async with built.router.lifespan_context(built):
        yield built


async def _get(app: FastAPI, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
        return await client.get(path)


async def test_it_is_alive_and_ready_once_it_is_open(app: FastAPI) -> None:
    assert (await _get(app, "/healthz")).status_code == 200
    ready = await _get(app, "/readyz")
    assert ready.status_code == 200
    assert app.state.server.calls.has_room


async def test_what_is_not_there_is_a_problem_in_the_standards_form(app: FastAPI) -> None:
    missing = await _get(app, "/nothing")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"


async def test_a_webhook_without_a_token_to_check_it_by_is_refused(app: FastAPI) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
        answer = await client.post(VOICE_PATH, data={"CallSid": "CA1"}, headers={"X-Twilio-Signature": "x"})
    assert answer.status_code == 403


async def test_the_heap_is_frozen_while_it_serves_and_as_it_was_afterwards(tmp_path: Path) -> None:
    built = create_app(_settings(tmp_path), URL)
    async with built.router.lifespan_context(built):
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_an_agent_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("name: [", "utf-8")
    with pytest.raises(AgentDefinitionError, match=r"agent\.yaml"):
        create_app(_settings(tmp_path, agent_file=tmp_path / "agent.yaml"), URL)


def test_settings_that_do_not_fit_the_agent_stop_the_start(tmp_path: Path) -> None:
    agent = (Path(__file__).parent.parent / "voice_agent/agents/library/clinica_del_puerto.yaml").read_text("utf-8")
    (tmp_path / "agent.yaml").write_text(agent, "utf-8")
    with pytest.raises(SettingsError, match="SPEECH_TO_TEXT"):
        create_app(_settings(tmp_path, agent_file=tmp_path / "agent.yaml"), URL)
