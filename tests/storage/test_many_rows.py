"""Every type of column goes through, on SQLite and on Postgres."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from tests.calls.stored_calls import NOW, an_organisation
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import insert_rows, is_one_of, update_rows
from voice_agent.storage.tables import ImportRow, TagRow

LATER = datetime(2026, 11, 26, tzinfo=UTC)


def an_import(org_id: Any, **columns: Any) -> dict[str, Any]:
    return {
        "id": new_id(), "org_id": org_id, "name": "file", "source": "upload", "source_ref": "", "state": "new",
        "storage_key": None, "size_bytes": 3_000_000_000, "sha256": None, "format": {"kind": "csv", "é": [1, None]},
        "columns": [["a", "b"], ["c"]], "mapping": {}, "options": {}, "cursor": 0, "rows_total": None, "counts": {},
        "rejected_key": None, "error": "", "created_by": "", "created_at": NOW, "started_at": None,
        "finished_at": None, "revision": 1,
    } | columns  # fmt: skip


async def test_rows_go_in_come_out_and_are_changed(database: Database) -> None:
    org_id = await an_organisation(database)
    first, second = an_import(org_id), an_import(org_id, started_at=NOW, columns=[])
    async with database.write() as session:
        assert await insert_rows(session, ImportRow, [first, second]) == 2
        changes = [{"id": first["id"], "started_at": LATER, "columns": [1], "sha256": "x", "cursor": 7}]
        await update_rows(session, ImportRow, changes, keys=("id",))

    async with database.read() as session:
        one = await session.get_one(ImportRow, first["id"])
        two = await session.get_one(ImportRow, second["id"])
    assert (one.started_at, one.columns, one.sha256, one.cursor) == (LATER, [1], "x", 7)
    assert (one.format, one.size_bytes, one.storage_key) == (first["format"], 3_000_000_000, None)
    assert (two.started_at, two.columns, two.sha256, two.cursor) == (NOW, [], None, 0)


async def test_what_is_there_already_stays(database: Database) -> None:
    org_id = await an_organisation(database)
    rows = [{"id": new_id(), "org_id": org_id, "name": key.upper(), "key": key, "created_at": NOW} for key in "ab"]
    async with database.write() as session:
        assert await insert_rows(session, TagRow, []) == 0
        await update_rows(session, TagRow, [], keys=("id",))
        await insert_rows(session, TagRow, rows[:1])
        await insert_rows(session, TagRow, [row | {"id": new_id(), "name": "other"} for row in rows])

    async with database.read() as session:
        names = select(TagRow.name).order_by(TagRow.key)
        assert (await session.scalars(names)).all() == ["A", "other"]
        assert (await session.scalars(names.where(is_one_of(session, TagRow.key, ["b", "c"])))).all() == ["other"]
        assert (await session.scalars(names.where(is_one_of(session, TagRow.key, [])))).all() == []
