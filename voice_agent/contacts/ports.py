"""What contacts need of the rest of the system."""

from typing import Protocol
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession


class JobRequests(Protocol):
    """Where work for later is written down."""

    async def request(
        self, session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str, delay_s: float = 0.0
    ) -> None:
        """Have a job run once the session's transaction is committed."""
        ...


class NumberErasure(Protocol):
    """What is kept of a number beside its contact: consents, suppressions, checks of registries."""

    async def erase_number(self, session: AsyncSession, org_id: UUID, e164: str) -> None:
        """Forget the number itself; its digest stays, so that a suppression outlives the contact."""
        ...
