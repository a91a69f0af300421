"""Contacts: who is called, how they are found and grouped, and every change to many of them at once."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, PrimaryKeyConstraint, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from voice_agent.storage.tables.columns import (
    Document,
    JsonDocument,
    Key,
    LongText,
    Moment,
    Name,
    Reference,
    Row,
    Word,
)

_IS_THERE = text("deleted_at IS NULL")
_IS_GONE = text("deleted_at IS NOT NULL")
_HAS_EXTERNAL_ID = text("external_id IS NOT NULL AND deleted_at IS NULL")
_IS_IN_USE = text("archived_at IS NULL")
_HAS_ORIGIN = text("created_in IS NOT NULL")
_WAS_ADDED_IN = text("added_in IS NOT NULL")


class ContactRow(Row):
    """A person or a company that can be called. Deleted ones stay for a while, so that a deletion can be undone."""

    __tablename__ = "contact"
    __table_args__ = (
        Index(
            "uq_contact_org_id_e164", "org_id", "e164", unique=True, sqlite_where=_IS_THERE, postgresql_where=_IS_THERE
        ),
        Index(
            "uq_contact_org_id_external_id",
            "org_id",
            "external_id",
            unique=True,
            sqlite_where=_HAS_EXTERNAL_ID,
            postgresql_where=_HAS_EXTERNAL_ID,
        ),
        Index("ix_contact_org_id_created_at", "org_id", "created_at", "id"),
        Index("ix_contact_deleted_at", "deleted_at", sqlite_where=_IS_GONE, postgresql_where=_IS_GONE),
        Index("ix_contact_created_in", "created_in", "id", sqlite_where=_HAS_ORIGIN, postgresql_where=_HAS_ORIGIN),
        # Words by prefix and custom fields by value, without an extension that Postgres would have to be given.
        Index(
            "ix_contact_search_words",
            text("array_to_tsvector(string_to_array(search_words, ' '))"),
            postgresql_using="gin",
        ).ddl_if(dialect="postgresql"),
        Index(
            "ix_contact_custom", "custom", postgresql_using="gin", postgresql_ops={"custom": "jsonb_path_ops"}
        ).ddl_if(dialect="postgresql"),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    e164: Mapped[str] = mapped_column(String(20))
    """The number to call. Further ones: `ContactPhoneRow`."""

    raw_number: Mapped[str] = mapped_column(String(60))
    """As it was given."""

    country: Mapped[str] = mapped_column(String(2), default="")
    """ISO 3166 of the number's numbering plan; empty for numbers of no country."""

    line_type: Mapped[Word] = mapped_column(default="unknown")
    """`phone_numbers.LineType`."""

    region: Mapped[str] = mapped_column(String(10), default="")
    """ISO 3166-2 of the address, such as US-FL; empty where it is not known."""

    zone: Mapped[str] = mapped_column(String(64), default="")
    """IANA time zone, where somebody said so; else the candidates count."""

    zone_origin: Mapped[Word] = mapped_column(default="number")
    """Where the candidates come from: explicit, address, number or none."""

    zone_candidates: Mapped[list[str]] = mapped_column(JsonDocument, default=list)
    """Every zone that it may be; a call is allowed where it is in all of them."""

    name: Mapped[Name] = mapped_column(default="")
    given_name: Mapped[Name] = mapped_column(default="")
    family_name: Mapped[Name] = mapped_column(default="")
    company: Mapped[Name] = mapped_column(default="")
    email: Mapped[str] = mapped_column(String(320), default="")
    external_id: Mapped[str | None] = mapped_column(String(200))
    """Its key in the customer's own system."""

    locale: Mapped[str] = mapped_column(String(10), default="")
    """BCP 47, such as es-MX; empty: the agent's."""

    custom: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """Custom fields (`CustomFieldRow`): key to value."""

    search_words: Mapped[LongText] = mapped_column(default="")
    """What it is found by: words in small letters without accents, divided by one space (`contacts.words`)."""

    source: Mapped[Word] = mapped_column(default="api")
    """api or import."""

    created_in: Mapped[Reference | None]
    """`ChangeSetRow.id` of the import that made it."""

    merged_into: Mapped[Reference | None]
    revision: Mapped[int] = mapped_column(default=1)
    """Of this row; its ETag. Every change of the row, its numbers or its tags raises it."""

    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]
    deleted_at: Mapped[Moment | None]


class ContactPhoneRow(Row):
    """A further number of a contact."""

    __tablename__ = "contact_phone"
    __table_args__ = (Index("ix_contact_phone_org_id_e164", "org_id", "e164"),)

    contact_id: Mapped[Reference] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    e164: Mapped[str] = mapped_column(String(20), primary_key=True)
    org_id: Mapped[Reference]
    rank: Mapped[int]
    """In which order they are tried, from 1."""

    label: Mapped[Word] = mapped_column(default="")
    """What it is for people: home, work."""

    raw_number: Mapped[str] = mapped_column(String(60))


class CustomFieldRow(Row):
    """A field that an organisation gives its contacts."""

    __tablename__ = "custom_field"
    __table_args__ = (UniqueConstraint("org_id", "key"),)

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(64))
    """Its name in `ContactRow.custom` and in an agent's variables: a to z, digits, underscore."""

    label: Mapped[Name]
    type: Mapped[Word]
    """`contacts.fields.FieldType`."""

    choices: Mapped[list[str]] = mapped_column(JsonDocument, default=list)
    """Of a choice: what may be chosen."""

    created_at: Mapped[Moment]


class TagRow(Row):
    """A word that contacts are marked with."""

    __tablename__ = "tag"
    __table_args__ = (UniqueConstraint("org_id", "key"),)

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    name: Mapped[Name]
    key: Mapped[Name]
    """The name in small letters: two tags do not differ by that alone."""

    created_at: Mapped[Moment]


class ContactTagRow(Row):
    """That a contact has a tag."""

    __tablename__ = "contact_tag"
    __table_args__ = (
        # With the organisation in it, who has a tag is told by the index alone.
        PrimaryKeyConstraint("tag_id", "contact_id", postgresql_include=["org_id"]),
        Index("ix_contact_tag_contact_id", "contact_id"),
        Index("ix_contact_tag_added_in", "added_in", sqlite_where=_WAS_ADDED_IN, postgresql_where=_WAS_ADDED_IN),
    )

    tag_id: Mapped[Reference] = mapped_column(ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True)
    contact_id: Mapped[Reference] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    org_id: Mapped[Reference]
    added_in: Mapped[Reference | None]
    """`ChangeSetRow.id` of what gave it; None where somebody did by hand."""


class ContactListRow(Row):
    """A list of contacts: static (its members are rows) or dynamic (a segment: whoever fits its filter)."""

    __tablename__ = "contact_list"
    __table_args__ = (
        Index(
            "uq_contact_list_org_id_name",
            "org_id",
            "name",
            unique=True,
            sqlite_where=_IS_IN_USE,
            postgresql_where=_IS_IN_USE,
        ),
    )

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    name: Mapped[Name]
    description: Mapped[str] = mapped_column(String(1_000), default="")
    kind: Mapped[Word]
    """static or dynamic."""

    filter: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    """Of a dynamic one (`contacts.filters`)."""

    members: Mapped[int | None]
    """How many there were at `counted_at`; None where nobody has counted yet."""

    counted_at: Mapped[Moment | None]
    revision: Mapped[int] = mapped_column(default=1)
    """Of this row; its ETag."""

    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]
    archived_at: Mapped[Moment | None]


class ListMemberRow(Row):
    """That a contact is on a static list."""

    __tablename__ = "list_member"
    __table_args__ = (
        PrimaryKeyConstraint("list_id", "contact_id", postgresql_include=["org_id"]),
        Index("ix_list_member_contact_id", "contact_id"),
        Index("ix_list_member_added_in", "added_in", sqlite_where=_WAS_ADDED_IN, postgresql_where=_WAS_ADDED_IN),
    )

    list_id: Mapped[Reference] = mapped_column(ForeignKey("contact_list.id", ondelete="CASCADE"), primary_key=True)
    contact_id: Mapped[Reference] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    org_id: Mapped[Reference]
    added_in: Mapped[Reference | None]
    """`ChangeSetRow.id` of the import that added it; None where somebody did."""

    added_at: Mapped[Moment]


class ChangeSetRow(Row):
    """A change to many contacts at once, which can be taken back: an import, tags, a deletion, a merge."""

    __tablename__ = "change_set"
    __table_args__ = (Index("ix_change_set_org_id_created_at", "org_id", "created_at", "id"),)

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    kind: Mapped[Word]
    """import, tag, untag, delete or merge."""

    state: Mapped[Word]
    """running, done, cancelled, failed, undoing or undone."""

    parameters: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """What was asked for: which contacts, which tag."""

    changed: Mapped[int] = mapped_column(default=0)
    """Contacts that it has changed so far."""

    undone: Mapped[int] = mapped_column(default=0)
    """Contacts that are as before again."""

    kept: Mapped[int] = mapped_column(default=0)
    """Contacts that an undo left alone, because they have been changed since."""

    error: Mapped[str] = mapped_column(String(500), default="")
    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]
    finished_at: Mapped[Moment | None]
    undone_at: Mapped[Moment | None]


class ContactChangeRow(Row):
    """How a contact was before a change set changed it. What a change set made is told by `created_in`."""

    __tablename__ = "contact_change"

    change_set_id: Mapped[Reference] = mapped_column(ForeignKey("change_set.id", ondelete="CASCADE"), primary_key=True)
    contact_id: Mapped[Reference] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    org_id: Mapped[Reference]
    before: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    """The columns that were changed, as they were."""

    revision: Mapped[int]
    """Of the contact after the change: another one, and the undo leaves it alone."""


class ImportRow(Row):
    """An import of contacts, from the file's arrival to its end (`contacts.import_model` has the states)."""

    __tablename__ = "import_job"
    __table_args__ = (Index("ix_import_job_org_id_created_at", "org_id", "created_at", "id"),)

    id: Mapped[Key]
    """Also of its change set."""

    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    name: Mapped[Name]
    """The file's name, or what somebody called it."""

    source: Mapped[Word]
    """upload, storage, url, push or paste."""

    source_ref: Mapped[str] = mapped_column(String(2_000), default="")
    """The address or the storage key that it was read from."""

    state: Mapped[Word]
    storage_key: Mapped[str | None] = mapped_column(String(500))
    """Where our copy of the file is."""

    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    format: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """What the file is, found or chosen: kind, encoding, delimiter, sheet, header."""

    columns: Mapped[list[Any]] = mapped_column(JsonDocument, default=list)
    """The file's columns, with examples and what each was taken for."""

    mapping: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """Which column goes where."""

    options: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """Default country, list, tags, what to do with those that are there already."""

    cursor: Mapped[int] = mapped_column(BigInteger, default=0)
    """Rows of the file that are settled; raised with what they changed, in one transaction."""

    rows_total: Mapped[int | None] = mapped_column(BigInteger)
    """Rows of the file, or an estimate until its end was seen."""

    counts: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    """Settled rows by what became of them."""

    rejected_key: Mapped[str | None] = mapped_column(String(500))
    """Where the file of the bad rows is."""

    error: Mapped[str] = mapped_column(String(500), default="")
    retry_of: Mapped[Reference | None]
    """The import whose bad rows these are."""

    rows_per_s: Mapped[float | None]
    """Over the last seconds."""

    beat_at: Mapped[Moment | None]
    """When rows were settled last: a running import without it for long has lost its process."""

    created_by: Mapped[Name] = mapped_column(default="")
    created_at: Mapped[Moment]
    started_at: Mapped[Moment | None]
    finished_at: Mapped[Moment | None]
    revision: Mapped[int] = mapped_column(default=1)
    """Of what people decide about it; its ETag."""


class ImportRowErrorRow(Row):
    """A row of an import's file that could not be taken, as it stands there, and why."""

    __tablename__ = "import_row_error"

    import_id: Mapped[Reference] = mapped_column(ForeignKey("import_job.id", ondelete="CASCADE"), primary_key=True)
    row: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Counted from 1 after the header."""

    org_id: Mapped[Reference]
    column: Mapped[str] = mapped_column(String(200))
    """The field that is wrong; empty where it is the row itself."""

    code: Mapped[Word]
    reason: Mapped[str] = mapped_column(String(500))
    cells: Mapped[list[Any]] = mapped_column(JsonDocument)


class ImportBatchRow(Row):
    """Rows that were pushed over the API, until their import has settled them."""

    __tablename__ = "import_batch"

    import_id: Mapped[Reference] = mapped_column(ForeignKey("import_job.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """From 1; a batch that comes twice is one."""

    org_id: Mapped[Reference]
    rows: Mapped[list[str]] = mapped_column(JsonDocument)
    """Each as a line of JSON, with its members in their order."""


class ImportTemplateRow(Row):
    """A mapping that is used again."""

    __tablename__ = "import_template"
    __table_args__ = (UniqueConstraint("org_id", "name"),)

    id: Mapped[Key]
    org_id: Mapped[Reference] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    name: Mapped[Name]
    mapping: Mapped[Document]
    options: Mapped[Document] = mapped_column(JsonDocument, default=dict)
    created_at: Mapped[Moment]
