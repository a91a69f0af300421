"""The ledger of consents: what people said about being called. Only ever added to.

The last word for a purpose counts (`compliance.rules`): only a grant that is newer than a revocation counts again.
Works in the caller's transaction.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.compliance import repository, rules
from voice_agent.compliance.digests import CHUNK, NumberDigests
from voice_agent.compliance.model import Callee, ConsentAction, ConsentEntry, Purpose
from voice_agent.compliance.repository import Place
from voice_agent.compliance.rule_pack import RulePacks
from voice_agent.errors import Conflict, InvalidRequest
from voice_agent.phone_numbers import NumberRefused, read_number
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import Values
from voice_agent.storage.tables import ConsentRow

CLOCK_SKEW = timedelta(minutes=5)
"""How far another machine's clock may be ahead of ours."""


class Consents:
    """One for the process."""

    def __init__(self, digests: NumberDigests, packs: RulePacks, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._digests = digests
        self._packs = packs
        self._clock = clock

    async def add_many(
        self, session: AsyncSession, org_id: UUID, entries: Sequence[ConsentEntry], *, created_by: str
    ) -> int:
        """Write what people said into the ledger; return how many words are new.

        One that is there already stays. A grant of which nobody knows when it was given, or that is dated later than
        now, is taken down as of now where the number's people never took consent back and have none on that basis.
        """
        now = self._clock()
        digests = await self._digests.of_many(session, (entry.e164 for entry in entries))
        undated = [entry for entry in entries if entry.at is None or entry.at > now + CLOCK_SKEW]
        known = await self._known_words(session, org_id, [digests[entry.e164] for entry in undated])
        rows: dict[tuple[str, str, str, datetime], Values] = {}
        for entry in entries:
            digest, at = digests[entry.e164], entry.at
            if at is None or at > now + CLOCK_SKEW:
                words = {(digest, entry.purpose, basis) for basis in (None, entry.basis)}
                if entry.action is ConsentAction.GRANT and not known.isdisjoint(words):
                    continue
                at = now
            row = self._consent_values(entry, org_id, digest, at, created_by, now)
            rows.setdefault((digest, entry.purpose, entry.action, at), row)
        return await repository.add_consents(session, list(rows.values()))

    async def _known_words(
        self, session: AsyncSession, org_id: UUID, digests: Sequence[str]
    ) -> set[tuple[str, str, str | None]]:
        """Return which digests have a grant by purpose and basis, or, with None for it, a revocation by purpose."""
        rows: list[ConsentRow] = []
        for begin in range(0, len(digests), CHUNK):
            rows += await repository.consents_of(session, org_id, digests[begin : begin + CHUNK])
        return {(row.digest, row.purpose, row.basis if row.action == ConsentAction.GRANT else None) for row in rows}

    def _consent_values(
        self, entry: ConsentEntry, org_id: UUID, digest: str, at: datetime, created_by: str, now: datetime
    ) -> Values:
        expires_at = entry.expires_at
        if entry.action is ConsentAction.GRANT:
            ends = (expires_at, self._expiry(entry, at))
            expires_at = min((end for end in ends if end is not None), default=None)
        return {
            "id": new_id(),
            "org_id": org_id,
            "digest": digest,
            "e164": entry.e164,
            "purpose": entry.purpose.value,
            "action": entry.action.value,
            "basis": entry.basis.value,
            "wording_version": entry.wording_version,
            "proof": entry.proof,
            "at": at,
            "expires_at": expires_at,
            "created_by": created_by,
            "created_at": now,
        }

    def _expiry(self, entry: ConsentEntry, at: datetime) -> datetime | None:
        try:
            number = read_number(entry.e164)
        except NumberRefused:  # a number of another time or plan: nobody calls it, and no pack is its country's
            return None
        callee = Callee(e164=number.e164, country=number.country)
        return rules.expiry(callee, entry.purpose, at, self._packs)

    async def record(self, session: AsyncSession, principal: Principal, entry: ConsentEntry) -> ConsentRow:
        """Write down what somebody said, for somebody who is asked who they are; `entry.at` None means now.

        Return the ledger's entry: the one that was there, where they had said the same at the same moment. Raises
        InvalidRequest for what is dated later than now, Conflict where another basis is recorded of that moment.
        """
        now = self._clock()
        at = entry.at or now
        if at > now + CLOCK_SKEW:
            raise InvalidRequest("at: nobody can have said so yet")
        digest = await self._digests.of(session, entry.e164)
        values = self._consent_values(entry, principal.org_id, digest, at, principal.name, now)
        is_new = await repository.add_consents(session, [values])
        rows = await repository.consents_of(session, principal.org_id, [digest])
        same = (entry.purpose, entry.action, at)
        row = next(each for each in rows if (each.purpose, each.action, each.at) == same)
        if row.basis != entry.basis:
            raise Conflict("at: something else is recorded of that very moment")
        if is_new:
            await _audit(session, principal, row)
        return row

    async def revoke(
        self,
        session: AsyncSession,
        principal: Principal,
        entry: ConsentEntry,
        *,
        purposes: Sequence[Purpose] = tuple(Purpose),
    ) -> list[ConsentRow]:
        """Write down that somebody took their consent to calls for these purposes back; `entry` says how and when."""
        return [
            await self.record(
                session, principal, msgspec.structs.replace(entry, action=ConsentAction.REVOKE, purpose=purpose)
            )
            for purpose in purposes
        ]

    async def of_number(self, session: AsyncSession, org_id: UUID, e164: str) -> Sequence[ConsentRow]:
        """Return what a number's people said about calls, newest first."""
        return await repository.consents_of(session, org_id, [await self._digests.of(session, e164)])

    async def page(
        self,
        session: AsyncSession,
        org_id: UUID,
        *,
        number: str = "",
        purpose: str = "",
        before: Place | None,
        limit: int,
    ) -> Sequence[ConsentRow]:
        """Return an organisation's ledger, newest first. Raises InvalidRequest for a number that is none."""
        digest = await self._digests.of_written(session, number)
        return await repository.consent_page(
            session, org_id, digest=digest, purpose=purpose, before=before, limit=limit
        )


async def _audit(session: AsyncSession, principal: Principal, row: ConsentRow) -> None:
    # Not the number: the log outlives the person's erasure.
    after = {"purpose": row.purpose, "basis": row.basis}
    await audit.record(
        session, principal, f"consent.{row.action}", target_kind="consent", target_id=str(row.id), after=after
    )
