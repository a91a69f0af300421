"""What Alembic runs: the migrations over the connection that `Database.migrate` opened, in its transaction."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import JSON

from voice_agent.storage.tables import Row
from voice_agent.storage.tables.columns import Instant


def _written(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Name our own column types in a generated migration; the template imports them."""
    if kind == "type" and isinstance(item, Instant):
        return "Instant()"
    if kind == "type" and isinstance(item, JSON):
        return "JsonDocument"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    render_as_batch=True,  # SQLite cannot alter most of a table in place
    render_item=_written,
    compare_type=True,
)
context.run_migrations()
