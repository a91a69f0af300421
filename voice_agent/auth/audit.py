"""The audit log: who did what to what, before and after. Only ever appended to, in the transaction of the deed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.principal import Principal
from voice_agent.storage.tables import AuditRow


async def record(
    session: AsyncSession,
    principal: Principal,
    action: str,
    *,
    target_kind: str,
    target_id: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add an entry; it is kept if the deed is. `action` is noun and verb: `agent.publish`. No secrets in it."""
    session.add(
        AuditRow(
            org_id=principal.org_id,
            created_at=datetime.now(UTC),
            actor_kind=principal.kind,
            actor_id=principal.id,
            actor_name=principal.name,
            action=action,
            target_kind=target_kind,
            target_id=target_id,
            before=before,
            after=after,
            address=principal.address,
        )
    )


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries; all that is named has to hold."""

    action: str = ""
    """An action, or how it begins, such as `agent.`."""

    actor_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is not wanted any more."""


ANY = AuditFilter()


async def page(
    session: AsyncSession,
    org_id: UUID,
    chosen: AuditFilter = ANY,
    *,
    before: tuple[datetime, UUID] | None = None,
    limit: int,
) -> Sequence[AuditRow]:
    """Return entries, newest first."""
    query = select(AuditRow).where(AuditRow.org_id == org_id)
    if chosen.action:
        query = query.where(AuditRow.action.startswith(chosen.action, autoescape=True))
    if chosen.actor_id is not None:
        query = query.where(AuditRow.actor_id == chosen.actor_id)
    if chosen.since is not None:
        query = query.where(AuditRow.created_at >= chosen.since)
    if chosen.until is not None:
        query = query.where(AuditRow.created_at < chosen.until)
    if before is not None:
        query = query.where(tuple_(AuditRow.created_at, AuditRow.id) < tuple_(*before))
    return (await session.scalars(query.order_by(AuditRow.created_at.desc(), AuditRow.id.desc()).limit(limit))).all()
