"""What campaigns need of the rest of the system."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth.principal import Principal
from voice_agent.calls.policy import CallPolicy
from voice_agent.calls.service import CallOrder
from voice_agent.storage.tables import CallRow

Policies = Callable[[AsyncSession, UUID], Awaitable[CallPolicy]]
"""Returns an organisation's limits; `CallService.policy` is one."""


class Publish(Protocol):
    """Tells whoever asked for it what happened; `webhooks.outbox.publish` is one."""

    async def __call__(
        self, session: AsyncSession, org_id: UUID, topic: str, subject: str, payload: dict[str, Any], now: datetime
    ) -> None:
        """Write it down in the caller's transaction. What is about one `subject` is told in its order."""
        ...


class JobRequests(Protocol):
    """Where work for later is written down."""

    async def request(
        self, session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str, delay_s: float = 0.0
    ) -> None:
        """Have a job run once the session's transaction is committed."""
        ...


class Calls(Protocol):
    """What campaigns have done with calls; `calls.service.CallService` implements it."""

    async def start(self, principal: Principal, order: CallOrder) -> CallRow:
        """Place a call of nobody's campaign."""
        ...

    async def end(self, principal: Principal, call_id: UUID) -> CallRow:
        """End a call, wherever it is. Raises NotFound, Conflict or CarrierError."""
        ...


async def tell_nobody(
    session: AsyncSession, org_id: UUID, topic: str, subject: str, payload: dict[str, Any], now: datetime
) -> None:
    """Be a `Publish` where nobody can have asked."""
