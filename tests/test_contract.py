"""The OpenAPI document is what a typed client can be generated from."""

import json
from pathlib import Path
from typing import Any

import pytest

from voice_agent.contract import openapi_document

COMMITTED = Path(__file__).parent.parent / "docs/openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(openapi_document())
    return parsed


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_the_committed_document_is_what_the_routes_say(document: dict[str, Any]) -> None:
    assert json.loads(COMMITTED.read_text("utf-8")) == document, "`make docs` writes it again"


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document)]

    assert len(names) == len(set(names)) >= 35
    assert all(operation.get("description") or operation.get("summary") for operation in operations(document))


def test_the_carriers_webhooks_and_signed_addresses_are_not_part_of_it(document: dict[str, Any]) -> None:
    assert not [path for path in document["paths"] if path.startswith(("/twilio", "/api/v1/files"))]
