"""The REST interface of imports, as the console and programs use it."""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api.world import ApiWorld, api_world
from tests.contacts.import_world import CONTEXT
from voice_agent.auth.principal import Permission, Role
from voice_agent.contacts.importer import ImportToRun
from voice_agent.storage.database import Database

CONTENT = b"phone,name,plan\n612345678,Ana,gold\n12,Eva,basic\n"


class Client:
    """Somebody of an organisation."""

    def __init__(self, world: ApiWorld, org_id: UUID, headers: dict[str, str]) -> None:
        self.world = world
        self.org_id = org_id
        self.headers = headers

    async def ask(
        self, method: str, path: str, body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Any:
        answer = await self.world.ask(method, path, {**self.headers, **(headers or {})}, body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def upload(
        self, import_id: str, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Any:
        answer = await self.world.http.put(
            f"/api/v1/imports/{import_id}/file", content=content, headers={**self.headers, **(headers or {})}
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    async def run(self, import_id: str) -> None:
        """Do the job."""
        order = ImportToRun(org_id=self.org_id, import_id=UUID(import_id))
        await self.world.imports.run.run(order, CONTEXT)

    async def fetch(self, import_id: str) -> None:
        """Do the other job."""
        order = ImportToRun(org_id=self.org_id, import_id=UUID(import_id))
        await self.world.imports.upkeep.fetch(order, CONTEXT)


@pytest.fixture
async def client(sqlite: Database, tmp_path: Path) -> AsyncIterator[Client]:
    async with api_world(sqlite, tmp_path) as world:
        org_id = await world.organisation()
        yield Client(world, org_id, await world.signed_in("owner@harbour.test"))


async def test_a_file_is_uploaded_corrected_looked_at_and_imported(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"name": "people.csv", "options": {"country": "ES"}}, 201)
    assert (made["state"], made["columns"], made["rows_settled"]) == ("waiting", [], 0)

    ready = await client.upload(made["id"], CONTENT)
    assert (ready["state"], ready["size_bytes"], ready["format"]["delimiter"]) == ("ready", len(CONTENT), ",")
    assert [(each["header"], each["target"]) for each in ready["columns"]] == [
        ("phone", "phone"),
        ("name", "name"),
        ("plan", "custom:plan"),
    ]
    mapping = [{"header": "plan", "target": "company"}]
    changed = await client.ask("PATCH", f"/imports/{made['id']}", {"mapping": mapping}, headers={"If-Match": '"2"'})
    assert changed["columns"][2]["target"] == "company"
    assert changed["columns"][2]["guess"] == "custom:plan"

    preview = await client.ask("GET", f"/imports/{made['id']}/preview")
    assert (preview["rows"], preview["taken"], preview["refused"], preview["is_whole"]) == (2, 1, 1, True)
    assert preview["first"][0]["number"] == "+34612345678"
    assert preview["first"][0]["fields"] == {"company": "gold"}
    assert (preview["worst"][0]["row"], preview["worst"][0]["column"]) == (2, "phone")

    started = await client.ask("POST", f"/imports/{made['id']}/start")
    assert started["state"] == "running"
    await client.run(made["id"])
    done = await client.ask("GET", f"/imports/{made['id']}")
    assert (done["state"], done["rows_settled"], done["counts"]["created"], done["counts"]["refused"]) == (
        "done",
        2,
        1,
        1,
    )
    assert (done["has_rejected"], done["rows_per_s"], done["undo"]) == (True, None, None)
    listed = (await client.ask("GET", "/imports"))["items"]
    assert [each["id"] for each in listed] == [made["id"]]
    contacts = (await client.ask("GET", "/contacts"))["items"]
    assert [(each["e164"], each["company"]) for each in contacts] == [("+34612345678", "gold")]

    rejected = await client.ask("GET", f"/imports/{made['id']}/rejected")
    assert rejected["rows"] == 1
    file = (await client.world.http.get(rejected["url"])).content.decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(file)))
    assert rows[0] == ["phone", "name", "plan", "import_row", "import_column", "import_reason"]
    assert rows[1][:5] == ["12", "Eva", "basic", "2", "phone"]

    again = await client.ask("POST", f"/imports/{made['id']}/retry-rejected", status=201)
    assert (again["retry_of"], again["state"], again["options"]["country"]) == (made["id"], "waiting", "ES")
    corrected = await client.upload(again["id"], file.replace("12,Eva", "612345679,Eva").encode())
    assert [each["target"] for each in corrected["columns"]] == [
        "phone",
        "name",
        "company",
        "ignore",
        "ignore",
        "ignore",
    ]

    undone = await client.ask("POST", f"/imports/{made['id']}/undo")
    assert undone["undo"] == {"state": "undoing", "undone": 0, "kept": 0}


async def test_an_import_that_waits_can_be_cancelled_and_not_started(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"name": "x"}, 201)
    await client.ask("POST", f"/imports/{made['id']}/start", status=409)
    await client.ask("POST", f"/imports/{made['id']}/undo", status=409)
    await client.ask("POST", f"/imports/{made['id']}/retry-rejected", status=409)
    await client.ask("GET", f"/imports/{made['id']}/preview", status=409)
    await client.ask("GET", f"/imports/{made['id']}/rejected", status=404)
    assert (await client.ask("POST", f"/imports/{made['id']}/cancel"))["state"] == "cancelled"
    await client.ask("POST", f"/imports/{made['id']}/cancel", status=409)
    await client.upload(made["id"], CONTENT, 409)
    await client.ask("PATCH", f"/imports/{made['id']}", {"name": "y"}, 409)


async def test_what_is_no_file_of_contacts_is_refused_and_another_may_come(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"name": "x"}, 201)
    problem = await client.upload(made["id"], b"%PDF-1.7\n" + b"\0" * 100, 422)
    assert "PDF" in problem["detail"]
    assert (await client.upload(made["id"], CONTENT))["state"] == "ready"


async def test_too_large_a_file_is_refused_before_it_comes(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"name": "x"}, 201)
    problem = await client.upload(made["id"], b"x", 413, headers={"Content-Length": "500000001"})
    assert problem["detail"] == "a file has at most 500 MB: divide it"


async def test_text_is_pasted(client: Client) -> None:
    body = {"source": "paste", "name": "pasted", "text": "Ana\t+34612345678\nEva\t+34612345679\n"}
    made = await client.ask("POST", "/imports", body, 201)
    assert (made["state"], made["rows_total"]) == ("ready", 2)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"source": "url"}, "url: goes with the source url"),
        ({"source": "upload", "url": "https://x.test/a.csv"}, "url: goes with"),
        ({"source": "paste"}, "text: goes with"),
        ({"source": "storage", "key": "recordings/1.wav"}, "key: the organisation's files are below imports/"),
        ({"source": "url", "url": "http://x.test/a.csv"}, "url: must begin with https"),
        ({"source": "url", "url": "https://10.0.0.1/a.csv"}, "url: leads into a network that is not public"),
        ({"options": {"list_id": str(uuid4())}}, "options.list_id: there is no such static list"),
        ({"options": {"fields": {"shoe": "skip"}}}, "options.fields"),
        ({"template": "none"}, "template: there is no template"),
        ({"format": {"kind": "doc"}}, "format.kind"),
    ],
)
async def test_what_can_never_be_imported_is_refused_by_name(client: Client, body: dict[str, Any], why: str) -> None:
    problem = await client.ask("POST", "/imports", {"name": "x"} | body, 422)
    assert why in str(problem)
    assert (await client.ask("GET", "/imports"))["items"] == []


async def test_another_organisations_files_are_not_imported(client: Client) -> None:
    body = {"source": "storage", "name": "x", "key": f"imports/{uuid4()}/people.csv"}
    await client.ask("POST", "/imports", body, 422)
    climbing = {"source": "storage", "name": "x", "key": f"imports/{client.org_id}/../other"}
    await client.ask("POST", "/imports", climbing, 422)


async def test_a_file_of_the_storage_is_imported(client: Client) -> None:
    key = f"imports/{client.org_id}/drop/people.csv"
    client.world.sound.write_bytes(CONTENT)
    await client.world.storage.put_file(key, client.world.sound, content_type="text/csv")
    made = await client.ask("POST", "/imports", {"source": "storage", "name": "x", "key": key}, 201)
    assert made["state"] == "fetching"
    await client.upload(made["id"], CONTENT, 409)
    await client.fetch(made["id"])
    ready = await client.ask("GET", f"/imports/{made['id']}")
    assert (ready["state"], ready["source_ref"], len(ready["columns"])) == ("ready", key, 3)


async def test_rows_are_pushed_in_batches(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"source": "push", "name": "crm"}, 201)
    path = f"/imports/{made['id']}"
    await client.ask("GET", f"{path}/preview", status=409)
    await client.ask("POST", f"{path}/start", status=409)
    rows = [{"phone": "+34612345678", "name": "Ana", "plan": {"level": 2}}]
    for _ in range(2):
        assert await client.ask("POST", f"{path}/batches/2", {"rows": rows}) == {"number": 2, "rows": 1}
    await client.ask("POST", f"{path}/batches/1", {"rows": [{"phone": "+34612345679", "name": "Eva"}]})
    problem = await client.ask("POST", f"{path}/batches/1", {"rows": rows}, 409)
    assert problem["detail"] == "batch 1 is there already, with other rows"
    await client.ask("POST", f"{path}/batches/0", {"rows": rows}, 422)
    await client.ask("POST", f"{path}/batches/3", {"rows": []}, 422)
    preview = await client.ask("GET", f"{path}/preview")
    assert [each["name"] for each in preview["first"]] == ["Eva", "Ana"]

    assert (await client.ask("POST", f"{path}/start"))["state"] == "fetching"
    await client.ask("POST", f"{path}/batches/4", {"rows": rows}, 409)
    await client.fetch(made["id"])
    assert (await client.ask("GET", path))["state"] == "running"
    await client.run(made["id"])
    done = await client.ask("GET", path)
    assert (done["state"], done["counts"]["created"]) == ("done", 2)


async def test_rows_that_are_pushed_to_a_file_are_refused(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"name": "x"}, 201)
    problem = await client.ask("POST", f"/imports/{made['id']}/batches/1", {"rows": [{"phone": "1"}]}, 409)
    assert problem["detail"] == "the rows of this import come from a file"


async def test_a_mapping_is_kept_and_used_again(client: Client) -> None:
    body = {
        "name": "CRM",
        "mapping": [{"header": "dato", "target": "phone"}, {"header": "extra", "target": "custom:extra"}],
        "options": {"country": "ES", "tags": ["crm"]},
    }
    kept = await client.ask("POST", "/import-templates", body, 201)
    assert kept["options"]["tags"] == ["crm"]
    await client.ask("POST", "/import-templates", body, 409)
    wrong = body | {"name": "other", "mapping": [{"header": "dato", "target": "shoe"}]}
    await client.ask("POST", "/import-templates", wrong, 422)
    twice = body | {"name": "other", "mapping": [{"header": "a", "target": "name"}] * 2}
    await client.ask("POST", "/import-templates", twice, 422)

    made = await client.ask("POST", "/imports", {"name": "x", "template": "CRM"}, 201)
    ready = await client.upload(made["id"], b"dato,otro\n612345678,1\n612345679,2\n")
    assert [each["target"] for each in ready["columns"]][0] == "phone"
    assert (ready["options"]["country"], ready["options"]["tags"]) == ("ES", ["crm"])

    path = f"/import-templates/{kept['id']}"
    changed = await client.ask("PUT", path, body | {"mapping": [{"header": "otro", "target": "company"}]})
    assert (await client.ask("GET", path)) == changed
    again = await client.ask("PATCH", f"/imports/{made['id']}", {"template": "CRM"})
    assert [each["target"] for each in again["columns"]] == ["phone", "company"]
    assert [each["name"] for each in await client.ask("GET", "/import-templates")] == ["CRM"]
    await client.ask("DELETE", path, status=204)
    await client.ask("GET", path, status=404)


async def test_a_format_is_corrected_and_the_file_looked_into_again(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"name": "x"}, 201)
    await client.upload(made["id"], CONTENT)
    changed = await client.ask("PATCH", f"/imports/{made['id']}", {"format": {"has_header": False}})
    assert (changed["format"]["has_header"], changed["rows_total"]) == (False, 3)
    await client.ask("PATCH", f"/imports/{made['id']}", {"format": {"kind": "xlsx"}}, 422)


async def test_corrections_race_by_etag(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"name": "x"}, 201)
    await client.ask("PATCH", f"/imports/{made['id']}", {"name": "y"}, 412, headers={"If-Match": '"7"'})
    assert (await client.ask("PATCH", f"/imports/{made['id']}", {"name": "y"}, headers={"If-Match": '"1"'}))[
        "name"
    ] == "y"


async def test_a_mapping_that_cannot_be_used_is_refused(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"name": "x"}, 201)
    await client.upload(made["id"], CONTENT)
    path = f"/imports/{made['id']}"
    for mapping in ([{"header": "shoe", "target": "name"}], [{"header": "phone", "target": "ignore"}]):
        await client.ask("PATCH", path, {"mapping": mapping}, 422)


async def test_a_post_that_comes_twice_makes_one_import(client: Client) -> None:
    headers = {"Idempotency-Key": "1"}
    first = await client.ask("POST", "/imports", {"name": "x"}, 201, headers=headers)
    assert (await client.ask("POST", "/imports", {"name": "x"}, 201, headers=headers))["id"] == first["id"]
    assert len((await client.ask("GET", "/imports"))["items"]) == 1


async def test_imports_are_their_organisations_and_need_a_permission(client: Client) -> None:
    made = await client.ask("POST", "/imports", {"name": "x"}, 201)
    await client.world.organisation("Lighthouse", "+34911111111")
    stranger = Client(client.world, client.org_id, await client.world.signed_in("owner@lighthouse.test"))
    for method, path in (
        ("GET", ""),
        ("GET", "/preview"),
        ("GET", "/rejected"),
        ("POST", "/start"),
        ("POST", "/cancel"),
        ("POST", "/undo"),
        ("POST", "/retry-rejected"),
    ):
        await stranger.ask(method, f"/imports/{made['id']}{path}", status=404)
    await stranger.ask("PATCH", f"/imports/{made['id']}", {"name": "mine"}, 404)
    await stranger.upload(made["id"], CONTENT, 404)
    analyst = Client(client.world, client.org_id, await client.world.member(client.org_id, Role.ANALYST))
    await analyst.ask("GET", f"/imports/{made['id']}")
    await analyst.ask("POST", "/imports", {"name": "x"}, 403)
    writer = Client(client.world, client.org_id, await client.world.key(client.org_id, Permission.CONTACTS_WRITE))
    await writer.ask("POST", f"/imports/{made['id']}/undo", status=403)
