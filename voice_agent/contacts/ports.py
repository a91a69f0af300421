"""What contacts need of the rest of the system."""

from collections.abc import Sequence, Set
from typing import Protocol
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.compliance.model import ConsentEntry
from voice_agent.storage.tables import ConsentRow, SuppressionRow


class JobRequests(Protocol):
    """Where work for later is written down."""

    async def request(
        self, session: AsyncSession, kind: str, payload: msgspec.Struct, *, job_id: str, delay_s: float = 0.0
    ) -> None:
        """Have a job run once the session's transaction is committed."""
        ...


class NumberLedger(Protocol):
    """What is kept of a number beside its contact; `compliance.service` implements it."""

    async def erase_number(self, session: AsyncSession, org_id: UUID, e164: str) -> None:
        """Forget the number itself; its digest stays, so that a suppression outlives the contact."""
        ...

    async def consents_of(self, session: AsyncSession, org_id: UUID, e164: str) -> Sequence[ConsentRow]:
        """Return the consents and revocations of a number."""
        ...

    async def suppressions_of(self, session: AsyncSession, org_id: UUID, e164: str) -> Sequence[SuppressionRow]:
        """Return the suppressions of a number, those that were lifted too."""
        ...


class ImportLedger(Protocol):
    """What an import writes down of many numbers at once. What is there already stays as it is."""

    async def suppress_many(
        self, session: AsyncSession, org_id: UUID, numbers: Sequence[str], *, source: str, reason: str, created_by: str
    ) -> int:
        """Have numbers called no more; return how many are new."""
        ...

    async def consent_many(
        self, session: AsyncSession, org_id: UUID, entries: Sequence[ConsentEntry], *, created_by: str
    ) -> int:
        """Add consents to the ledger; return how many are new."""
        ...

    async def suppressed_among(self, session: AsyncSession, org_id: UUID, numbers: Sequence[str]) -> Set[str]:
        """Return which of these numbers are not to be called, by the organisation or by anybody here."""
        ...
