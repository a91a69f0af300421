"""What a row says beside its contact, and what a row said that cannot be taken after all. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

from voice_agent.compliance.model import Basis, ConsentEntry, Purpose
from voice_agent.contacts.import_model import ImportOptions
from voice_agent.contacts.reading.model import CUSTOM, MappedColumn, SaidConsent, TakenRow, Target
from voice_agent.contacts.words import folded

_PURPOSES = {purpose.value: purpose for purpose in Purpose} | {
    "publicidad": Purpose.MARKETING,
    "comercial": Purpose.MARKETING,
    "ventas": Purpose.MARKETING,
    "sales": Purpose.MARKETING,
    "advertising": Purpose.MARKETING,
    "servicio": Purpose.SERVICE,
    "atencion": Purpose.SERVICE,
    "recordatorio": Purpose.REMINDER,
    "recordatorios": Purpose.REMINDER,
    "encuesta": Purpose.SURVEY,
    "encuestas": Purpose.SURVEY,
    "cobro": Purpose.COLLECTION,
    "cobros": Purpose.COLLECTION,
    "politica": Purpose.POLITICAL,
    "beneficencia": Purpose.CHARITY,
    "prueba": Purpose.TEST,
}
_BASES = {basis.value.replace("_", " "): basis for basis in Basis} | {
    "escrito": Basis.WRITTEN,
    "firmado": Basis.WRITTEN,
    "signed": Basis.WRITTEN,
    "expreso": Basis.EXPRESS,
    "cliente": Basis.CUSTOMER,
    "contrato": Basis.CONTRACT,
    "llamada": Basis.IN_CALL,
    "call": Basis.IN_CALL,
    "mensaje": Basis.MESSAGE,
}


def consent_of(row: TakenRow, import_id: UUID, options: ImportOptions) -> ConsentEntry | None:
    """Return the ledger's entry of a row; None where it says nothing, or a purpose that is none of ours.

    A basis that is none of ours is `other`, which allows the least; what was written is kept as proof.
    """
    said = row.consent
    if said is None:
        return None
    purpose = _PURPOSES.get(_word(said.purpose)) if said.purpose.strip() else options.consent_purpose
    if purpose is None:
        return None
    basis = _BASES.get(_word(said.basis), Basis.OTHER) if said.basis.strip() else options.consent_basis
    return ConsentEntry(
        e164=row.draft.number.e164,
        purpose=purpose,
        basis=basis,
        at=_moment(said.at),
        expires_at=_moment(said.expires),
        wording_version=said.wording[:100],
        proof={"import": str(import_id), "row": row.row, **_proof(said)},
    )


def _word(text: str) -> str:
    return " ".join(folded(text).replace("_", " ").replace("-", " ").split())


def _moment(day: str | None) -> datetime | None:
    return None if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC)


def _proof(said: SaidConsent) -> dict[str, str]:
    return {name: text for name, text in (("proof", said.proof), ("basis", said.basis)) if text}


def cells_of(row: TakenRow, columns: Sequence[MappedColumn]) -> tuple[str, ...]:
    """Return the cells of a row that was read and could not be taken, in the file's columns.

    As they were understood: what was repaired is repaired, and columns that go nowhere are empty.
    """
    numbers = iter((row.draft.raw_number, *(each.raw for each in row.draft.further)))
    return tuple(_cell(row, column, numbers) for column in columns)


def _cell(row: TakenRow, column: MappedColumn, numbers: Iterator[str]) -> str:
    draft, said = row.draft, row.consent or SaidConsent()
    if column.target.startswith(CUSTOM):
        value = draft.custom.get(column.target.removeprefix(CUSTOM))
        return "" if value is None else _text(value)
    match column.target:
        case Target.PHONE:
            return next(numbers, "")
        case Target.COUNTRY:
            return draft.number.country
        case Target.TAGS:
            return ";".join(draft.tags)
        case Target.TAG_IF_YES:
            return _text(column.header.strip() in draft.tags)
        case Target.DO_NOT_CALL:
            return _text(row.is_do_not_call)
        case Target.IGNORE | Target.POSTAL_CODE:
            return ""
        case target if target.startswith("consent."):
            return getattr(said, target.removeprefix("consent.")) or ""
        case target:
            return getattr(draft, target) or ""


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
