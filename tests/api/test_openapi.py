"""The refusals in the OpenAPI document."""

from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI, Response
from pydantic import BaseModel

from voice_agent.api.openapi import install_openapi
from voice_agent.auth.gate import Declared
from voice_agent.rest.etags import IfMatch
from voice_agent.rest.problems import refusals


class Contact(BaseModel):
    age: int


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    app = FastAPI()

    @app.get("/healthz", responses={503: {"model": Contact}})
    async def healthz() -> None: ...

    @app.get("/api/v1/plain")
    async def plain() -> None: ...

    @app.get("/api/v1/guarded")
    async def guarded(_: Declared) -> None: ...

    @app.get("/api/v1/search")
    async def search(limit: int = 1) -> None: ...

    @app.get("/api/v1/contacts/{contact_id}")
    async def contact(contact_id: UUID) -> None: ...

    @app.post("/api/v1/contacts", responses=refusals(409))
    async def add(body: Contact) -> None: ...

    @app.put("/api/v1/contacts", response_class=Response)
    async def edit(if_match: IfMatch = None) -> Response:
        return Response(if_match)

    install_openapi(app)
    assert app.openapi() is app.openapi()
    return app.openapi()


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("get", "/healthz", {"200", "503"}),
        ("get", "/api/v1/plain", {"200", "429", "503"}),
        ("get", "/api/v1/guarded", {"200", "401", "403", "429", "503"}),
        ("get", "/api/v1/search", {"200", "422", "429", "503"}),
        ("get", "/api/v1/contacts/{contact_id}", {"200", "404", "422", "429", "503"}),
        ("post", "/api/v1/contacts", {"200", "400", "409", "422", "429", "503"}),
        ("put", "/api/v1/contacts", {"200", "412", "422", "429", "503"}),
    ],
)
def test_an_operation_declares_what_follows_from_its_shape_and_what_it_says_itself(
    document: dict[str, Any], method: str, path: str, statuses: set[str]
) -> None:
    assert set(document["paths"][path][method]["responses"]) == statuses


def test_each_refusal_is_written_once_and_is_a_problem(document: dict[str, Any]) -> None:
    components = document["components"]
    refused = document["paths"]["/api/v1/contacts"]["post"]["responses"]

    assert {refused[status]["$ref"] for status in ("409", "422")} == {
        "#/components/responses/Conflict", "#/components/responses/UnprocessableContent",
    }  # fmt: skip
    assert components["responses"]["Conflict"]["content"].keys() == {"application/problem+json"}
    assert {"Problem", "InvalidField", "Contact"} <= components["schemas"].keys()
    assert not {"HTTPValidationError", "ValidationError"} & components["schemas"].keys()


def test_a_response_of_a_routes_own_stays(document: dict[str, Any]) -> None:
    unready = document["paths"]["/healthz"]["get"]["responses"]["503"]

    assert unready["content"].keys() == {"application/json"}
