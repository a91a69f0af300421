"""Digests of numbers: what is left of a number when its person is erased, so that they stay suppressed.

HMAC-SHA256 under a key of the database's own. There are so few numbers that a digest without a key could be undone by
trying all of them. Why the key is a row and not a setting: docs/decisions/0019.
"""

import hmac
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.errors import DatabaseUnavailable
from voice_agent.phone_numbers import read_number
from voice_agent.storage.tables import NumberKeyRow

CHUNK = 1_000
"""Digests of one statement."""


class NumberDigests:
    """Makes digests. One for a database: the key is read once."""

    def __init__(self) -> None:
        self._key = b""

    async def of(self, session: AsyncSession, e164: str) -> str:
        """Return a number's digest, 64 hexadecimal digits. Raises DatabaseUnavailable where the key is gone."""
        return _digest(await self._loaded(session), e164)

    async def of_many(self, session: AsyncSession, numbers: Iterable[str]) -> dict[str, str]:
        """Return numbers with their digests. Raises DatabaseUnavailable where the key is gone."""
        key = await self._loaded(session)
        return {e164: _digest(key, e164) for e164 in numbers}

    async def of_written(self, session: AsyncSession, number: str) -> str | None:
        """Return the digest of a number as people write it, None of no number. Raises InvalidRequest."""
        return await self.of(session, read_number(number).e164) if number.strip() else None

    async def _loaded(self, session: AsyncSession) -> bytes:
        if not self._key:
            key = await session.scalar(select(NumberKeyRow.secret).where(NumberKeyRow.id == 1))
            if not key:
                # A new one would make every suppression of erased people worthless, and nobody would notice.
                raise DatabaseUnavailable("the key of numbers' digests (table number_key) is gone: restore it")
            self._key = key
        return self._key


def _digest(key: bytes, e164: str) -> str:
    return hmac.digest(key, e164.encode(), "sha256").hex()
