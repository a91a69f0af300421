"""Agents, their versions, and the telephone numbers they answer."""

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from voice_agent.storage.tables.columns import Document, Key, LongText, Moment, Name, Reference, Row, Word


class AgentRow(Row):
    """An agent. What it says and does is in its versions."""

    __tablename__ = "agent"
    __table_args__ = (
        Index(
            "uq_agent_org_id_name",
            "org_id",
            "name",
            unique=True,
            sqlite_where=text("archived_at IS NULL"),
            postgresql_where=text("archived_at IS NULL"),
        ),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    name: Mapped[Name]
    published_version: Mapped[int | None]
    """Number of the version that calls run under; None before the first was published."""

    revision: Mapped[int] = mapped_column(default=1)
    """Of this row; its ETag."""

    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]
    archived_at: Mapped[Moment | None]


class AgentVersionRow(Row):
    """One state of an agent. A draft may change; what was published never does."""

    __tablename__ = "agent_version"
    __table_args__ = (UniqueConstraint("agent_id", "number"),)

    id: Mapped[Key]
    org_id: Mapped[Reference]
    agent_id: Mapped[Reference] = mapped_column(ForeignKey("agent.id", ondelete="CASCADE"))
    number: Mapped[int]
    """From 1, without gaps for each agent."""

    state: Mapped[Word]
    """draft, published or retired."""

    definition: Mapped[Document]
    """An `AgentDefinition` (agents.model)."""

    dialogue: Mapped[LongText | None]
    """The scripted dialogue that stands in for a language model, as YAML."""

    note: Mapped[str] = mapped_column(String(1_000), default="")
    created_by: Mapped[Reference | None]
    created_at: Mapped[Moment]
    published_at: Mapped[Moment | None]


class PhoneNumberRow(Row):
    """A number of ours, and who answers it."""

    __tablename__ = "phone_number"

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), index=True)
    e164: Mapped[str] = mapped_column(String(20), unique=True)
    label: Mapped[Name] = mapped_column(default="")
    country: Mapped[str] = mapped_column(String(2), default="")
    agent_id: Mapped[Reference | None] = mapped_column(ForeignKey("agent.id", ondelete="SET NULL"))
    """Who answers; None: the organisation's oldest published agent."""

    region: Mapped[str] = mapped_column(String(10), default="")
    """ISO 3166-2 of the area that it is of, such as US-NY; empty where it is of none."""

    max_live: Mapped[int | None]
    """Most calls of campaigns that show it at a time; None: no limit of its own. Likewise in an hour and in a day."""

    max_hour: Mapped[int | None]
    max_day: Mapped[int | None]
    rest_s: Mapped[int] = mapped_column(default=0)
    """Between two calls of campaigns that show it."""

    warm_since: Mapped[Moment | None]
    """Since when campaigns show it: a new number calls seldom at first."""

    quarantine_until: Mapped[Moment | None]
    """Until when campaigns do not show it; the reason is beside it."""

    quarantine_reason: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[Moment]
