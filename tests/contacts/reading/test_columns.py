"""What columns are taken for, and which mappings can be used."""

import pytest

from tests.contacts.reading.world import FIELDS, SPAIN, mapping
from voice_agent.contacts.fields import CustomField, FieldType, Style
from voice_agent.contacts.reading.columns import (
    BY_HEADER,
    BY_HEADER_ALONE,
    check_mapping,
    fit,
    guess,
    is_known_header,
    type_of,
    with_template,
)
from voice_agent.contacts.reading.model import (
    Column,
    FileFormat,
    FileProblem,
    FileRefused,
    Inspection,
    MappedColumn,
    Mapping,
    ReadOptions,
)

STYLE = Style()


def targets(headers: list[str], *rows: list[str], options: ReadOptions = SPAIN) -> list[str]:
    return [column.target for column in guess(headers, rows, options, STYLE)]


def test_headers_decide() -> None:
    found = guess(
        ["Nombre", "Apellidos", "Móvil", "Correo", "Provincia", "País", "Saldo"],
        [["Ana", "Gil", "612345678", "ana@x.es", "Madrid", "España", "1.5"]],
        SPAIN,
        STYLE,
    )

    assert [column.target for column in found] == [
        "given_name", "family_name", "phone", "email", "region", "country", "custom:saldo",
    ]  # fmt: skip
    assert [column.confidence for column in found[:6]] == [BY_HEADER] * 6
    assert (found[2].label, found[2].samples) == ("mobile", ("612345678",))
    assert (found[6].new_field, found[0].new_field) == (FieldType.NUMBER, None)


def test_a_name_alone_is_the_whole_name() -> None:
    assert targets(["Nombre", "Tel"], ["Ana Gil", "612345678"]) == ["name", "phone"]


def test_columns_without_known_headers_are_what_stands_in_them() -> None:
    found = guess(
        ["dato 1", "dato 2", "dato 3", "dato 4"],
        [["Ana", "ana@x.es", "612345678", ""], ["Eva", "", "nada", ""], ["Ida", "eva@x.es", "tampoco", ""]],
        SPAIN,
        STYLE,
    )

    assert [column.target for column in found] == ["custom:dato_1", "email", "custom:dato_3", "ignore"]


def test_a_column_of_numbers_is_the_phone_whatever_it_is_called() -> None:
    found = guess(["dato 1", "dato 3"], [["Ana", "612345678"], ["Eva", "612 34 56 79"]], SPAIN, STYLE)

    assert [(column.target, column.confidence) for column in found] == [("custom:dato_1", 0.5), ("phone", 0.75)]


def test_what_a_header_says_must_be_borne_out() -> None:
    rows = [["12", "activo", "no tiene", "-"], ["14", "baja", "no", "Gotham"]]

    assert targets(["Número", "Estado", "Correo", "País"], *rows) == [
        "custom:numero", "custom:estado", "custom:correo", "custom:pais",
    ]  # fmt: skip
    (column,) = guess(["Tel"], [["612345678"], ["no"], ["?"]], SPAIN, STYLE)
    assert (column.target, column.confidence) == ("phone", BY_HEADER_ALONE)


def test_numbers_without_a_country_and_spoiled_ones_are_numbers() -> None:
    assert targets(["tel"], ["612345678"], options=ReadOptions()) == ["phone"]
    assert targets(["tel"], ["3.46E+10"]) == ["phone"]


def test_a_target_is_given_once_and_five_numbers_at_most() -> None:
    assert targets(["email", "e-mail 2"], ["a@x.es", "b@x.es"]) == ["email", "custom:e_mail_2"]
    assert targets([f"tel {n}" for n in range(6)], ["612345678"] * 6) == ["phone"] * 5 + ["custom:tel_5"]
    assert targets([f"x {n}" for n in range(6)], ["612345678"] * 6) == ["phone"] * 5 + ["custom:x_5"]


def test_empty_columns_are_believed_or_ignored() -> None:
    assert targets(["tel", "nada"], ["", ""]) == ["phone", "ignore"]


def test_the_organisations_fields_come_before_words() -> None:
    fields = (CustomField(key="plan", label="Plan actual"), CustomField(key="cp", label="x"))
    options = ReadOptions(custom_fields=fields)

    assert targets(["plan_actual", "CP", "PLAN"], ["oro", "28001", "x"], options=options) == [
        "custom:plan", "custom:cp", "custom:plan",
    ]  # fmt: skip


def test_keys_of_new_fields_are_new() -> None:
    assert targets(["Edad!", "edad"], ["41", "42"], options=ReadOptions(custom_fields=FIELDS)) == [
        "custom:edad", "custom:edad_2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5"], FieldType.NUMBER),
        (["0", "1"], FieldType.NUMBER),
        (["sí", "no"], FieldType.BOOLEAN),
        (["2026-01-02", "03/04/2026"], FieldType.DATE),
        (["01234"], FieldType.TEXT),
        (["0"], FieldType.NUMBER),
        (["Ana"], FieldType.TEXT),
        (["1", "Ana"], FieldType.TEXT),
    ],
)
def test_types_of_fields_are_the_narrowest(cells: list[str], kind: FieldType) -> None:
    assert type_of(cells, STYLE) is kind


def test_known_headers() -> None:
    assert is_known_header("Teléfono")
    assert not is_known_header("Ana")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (mapping(nombre="name"), "one to 5"),
        (Mapping(columns=tuple(MappedColumn(header=str(n), target="phone") for n in range(6))), "one to 5"),
        (mapping(tel="phone", x="custom:nothing"), "no custom field 'nothing'"),
        (mapping(tel="phone", x="custom:NO"), "no custom field 'NO'"),
        (mapping(tel="phone", x="somewhere"), "nowhere to go"),
        (mapping(tel="phone", a="email", b="email"), "two columns go to 'email'"),
        (mapping(tel="phone", a="custom:plan", b="custom:plan"), "two columns"),
        (Mapping(columns=(MappedColumn(header="a", target="phone"), MappedColumn(header="a"))), "twice"),
    ],
)
def test_mappings_that_cannot_be_used(wrong: Mapping, words: str) -> None:
    with pytest.raises(FileRefused, match=words) as refusal:
        check_mapping(wrong, FIELDS)

    assert refusal.value.problem is FileProblem.MAPPING


def test_mappings_that_can() -> None:
    check_mapping(mapping(a="phone", b="phone", c="name", d="name", e="tags", f="tags", g="custom:plan"), FIELDS)


def test_a_mapping_fits_a_file_by_its_headers() -> None:
    fitting = fit(mapping(tel="phone", nada="ignore"), ("x", "tel"))

    assert fitting == (MappedColumn(header="x"), MappedColumn(header="tel", target="phone"))
    with pytest.raises(FileRefused, match="no column 'baja'"):
        fit(mapping(tel="phone", baja="do_not_call"), ("tel",))


def test_a_template_is_put_over_what_was_guessed() -> None:
    def column(header: str, target: str) -> Column:
        return Column(header=header, samples=(), target=target, confidence=1.0)

    columns = (column("TEL.", "phone"), column("Mail", "email"), column("mail 2", "email"), column("x", "custom:x"))
    template = Mapping(
        columns=(MappedColumn(header="tel", target="phone", label="work"), *mapping(mail_2="email").columns)
    )

    found = with_template(template, columns)

    assert found == Mapping(
        columns=(
            MappedColumn(header="TEL.", target="phone", label="work"),
            MappedColumn(header="Mail"),
            MappedColumn(header="mail 2", target="email"),
            MappedColumn(header="x", target="custom:x"),
        )
    )
    inspection = Inspection(format=FileFormat(), columns=columns, size_bytes=0, rows_estimate=0)
    assert with_template(Mapping(columns=()), columns) == inspection.mapping
