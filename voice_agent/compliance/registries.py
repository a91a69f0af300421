"""What public registries said of numbers, and until when that counts.

A registry (the National Do Not Call Registry, Lista Robinson, REPEP) is asked elsewhere, or its file is bought; here
its answers are kept. The file of a registry has the numbers that are on it: that a number is not on it is known of the
numbers that the file covers, so those of the organisation's contacts among them are written down as not listed. Works
in the caller's transaction.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.compliance import repository
from voice_agent.compliance.digests import CHUNK, NumberDigests
from voice_agent.compliance.rule_pack import RulePacks
from voice_agent.errors import InvalidRequest
from voice_agent.phone_numbers import NumberRefused, read_number
from voice_agent.storage.ids import new_id
from voice_agent.storage.many_rows import Values
from voice_agent.storage.tables import RegistryCheckRow

_FTC_LINE = re.compile(r"(\d{3}),(\d{7})")
"""How the National Do Not Call Registry's files have a number: area code, comma, seven digits."""


_FILE = "its file"


def numbers_of_file(text: str, *, default_country: str = "") -> list[str]:
    """Return the numbers (E.164) of a registry's file: one a line, in its first column; an FTC file's as well.

    A first line without digits is a heading, empty lines are nothing. Raises InvalidRequest, which names the line.
    """
    numbers: list[str] = []
    for n, line in enumerate(text.splitlines(), start=1):
        written = line.strip().lstrip("\ufeff")
        if not written or (n == 1 and not re.search(r"\d", written)):
            continue
        match = _FTC_LINE.fullmatch(written)
        cell = f"+1{match[1]}{match[2]}" if match else re.split(r"[,;\t|]", written)[0].strip("\"' ")
        try:
            numbers.append(read_number(cell, default_country).e164)
        except NumberRefused as refusal:
            raise InvalidRequest(f"line {n}: {refusal}") from None
    return numbers


class RegistryChecks:
    """One for the process."""

    def __init__(self, digests: NumberDigests, packs: RulePacks) -> None:
        self._digests = digests
        self._packs = packs
        holders = [each for pack in (*packs.packs, packs.default) for each in (pack, *pack.regions.values())]
        self._valid_days = {rule.key: rule.valid_days for holder in holders for rule in holder.registries}

    async def record(
        self,
        session: AsyncSession,
        org_id: UUID,
        registry_key: str,
        results: Sequence[tuple[str, bool]],
        *,
        checked_at: datetime,
        source: str,
    ) -> int:
        """Write down which numbers (E.164) were listed at a moment; return how many numbers that were.

        An older answer does not take the place of a newer one. Raises InvalidRequest for a registry of no rule pack.
        """
        valid_days = self._valid_days.get(registry_key)
        if valid_days is None:
            known = ", ".join(sorted(self._valid_days))
            raise InvalidRequest(f"registry_key: no rule pack has this registry; they have {known}")
        digests = await self._digests.of_many(session, (e164 for e164, _ in results))
        rows: dict[str, Values] = {
            e164: {
                "id": new_id(),
                "org_id": org_id,
                "registry_key": registry_key,
                "digest": digests[e164],
                "e164": e164,
                "is_listed": is_listed,
                "checked_at": checked_at,
                "valid_until": checked_at + timedelta(days=valid_days),
                "source": source,
            }
            for e164, is_listed in results
        }
        wanted = [rows[e164] for e164 in sorted(rows)]
        for begin in range(0, len(wanted), CHUNK):
            await repository.put_checks(session, wanted[begin : begin + CHUNK])
        return len(wanted)

    async def load(
        self,
        session: AsyncSession,
        org_id: UUID,
        registry_key: str,
        listed: Iterable[str],
        *,
        covers: Sequence[str],
        checked_at: datetime,
    ) -> tuple[int, int]:
        """Write down a registry's file; return how many numbers are on it, and how many contacts' numbers are not.

        `covers` says how the numbers begin of which the file has all that are listed, such as +1305; with none, nothing
        is known of numbers that are not in it. Raises InvalidRequest.
        """
        on_it = frozenset(listed)
        results = [(e164, True) for e164 in on_it]
        added = await self.record(session, org_id, registry_key, results, checked_at=checked_at, source=_FILE)
        clear = 0
        for prefix in covers:
            after = ""
            while numbers := await repository.contact_numbers(session, org_id, prefix, after=after, limit=CHUNK):
                after = numbers[-1]
                not_on_it = [(e164, False) for e164 in numbers if e164 not in on_it]
                clear += await self.record(
                    session, org_id, registry_key, not_on_it, checked_at=checked_at, source=_FILE
                )
        return added, clear

    async def of_number(self, session: AsyncSession, org_id: UUID, number: str) -> Sequence[RegistryCheckRow]:
        """Return what registries said of a number as people write it. Raises InvalidRequest."""
        e164 = read_number(number).e164
        return await repository.checks_of(session, org_id, await self._digests.of(session, e164))
