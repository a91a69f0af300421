"""What columns are called, in Spanish and English."""

import pytest

from voice_agent.contacts.fields import KEY
from voice_agent.contacts.reading.header_words import key_of, label_of, target_of
from voice_agent.contacts.reading.model import Target

WORDS = {
    Target.PHONE: [
        "Teléfono", "TELEFONO 2", "móvil", "Celular", "tel.", "Tfno", "Phone", "phone_number", "Mobile Phone", "Cell",
        "Nº de teléfono", "phoneNumber", "Company phone", "WhatsApp", "Phone 1 - Value", "Número", "Teléfono trabajo",
    ],
    Target.NAME: ["Nombre completo", "Nombre y apellidos", "Full Name", "Name", "Cliente", "Contact name"],
    Target.GIVEN_NAME: ["Nombre", "First Name", "firstName", "given_name", "Nombres"],
    Target.FAMILY_NAME: ["Apellidos", "Primer apellido", "Apellido 2", "Last Name", "Surname", "apellido paterno"],
    Target.EMAIL: ["Correo", "E-mail", "email", "Correo electrónico", "Email Address", "Work email"],
    Target.COMPANY: ["Empresa", "Razón social", "Company", "Organization", "Business name"],
    Target.POSTAL_CODE: ["CP", "C.P.", "Código postal", "ZIP", "Zip Code", "Postal code"],
    Target.REGION: ["Provincia", "Estado", "State", "Comunidad Autónoma"],
    Target.COUNTRY: ["País", "Country"],
    Target.ZONE: ["Zona horaria", "Time zone", "timezone", "Huso horario"],
    Target.LOCALE: ["Idioma", "Language", "locale"],
    Target.TAGS: ["Etiquetas", "Tags", "Grupo", "Categoría"],
    Target.EXTERNAL_ID: ["ID", "id cliente", "ID_Cliente", "Customer ID", "externalId", "Código cliente", "CRM ID"],
    Target.CONSENT_AT: ["Fecha de consentimiento", "Consent date", "opt-in date", "consent_at"],
    Target.CONSENT_EXPIRES: ["Caducidad del consentimiento", "Consent expiry"],
    Target.CONSENT_BASIS: ["Base legal", "Legal basis"],
    Target.CONSENT_PURPOSE: ["Finalidad"],
    Target.CONSENT_WORDING: ["Consent text"],
    Target.CONSENT_PROOF: ["Origen del consentimiento", "Consent source"],
    Target.DO_NOT_CALL: ["No llamar", "Do not call", "DNC", "opt-out", "Lista Robinson", "No contactar", "doNotCall"],
    Target.IGNORE: ["Fax", "Home Fax"],
}  # fmt: skip


@pytest.mark.parametrize(("header", "target"), [(word, target) for target, words in WORDS.items() for word in words])
def test_headers_are_known(header: str, target: Target) -> None:
    assert target_of(header) is target


@pytest.mark.parametrize("header", ["", "dato 3", "Saldo", "fecha de nacimiento", "Ciudad", "---", "observaciones"])
def test_other_headers_say_nothing(header: str) -> None:
    assert target_of(header) is None


@pytest.mark.parametrize(
    ("header", "label"),
    [
        ("Teléfono móvil", "mobile"),
        ("Home phone", "home"),
        ("Tel. oficina", "work"),
        ("Otro tel.", "other"),
        ("Tel", ""),
    ],
)
def test_headers_tell_what_a_number_is_for(header: str, label: str) -> None:
    assert label_of(header) == label


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Fecha de última compra", "fecha_de_ultima_compra"),
        ("2024 total", "field_2024_total"),
        ("¿?", "field"),
        ("x" * 90, "x" * 64),
        ("9" * 90, "field_" + "9" * 58),
    ],
)
def test_keys_of_fields_are_made_from_headers(header: str, key: str) -> None:
    assert key_of(header) == key
    assert KEY.fullmatch(key)
