"""What the REST interface of compliance takes and gives."""

from datetime import UTC, datetime
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from voice_agent.compliance.model import Basis, ConsentAction, ConsentEntry, Purpose, ReasonCode, SuppressionEntry
from voice_agent.compliance.rule_pack import Duty, RulePack
from voice_agent.phone_numbers import LONGEST, read_number
from voice_agent.rest.inputs import Moment, RequestBody
from voice_agent.storage.tables import ConsentRow, RegistryCheckRow, SuppressionRow

MOST_AT_ONCE = 1_000
LARGEST_FILE = 10_000_000
"""Bytes of a registry's file: some 800,000 numbers; more are sent in several files."""

_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def _of_our_time(moment: datetime) -> datetime:
    if not _FIRST <= moment < _LAST:
        raise ValueError("is not within the years 2000 to 2099")
    return moment


Number = Annotated[str, StringConstraints(min_length=2, max_length=LONGEST)]
SomeMoment = Annotated[Moment, AfterValidator(_of_our_time)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
RegistryKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
RegionCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{0,14}$")]
Proof = Annotated[dict[str, Any], Field(max_length=50)]


# --- suppressions ---------------------------------------------------------------------------------------------------
class NewSuppressions(RequestBody):
    """Numbers that are not to be called any more."""

    numbers: list[Number] = Field(
        default_factory=list,
        max_length=MOST_AT_ONCE,
        description="With + and country code.",
        examples=[["+34612345678"]],
    )
    digests: list[Digest] = Field(
        default_factory=list, max_length=MOST_AT_ONCE, description="Digests of this installation's own, as listed."
    )
    reason: str = Field("", max_length=500)
    until: SomeMoment | None = Field(None, strict=False, description="When it ends by itself; null: never.")
    campaign_id: UUID | None = Field(None, strict=False, description="Where it is to hold in one campaign alone.")

    def entries(self) -> list[SuppressionEntry]:
        """Return them as entries of the ledger. Raises InvalidRequest for a number that is none."""
        shared: dict[str, Any] = {
            "source": "api", "reason": self.reason, "until": self.until, "campaign_id": self.campaign_id,
        }  # fmt: skip
        numbered = [SuppressionEntry(e164=read_number(number).e164, **shared) for number in self.numbers]
        return numbered + [SuppressionEntry(digest=digest, **shared) for digest in self.digests]


class Suppressed(BaseModel):
    """What came of it."""

    asked: int
    """Different numbers that were named; every one of them is suppressed now."""

    added: int
    """Suppressions that are new: the other numbers had one already."""


class Lift(RequestBody):
    """Why a suppression ends."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"[^ \t\r\n]")]


class SuppressionOut(BaseModel):
    """A suppression."""

    id: UUID
    scope: str = Field(description="organisation:… or campaign:…, with the key.")
    number: str | None = Field(description="Null where the person was erased: the digest is what is left.")
    digest: str
    source: str
    reason: str
    evidence: dict[str, Any] | None = Field(description="Of an opt-out in a call: call, second, words.")
    until: datetime | None
    created_by: str
    created_at: datetime
    lifted_at: datetime | None
    lifted_by: str
    lift_reason: str

    @classmethod
    def of(cls, row: SuppressionRow) -> Self:
        """Return what the interface shows of a row."""
        return cls(
            id=row.id,
            scope=row.scope,
            number=row.e164,
            digest=row.digest,
            source=row.source,
            reason=row.reason,
            evidence=row.evidence,
            until=row.until,
            created_by=row.created_by,
            created_at=row.created_at,
            lifted_at=row.lifted_at,
            lifted_by=row.lifted_by,
            lift_reason=row.lift_reason,
        )


# --- consents -------------------------------------------------------------------------------------------------------
class Word(RequestBody):
    """Something that somebody said about being called."""

    number: Number
    basis: Basis = Field(strict=False)
    at: SomeMoment | None = Field(None, strict=False, description="When they said so; null: now.")
    proof: Proof | None = Field(None, description="Where it is shown: form, address, call, file.")


class NewConsent(Word):
    """That somebody agreed to be called."""

    purpose: Purpose = Field(strict=False)
    expires_at: SomeMoment | None = Field(None, strict=False, description="Where it ends before the law says so.")
    wording_version: str = Field("", max_length=100, description="Which text they agreed to.")

    def entry(self) -> ConsentEntry:
        """Return it as an entry of the ledger. Raises InvalidRequest for a number that is none."""
        return ConsentEntry(
            e164=read_number(self.number).e164,
            purpose=self.purpose,
            basis=self.basis,
            at=self.at,
            expires_at=self.expires_at,
            wording_version=self.wording_version,
            proof=self.proof,
        )


class Revocation(Word):
    """That somebody takes their consent back; `basis` says how they made it known."""

    purposes: list[Annotated[Purpose, Field(strict=False)]] | None = Field(
        None, min_length=1, max_length=20, description="For which; null: for all."
    )

    def entry(self) -> ConsentEntry:
        """Return it as an entry of the ledger, for a purpose. Raises InvalidRequest for a number that is none."""
        return ConsentEntry(
            e164=read_number(self.number).e164,
            purpose=Purpose.SERVICE,
            action=ConsentAction.REVOKE,
            basis=self.basis,
            at=self.at,
            proof=self.proof,
        )


class ConsentOut(BaseModel):
    """An entry of the ledger."""

    id: UUID
    number: str | None = Field(description="Null where the person was erased: the digest is what is left.")
    digest: str
    purpose: Purpose
    action: ConsentAction
    basis: Basis
    wording_version: str
    proof: dict[str, Any] | None
    at: datetime
    expires_at: datetime | None
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, row: ConsentRow) -> Self:
        """Return what the interface shows of a row."""
        return cls(
            id=row.id,
            number=row.e164,
            digest=row.digest,
            purpose=Purpose(row.purpose),
            action=ConsentAction(row.action),
            basis=Basis(row.basis),
            wording_version=row.wording_version,
            proof=row.proof,
            at=row.at,
            expires_at=row.expires_at,
            created_by=row.created_by,
            created_at=row.created_at,
        )


# --- registries -----------------------------------------------------------------------------------------------------
class RegistryResult(RequestBody):
    """What a registry said of a number."""

    number: Number
    is_listed: bool


class NewRegistryChecks(RequestBody):
    """What a registry said of numbers."""

    registry_key: RegistryKey = Field(examples=["us_national_dnc"])
    results: list[RegistryResult] = Field(min_length=1, max_length=MOST_AT_ONCE)
    checked_at: SomeMoment | None = Field(None, strict=False, description="When it was asked; null: now.")
    source: str = Field("", max_length=200, description="Where the answer is from.")


class RegistryChecksRecorded(BaseModel):
    """How many numbers were written down."""

    recorded: int


class RegistryFileLoaded(BaseModel):
    """What a registry's file said."""

    listed: int
    """Numbers that are on it."""

    clear: int
    """Numbers of contacts that it covers and that are not on it."""


class RegistryCheckOut(BaseModel):
    """What a registry said of a number."""

    registry_key: str
    is_listed: bool
    checked_at: datetime
    valid_until: datetime
    source: str

    @classmethod
    def of(cls, row: RegistryCheckRow) -> Self:
        """Return what the interface shows of a row."""
        return cls.model_validate(row, from_attributes=True)


# --- rule packs and the question --------------------------------------------------------------------------------------
class SourceOut(BaseModel):
    """Where a rule is written."""

    key: str
    title: str
    url: str
    verify: bool = Field(description="Whether it is yet to be checked against the law itself.")
    note: str


class RulePackOut(BaseModel):
    """A rule pack in force."""

    jurisdiction: str
    name: str
    version: int
    as_of: str = Field(description="The day until which its sources were followed.")
    countries: list[str]
    sources: list[SourceOut]

    @classmethod
    def of(cls, pack: RulePack) -> Self:
        """Return what the interface shows of a pack."""
        sources = {key: msgspec.to_builtins(source) for key, source in pack.sources.items()}
        return cls(
            jurisdiction=pack.jurisdiction,
            name=pack.name,
            version=pack.version,
            as_of=pack.as_of.isoformat(),
            countries=list(pack.countries),
            sources=[SourceOut(key=key, **source) for key, source in sources.items()],
        )


class RulePackDetail(RulePackOut):
    """A rule pack with its rules."""

    content: dict[str, Any] = Field(description="The pack as its file has it: docs/compliance.md.")


class Question(RequestBody):
    """May somebody be called?"""

    number: Number
    purpose: Purpose = Field(strict=False)
    at: SomeMoment | None = Field(None, strict=False, description="When; null: now.")
    regions: list[RegionCode] | None = Field(
        None, max_length=10, description="In place of the contact's, ISO 3166-2.", examples=[["US-FL"]]
    )
    zones: list[Annotated[str, StringConstraints(max_length=64)]] | None = Field(
        None, max_length=20, description="In place of the contact's, IANA time zones.", examples=[["America/New_York"]]
    )
    is_consumer: bool = True
    campaign_id: UUID | None = Field(None, strict=False, description="Whose suppressions count, too.")


class ReasonOut(BaseModel):
    """One reason against a call."""

    code: ReasonCode
    detail: str
    source: str
    pack: str


class PackNameOut(BaseModel):
    """A rule pack that was asked."""

    jurisdiction: str
    version: int
    as_of: str


class DutyOut(BaseModel):
    """What a call has to do beside being allowed."""

    key: str
    text: str
    source: str
    pack: str

    @classmethod
    def of(cls, pack: RulePack, duty: Duty) -> Self:
        """Return what the interface shows of a duty."""
        return cls(key=duty.key, text=duty.text, source=str(pack.sources[duty.source]), pack=pack.label)


class Answer(BaseModel):
    """Whether somebody may be called, and when."""

    is_allowed: bool
    reasons: list[ReasonOut]
    packs: list[PackNameOut]
    next_legal_at: datetime | None = Field(
        description="The first moment from then on at which it is allowed; null: none in 30 days, or time alone does "
        "not change it."
    )
    open_until: datetime | None = Field(description="When the legal hour ends; null where it is none.")
    duties: list[DutyOut]
