"""What processes know of each other, and what they have answered already."""

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from voice_agent.storage.tables.columns import Moment, Reference, Row, Word


class WorkerRow(Row):
    """A running process: its last sign of life decides whether its calls and jobs are taken over."""

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of one run: slot and a random part."""

    slot: Mapped[str] = mapped_column(String(32), index=True)
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
