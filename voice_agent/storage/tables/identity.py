"""Who may do what, and who did: organisations, users, roles, API keys, the audit log."""

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from voice_agent.storage.tables.columns import Document, JsonDocument, Key, Moment, Name, Reference, Row, Word


class OrganisationRow(Row):
    """A tenant. Everything else belongs to one."""

    __tablename__ = "organisation"

    id: Mapped[Key]
    name: Mapped[Name]
    settings: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """What differs from the defaults: countries, spend cap, retention, recording rule (`calls.policy`)."""

    created_at: Mapped[Moment]


class UserRow(Row):
    """A person. May belong to several organisations, so it carries none."""

    __tablename__ = "app_user"

    id: Mapped[Key]
    email: Mapped[str] = mapped_column(String(320), unique=True)
    """In lower case."""

    name: Mapped[Name] = mapped_column(default="")
    password_hash: Mapped[str | None] = mapped_column(String(200))
    """argon2id; None for accounts of Supabase."""

    external_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    """Supabase's `sub`."""

    token_epoch: Mapped[int] = mapped_column(default=0)
    """Raised to make every access token issued so far worthless."""

    created_at: Mapped[Moment]
    signed_in_at: Mapped[Moment | None]
    disabled_at: Mapped[Moment | None]


class MembershipRow(Row):
    """A user's role in an organisation: owner, manager, analyst or viewer."""

    __tablename__ = "membership"

    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[Reference] = mapped_column(
        ForeignKey("app_user.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[Word]
    created_at: Mapped[Moment]


class RefreshTokenRow(Row):
    """One refresh token of a local account. Used once: the next one belongs to the same family."""

    __tablename__ = "refresh_token"

    id: Mapped[Key]
    user_id: Mapped[Reference] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"), index=True)
    family: Mapped[Reference] = mapped_column(index=True)
    """Of one sign-in. A token that comes a second time revokes all of its family."""

    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256, hexadecimal."""

    created_at: Mapped[Moment]
    expires_at: Mapped[Moment]
    used_at: Mapped[Moment | None]
    revoked_at: Mapped[Moment | None]


class ApiKeyRow(Row):
    """A key for programs. The key itself is shown once and never stored."""

    __tablename__ = "api_key"

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), index=True)
    name: Mapped[Name]
    prefix: Mapped[str] = mapped_column(String(16))
    """Its first characters, to recognise it by."""

    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256, hexadecimal: the key is random and long, so it needs no slow hash."""

    scopes: Mapped[list[str]] = mapped_column(JsonDocument)
    created_by: Mapped[Reference | None]
    created_at: Mapped[Moment]
    expires_at: Mapped[Moment | None]
    last_used_at: Mapped[Moment | None]
    revoked_at: Mapped[Moment | None]


class AuditRow(Row):
    """Who did what to what, before and after. Only ever appended."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_org_id_created_at", "org_id", "created_at", "id"),
        Index("ix_audit_log_target_id", "target_id"),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference]
    created_at: Mapped[Moment]
    actor_kind: Mapped[Word]
    """user, api_key or system."""

    actor_id: Mapped[Reference | None]
    actor_name: Mapped[Name] = mapped_column(default="")
    action: Mapped[Word]
    """Noun and verb, such as call.delete."""

    target_kind: Mapped[Word]
    target_id: Mapped[str] = mapped_column(String(64))
    before: Mapped[Document | None]
    after: Mapped[Document | None]
    address: Mapped[str] = mapped_column(String(64), default="")
    """Whence, an IP address."""
