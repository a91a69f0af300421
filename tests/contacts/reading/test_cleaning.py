"""From a row to a contact, with everything that was done to it."""

from typing import Any

import pytest

from tests.contacts.reading.world import FIELDS
from voice_agent.contacts.fields import CustomField, FieldType, Style
from voice_agent.contacts.reading.cleaning import Cleaner
from voice_agent.contacts.reading.model import (
    CellRepair,
    MappedColumn,
    ReadOptions,
    RowProblem,
    RowRefusal,
    RowWarning,
    SaidConsent,
    TakenRow,
)
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.phone_numbers import NumberProblem, Repair

OPTIONS = ReadOptions(
    default_country="ES", custom_fields=(*FIELDS, CustomField(key="born", label="Born", type=FieldType.DATE))
)


def clean(
    columns: dict[str, str], *cells: str, options: ReadOptions = OPTIONS, row: SourceRow | None = None
) -> TakenRow | RowRefusal | None:
    mapped = [MappedColumn(header=header, target=target, label=header) for header, target in columns.items()]
    return Cleaner(mapped, options, Style()).clean(row or SourceRow(3, list(cells)))


def taken(columns: dict[str, str], *cells: str, options: ReadOptions = OPTIONS) -> TakenRow:
    outcome = clean(columns, *cells, options=options)
    assert isinstance(outcome, TakenRow)
    return outcome


def refused(columns: dict[str, str], *cells: str, options: ReadOptions = OPTIONS) -> RowRefusal:
    outcome = clean(columns, *cells, options=options)
    assert isinstance(outcome, RowRefusal)
    return outcome


def told(row: TakenRow | RowRefusal) -> list[tuple[str, str]]:
    return [(warning.column, str(warning.code)) for warning in row.warnings]


TEL = {"tel": "phone"}
ANA = "+34612345678"


def test_a_whole_row() -> None:
    row = taken(
        {
            "tel": "phone", "fijo": "phone", "nombre": "given_name", "apellido 1": "family_name",
            "apellido 2": "family_name", "empresa": "company", "correo": "email", "id": "external_id",
            "idioma": "locale", "zona": "zone", "provincia": "region", "grupo": "tags", "vip": "tag_if_yes",
            "saldo": "custom:balance", "plan": "custom:plan", "nacido": "custom:born", "x": "ignore",
        },
        ANA, "912345678", "Ana", "Gil", "Pérez", "ACME", "ana@x.es", "7", "español", "Europe/Madrid", "Las Palmas",
        "oro; plata", "sí", "1.5", "basic", "02/01/1980", "nothing",
    )  # fmt: skip

    draft = row.draft
    assert (draft.number.e164, draft.raw_number) == (ANA, ANA)
    assert [(one.number.e164, one.raw, one.label) for one in draft.further] == [("+34912345678", "912345678", "fijo")]
    assert (draft.name, draft.given_name, draft.family_name) == (None, "Ana", "Gil Pérez")
    assert (draft.company, draft.email, draft.external_id) == ("ACME", "ana@x.es", "7")
    assert (draft.locale, draft.zone, draft.region) == ("es", "Europe/Madrid", "ES-CN")
    assert draft.tags == ("oro", "plata", "vip")
    assert draft.custom == {"balance": 1.5, "plan": "basic", "born": "1980-01-02"}
    assert (row.row, row.consent, row.is_do_not_call) == (3, None, False)
    assert row.warnings == (RowWarning("fijo", Repair.COUNTRY, "912345678"),)


def test_what_is_not_said_is_not_in_the_draft() -> None:
    draft = taken(
        {**TEL, "a": "name", "b": "email", "c": "custom:plan", "d": "region", "e": "tags"}, ANA, *[""] * 5
    ).draft

    assert (draft.name, draft.email, draft.region, draft.custom, draft.tags) == (None, None, None, {}, ())


@pytest.mark.parametrize(
    ("raw", "repair", "e164"),
    [
        ("612345678", Repair.COUNTRY, ANA),
        ("34612345678", Repair.PLUS, ANA),
        ("3.4612345678E+10", Repair.SCIENTIFIC, ANA),
        ("34612345678.0", Repair.DECIMAL, ANA),
        ("+52 1 55 1234 5678", Repair.MEXICO, "+525512345678"),
    ],
)
def test_repairs_of_numbers_are_told(raw: str, repair: Repair, e164: str) -> None:
    row = taken(TEL, f" {raw} ")

    assert (row.draft.number.e164, row.draft.raw_number) == (e164, raw)
    assert repair in [warning.code for warning in row.warnings]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("", NumberProblem.MISSING),
        ("  ", NumberProblem.MISSING),
        ("none", NumberProblem.NOT_A_NUMBER),
        ("4.41E+11", NumberProblem.LOST_DIGITS),
        ("612", NumberProblem.NOT_VALID),
    ],
)
def test_a_row_without_a_number_is_refused(raw: str, problem: NumberProblem) -> None:
    row = refused({**TEL, "nombre": "name"}, raw, "Ana")

    assert (row.row, row.column, row.code, row.cells) == (3, "tel", problem, (raw, "Ana"))
    assert row.reason


def test_the_country_of_a_row_counts() -> None:
    columns = {**TEL, "país": "country", "cp": "postal_code", "estado": "region"}

    assert taken(columns, "5512345678", "México", "", "").draft.number.e164 == "+525512345678"
    assert taken(columns, "612345678", "Atlantis", "35001", "").draft.region == "ES-CN"
    assert taken(columns, "6502530000", "US", "33139", "").draft.region == "US-FL"
    assert taken(columns, "6502530000", "US", "33139", "Texas").draft.region == "US-TX"
    assert taken(columns, "6502530000", "US", "", "").draft.region is None
    row = taken(columns, "6502530000", "US", "33139", "Gotham")
    assert (row.draft.region, told(row)[-1]) == ("US-FL", ("estado", "dropped"))
    assert taken({**TEL, "provincia": "region"}, ANA, "Madrid").draft.region == "ES-MD"
    assert taken({**TEL, "cp": "postal_code"}, ANA, "28001").draft.region == "ES-MD"
    assert taken({**TEL, "cp": "postal_code"}, ANA, "?").draft.region is None


def test_the_next_number_moves_up() -> None:
    row = taken({"a": "phone", "b": "phone", "c": "phone"}, "none", "612345678", "zero")

    assert row.draft.number.e164 == ANA
    assert told(row) == [
        ("b", "country"), ("a", "dropped_number"), ("c", "dropped_number"), ("a", "moved_up"),
    ]  # fmt: skip
    # An empty first column is usual where people have a landline alone.
    assert told(taken({"a": "phone", "b": "phone"}, "", ANA)) == []


def test_several_numbers_in_one_cell_are_divided() -> None:
    row = taken(TEL, "612345678 / 912345678; 612345678")

    assert (row.draft.number.e164, [one.number.e164 for one in row.draft.further]) == (ANA, ["+34912345678"])
    assert ("tel", "split") in told(row)
    assert taken(TEL, "612345678/912345678").draft.further[0].number.e164 == "+34912345678"
    assert refused(TEL, "none; nothing").code == NumberProblem.NOT_A_NUMBER


def test_five_numbers_at_most() -> None:
    row = taken(TEL, ";".join(f"61234567{digit}" for digit in range(8)))

    assert len(row.draft.further) == 4


def test_what_cannot_be_seen_is_taken_away() -> None:
    row = taken(
        {**TEL, "nombre": "name", "plan": "custom:plan"}, f"\u202a{ANA}\u202c", " Ana\x00\u200b  Gil ", "a\tb\nc"
    )

    assert (row.draft.number.e164, row.draft.raw_number, row.draft.name) == (ANA, ANA, "Ana Gil")
    assert row.draft.custom == {"plan": "a\tb\nc"}
    assert told(row) == [("tel", "control"), ("nombre", "control"), ("nombre", "trimmed")]


def test_joiners_of_other_scripts_stay() -> None:
    assert taken({**TEL, "n": "name"}, ANA, "می\u200cخواهم").draft.name == "می\u200cخواهم"


def test_of_two_names_the_first_counts() -> None:
    columns = {**TEL, "n": "name", "m": "name"}

    assert taken(columns, ANA, "", "Eva").draft.name == "Eva"
    assert taken(columns, ANA, "Ana", "Eva").draft.name == "Ana"
    assert taken(columns, ANA, "", "").draft.name is None


def test_long_texts_are_shortened() -> None:
    row = taken({**TEL, "n": "name", "p": "custom:plan"}, ANA, "x" * 300, "y" * 3_000)

    assert (len(row.draft.name or ""), len(row.draft.custom["plan"])) == (200, 2_000)
    assert told(row) == [("n", "shortened"), ("p", "shortened")]


@pytest.mark.parametrize(
    ("target", "bad"),
    [
        ("email", "ana"),
        ("locale", "??"),
        ("zone", "Mars/Base"),
        ("region", "Gotham"),
        ("custom:balance", "much"),
        ("custom:born", "31/02/2026"),
        ("consent.at", "yesterday"),
    ],
)
def test_bad_values_are_left_out_or_refused(target: str, bad: str) -> None:
    columns = {**TEL, "x": target}
    strict = ReadOptions(default_country="ES", custom_fields=OPTIONS.custom_fields, refuses_bad_values=True)

    row = taken(columns, ANA, bad)
    assert row.warnings == (RowWarning("x", CellRepair.DROPPED, bad),)
    assert row.draft.custom == {}
    assert row.consent is None

    refusal = refused(columns, ANA, bad, options=strict)
    assert (refusal.column, refusal.code) == ("x", RowProblem.BAD_VALUE)
    assert refusal.reason


def test_capital_addresses_are_told() -> None:
    row = taken({**TEL, "e": "email"}, ANA, "ANA@X.ES")

    assert (row.draft.email, told(row)) == ("ana@x.es", [("e", "case")])


def test_consents() -> None:
    columns: dict[str, str] = {
        **TEL, "at": "consent.at", "until": "consent.expires", "for": "consent.purpose", "by": "consent.basis",
        "text": "consent.wording", "where": "consent.proof",
    }  # fmt: skip

    assert taken(columns, ANA, "02/01/2026", "2027-01-02", "marketing", "consent", "v1", "form").consent == SaidConsent(
        at="2026-01-02", expires="2027-01-02", purpose="marketing", basis="consent", wording="v1", proof="form"
    )
    assert taken(columns, ANA, *[" "] * 6).consent is None


@pytest.mark.parametrize(
    ("cell", "is_set"), [("x", True), ("2026-01-02", True), ("no", False), ("", False), (" ", False)]
)
def test_marks_not_to_call(cell: str, *, is_set: bool) -> None:
    assert taken({**TEL, "baja": "do_not_call"}, ANA, cell).is_do_not_call is is_set


def test_tags_alone_by_mark() -> None:
    columns = {**TEL, "vip": "tag_if_yes", "nuevo": "tag_if_yes"}

    assert taken(columns, ANA, "no", "1").draft.tags == ("nuevo",)


@pytest.mark.parametrize("cells", [["", ""], [" ", "\t"]])
def test_blank_rows_are_nothing(cells: list[str]) -> None:
    assert clean({**TEL, "n": "name"}, *cells) is None


def test_rows_that_could_not_be_read_are_refused_as_they_stand() -> None:
    source = SourceRow(9, ["a", "b", "c"], RowProblem.TOO_MANY_CELLS, (CellRepair.ENCODING,))

    row = clean(TEL, row=source)

    assert row == RowRefusal(
        9,
        "",
        RowProblem.TOO_MANY_CELLS,
        "it has more cells than the table has columns",
        ("a", "b", "c"),
        (RowWarning("", CellRepair.ENCODING, ""),),
    )


def test_repairs_of_the_row_are_told() -> None:
    row = clean({**TEL, "n": "name"}, row=SourceRow(1, [ANA, ""], None, (CellRepair.MISSING_CELLS,)))

    assert isinstance(row, TakenRow)
    assert told(row) == [("", "missing_cells")]


def test_one_row_does_not_tell_of_another() -> None:
    cleaner = Cleaner([MappedColumn(header="tel", target="phone")], OPTIONS, Style())

    outcomes: list[Any] = [cleaner.clean(SourceRow(number, [raw])) for number, raw in enumerate(["612345678", ANA])]

    assert [len(outcome.warnings) for outcome in outcomes] == [1, 0]
