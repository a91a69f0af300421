"""A ledger of consents and suppressions that knows numbers alone, without digests."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.storage.tables import ConsentRow, SuppressionRow


class FakeNumberLedger:
    """Implements `contacts.ports.NumberLedger`; remembers whom it was to forget."""

    def __init__(self) -> None:
        self.erased: list[str] = []

    async def erase_number(self, session: AsyncSession, org_id: UUID, e164: str) -> None:
        """Note it."""
        assert session.is_active
        assert org_id
        self.erased.append(e164)

    async def consents_of(self, session: AsyncSession, org_id: UUID, e164: str) -> Sequence[ConsentRow]:
        """Return what is kept of the number."""
        query = select(ConsentRow).where(ConsentRow.org_id == org_id, ConsentRow.e164 == e164)
        return (await session.scalars(query)).all()

    async def suppressions_of(self, session: AsyncSession, org_id: UUID, e164: str) -> Sequence[SuppressionRow]:
        """Return what is kept of the number."""
        query = select(SuppressionRow).where(SuppressionRow.org_id == org_id, SuppressionRow.e164 == e164)
        return (await session.scalars(query)).all()
