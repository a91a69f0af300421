"""What a row says beside its contact, and a row that was read written as cells again."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from voice_agent.compliance.model import Basis, Purpose
from voice_agent.contacts.import_model import ImportOptions
from voice_agent.contacts.import_words import cells_of, consent_of
from voice_agent.contacts.model import ContactDraft, FurtherNumber
from voice_agent.contacts.reading.model import MappedColumn, SaidConsent, TakenRow
from voice_agent.phone_numbers import read_number

IMPORT = uuid4()
ANA, OTHER = "+34612345678", "+34612345679"


def a_row(consent: SaidConsent | None = None, *, is_do_not_call: bool = False, **said: Any) -> TakenRow:
    draft = ContactDraft(number=read_number(ANA), raw_number="612 34 56 78", **said)
    return TakenRow(row=7, draft=draft, consent=consent, is_do_not_call=is_do_not_call)


def test_a_row_that_says_nothing_of_consent_has_none() -> None:
    assert consent_of(a_row(), IMPORT, ImportOptions()) is None


def test_what_a_row_says_of_consent_goes_into_the_ledger_with_its_proof() -> None:
    said = SaidConsent(
        at="2026-03-04", expires="2028-03-04", purpose="Publicidad", basis="por escrito", wording="v2", proof="form 9"
    )
    entry = consent_of(a_row(said), IMPORT, ImportOptions())
    assert entry is not None
    assert (entry.e164, entry.purpose, entry.basis, entry.wording_version) == (
        ANA,
        Purpose.MARKETING,
        Basis.OTHER,
        "v2",
    )
    assert (entry.at, entry.expires_at) == (datetime(2026, 3, 4, tzinfo=UTC), datetime(2028, 3, 4, tzinfo=UTC))
    assert entry.proof == {"import": str(IMPORT), "row": 7, "proof": "form 9", "basis": "por escrito"}


@pytest.mark.parametrize(
    ("written", "purpose"),
    [
        ("marketing", Purpose.MARKETING),
        (" Encuesta ", Purpose.SURVEY),
        ("Atención", Purpose.SERVICE),
        ("", Purpose.REMINDER),
    ],
)
def test_purposes_are_read_in_both_languages(written: str, purpose: Purpose) -> None:
    entry = consent_of(a_row(SaidConsent(purpose=written)), IMPORT, ImportOptions(consent_purpose=Purpose.REMINDER))
    assert entry is not None
    assert (entry.purpose, entry.at) == (purpose, None)


def test_a_purpose_that_is_none_of_ours_allows_nothing() -> None:
    assert consent_of(a_row(SaidConsent(purpose="everything")), IMPORT, ImportOptions()) is None


@pytest.mark.parametrize(
    ("written", "basis"),
    [
        ("express", Basis.EXPRESS),
        ("in_call", Basis.IN_CALL),
        ("Escrito", Basis.WRITTEN),
        ("?", Basis.OTHER),
        ("", Basis.CUSTOMER),
    ],
)
def test_a_basis_that_is_none_of_ours_is_the_weakest(written: str, basis: Basis) -> None:
    options = ImportOptions(consent_basis=Basis.CUSTOMER)
    entry = consent_of(a_row(SaidConsent(basis=written)), IMPORT, options)
    assert entry is not None
    assert entry.basis is basis


def test_a_row_is_written_as_its_cells_again() -> None:
    row = a_row(
        SaidConsent(at="2026-03-04", purpose="marketing"),
        is_do_not_call=True,
        further=(FurtherNumber(number=read_number(OTHER), raw=OTHER),),
        name="Ana",
        email="ana@x.test",
        custom={"age": 33, "vip": False},
        tags=("fair", "VIP"),
    )
    cells = {
        "tel": ("phone", "612 34 56 78"),
        "móvil": ("phone", OTHER),
        "otro": ("phone", ""),
        "país": ("country", "ES"),
        "nombre": ("name", "Ana"),
        "correo": ("email", "ana@x.test"),
        "empresa": ("company", ""),
        "edad": ("custom:age", "33"),
        "vip": ("custom:vip", "no"),
        "plan": ("custom:plan", ""),
        "etiquetas": ("tags", "fair;VIP"),
        "VIP": ("tag_if_yes", "yes"),
        "OLD": ("tag_if_yes", "no"),
        "baja": ("do_not_call", "yes"),
        "nota": ("ignore", ""),
        "cp": ("postal_code", ""),
        "fecha": ("consent.at", "2026-03-04"),
        "fin": ("consent.expires", ""),
        "para": ("consent.purpose", "marketing"),
    }
    columns = [MappedColumn(header=header, target=target) for header, (target, _) in cells.items()]
    assert cells_of(row, columns) == tuple(cell for _, cell in cells.values())


def test_a_row_without_consent_has_none_in_its_cells() -> None:
    assert cells_of(a_row(), [MappedColumn(header="fecha", target="consent.at")]) == ("",)
