"""People who are called, for the tests here."""

from datetime import UTC, datetime

from voice_agent.compliance.model import Basis, Callee, ConsentAction, ConsentFact, Purpose, RegistryFact

NOON = datetime(2026, 11, 25, 11, tzinfo=UTC)
"""A Wednesday, noon in Madrid, 06:00 in New York."""

LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)


def granted(
    purpose: Purpose = Purpose.MARKETING,
    basis: Basis = Basis.WRITTEN,
    at: datetime = LONG_AGO,
    expires_at: datetime | None = None,
) -> ConsentFact:
    """Return a grant."""
    return ConsentFact(purpose=purpose, action=ConsentAction.GRANT, basis=basis, at=at, expires_at=expires_at)


def revoked(purpose: Purpose = Purpose.MARKETING, at: datetime = LONG_AGO) -> ConsentFact:
    """Return a revocation."""
    return ConsentFact(purpose=purpose, action=ConsentAction.REVOKE, basis=Basis.MESSAGE, at=at)


def checked(key: str, checked_at: datetime, valid_until: datetime, *, is_listed: bool = False) -> RegistryFact:
    """Return what a registry said."""
    return RegistryFact(registry_key=key, is_listed=is_listed, checked_at=checked_at, valid_until=valid_until)


SPANIARD = Callee(
    e164="+34612345678", country="ES", regions=("ES-MD",), zones=("Europe/Madrid",), consents=(granted(),)
)
"""Has agreed to marketing calls and lives in Madrid."""

FLORIDIAN = Callee(
    e164="+13055550100", country="US", regions=("US-FL",), zones=("America/New_York",), consents=(granted(),)
)
