"""Many rows in one statement: what an import writes and what a change of many contacts changes.

On Postgres the values travel as one array for each column and are unnested there: the statement is the same for any
number of rows, so it is prepared once, and no limit of parameters is near. SQLite gets its rows one after another by
one prepared statement, which is what it does best; what is inserted goes to the driver itself, a column converted at a
time, because SQLAlchemy's own way takes four times as long as SQLite (`bench.contacts_import`). Nothing here commits.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Dialect,
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
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

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
    return await _insert_into_sqlite(connection, table, names, rows)


async def _insert_into_sqlite(
    connection: AsyncConnection, table: Table, names: Sequence[str], rows: Sequence[Values]
) -> int:
    columns = [_converted(table.c[name], [row[name] for row in rows], connection.dialect) for name in names]
    quote = connection.dialect.identifier_preparer.quote
    # Only names of our own tables are in the text.
    statement = (
        f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, names))}) "  # noqa: S608
        f"VALUES ({', '.join('?' * len(names))}) ON CONFLICT DO NOTHING"
    )
    driver: Any = (await connection.get_raw_connection()).driver_connection
    async with driver.executemany(statement, list(zip(*columns, strict=True))) as cursor:
        return int(cursor.rowcount)


def _converted(column: Column[Any], values: list[Any], dialect: Dialect) -> list[Any]:
    """Return a column's values as SQLite keeps them."""
    if isinstance(column.type, JSON):
        return [None if value is None else msgspec.json.encode(value).decode() for value in values]
    convert = column.type.dialect_impl(dialect).bind_processor(dialect)
    if convert is None:
        return values
    first = values[0]
    # As the organisation of all rows is, and the moment at which they are made.
    if all(value is first for value in values):
        return [convert(first)] * len(values)
    return list(map(convert, values))


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
