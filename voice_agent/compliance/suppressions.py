"""Suppressions: who is not to be called any more, by whom, and until when.

One ends when it says so or when somebody lifts it, which takes a reason and is audited; nothing else ever lifts one,
no consent and no import. Several workers that suppress one number at once make one row: a partial unique index says
so, and none of them fails by it. Works in the caller's transaction.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.principal import Principal
from voice_agent.compliance import repository
from voice_agent.compliance.digests import CHUNK, NumberDigests
from voice_agent.compliance.model import SuppressionEntry
from voice_agent.compliance.repository import Place, scope_of
from voice_agent.errors import Conflict, NotFound
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import Values
from voice_agent.storage.tables import SuppressionRow

_TRIES = 5


class Suppressions:
    """One for the process."""

    def __init__(self, digests: NumberDigests, clock: Callable[[], datetime]) -> None:
        """`clock` returns the present in UTC."""
        self._digests = digests
        self._clock = clock

    async def add(
        self, session: AsyncSession, org_id: UUID | None, entry: SuppressionEntry, *, created_by: str
    ) -> SuppressionRow:
        """Have a number never called again, or not until the entry says so; return the suppression in force.

        For a whole installation where `org_id` is None. One that is there already stays, unless it ends earlier.
        """
        await self._suppress(session, org_id, [entry], created_by=created_by)
        digest = entry.digest or await self._digests.of(session, entry.e164 or "")
        row = await repository.suppression_with(session, scope_of(org_id, entry.campaign_id), digest)
        if row is None:  # lifted by somebody else since, which only their commit can have shown us
            raise Conflict("this suppression was lifted just now: say it again")
        return row

    async def add_many(
        self, session: AsyncSession, org_id: UUID, entries: Sequence[SuppressionEntry], *, created_by: str
    ) -> int:
        """Suppress many numbers; return how many suppressions are new."""
        return await self._suppress(session, org_id, entries, created_by=created_by)

    async def _suppress(
        self, session: AsyncSession, org_id: UUID | None, entries: Sequence[SuppressionEntry], *, created_by: str
    ) -> int:
        now = self._clock()
        digests = await self._digests.of_many(session, (entry.e164 for entry in entries if entry.e164))
        rows: dict[tuple[str, str], Values] = {}
        for entry in entries:
            row = _values(entry, org_id, digests.get(entry.e164 or "", entry.digest), created_by, now)
            place = (row["scope"], row["digest"])
            if place not in rows or _is_longer(row["until"], rows[place]["until"]):
                rows[place] = row
        # In one order, so that of two that suppress the same numbers neither waits for the other for ever.
        wanted = [rows[place] for place in sorted(rows)]
        added = 0
        for begin in range(0, len(wanted), CHUNK):
            added += await self._suppress_chunk(session, wanted[begin : begin + CHUNK], now)
        return added

    async def _suppress_chunk(self, session: AsyncSession, rows: Sequence[Values], now: datetime) -> int:
        await self._lift_shorter(session, rows, now)
        added = await repository.add_suppressions(session, rows)
        for _ in range(_TRIES):
            # Where somebody else was faster, theirs may end earlier than ours is to.
            if added == len(rows) or not await self._lift_shorter(session, rows, now):
                return added
            added += await repository.add_suppressions(session, rows)
        raise Conflict("somebody else is changing the same suppressions: try again")

    async def _lift_shorter(self, session: AsyncSession, rows: Sequence[Values], now: datetime) -> int:
        """Lift what is over or ends before the new one does; return how many."""
        wanted = {(row["scope"], row["digest"]): row["until"] for row in rows}
        lifted = 0
        for row in await repository.ending(session, [digest for _, digest in wanted]):
            place = (row.scope, row.digest)
            is_over = row.until is not None and row.until <= now
            if place in wanted and (is_over or _is_longer(wanted[place], row.until)):
                row.lifted_at = now
                row.lift_reason = "it was over" if is_over else "a longer one takes its place"
                lifted += 1
        await session.flush()
        return lifted

    async def lift(
        self, session: AsyncSession, principal: Principal, suppression_id: UUID, reason: str
    ) -> SuppressionRow:
        """Let a number be called again, with the reason. Raises NotFound, or Conflict where it was lifted before."""
        row = await repository.locked_suppression(session, principal.org_id, suppression_id)
        if row is None:
            raise NotFound("there is no such suppression")
        if row.lifted_at is not None:
            raise Conflict("this suppression was lifted before")
        self._lift(row, reason, principal.name)
        await session.flush()
        await _audit(session, principal, row)
        return row

    async def lift_everywhere(self, session: AsyncSession, e164: str, reason: str, *, lifted_by: str) -> bool:
        """Lift the suppression of a number in the whole installation, as its operator; False where there is none."""
        digest = await self._digests.of(session, e164)
        row = await repository.suppression_with(session, scope_of(None), digest)
        if row is not None:
            self._lift(row, reason, lifted_by)
        return row is not None

    def _lift(self, row: SuppressionRow, reason: str, lifted_by: str) -> None:
        row.lifted_at, row.lifted_by, row.lift_reason = self._clock(), lifted_by, reason

    async def among(self, session: AsyncSession, org_id: UUID, numbers: Sequence[str]) -> frozenset[str]:
        """Return which of these numbers (E.164) are suppressed now, in the organisation or everywhere."""
        digests = await self._digests.of_many(session, numbers)
        found: set[str] = set()
        wanted = list(digests.values())
        for begin in range(0, len(wanted), CHUNK):
            chunk = wanted[begin : begin + CHUNK]
            found |= await repository.suppressed_digests(session, org_id, chunk, self._clock())
        return frozenset(e164 for e164, digest in digests.items() if digest in found)

    async def of_number(self, session: AsyncSession, org_id: UUID, e164: str) -> Sequence[SuppressionRow]:
        """Return every suppression of a number by the organisation, newest first, lifted ones too."""
        return await repository.suppressions_of(session, org_id, await self._digests.of(session, e164))

    async def page(
        self,
        session: AsyncSession,
        org_id: UUID,
        *,
        number: str = "",
        is_lifted: bool | None = None,
        before: Place | None,
        limit: int,
    ) -> Sequence[SuppressionRow]:
        """Return an organisation's suppressions, newest first. Raises InvalidRequest for a number that is none."""
        digest = await self._digests.of_written(session, number)
        return await repository.suppression_page(
            session, org_id, digest=digest, is_lifted=is_lifted, before=before, limit=limit
        )


def _values(entry: SuppressionEntry, org_id: UUID | None, digest: str, created_by: str, now: datetime) -> Values:
    return {
        "id": new_id(),
        "org_id": org_id,
        "scope": scope_of(org_id, entry.campaign_id),
        "digest": digest,
        "e164": entry.e164,
        "source": entry.source,
        "reason": entry.reason,
        "evidence": entry.evidence,
        "until": entry.until,
        "created_by": created_by,
        "created_at": now,
        "lifted_by": "",
        "lift_reason": "",
    }


def _is_longer(one: datetime | None, other: datetime | None) -> bool:
    """Tell whether one end is later than another; None never comes."""
    return other is not None and (one is None or one > other)


async def _audit(session: AsyncSession, principal: Principal, row: SuppressionRow) -> None:
    # Not the number: the log outlives the person's erasure.
    after = {"reason": row.lift_reason}
    await audit.record(
        session, principal, "suppression.lift", target_kind="suppression", target_id=str(row.id), after=after
    )
