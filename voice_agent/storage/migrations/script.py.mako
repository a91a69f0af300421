"""${message}."""

import sqlalchemy as sa
from alembic import op

from voice_agent.storage.tables.columns import Instant, JsonDocument

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Go forward."""
    ${upgrades if upgrades else "pass"}
