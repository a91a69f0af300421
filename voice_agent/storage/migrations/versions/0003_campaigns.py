"""Campaigns: their contacts, logs, numbers and reports; what a call is in one; webhooks to customers."""

import sqlalchemy as sa
from alembic import op

from voice_agent.storage.tables.columns import Instant, JsonDocument

revision = "0003"
down_revision = "0002"

_ACTIVE = (
    "campaign_contact_id IS NOT NULL AND state IN ('intent','dialing','unknown','accepted','ringing','in_progress')"
)


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "leader_lease",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leader_lease")),
    )
    op.create_table(
        "outbox_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("payload", JsonDocument, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_event")),
    )
    with op.batch_alter_table("outbox_event", schema=None) as batch_op:
        batch_op.create_index("ix_outbox_event_org_id_created_at", ["org_id", "created_at", "id"], unique=False)

    op.create_table(
        "campaign",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("hold_code", sa.String(length=40), nullable=False),
        sa.Column("release_at", Instant(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("plan", JsonDocument, nullable=False),
        sa.Column("preflight", JsonDocument, nullable=True),
        sa.Column("committed", sa.BigInteger(), nullable=False),
        sa.Column("launched_at", Instant(), nullable=True),
        sa.Column("resumed_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("cloned_from", sa.Uuid(), nullable=True),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("archived_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisation.id"], name=op.f("fk_campaign_org_id_organisation"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
    )
    with op.batch_alter_table("campaign", schema=None) as batch_op:
        batch_op.create_index("ix_campaign_org_id_created_at", ["org_id", "created_at", "id"], unique=False)
        batch_op.create_index("ix_campaign_state", ["state"], unique=False)
        batch_op.create_index(
            "uq_campaign_org_id_name",
            ["org_id", "name"],
            unique=True,
            sqlite_where=sa.text("archived_at IS NULL"),
            postgresql_where=sa.text("archived_at IS NULL"),
        )

    op.create_table(
        "disposition",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("is_goal", sa.Boolean(), nullable=False),
        sa.Column("is_retried", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisation.id"], name=op.f("fk_disposition_org_id_organisation"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disposition")),
        sa.UniqueConstraint("org_id", "key", name=op.f("uq_disposition_org_id_key")),
    )
    op.create_table(
        "number_pool",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisation.id"], name=op.f("fk_number_pool_org_id_organisation"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_pool")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_number_pool_org_id_name")),
    )
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("topics", JsonDocument, nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisation.id"], name=op.f("fk_webhook_endpoint_org_id_organisation"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    with op.batch_alter_table("webhook_endpoint", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_webhook_endpoint_org_id"), ["org_id"], unique=False)

    op.create_table(
        "campaign_contact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("e164", sa.String(length=20), nullable=False),
        sa.Column("variables", JsonDocument, nullable=False),
        sa.Column("variant", sa.String(length=40), nullable=False),
        sa.Column("from_number", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", Instant(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("last_outcome", sa.String(length=40), nullable=True),
        sa.Column("last_ended_at", Instant(), nullable=True),
        sa.Column("callback_at", Instant(), nullable=True),
        sa.Column("skip_reason", sa.String(length=200), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("lease_epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("settled_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_campaign_contact_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contact.id"], name=op.f("fk_campaign_contact_contact_id_contact"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_contact")),
        sa.UniqueConstraint("campaign_id", "contact_id", name=op.f("uq_campaign_contact_campaign_id_contact_id")),
        sa.UniqueConstraint("campaign_id", "e164", name=op.f("uq_campaign_contact_campaign_id_e164")),
    )
    with op.batch_alter_table("campaign_contact", schema=None) as batch_op:
        batch_op.create_index(
            "ix_campaign_contact_waiting",
            ["campaign_id", "rank", "next_attempt_at"],
            unique=False,
            sqlite_where=sa.text("state IN ('due','cooldown')"),
            postgresql_where=sa.text("state IN ('due','cooldown')"),
        )
        batch_op.create_index("ix_campaign_contact_campaign_id_state", ["campaign_id", "state"], unique=False)
        batch_op.create_index("ix_campaign_contact_contact_id", ["contact_id"], unique=False)
        batch_op.create_index(
            "ix_campaign_contact_leased",
            ["lease_until"],
            unique=False,
            sqlite_where=sa.text("state = 'leased'"),
            postgresql_where=sa.text("state = 'leased'"),
        )
        batch_op.create_index("ix_campaign_contact_org_id_e164", ["org_id", "e164"], unique=False)
        batch_op.create_index(
            "uq_campaign_contact_at_the_phone",
            ["org_id", "e164"],
            unique=True,
            sqlite_where=sa.text("state IN ('leased','dialing','in_call')"),
            postgresql_where=sa.text("state IN ('leased','dialing','in_call')"),
        )

    op.create_table(
        "campaign_note",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("text", sa.String(length=1000), nullable=False),
        sa.Column("details", JsonDocument, nullable=True),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_campaign_note_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_note")),
    )
    with op.batch_alter_table("campaign_note", schema=None) as batch_op:
        batch_op.create_index(
            "ix_campaign_note_campaign_id_created_at", ["campaign_id", "created_at", "id"], unique=False
        )

    op.create_table(
        "campaign_revision",
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("plan", JsonDocument, nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_campaign_revision_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("campaign_id", "number", name=op.f("pk_campaign_revision")),
    )
    op.create_table(
        "campaign_rollup",
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("variant", sa.String(length=40), nullable=False),
        sa.Column("from_number", sa.String(length=20), nullable=False),
        sa.Column("local_weekday", sa.Integer(), nullable=False),
        sa.Column("local_hour", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("disposition", sa.String(length=40), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("talk_s", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("abandoned", sa.Integer(), nullable=False),
        sa.Column("opted_out", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_campaign_rollup_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "campaign_id",
            "day",
            "variant",
            "from_number",
            "local_weekday",
            "local_hour",
            "attempt",
            "outcome",
            "disposition",
            name=op.f("pk_campaign_rollup"),
        ),
    )
    with op.batch_alter_table("campaign_rollup", schema=None) as batch_op:
        batch_op.create_index("ix_campaign_rollup_org_id_day", ["org_id", "day"], unique=False)

    op.create_table(
        "report",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("schedule_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("format", sa.String(length=40), nullable=False),
        sa.Column("parameters", JsonDocument, nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("storage_key", sa.String(length=500), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_report_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisation.id"], name=op.f("fk_report_org_id_organisation"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
    )
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.create_index("ix_report_org_id_created_at", ["org_id", "created_at", "id"], unique=False)

    op.create_table(
        "report_schedule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("format", sa.String(length=40), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("every", sa.String(length=40), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_report_schedule_campaign_id_campaign"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organisation.id"], name=op.f("fk_report_schedule_org_id_organisation"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_schedule")),
    )
    with op.batch_alter_table("report_schedule", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_report_schedule_org_id"), ["org_id"], unique=False)

    op.create_table(
        "webhook_delivery",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=True),
        sa.Column("delivered_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoint.id"],
            name=op.f("fk_webhook_delivery_endpoint_id_webhook_endpoint"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["outbox_event.id"],
            name=op.f("fk_webhook_delivery_event_id_outbox_event"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("endpoint_id", "event_id", name=op.f("pk_webhook_delivery")),
    )
    with op.batch_alter_table("webhook_delivery", schema=None) as batch_op:
        batch_op.create_index(
            "ix_webhook_delivery_due_at",
            ["due_at"],
            unique=False,
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )
        batch_op.create_index(
            "ix_webhook_delivery_endpoint_id_subject", ["endpoint_id", "subject", "event_id"], unique=False
        )

    op.create_table(
        "pool_member",
        sa.Column("pool_id", sa.Uuid(), nullable=False),
        sa.Column("number_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["number_id"], ["phone_number.id"], name=op.f("fk_pool_member_number_id_phone_number"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["pool_id"], ["number_pool.id"], name=op.f("fk_pool_member_pool_id_number_pool"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pool_id", "number_id", name=op.f("pk_pool_member")),
    )
    with op.batch_alter_table("pool_member", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pool_member_number_id"), ["number_id"], unique=False)

    with op.batch_alter_table("call", schema=None) as batch_op:
        batch_op.add_column(sa.Column("campaign_id", sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column("campaign_contact_id", sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column("campaign_revision", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("campaign_epoch", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("attempt", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("variant", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("local_weekday", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("local_hour", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("machine_message", sa.String(length=1000), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("message_left_at", Instant(), nullable=True))
        batch_op.add_column(sa.Column("disposition", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("noted", JsonDocument, nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("is_opted_out", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("callback_at", Instant(), nullable=True))
        batch_op.create_index(
            "ix_call_campaign_id_created_at",
            ["campaign_id", "created_at", "id"],
            unique=False,
            sqlite_where=sa.text("campaign_id IS NOT NULL"),
            postgresql_where=sa.text("campaign_id IS NOT NULL"),
        )
        batch_op.create_index("ix_call_from_number_requested_at", ["from_number", "requested_at"], unique=False)
        batch_op.create_index(
            "uq_call_campaign_contact_id_active",
            ["campaign_contact_id"],
            unique=True,
            sqlite_where=sa.text(_ACTIVE),
            postgresql_where=sa.text(_ACTIVE),
        )
        batch_op.create_index(
            "uq_call_campaign_contact_id_attempt",
            ["campaign_contact_id", "attempt"],
            unique=True,
            sqlite_where=sa.text("campaign_contact_id IS NOT NULL"),
            postgresql_where=sa.text("campaign_contact_id IS NOT NULL"),
        )

    with op.batch_alter_table("phone_number", schema=None) as batch_op:
        batch_op.add_column(sa.Column("region", sa.String(length=10), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("max_live", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("max_hour", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("max_day", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("rest_s", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("warm_since", Instant(), nullable=True))
        batch_op.add_column(sa.Column("quarantine_until", Instant(), nullable=True))
        batch_op.add_column(sa.Column("quarantine_reason", sa.String(length=200), nullable=False, server_default=""))

    with op.batch_alter_table("spend", schema=None) as batch_op:
        batch_op.add_column(sa.Column("campaign_id", sa.Uuid(), nullable=True))
        batch_op.create_index(
            "ix_spend_campaign_id",
            ["campaign_id"],
            unique=False,
            sqlite_where=sa.text("campaign_id IS NOT NULL"),
            postgresql_where=sa.text("campaign_id IS NOT NULL"),
        )

    if op.get_context().dialect.name == "postgresql":
        # As in revision 0001: not over Supabase's own REST interface.
        for table in sa.inspect(op.get_bind()).get_table_names():
            op.execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY')
