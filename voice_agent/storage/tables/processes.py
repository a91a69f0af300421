"""What processes know of each other, what they have answered already, and what is left to do."""

from sqlalchemy import Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from voice_agent.storage.tables.columns import Document, Moment, Reference, Row, Word

_IS_THERE = text("state <> 'gone'")


class WorkerRow(Row):
    """A running process: its last sign of life decides whether its calls and jobs are taken over."""

    __tablename__ = "worker"
    __table_args__ = (Index("uq_worker_slot", "slot", unique=True, sqlite_where=_IS_THERE, postgresql_where=_IS_THERE),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of one run: slot and a random part."""

    slot: Mapped[str] = mapped_column(String(32))
    """JOBS_SLOT: the same after a restart; the executor id of its jobs."""

    host: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(40))
    state: Mapped[Word]
    """ready, draining or gone."""

    live_calls: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[Moment]
    seen_at: Mapped[Moment]


class IdempotencyRow(Row):
    """An answer to a POST that named an Idempotency-Key, given again when the POST comes again."""

    __tablename__ = "idempotency_key"

    org_id: Mapped[Reference] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of method, path and body: the same key for another request is refused."""

    status: Mapped[int | None]
    """None while the first request is being answered."""

    headers: Mapped[str] = mapped_column(String(2_000), default="")
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[Moment]


class JobRow(Row):
    """Work for later (`jobs.model`); gone once it is done."""

    __tablename__ = "job"
    __table_args__ = (Index("ix_job_due_at", "due_at"),)

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    """Of what is to be done: asked for twice it is done once."""

    kind: Mapped[Word]
    payload: Mapped[Document]
    created_at: Mapped[Moment]
    due_at: Mapped[Moment]
    run: Mapped[int] = mapped_column(default=0)
    """How often it was handed over to the engine of jobs."""

    tries: Mapped[int] = mapped_column(default=0)
    """How often its handler has raised."""

    error: Mapped[str] = mapped_column(String(500), default="")
    """Of the last try."""

    handed_at: Mapped[Moment | None]
    """Since when the engine has it; None while it waits."""

    worker: Mapped[str | None] = mapped_column(String(64))
    """`WorkerRow.id` of who runs it; whoever is gone does not."""

    failed_at: Mapped[Moment | None]
    """It is not tried any more."""


class PeriodicRow(Row):
    """Work that comes again (`jobs.periodic`)."""

    __tablename__ = "periodic"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    due_at: Mapped[Moment]
    worker: Mapped[str | None] = mapped_column(String(64))
    """`WorkerRow.id` of who is at it."""
