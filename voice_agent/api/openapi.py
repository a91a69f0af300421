"""Completes the OpenAPI document: what every operation may refuse with, from its shape, each refusal written once.

    under /api/               429 too many requests, 503 the database does not answer
    needs a credential        401, 403
    parameters or a body      422, in our form rather than FastAPI's
    a JSON body               400: it is no text
    a key in the path         404
    `If-Match`                412

What else a route refuses with it declares itself (`rest.problems.refusals`). The messages of the live socket are among
the schemas (`LiveMessage`), though no path has them: clients are generated for them, too.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from voice_agent.api.live import live_schemas
from voice_agent.rest.problems import Problem, refusals

_HTTP_METHODS = frozenset({"get", "put", "post", "delete", "patch"})
REFERENCE = "#/components/schemas/{model}"
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")

Operation = dict[str, Any]


def install_openapi(app: FastAPI) -> None:
    """Make `app.openapi()` give the complete document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = generate()
        if is_new:
            complete(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # the way that FastAPI documents


def complete(document: dict[str, Any]) -> None:
    """Declare in a document what each of its operations refuses with."""
    components = document.setdefault("components", {})
    shared: dict[str, Any] = {}
    for path, operation in _operations(document):
        declared: dict[str, Any] = operation["responses"]
        if any(model in str(declared.get("422")) for model in _FASTAPIS_OWN):
            del declared["422"]
        for status, refusal in refusals(*_statuses(path, operation), *map(int, declared)).items():
            response = declared.setdefault(str(status), refusal)
            if response == refusal:
                name = refusal["description"].title().replace(" ", "")
                shared[name] = refusal
                declared[str(status)] = {"$ref": f"#/components/responses/{name}"}
        operation["responses"] = dict(sorted(declared.items()))
    _, problem = models_json_schema([(Problem, "serialization")], ref_template=REFERENCE)
    schemas = live_schemas(REFERENCE) | components.get("schemas", {}) | problem["$defs"]
    components["schemas"] = {name: schemas[name] for name in sorted(schemas) if name not in _FASTAPIS_OWN}
    components["responses"] = dict(sorted(shared.items()))


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, Operation]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in _HTTP_METHODS:
                yield path, operation


def _statuses(path: str, operation: Operation) -> Iterator[int]:
    parameters = operation.get("parameters", ())
    if path.startswith("/api/"):
        yield from (429, 503)
    if operation.get("security"):
        yield from (401, 403)
    if parameters or "requestBody" in operation:
        yield 422
    if "application/json" in operation.get("requestBody", {}).get("content", ()):
        yield 400
    if any(parameter["in"] == "path" for parameter in parameters):
        yield 404
    if any(parameter["name"].lower() == "if-match" for parameter in parameters):
        yield 412
