"""What is known of somebody who is to be called, what for, and what the answer is. Pure.

The words here are those of the REST interface, of the tables and of the rule packs.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from voice_agent.errors import NotPermitted


class Purpose(StrEnum):
    """What a call is for. What is not said to be something else is judged as what it is called."""

    MARKETING = "marketing"
    """Offers goods or services, also where that is only a part of it."""

    SERVICE = "service"
    """About something that the callee has bought, booked or asked for."""

    REMINDER = "reminder"
    """Of an appointment or a delivery."""

    SURVEY = "survey"
    COLLECTION = "collection"
    """Of a debt."""

    POLITICAL = "political"
    CHARITY = "charity"
    TEST = "test"
    """Of an agent, to the organisation's own numbers or to people who agreed to be called by it for that."""


class Basis(StrEnum):
    """On what somebody may be called; of a revocation, how it was made known."""

    WRITTEN = "written"
    """Signed, on paper or electronically, with a text that names the caller and the artificial voice."""

    EXPRESS = "express"
    """A clear yes to automated calls, in whatever form."""

    NUMBER_GIVEN = "number_given"
    """They gave the number for what the call is about."""

    CUSTOMER = "customer"
    """A customer, called about something similar (legitimate interest)."""

    CONTRACT = "contract"
    """The call is needed to fulfil a contract with them."""

    IN_CALL = "in_call"
    """Said in a call."""

    MESSAGE = "message"
    """Said in a text message or by mail."""

    OTHER = "other"


class ConsentAction(StrEnum):
    """What an entry of the ledger says."""

    GRANT = "grant"
    REVOKE = "revoke"


class ConsentFact(msgspec.Struct, frozen=True, kw_only=True):
    """One word of somebody's about being called."""

    purpose: Purpose
    action: ConsentAction
    basis: Basis
    at: datetime
    expires_at: datetime | None = None


class SuppressionFact(msgspec.Struct, frozen=True, kw_only=True):
    """That a number is not to be called."""

    scope: str
    """global, organisation or campaign."""

    source: str
    at: datetime
    until: datetime | None = None
    """When it ends by itself, exclusive; None: never."""


class RegistryFact(msgspec.Struct, frozen=True, kw_only=True):
    """What a public registry said."""

    registry_key: str
    is_listed: bool
    checked_at: datetime
    valid_until: datetime


class Callee(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever is to be called, as far as it is known. What is not known is taken at its worst."""

    e164: str
    country: str = ""
    """ISO 3166; empty where the number is no country's."""

    regions: tuple[str, ...] = ()
    """ISO 3166-2, such as US-FL, where an address says it; several: all must allow."""

    zones: tuple[str, ...] = ()
    """IANA time zones in which they may be; several: it must be legal in each."""

    is_consumer: bool = True
    is_own: bool = False
    """Whether it is one of the calling organisation's own numbers."""

    consents: tuple[ConsentFact, ...] = ()
    suppressions: tuple[SuppressionFact, ...] = ()
    registry_checks: tuple[RegistryFact, ...] = ()


class ReasonCode(StrEnum):
    """Why somebody may not be called."""

    SUPPRESSED = "suppressed"
    CONSENT_MISSING = "consent_missing"
    CONSENT_INSUFFICIENT = "consent_insufficient"
    """There is one, on a basis that is not enough."""

    CONSENT_EXPIRED = "consent_expired"
    CONSENT_REVOKED = "consent_revoked"
    REGISTRY_UNCHECKED = "registry_unchecked"
    REGISTRY_EXPIRED = "registry_expired"
    REGISTRY_LISTED = "registry_listed"
    OUTSIDE_WINDOW = "outside_window"
    HOLIDAY = "holiday"
    ZONE_UNKNOWN = "zone_unknown"
    """Nobody knows what time it is there."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One reason against a call."""

    code: ReasonCode
    detail: str
    """In words for people."""

    source: str
    """What says so: a law and where it is found, or a rule of ours."""

    pack: str = ""
    """The rule pack that has it, such as "US 20261125"; empty for what holds everywhere."""


class PackName(msgspec.Struct, frozen=True, kw_only=True):
    """Which rules were asked."""

    jurisdiction: str
    version: int
    as_of: str
    """The day until which its sources were followed, YYYY-MM-DD."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether somebody may be called: yes, or every reason against it."""

    reasons: tuple[Reason, ...]
    packs: tuple[PackName, ...]

    @property
    def is_allowed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


class CallRefused(NotPermitted):
    """The rules forbid a call; `reasons` has every one that does."""

    def __init__(self, reasons: tuple[Reason, ...]) -> None:
        super().__init__("this call is not allowed: " + "; ".join(reason.detail for reason in reasons))
        self.reasons = reasons


class ConsentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A word to write into the ledger."""

    e164: str
    purpose: Purpose
    basis: Basis
    action: ConsentAction = ConsentAction.GRANT
    at: datetime | None = None
    """When they said so. None where nobody knows: then it counts only for somebody who never took consent back."""

    expires_at: datetime | None = None
    wording_version: str = ""
    """Which text they agreed to."""

    proof: dict[str, Any] | None = None
    """Where it is shown: form, address, call, file."""


class SuppressionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A number that is not to be called any more."""

    e164: str | None = None
    digest: str = ""
    """In place of the number, where only that is left of it."""

    source: str
    """call, import, api, console, registry or command_line."""

    reason: str = ""
    evidence: dict[str, Any] | None = None
    """Of an opt-out in a call: call, second, words."""

    until: datetime | None = None
    campaign_id: UUID | None = None
    """Where it holds in one campaign alone."""
