"""Values that once made the server fail, or would on one of the databases: each is refused, or is harmless."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from tests.api.world import ApiWorld, api_world
from voice_agent.agents.files import load_agent
from voice_agent.storage.database import Database

DEFINITION = msgspec.json.encode(load_agent().definition).decode()
LATER = 2**31
NOBODY = UUID("00000000-0000-7000-8000-000000000000")
"""Of nothing there is: the same in every process that collects these tests."""


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    async with api_world(database, tmp_path) as world:
        yield world


def with_prompt(written: str) -> str:
    """Return an agent's definition whose prompt is written so in JSON."""
    return json.dumps(json.loads(DEFINITION) | {"name": "Other", "prompt": "HERE"}).replace('"HERE"', written)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PATCH", "/organisation", r'{"name": "a\u0000b"}', 422),
        ("PATCH", "/organisation", r'{"name": "\ud800"}', 422),
        ("PATCH", "/organisation", r'{"\ud800": 1}', 422),
        ("PATCH", "/organisation", r'{"settings": {"recording": {"consent_line": "\u0000"}}}', 422),
        ("PATCH", "/organisation", '{"settings": {"daily_spend_cap": NaN}}', 422),
        ("PATCH", "/organisation", '{"settings": {"retention_days": 30.0}}', 200),
        ("PATCH", "/organisation", '{"settings": {"retention_days": true}}', 422),
        ("PATCH", "/organisation", b'{"name": "\xff"}', 400),
        ("PATCH", "/organisation", "[" * 100_000, 400),
        ("PATCH", "/organisation", '{"name": ' + "9" * 5_000 + "}", 400),
        ("POST", "/members", json.dumps({"email": "İ" * 60 + "@" + "İ" * 200, "role": "viewer"}), 422),
        ("POST", "/calls", r'{"to": "+34612345678", "variables": {"name": "\u0000"}}', 422),
        ("POST", "/calls/erase", r'{"number": "+3461\u0000"}', 422),
        ("POST", "/agents", '{"name": "a", "definition": ' + with_prompt(r'"\u0000"') + "}", 422),
        ("POST", "/agents", '{"name": "a", "definition": ' + with_prompt(r'"\udc00"') + "}", 422),
        ("POST", "/agents", '{"name": "a", "definition": {"name": ' + "9" * 400 + "}}", 422),
        ("POST", "/agents/import", "2001-99-99", 422),
        ("POST", "/agents/import", "!!timestamp x", 422),
        ("POST", "/agents/import", b"\xff\xfe\xff", 422),
        ("POST", "/agents/import", DEFINITION.replace('"name":"', '"name":"' + "a" * 200, 1), 422),
        ("POST", "/agents/import", with_prompt(r'"\0"'), 422),
        ("POST", "/agents/import", DEFINITION.replace('"duration_s":', '"duration_s": .inf, "x":'), 422),
        ("GET", f"/agents/{NOBODY}/versions/{LATER}", "", 422),
        ("GET", f"/agents/{NOBODY}/versions/1/difference/{10**30}", "", 422),
        ("GET", f"/calls/{NOBODY}/events?after_segment={LATER}", "", 422),
        ("GET", f"/calls/{NOBODY}/events?after_line={LATER}", "", 422),
        ("GET", "/calls?number=%00", "", 422),
        ("GET", "/calls?created_from=0001-01-01T00:00:00%2B14:00", "", 200),
        ("GET", "/calls?created_to=9999-12-31T23:59:59-12:00", "", 200),
        ("GET", "/calls?created_to=0.5", "", 422),
        ("GET", "/calls?created_to=2026-11-25T12:00:00", "", 422),
        ("GET", "/audit-log?action=%00", "", 422),
        ("GET", "/audit-log?until=9999-12-31T23:59:59-12:00", "", 200),
        ("GET", "/agents?cursor=Av" + "_" * 30, "", 200),
        ("GET", "/agents?cursor=B" + "A" * 31, "", 422),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_what_no_column_holds_is_refused_before_it_gets_there(
    world: ApiWorld, method: str, path: str, body: str | bytes, status: int
) -> None:
    headers = await world.key(await world.organisation())
    answer = await world.http.request(
        method,
        f"/api/v1{path}",
        content=body,
        headers={**headers, "Content-Type": "application/yaml" if path.endswith("import") else "application/json"},
    )

    assert answer.status_code == status, answer.text
    assert answer.status_code == 200 or answer.headers["content-type"] == "application/problem+json"


async def test_a_name_of_blanks_is_none_and_blanks_around_one_are_taken_off(world: ApiWorld) -> None:
    headers = await world.key(await world.organisation())

    assert (await world.ask("PATCH", "/organisation", headers, {"name": " \t"})).status_code == 422
    assert (await world.ask("PATCH", "/organisation", headers, {"name": " Harbour "})).json()["name"] == "Harbour"
    assert (await world.ask("PATCH", "/organisation", headers, {"name": " " * 200 + "a"})).status_code == 422
