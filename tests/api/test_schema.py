"""The interface does what its OpenAPI document says, whatever it is asked (G16): Schemathesis over every operation.

Each operation is asked at the edges of its schema, within it and beyond it, signed in as the owner of an organisation
that has one of everything, half of the time by keys that exist. No answer may be an error of the server, have a status,
a content type or a form that the document does not name, accept what it forbids, refuse what it allows, or come without
a credential. The committed document is asked about; tests/test_contract.py holds it to the real application.

`SCHEMA_EXAMPLES=500 pytest tests/api/test_schema.py` draws other and more examples than a run by default.
"""

import asyncio
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.python import asgi
from sqlalchemy import URL

from tests.api.populated import Populated, Served, populated

DOCUMENT = Path(__file__).parent.parent.parent / "docs/openapi.json"
KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
EXAMPLES = os.environ.get("SCHEMA_EXAMPLES", "")

RULES_BEYOND_A_SCHEMA = {
    "add_phone_number": "numbers that can exist, agents that there are",
    "bind_phone_number": "agents that there are",
    "create_agent": "an agent's definition is checked as a whole",
    "edit_agent_draft": "likewise",
    "import_agent": "a document in YAML",
    "erase_calls_of_number": "numbers that can exist",
    "invite_member": "how long a password has to be",
    "change_password": "likewise",
    "list_calls": "numbers",
    "list_contacts": "a filter is checked as a whole",
    "create_contact": "numbers that can exist, addresses, zones, values of custom fields",
    "update_contact": "likewise",
    "delete_contact": "the state that somebody has read",
    "change_contacts": "which contacts, by one of three ways; a tag where it needs one",
    "merge_contacts": "contacts that there are, none of them twice",
    "create_tag": "not only blanks",
    "rename_tag": "likewise",
    "create_custom_field": "choices for a choice and for nothing else",
    "change_custom_field": "likewise",
    "create_campaign": "a plan is checked as a whole",
    "edit_campaign": "likewise; the state that somebody has read",
    "reopen_campaign_contacts": "states that are over",
    "book_campaign_callback": "moments within the next 90 days",
    "place_test_call": "numbers that can exist and are one's own, variants that there are",
    "create_list": "a filter is checked as a whole",
    "edit_list": "likewise",
    "archive_list": "the state that somebody has read",
    "combine_lists": "lists that there are, none of them twice",
    "add_list_members": "contacts by their keys or by a filter, not both",
    "remove_list_members": "likewise",
    "export_contacts": "a filter, and columns that there are",
    "create_import": "what goes with its source; lists, templates and fields that there are",
    "edit_import": "likewise; columns that the file has",
    "upload_import_file": "a file that can be read",
    "create_import_template": "columns go where there is something, each once",
    "replace_import_template": "likewise",
    "suppress_numbers": "numbers that can exist, at least one of them",
    "list_suppressions": "numbers",
    "record_consent": "numbers that can exist, moments of our time that have come",
    "revoke_consent": "likewise",
    "list_consents": "numbers",
    "record_registry_checks": "numbers that can exist, registries of a rule pack",
    "list_registry_checks": "numbers",
    "load_registry_file": "a file of numbers",
    "ask_whether_to_call": "numbers that can exist, moments of our time",
    "start_call": "numbers that can exist, and the organisation's own",
    "transfer_call": "numbers that can exist, a briefing where the transfer is warm",
}
"""Operations that refuse (422) what JSON Schema cannot forbid, and why."""

FIXED_BESIDE_A_KEY = (
    "import_agent",
    "erase_calls_of_number",
    "combine_lists",
    "export_contacts",
    "change_contacts",
    "list_duplicate_contacts",
)
"""Their paths are also of the form /agents/{agent_id}: other methods find no such key (422)."""


def exceptions(operation: str) -> dict[str, Any]:
    """Return what is not asked of an operation."""
    checks: dict[str, Any] = {}
    if operation in RULES_BEYOND_A_SCHEMA:
        statuses = ["2xx", "401", "403", "404", "409", "412", "422", "429"]
        checks["positive_data_acceptance"] = {"expected-statuses": statuses}
    if operation in FIXED_BESIDE_A_KEY:
        checks |= {"unsupported_method": {"enabled": False}, "allow_header_conformance": {"enabled": False}}
    return {"include-operation-id": operation, "checks": checks}


CONFIG: dict[str, Any] = {
    "generation": {
        "with-security-parameters": False,  # the owner's is sent; `ignored_auth` tries others
        "allow-x00": False,  # a schema cannot forbid NUL for every text, we do: tests/rest/test_inputs.py
    },
    "operations": [exceptions(operation) for operation in sorted({*RULES_BEYOND_A_SCHEMA, *FIXED_BESIDE_A_KEY})],
}
SCHEMA = schemathesis.openapi.from_path(DOCUMENT, config=schemathesis.Config.from_dict(CONFIG))
CHAINED = schemathesis.openapi.from_path(
    DOCUMENT,
    config=schemathesis.Config.from_dict(
        {
            "generation": CONFIG["generation"],
            # A key that one operation leaves empty is put into the next one's path as "None".
            "checks": {"positive_data_acceptance": {"enabled": False}},
            # Deleting a call erases what it left behind; that it took place stays.
            "operations": [
                {"include-path-regex": "^/api/v1/calls/", "checks": {"use_after_free": {"enabled": False}}},
            ],
        }
    ),
)
"""Schemathesis writes into it what leads from one operation to another."""

SERVED = Served()
SCHEMA.app = CHAINED.app = SERVED

pytestmark = pytest.mark.timeout(0 if EXAMPLES else 120)

EXAMINED = settings(
    max_examples=int(EXAMPLES or 6),
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def put_known_keys(case: schemathesis.Case[Any], known: dict[str, str]) -> None:
    """Put a key that exists where one is drawn, half of the time."""
    for things in (case.path_parameters, case.query, case.body):
        if isinstance(things, dict):
            things.update({name: key for name, key in known.items() if _is_replaced(things.get(name))})


def _is_replaced(drawn: object) -> bool:
    return isinstance(drawn, str) and KEY.fullmatch(drawn) is not None and UUID(drawn).int % 2 == 0


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(path, method) for path, methods in document["paths"].items() for method in methods}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, _migrated_sqlite: Path) -> Populated:
    folder = tmp_path_factory.mktemp("populated")
    path = folder / "stored.db"
    path.write_bytes(_migrated_sqlite.read_bytes())
    return populated(URL.create("sqlite+aiosqlite", database=str(path)), folder)


@pytest.fixture(scope="module", autouse=True)
def _event_loop() -> None:
    """Start Schemathesis's event loop, which stays until the process ends: no test has left it behind."""

    async def nothing(*_: object) -> None:
        """Have the loop's executor start every thread that it may have, too."""
        threads = min(32, (os.cpu_count() or 1) + 4)  # as many as `ThreadPoolExecutor` has by default
        met = threading.Barrier(threads)
        await asyncio.gather(*(asyncio.to_thread(met.wait) for _ in range(threads)))

    with asgi.get_client(nothing):
        asgi.shutdown_lifespans()


@pytest.fixture
def owner(stored: Populated, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Serve the organisation; give its owner's headers."""
    SERVED.turn_to(stored, tmp_path)
    with asgi.get_client(SERVED):  # type: ignore[arg-type] # its messages are dicts, ours any mapping
        yield stored.owner
    asgi.shutdown_lifespans()


def test_every_operation_is_served_here_as_it_is_by_the_real_application(owner: dict[str, str]) -> None:
    assert owner
    assert operations(SERVED.document) == operations(json.loads(DOCUMENT.read_text("utf-8")))


@SCHEMA.parametrize()
@EXAMINED
def test_an_operation_keeps_its_contract(
    case: schemathesis.Case[Any], stored: Populated, owner: dict[str, str]
) -> None:
    put_known_keys(case, stored.keys)

    case.call_and_validate(headers=owner)


def test_what_one_operation_makes_the_next_ones_find_change_and_lose(
    stored: Populated, owner: dict[str, str], tmp_path: Path
) -> None:
    answered: set[tuple[str, int]] = set()

    class Chain(CHAINED.as_state_machine()):  # type: ignore[misc] # a class that is made at run time
        def setup(self) -> None:
            asgi.shutdown_lifespans()
            SERVED.turn_to(stored, tmp_path)

        def get_call_kwargs(self, case: schemathesis.Case[Any]) -> dict[str, Any]:
            assert case
            return {"headers": owner}

        def validate_response(
            self, response: schemathesis.Response, case: schemathesis.Case[Any], *_: object, **sent: Any
        ) -> None:
            answered.add((case.operation.definition.raw["operationId"], response.status_code))
            case.validate_response(response, headers=owner, transport_kwargs=sent, recorder=self.recorder)

    Chain.run(settings=settings(EXAMINED, max_examples=int(EXAMPLES or 8), stateful_step_count=12))

    assert len({operation for operation, status in answered if status < 300}) > 5
