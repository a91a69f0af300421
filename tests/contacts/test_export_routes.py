from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.contacts.list_world import ListWorld, list_world, numbers
from tests.contacts.stored_contacts import ANA, a_draft, store_contacts
from tests.contacts.test_list_filling import ACME
from tests.servers.application import serving
from voice_agent.auth.principal import Permission, Role
from voice_agent.contacts.export import ContactExport
from voice_agent.contacts.service import ContactDetails
from voice_agent.errors import DatabaseUnavailable
from voice_agent.storage.database import Database


@pytest.fixture
async def world(sqlite: Database, tmp_path: Path) -> AsyncIterator[ListWorld]:
    async with list_world(sqlite, tmp_path) as world:
        yield world


async def test_contacts_are_downloaded_as_a_file(world: ListWorld) -> None:
    await store_contacts(world.database, world.org_id, a_draft(ANA, name="=1+1", company="Acme"), a_draft(*numbers(1)))

    answer = await world.ask("GET", "/contacts/export?columns=phone, name&delimiter=semicolon&bom=true")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["content-disposition"].startswith('attachment; filename="contacts-')
    assert answer.content.startswith(b"\xef\xbb\xbfphone;name\r\n")
    assert f"{ANA};'=1+1\r\n" in answer.text
    raw = await world.ask("GET", "/contacts/export?columns=phone,name&escape=false&excel_numbers=true")
    assert '"=""' + ANA + '""",=1+1' in raw.text

    chosen = {"format": "jsonl", "filter": orjson.dumps(ACME).decode(), "columns": "phone"}
    lines = await world.ask("GET", f"/contacts/export?{httpx.QueryParams(chosen)}")
    assert lines.headers["content-type"] == "application/jsonl"
    assert [orjson.loads(line) for line in lines.content.splitlines()] == [{"phone": ANA}, {"end": True, "contacts": 1}]
    workbook = await world.ask("GET", "/contacts/export?format=xlsx")
    assert workbook.content.startswith(b"PK")


@pytest.mark.parametrize(
    "query", ["filter={", 'filter={"type":"x"}', "columns=price", "format=pdf", "delimiter=bar", "list_id=1"]
)
async def test_what_cannot_be_exported_is_refused_before_anything_leaves(world: ListWorld, query: str) -> None:
    answer = await world.ask("GET", f"/contacts/export?{query}")

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_who_may_export_does(world: ListWorld) -> None:
    analyst = await world.api.member(world.org_id, Role.ANALYST)
    key = await world.api.key(world.org_id, Permission.CONTACTS_EXPORT)

    assert (await world.api.ask("GET", "/contacts/export", analyst)).status_code == 403
    assert (await world.api.ask("GET", "/contacts/export", key)).status_code == 200


async def test_a_download_that_breaks_has_no_end(world: ListWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await store_contacts(world.database, world.org_id, *[a_draft(number) for number in numbers(20)])
    whole = world.services.contacts.details
    asked: list[int] = []

    async def breaking(session: Any, rows: Any) -> list[ContactDetails]:
        asked.append(len(rows))
        if len(asked) == 3:
            raise DatabaseUnavailable("the database does not answer")
        return await whole(session, rows)

    monkeypatch.setattr(world.services.contacts, "details", breaking)
    assert isinstance(world.api.exports, ContactExport)
    async with serving(world.api.app) as address, httpx.AsyncClient(headers=world.headers) as client:
        received: list[bytes] = []
        with pytest.raises(httpx.RemoteProtocolError):
            await _download(client, f"http://{address}/api/v1/contacts/export?columns=phone", received)

    assert 0 < b"".join(received).count(b"\r\n") < 21


async def _download(client: httpx.AsyncClient, url: str, received: list[bytes]) -> None:
    async with client.stream("GET", url) as answer:
        assert answer.status_code == 200
        async for piece in answer.aiter_bytes():
            received.append(piece)
