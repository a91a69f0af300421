"""Many rows in one statement: what an import writes and what a change of many contacts changes.

On Postgres the values travel as one array for each column and are unnested there: the statement is the same for any
number of rows, so it is prepared once, and no limit of parameters is near. SQLite gets its rows one after another by
one prepared statement, which is what it does best. Nothing here commits.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Select,
    String,
    Table,
    any_,
    bindparam,
    func,
    literal,
    select,
    update,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.tables import Row

Values = dict[str, Any]
"""A row: column to value."""


def is_postgres(session: AsyncSession) -> bool:
    """Tell which of the two databases it is."""
    return session.get_bind().dialect.name == "postgresql"


def is_one_of(session: AsyncSession, column: Any, values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these values; none has one of none."""
    if not is_postgres(session):
        return column.in_(values)  # type: ignore[no-any-return] # a column of any row
    return column == any_(literal(list(values), ARRAY(column.type, dimensions=1)))  # type: ignore[no-any-return]


async def insert_rows(session: AsyncSession, kind: type[Row], rows: Sequence[Values]) -> int:
    """Insert rows; those that a unique index has already stay as they are. Return how many are new.

    Each row names the same columns, all that have no default of the database's own.
    """
    if not rows:
        return 0
    await session.flush()
    connection = await session.connection()
    table, names = _table(kind), list(rows[0])
    if is_postgres(session):
        many = postgresql.insert(table).from_select(names, _unnested(table, names, rows), include_defaults=False)
        return (await connection.execute(many.on_conflict_do_nothing())).rowcount
    one = sqlite.insert(table).values({name: bindparam(name) for name in names})
    return (await connection.execute(one.on_conflict_do_nothing(), list(rows))).rowcount


async def update_rows(session: AsyncSession, kind: type[Row], rows: Sequence[Values], *, keys: Sequence[str]) -> None:
    """Give rows, which `keys` tell, new values of the other columns that each names.

    What the session has loaded of them is not what they are any more.
    """
    if not rows:
        return
    await session.flush()
    connection = await session.connection()
    table, names = _table(kind), list(rows[0])
    changed = [name for name in names if name not in keys]
    if is_postgres(session):
        new = _unnested(table, names, rows).subquery("new")
        is_same = [table.c[key] == new.c[key] for key in keys]
        await connection.execute(update(table).where(*is_same).values({name: new.c[name] for name in changed}))
        return
    one = update(table).where(*(table.c[key] == bindparam(f"_{key}") for key in keys))
    renamed = [{f"_{name}" if name in keys else name: value for name, value in row.items()} for row in rows]
    await connection.execute(one.values({name: bindparam(name) for name in changed}), renamed)


def _table(kind: type[Row]) -> Table:
    return cast(Table, kind.__table__)


def _unnested(table: Table, names: Sequence[str], rows: Sequence[Values]) -> Select[Any]:
    return select(*(_unnested_column(table.c[name], [row[name] for row in rows]) for name in names))


def _unnested_column(column: Column[Any], values: list[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, JSON):  # an array of documents would be taken for an array of arrays
        texts = [None if value is None else msgspec.json.encode(value).decode() for value in values]
        return sql_cast(func.unnest(literal(texts, ARRAY(String, dimensions=1))), JSONB).label(column.name)
    return func.unnest(literal(values, ARRAY(column.type, dimensions=1))).label(column.name)
