"""What decides whether somebody may be called: consents, suppressions, checks of public registries.

A number is kept beside its digest (`compliance.digests`). When a person is erased the number goes and the digest stays,
so that a suppression outlives the contact.
"""

from typing import Any

from sqlalchemy import Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from voice_agent.storage.tables.columns import JsonDocument, Key, Moment, Name, Reference, Row, Word

_IS_IN_FORCE = text("lifted_at IS NULL")


class NumberKeyRow(Row):
    """The key of the digests of numbers. There is one row, made with the database; with it all digests are lost."""

    __tablename__ = "number_key"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """1."""

    secret: Mapped[bytes] = mapped_column(LargeBinary)


class SuppressionRow(Row):
    """That a number is not to be called. Never changed but to be lifted."""

    __tablename__ = "suppression"
    __table_args__ = (
        Index(
            "uq_suppression_scope_digest",
            "scope",
            "digest",
            unique=True,
            sqlite_where=_IS_IN_FORCE,
            postgresql_where=_IS_IN_FORCE,
        ),
        Index("ix_suppression_digest", "digest"),
        Index("ix_suppression_org_id_created_at", "org_id", "created_at", "id"),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference | None]
    """None for those that hold in the whole installation."""

    scope: Mapped[str] = mapped_column(String(80))
    """Where it holds: `global`, `organisation:{id}` or `campaign:{id}`."""

    digest: Mapped[str] = mapped_column(String(64))
    e164: Mapped[str | None] = mapped_column(String(20))
    """None once the person is erased, or where only a digest was given."""

    source: Mapped[Word]
    """call, import, api, console or registry."""

    reason: Mapped[str] = mapped_column(String(500), default="")
    evidence: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    """Of an opt-out in a call: call, second, words."""

    until: Mapped[Moment | None]
    """When it ends by itself; None: never."""

    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]
    lifted_at: Mapped[Moment | None]
    lifted_by: Mapped[Name] = mapped_column(default="")
    lift_reason: Mapped[str] = mapped_column(String(500), default="")


class ConsentRow(Row):
    """That somebody agreed to be called for a purpose, or took it back. Only ever added to."""

    __tablename__ = "consent"
    __table_args__ = (
        UniqueConstraint("org_id", "digest", "purpose", "action", "at"),
        Index("ix_consent_org_id_created_at", "org_id", "created_at", "id"),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference]
    digest: Mapped[str] = mapped_column(String(64))
    e164: Mapped[str | None] = mapped_column(String(20))
    purpose: Mapped[Word]
    """`compliance.model.Purpose`."""

    action: Mapped[Word]
    """grant or revoke."""

    basis: Mapped[Word]
    """`compliance.model.Basis`; of a revocation, how it was made known."""

    wording_version: Mapped[str] = mapped_column(String(100), default="")
    """Which text they agreed to."""

    proof: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    """Where it is shown: form, address, call, file."""

    at: Mapped[Moment]
    """When they said so."""

    expires_at: Mapped[Moment | None]
    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]


class RegistryCheckRow(Row):
    """What a public registry said of a number, and until when that counts."""

    __tablename__ = "registry_check"
    __table_args__ = (UniqueConstraint("org_id", "registry_key", "digest"),)

    id: Mapped[Key]
    org_id: Mapped[Reference]
    registry_key: Mapped[Word]
    """Its key in a rule pack, such as us_national_dnc."""

    digest: Mapped[str] = mapped_column(String(64))
    e164: Mapped[str | None] = mapped_column(String(20))
    is_listed: Mapped[bool]
    checked_at: Mapped[Moment]
    valid_until: Mapped[Moment]
    source: Mapped[str] = mapped_column(String(200), default="")
