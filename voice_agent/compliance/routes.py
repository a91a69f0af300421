"""The REST interface of compliance: suppressions, consents, registries, rule packs, and who may be called."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Body, Depends, Query, Request, status
from sqlalchemy.ext.asyncio import AsyncSession

from voice_agent.auth import audit
from voice_agent.auth.gate import Gate
from voice_agent.auth.principal import Permission, Principal
from voice_agent.compliance import rules
from voice_agent.compliance.model import Purpose
from voice_agent.compliance.registries import numbers_of_file
from voice_agent.compliance.schemas import (
    LARGEST_FILE,
    Answer,
    ConsentOut,
    DutyOut,
    Lift,
    NewConsent,
    NewRegistryChecks,
    NewSuppressions,
    PackNameOut,
    Prefix,
    Question,
    ReasonOut,
    RegistryCheckOut,
    RegistryChecksRecorded,
    RegistryFileLoaded,
    RegistryKey,
    Revocation,
    RulePackDetail,
    RulePackOut,
    SomeMoment,
    Suppressed,
    SuppressionOut,
)
from voice_agent.compliance.service import ComplianceService
from voice_agent.errors import InvalidRequest, NotFound
from voice_agent.phone_numbers import LONGEST, read_number
from voice_agent.rest.idempotency import idempotent_route
from voice_agent.rest.inputs import SearchText
from voice_agent.rest.pages import DEFAULT_LIMIT, CursorText, Limit, Page, place
from voice_agent.rest.problems import refusals
from voice_agent.rest.transactions import Transactions

CSV_TYPE = "text/csv"

NumberText = Annotated[SearchText, Query(max_length=LONGEST, description="A telephone number, + and country code.")]
CsvBody = Annotated[bytes, Body(media_type=CSV_TYPE, max_length=LARGEST_FILE)]


def compliance_router(
    compliance: ComplianceService, gate: Gate, transactions: Transactions, *, clock: Callable[[], datetime]
) -> APIRouter:
    """Return the routes under /api/v1/suppressions, consents, registry-checks, rule-packs and may-call."""
    router = APIRouter(prefix="/api/v1")
    router.include_router(_suppressions_router(compliance, gate, transactions))
    router.include_router(_consents_router(compliance, gate, transactions))
    router.include_router(_registries_router(compliance, gate, transactions, clock))
    router.include_router(_asking_router(compliance, gate, transactions, clock))
    return router


def _router(name: str, gate: Gate, transactions: Transactions) -> APIRouter:
    async def org_of(request: Request) -> UUID:
        return (await gate.identify(request)).org_id

    return APIRouter(prefix=f"/{name}", tags=[name], route_class=idempotent_route(transactions.database, org_of))


def _suppressions_router(compliance: ComplianceService, gate: Gate, transactions: Transactions) -> APIRouter:
    router = _router("suppressions", gate, transactions)
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.COMPLIANCE_READ))]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.COMPLIANCE_WRITE))]

    @router.get("")
    async def list_suppressions(
        principal: Reader,
        session: Reading,
        number: NumberText = "",
        is_lifted: Annotated[bool | None, Query()] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: CursorText = None,
    ) -> Page[SuppressionOut]:
        """List the organisation's suppressions, newest first; those of the whole installation are not shown."""
        rows = await compliance.suppressions.page(
            session, principal.org_id, number=number, is_lifted=is_lifted, before=place(cursor), limit=limit + 1
        )
        return Page[SuppressionOut].of(rows, limit, SuppressionOut.of)

    @router.post("", status_code=status.HTTP_201_CREATED, responses=refusals(409))
    async def suppress_numbers(principal: Writer, body: NewSuppressions, session: Writing) -> Suppressed:
        """Have numbers never called again, 1,000 at the most. Those that are suppressed already stay so."""
        entries = body.entries()
        if not entries:
            raise InvalidRequest("numbers: name at least one, or a digest")
        added = await compliance.suppressions.add_many(session, principal.org_id, entries, created_by=principal.name)
        after = {"added": added, "reason": body.reason}
        await audit.record(session, principal, "suppression.add", target_kind="suppression", target_id="", after=after)
        return Suppressed(asked=len({entry.e164 or entry.digest for entry in entries}), added=added)

    @router.post("/{suppression_id}/lift", responses=refusals(409))
    async def lift_suppression(principal: Writer, suppression_id: UUID, body: Lift, session: Writing) -> SuppressionOut:
        """Let a number be called again, with the reason, which is kept. Consents count as they did before."""
        return SuppressionOut.of(
            await compliance.suppressions.lift(session, principal, suppression_id, body.reason.strip())
        )

    return router


def _consents_router(compliance: ComplianceService, gate: Gate, transactions: Transactions) -> APIRouter:
    router = _router("consents", gate, transactions)
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.COMPLIANCE_READ))]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.COMPLIANCE_WRITE))]

    @router.get("")
    async def list_consents(
        principal: Reader,
        session: Reading,
        number: NumberText = "",
        purpose: Annotated[Purpose | None, Query()] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: CursorText = None,
    ) -> Page[ConsentOut]:
        """List what people said about being called, the newest entries first."""
        rows = await compliance.consents.page(
            session, principal.org_id, number=number, purpose=purpose or "", before=place(cursor), limit=limit + 1
        )
        return Page[ConsentOut].of(rows, limit, ConsentOut.of)

    @router.post("", status_code=status.HTTP_201_CREATED, responses=refusals(409))
    async def record_consent(principal: Writer, body: NewConsent, session: Writing) -> ConsentOut:
        """Write down that somebody agreed to be called. The same word of the same moment is written down once."""
        return ConsentOut.of(await compliance.consents.record(session, principal, body.entry()))

    @router.post("/revoke", status_code=status.HTTP_201_CREATED, responses=refusals(409))
    async def revoke_consent(principal: Writer, body: Revocation, session: Writing) -> list[ConsentOut]:
        """Write down that somebody took it back, for some purposes or for all. Only a newer grant counts again."""
        purposes = tuple(Purpose) if body.purposes is None else tuple(dict.fromkeys(body.purposes))
        rows = await compliance.consents.revoke(session, principal, body.entry(), purposes=purposes)
        return [ConsentOut.of(row) for row in rows]

    return router


def _registries_router(
    compliance: ComplianceService, gate: Gate, transactions: Transactions, clock: Callable[[], datetime]
) -> APIRouter:
    router = _router("registry-checks", gate, transactions)
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Writing = Annotated[AsyncSession, Depends(transactions.writing, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.COMPLIANCE_READ))]
    Writer = Annotated[Principal, Depends(gate.allow(Permission.COMPLIANCE_WRITE))]

    @router.get("")
    async def list_registry_checks(principal: Reader, session: Reading, number: NumberText) -> list[RegistryCheckOut]:
        """Return what registries said of a number."""
        rows = await compliance.registries.of_number(session, principal.org_id, number)
        return [RegistryCheckOut.of(row) for row in rows]

    @router.post("", status_code=status.HTTP_201_CREATED)
    async def record_registry_checks(
        principal: Writer, body: NewRegistryChecks, session: Writing
    ) -> RegistryChecksRecorded:
        """Write down what a registry said; an older answer does not take the place of a newer one."""
        checked_at = _not_later(body.checked_at, clock())
        results = [(read_number(result.number).e164, result.is_listed) for result in body.results]
        recorded = await compliance.registries.record(
            session, principal.org_id, body.registry_key, results, checked_at=checked_at, source=body.source
        )
        await _audit(session, principal, body.registry_key, recorded)
        return RegistryChecksRecorded(recorded=recorded)

    @router.post("/file", status_code=status.HTTP_201_CREATED)
    async def load_registry_file(
        principal: Writer,
        body: CsvBody,
        session: Writing,
        registry_key: Annotated[RegistryKey, Query()],
        covers: Annotated[list[Prefix] | None, Query(max_length=100)] = None,
        default_country: Annotated[str, Query(pattern="^([A-Z]{2})?$")] = "",
        checked_at: Annotated[SomeMoment | None, Query(description="When it was made; by default now.")] = None,
    ) -> RegistryFileLoaded:
        """Write down a registry's file: the numbers that are on it, one a line.

        `covers` says how the numbers begin of which it has all that are listed (such as +1305): contacts' numbers that
        begin so and are not in it are written down as not listed.
        """
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidRequest("body: is no text in UTF-8") from None
        listed, clear = await compliance.registries.load(
            session,
            principal.org_id,
            registry_key,
            numbers_of_file(text, default_country=default_country),
            covers=covers or (),
            checked_at=_not_later(checked_at, clock()),
        )
        await _audit(session, principal, registry_key, listed + clear)
        return RegistryFileLoaded(listed=listed, clear=clear)

    return router


def _not_later(moment: datetime | None, now: datetime) -> datetime:
    if moment is not None and moment > now:
        raise InvalidRequest("checked_at: nobody can have asked yet")
    return moment or now


async def _audit(session: AsyncSession, principal: Principal, registry_key: str, recorded: int) -> None:
    after = {"registry_key": registry_key, "recorded": recorded}
    await audit.record(session, principal, "registry.record", target_kind="registry", target_id="", after=after)


def _asking_router(
    compliance: ComplianceService, gate: Gate, transactions: Transactions, clock: Callable[[], datetime]
) -> APIRouter:
    router = APIRouter(tags=["compliance"])
    Reading = Annotated[AsyncSession, Depends(transactions.reading, scope="function")]
    Reader = Annotated[Principal, Depends(gate.allow(Permission.COMPLIANCE_READ))]
    in_force = {pack.jurisdiction: pack for pack in (*compliance.packs.packs, compliance.packs.default)}

    @router.get("/rule-packs")
    async def list_rule_packs(principal: Reader) -> list[RulePackOut]:  # noqa: ARG001 - whoever may read
        """List the rule packs in force, with their sources and how sure they are. This is not legal advice."""
        return [RulePackOut.of(pack) for pack in in_force.values()]

    @router.get("/rule-packs/{jurisdiction}")
    async def get_rule_pack(principal: Reader, jurisdiction: str) -> RulePackDetail:  # noqa: ARG001 - likewise
        """Return a rule pack with its rules."""
        if (pack := in_force.get(jurisdiction)) is None:
            raise NotFound("there is no such rule pack")
        return RulePackDetail(**RulePackOut.of(pack).model_dump(), content=msgspec.to_builtins(pack))

    @router.post("/may-call")
    async def ask_whether_to_call(principal: Reader, body: Question, session: Reading) -> Answer:
        """Tell whether a call would be allowed, with every reason against it, and when it is next. Nothing is done."""
        callee = await compliance.callee(session, principal.org_id, body.number, campaign_id=body.campaign_id)
        given = {name: tuple(value) for name in ("regions", "zones") if (value := getattr(body, name)) is not None}
        callee = msgspec.structs.replace(callee, is_consumer=body.is_consumer, **given)
        at, packs = body.at or clock(), compliance.packs
        verdict = rules.may_call(callee, body.purpose, at, packs)
        return Answer(
            is_allowed=verdict.is_allowed,
            reasons=[ReasonOut(**msgspec.to_builtins(reason)) for reason in verdict.reasons],
            packs=[PackNameOut(**msgspec.to_builtins(pack)) for pack in verdict.packs],
            next_legal_at=rules.next_legal(callee, body.purpose, at, packs),
            open_until=rules.open_until(callee, body.purpose, at, packs),
            duties=[DutyOut.of(pack, duty) for pack, duty in rules.duties_of(callee, body.purpose, at, packs)],
        )

    return router
