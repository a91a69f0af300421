import httpx
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, field_validator

from voice_agent import errors
from voice_agent.api.errors import install_error_handlers, problem_type
from voice_agent.rest.problems import MEDIA_TYPE


class Contact(BaseModel):
    age: int

    @field_validator("age")
    @classmethod
    def _is_born(cls, age: int) -> int:
        if age < 0:
            raise ValueError("nobody is younger than that")
        return age


async def ask(error: Exception | None = None, *, path: str = "/fails", **request: object) -> httpx.Response:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/fails")
    async def fails() -> None:
        if error:
            raise error

    @app.post("/contacts")
    async def contacts(contact: Contact) -> Contact:
        return contact

    @app.delete("/contacts/{key}")
    @app.put("/contacts/{key}")
    async def change(key: str) -> str:
        return key

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        method = "POST" if request else "GET"
        return await client.request(method, path, json=request.get("json"))


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.ScenarioError("line 3: no such voice"), 422, "scenario"),
        (errors.CarrierError("Twilio refused: no", code=21211, status=400), 502, "carrier"),
        (errors.ProviderUnavailable("elevenlabs", "no answer"), 502, "provider-unavailable"),
        (errors.SettingsError("PORT must be a number"), 500, "settings"),
    ],
)
async def test_our_errors_say_what_they_are(error: errors.VoiceAgentError, status: int, name: str) -> None:
    answer = await ask(error)

    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem = answer.json()
    assert problem["type"] == f"urn:voice-agent:problem:{name}"
    assert (problem["status"], problem["detail"]) == (status, str(error))
    assert problem["title"]


async def test_a_busy_provider_says_when_to_come_back() -> None:
    answer = await ask(errors.ProviderBusy("openai", "rate limit", retry_after_s=2.4))

    assert answer.headers["retry-after"] == "2"


async def test_what_was_not_raised_on_purpose_says_nothing_about_itself() -> None:
    answer = await ask(RuntimeError("postgres://user:canary@db"))

    assert answer.status_code == 500
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert "canary" not in answer.text
    assert answer.json() == {"type": "about:blank", "title": "Internal Server Error", "status": 500}


async def test_unknown_routes_and_wrong_methods_are_problems_too() -> None:
    missing = await ask(path="/nowhere")
    wrong = await ask(path="/contacts")

    assert missing.json() == {"type": "about:blank", "title": "Not Found", "status": 404}
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


async def test_a_wrong_method_is_told_all_right_ones_whichever_route_has_them() -> None:
    wrong = await ask(path="/contacts/1")

    assert (wrong.status_code, wrong.headers["allow"]) == (405, "DELETE, PUT")


async def test_a_reason_of_ours_is_told_as_it_is() -> None:
    answer = await ask(path="/contacts", json={"age": -1})

    assert [field["reason"] for field in answer.json()["errors"]] == ["nobody is younger than that"]


async def test_http_errors_keep_their_detail_and_headers() -> None:
    answer = await ask(HTTPException(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"}))

    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["detail"] == "a bearer token is needed"


async def test_a_status_code_that_http_does_not_know_is_passed_on() -> None:
    answer = await ask(HTTPException(499, "gone away"))

    assert answer.json() == {"type": "about:blank", "title": "Error", "status": 499, "detail": "gone away"}


async def test_an_invalid_request_names_the_field_and_not_the_value() -> None:
    answer = await ask(path="/contacts", json={"age": "canary"})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem = answer.json()
    assert problem["type"] == "urn:voice-agent:problem:invalid-request"
    assert [field["pointer"] for field in problem["errors"]] == ["body.age"]
    assert "canary" not in answer.text


def test_every_error_of_the_tree_has_its_own_type() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type)]

    assert len({problem_type(each) for each in classes}) == len(classes)
