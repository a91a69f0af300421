"""What the tables are made of: the declarative root and the column types that differ between databases."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, MetaData, String, Text, TypeDecorator, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

from voice_agent.storage.ids import new_id


class Instant(TypeDecorator[datetime]):
    """A moment, in UTC. Goes in and comes out with its zone, also on SQLite, which stores none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a moment without a zone: nobody can tell when it was."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JsonDocument = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""JSON; on Postgres in its binary form, which can be indexed."""

Key = Annotated[UUID, mapped_column(Uuid, primary_key=True, default=new_id)]
Reference = Annotated[UUID, mapped_column(Uuid)]
Name = Annotated[str, mapped_column(String(200))]
Word = Annotated[str, mapped_column(String(40))]
"""A value of a closed set, such as a state."""

LongText = Annotated[str, mapped_column(Text)]
Moment = Annotated[datetime, mapped_column(Instant)]
Micros = Annotated[int, mapped_column(BigInteger)]
"""Millionths of a US dollar."""

Document = Annotated[dict[str, Any], mapped_column(JsonDocument)]


class Row(DeclarativeBase):
    """The root of every table's class."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
