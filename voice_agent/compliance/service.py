"""May somebody be called? Gathers what decides about it, and asks `compliance.rules`.

Works in the caller's transaction and never commits: a suppression counts from the moment in which its transaction does,
and whoever asks afterwards is told. A call that is to be placed asks in the transaction that marks it as dialling.

Numbers are found by their digests (`compliance.digests`), so that what was said about a number outlives its contact.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.compliance import repository, rules
from voice_agent.compliance.consents import Consents
from voice_agent.compliance.digests import NumberDigests
from voice_agent.compliance.model import (
    Basis,
    Callee,
    ConsentAction,
    ConsentEntry,
    ConsentFact,
    Purpose,
    RegistryFact,
    SuppressionEntry,
    SuppressionFact,
    Verdict,
)
from voice_agent.compliance.registries import RegistryChecks
from voice_agent.compliance.rule_pack import RulePacks
from voice_agent.compliance.suppressions import Suppressions
from voice_agent.phone_numbers import NumberRefused, PhoneNumber, read_number
from voice_agent.storage.tables import ConsentRow, ContactRow, RegistryCheckRow, SuppressionRow

_Fact = TypeVar("_Fact", ConsentRow, RegistryCheckRow, SuppressionRow)


class ComplianceService:
    """One for the process."""

    def __init__(self, packs: RulePacks, *, clock: Callable[[], datetime]) -> None:
        """`packs` are in force (`compliance.packs.load_packs`); `clock` returns the present in UTC."""
        digests = NumberDigests()
        self.packs = packs
        self.suppressions = Suppressions(digests, clock)
        self.consents = Consents(digests, packs, clock)
        self.registries = RegistryChecks(digests, packs)
        self._digests = digests

    # --- asking -----------------------------------------------------------------------------------------------
    async def ask(
        self,
        session: AsyncSession,
        org_id: UUID,
        e164: str,
        purpose: Purpose,
        at: datetime,
        *,
        campaign_id: UUID | None = None,
    ) -> Verdict:
        """Return whether an organisation may call a number, by everything that is known in this transaction."""
        callee = await self.callee(session, org_id, e164, campaign_id=campaign_id)
        return rules.may_call(callee, purpose, at, self.packs)

    async def callee(
        self, session: AsyncSession, org_id: UUID, e164: str, *, campaign_id: UUID | None = None
    ) -> Callee:
        """Return what is known of whoever has a number. Raises InvalidRequest for one that cannot exist."""
        number = read_number(e164)
        digest = await self._digests.of(session, number.e164)
        contacts = await repository.contacts_with(session, org_id, number.e164)
        return Callee(
            e164=number.e164,
            country=number.country,
            regions=tuple(dict.fromkeys(row.region for row in contacts if row.region)),
            zones=_zones(contacts) or number.zones,
            is_own=await repository.is_own_number(session, org_id, number.e164),
            consents=tuple(map(_consent_fact, await repository.consents_of(session, org_id, [digest]))),
            suppressions=tuple(map(_suppression_fact, await repository.in_force(session, org_id, digest, campaign_id))),
            registry_checks=tuple(map(_registry_fact, await repository.checks_of(session, org_id, digest))),
        )

    async def callees(
        self, session: AsyncSession, org_id: UUID, numbers: Sequence[str], *, campaign_id: UUID | None = None
    ) -> dict[str, Callee]:
        """Return as `callee`, of many numbers (E.164) with as many queries as of one; what cannot exist is left out."""
        read = _readable(numbers)
        if not read:
            return {}
        digests = await self._digests.of_many(session, read)
        of_all, wanted = list(digests.values()), list(read)
        contacts = await repository.contacts_with_any(session, org_id, wanted)
        own = await repository.own_numbers(session, org_id, wanted)
        consents = _by_digest(await repository.consents_of(session, org_id, of_all))
        suppressions = _by_digest(await repository.in_force_of_any(session, org_id, of_all, campaign_id))
        checks = _by_digest(await repository.checks_of_any(session, org_id, of_all))
        return {
            e164: Callee(
                e164=e164,
                country=number.country,
                regions=tuple(dict.fromkeys(row.region for row in contacts[e164] if row.region)),
                zones=_zones(contacts[e164]) or number.zones,
                is_own=e164 in own,
                consents=tuple(map(_consent_fact, consents[digests[e164]])),
                suppressions=tuple(map(_suppression_fact, suppressions[digests[e164]])),
                registry_checks=tuple(map(_registry_fact, checks[digests[e164]])),
            )
            for e164, number in read.items()
        }

    # --- for other slices -------------------------------------------------------------------------------------
    async def suppress(
        self, session: AsyncSession, org_id: UUID | None, entry: SuppressionEntry, *, created_by: str
    ) -> SuppressionRow:
        """Have a number never called again, as `Suppressions.add`: an opt-out in a call, with its evidence."""
        return await self.suppressions.add(session, org_id, entry, created_by=created_by)

    async def suppress_many(
        self, session: AsyncSession, org_id: UUID, numbers: Sequence[str], *, source: str, reason: str, created_by: str
    ) -> int:
        """Suppress many numbers (E.164) for good; return how many suppressions are new."""
        entries = [SuppressionEntry(e164=e164, source=source, reason=reason) for e164 in numbers]
        return await self.suppressions.add_many(session, org_id, entries, created_by=created_by)

    async def suppressed_among(self, session: AsyncSession, org_id: UUID, numbers: Sequence[str]) -> frozenset[str]:
        """Return which of these numbers (E.164) are suppressed now, in the organisation or everywhere."""
        return await self.suppressions.among(session, org_id, numbers)

    async def consent_many(
        self, session: AsyncSession, org_id: UUID, entries: Sequence[ConsentEntry], *, created_by: str
    ) -> int:
        """Write what people said into the ledger, as `Consents.add_many`; return how many words are new."""
        return await self.consents.add_many(session, org_id, entries, created_by=created_by)

    async def suppressions_of(self, session: AsyncSession, org_id: UUID, e164: str) -> Sequence[SuppressionRow]:
        """Return every suppression of a number by the organisation, newest first, lifted ones too."""
        return await self.suppressions.of_number(session, org_id, e164)

    async def consents_of(self, session: AsyncSession, org_id: UUID, e164: str) -> Sequence[ConsentRow]:
        """Return what a number's people said about calls, newest first."""
        return await self.consents.of_number(session, org_id, e164)

    async def erase_number(self, session: AsyncSession, org_id: UUID, e164: str) -> None:
        """Forget a number (E.164) in everything that an organisation keeps here; its digest stays, and so it counts."""
        await repository.forget_number(session, org_id, await self._digests.of(session, e164))


def _readable(numbers: Sequence[str]) -> dict[str, PhoneNumber]:
    read = {}
    for e164 in numbers:
        try:
            read[e164] = read_number(e164)
        except NumberRefused:
            continue  # nothing is known of it, so nobody who asks for it finds that it may be called
    return read


def _zones(contacts: Sequence[ContactRow]) -> tuple[str, ...]:
    zones = (zone for row in contacts for zone in ((row.zone,) if row.zone else row.zone_candidates))
    return tuple(dict.fromkeys(zones))


def _by_digest(rows: Sequence[_Fact]) -> defaultdict[str, list[_Fact]]:
    found: defaultdict[str, list[_Fact]] = defaultdict(list)
    for row in rows:
        found[row.digest].append(row)
    return found


def _consent_fact(row: ConsentRow) -> ConsentFact:
    return ConsentFact(
        purpose=Purpose(row.purpose),
        action=ConsentAction(row.action),
        basis=Basis(row.basis),
        at=row.at,
        expires_at=row.expires_at,
    )


def _suppression_fact(row: SuppressionRow) -> SuppressionFact:
    return SuppressionFact(scope=row.scope.partition(":")[0], source=row.source, at=row.created_at, until=row.until)


def _registry_fact(row: RegistryCheckRow) -> RegistryFact:
    return RegistryFact(
        registry_key=row.registry_key,
        is_listed=row.is_listed,
        checked_at=row.checked_at,
        valid_until=row.valid_until,
    )
