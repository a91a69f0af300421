"""What a call meant for an organisation, in its own words: sold, wants a callback, wrong person."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.campaigns import repository
from voice_agent.errors import Conflict, NotFound
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import DispositionRow

MOST = 200


class Dispositions:
    """One for the process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._clock = clock

    async def create(
        self, session: AsyncSession, principal: Principal, key: str, *, label: str, is_goal: bool, is_retried: bool
    ) -> DispositionRow:
        """Return a new one. Raises Conflict for a key in use, or where there are too many."""
        if len(await repository.dispositions(session, principal.org_id)) >= MOST:
            raise Conflict(f"there are {MOST} dispositions, and more are not allowed")
        row = DispositionRow(
            id=new_id(),
            org_id=principal.org_id,
            key=key,
            label=label,
            is_goal=is_goal,
            is_retried=is_retried,
            created_at=self._clock(),
        )
        session.add(row)
        try:
            await session.flush()
        except IntegrityError:
            raise Conflict("there is a disposition with this key already") from None
        await _record(session, principal, "disposition.create", row)
        return row

    async def edit(
        self,
        session: AsyncSession,
        principal: Principal,
        disposition_id: UUID,
        *,
        label: str,
        is_goal: bool,
        is_retried: bool,
    ) -> DispositionRow:
        """Change what one means from now on; its key stays, because calls name it. Raises NotFound."""
        row = await self._find(session, principal.org_id, disposition_id)
        row.label, row.is_goal, row.is_retried = label, is_goal, is_retried
        await _record(session, principal, "disposition.edit", row)
        return row

    async def delete(self, session: AsyncSession, principal: Principal, disposition_id: UUID) -> None:
        """Take one away; calls that have it keep its key. Raises NotFound."""
        row = await self._find(session, principal.org_id, disposition_id)
        await _record(session, principal, "disposition.delete", row)
        await session.delete(row)

    async def _find(self, session: AsyncSession, org_id: UUID, disposition_id: UUID) -> DispositionRow:
        row = await repository.disposition(session, org_id, disposition_id)
        if row is None:
            raise NotFound("there is no such disposition")
        return row


async def _record(session: AsyncSession, principal: Principal, action: str, row: DispositionRow) -> None:
    after = {"key": row.key, "label": row.label, "is_goal": row.is_goal, "is_retried": row.is_retried}
    await audit.record(session, principal, action, target_kind="disposition", target_id=str(row.id), after=after)
