"""What a column's header says in Spanish and English: where the column goes. Pure.

A header is compared in small letters without accents, its signs as spaces. The first line that fits it wins, so the
narrower words stand first: "fecha de consentimiento" before "fecha", "company phone" before "company".
"""

import re

from voice_agent.contacts.reading.model import Target
from voice_agent.contacts.words import folded

_NO_LETTER = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

_PHONE_WORDS = (
    r"tel|tels|telf|tfno|tlf|tlfno|telefono|telefonos|fono|phone|phones|telephone|movil|moviles|celular|celulares|cel|"
    r"cell|cellphone|mobile|mob|whats ?app|wa|msisdn|landline"
)

_LINES: tuple[tuple[Target, str], ...] = (
    (Target.DO_NOT_CALL, r"(?:no|do not|dont|don t|not to) (?:llamar|llamadas?|call|contactar|contact)|no molestar"),
    (
        Target.DO_NOT_CALL,
        r"dnc|donotcall|opt ?out|opted ?out|robinson|lista robinson|baja|baja llamadas|exclu(?:ir|ido)",
    ),
    (Target.DO_NOT_CALL, r"blacklist(?:ed)?|suppress(?:ed)?|unsubscribed|lista negra|no quiere llamadas"),
    (
        Target.CONSENT_EXPIRES,
        r"(?:fin|caducidad|vencimiento|expira(?:cion)?)(?: de(?:l)?)? consentimiento|consent (?:expir\w+|until|end)",
    ),
    (
        Target.CONSENT_AT,
        r"(?:fecha|date)(?: (?:de(?:l)?|of))? (?:consentimiento|consent|opt ?in|alta lopd|aceptacion)"
        r"|(?:consent\w*|opt ?in|opted in)(?: given)? (?:date|at|on|fecha|time|timestamp)|consent at",
    ),
    (Target.CONSENT_PURPOSE, r"(?:finalidad|proposito)(?: de(?:l)?)?(?: consentimiento)?|consent purpose|purpose"),
    (Target.CONSENT_BASIS, r"base (?:legal|juridica)|(?:legal|consent) basis|lawful basis"),
    (Target.CONSENT_WORDING, r"(?:texto|version)(?: de(?:l)?)? consentimiento|consent (?:wording|text|version)"),
    (
        Target.CONSENT_PROOF,
        r"(?:prueba|origen|fuente|evidencia)(?: de(?:l)?)? consentimiento|consent (?:proof|source|evidence|url)",
    ),
    (Target.IGNORE, r"(?:.* )?fax(?: .*)?"),
    (Target.EMAIL, r"(?:.* )?(?:e ?mails?|correos?(?: electronicos?)?|mail)(?: \w+){0,2}"),
    (Target.COUNTRY, r"pais(?: \w+)?|country(?: code| name)?|codigo (?:de )?pais|nacion"),
    (Target.PHONE, rf"(?:.* )?(?:{_PHONE_WORDS})(?: .*)?|(?:{_PHONE_WORDS})\d"),
    (Target.PHONE, r"numero(?: de contacto)?|contact number|number|n(?:um|ro|o)?|numero a llamar|to number"),
    (Target.POSTAL_CODE, r"cp|c p|(?:codigo|cod) (?:postal|p)|zip(?: ?code)?|post(?:al)? ?code|postcode|zipcode"),
    (Target.ZONE, r"(?:zona|huso|uso) horari[ao]|time ?zone|timezone|tz"),
    (Target.LOCALE, r"idioma(?: \w+)?|lengua|language|preferred language|locale|lang"),
    (Target.TAGS, r"etiquetas?|tags?|labels?|categor(?:ia|ias|y|ies)|grupos?|groups?|group membership"),
    (
        Target.EXTERNAL_ID,
        r"id|uid"
        r"|(?:id|cod|codigo|numero|num|nro|n) (?:de(?:l)? )?(?:client[ea]|contacto|crm|abonado|socio|usuario)"
        r"|(?:customer|client|contact|external|record|lead|user|account|member) (?:id|key|number|no|ref)"
        r"|(?:external|crm) ?id|referencia|ref|clave",
    ),
    (
        Target.REGION,
        r"provincia|estado|comunidad(?: autonoma)?|ccaa|region|state|province|county|entidad(?: federativa)?",
    ),
    (
        Target.COMPANY,
        r"empresa|compania|company(?: name)?|organi[sz]aci?on|organi[sz]ation(?: name)?|razon social|business(?: name)?"
        r"|nombre (?:de (?:la )?)?empresa|account(?: name)?|sociedad|negocio",
    ),
    (
        Target.FAMILY_NAME,
        r"(?:primer |segundo |1er |2o? )?apellidos?(?: \d| paterno| materno)?|apell"
        r"|surname|last ?name|family ?name|lname",
    ),
    (
        Target.NAME,
        r"(?:nombre|name) (?:y|and|e|&) .*|nombre ?(?:completo|apellidos?)|full ?name|display ?name|contact ?name|name"
        r"|(?:nombre (?:de(?:l)? )?)?(?:contacto|cliente|titular)|customer ?name|client ?name|contact|customer|fn",
    ),
    (Target.GIVEN_NAME, r"nombres?(?: de pila)?|primer nombre|first ?name|given ?name|fname|forename"),
)
_COMPILED = tuple((target, re.compile(pattern)) for target, pattern in _LINES)

_LABELS = (
    ("mobile", re.compile(r"\b(?:movil|moviles|celular|celulares|cel|cell|cellphone|mobile|mob|whats ?app|wa)\b")),
    ("home", re.compile(r"\b(?:casa|domicilio|particular|home|fijo|landline)\b")),
    ("work", re.compile(r"\b(?:trabajo|oficina|empresa|work|office|business|company)\b")),
    ("other", re.compile(r"\b(?:otro|otros|other|alternativo|secundario|adicional|second|secondary|alt)\b")),
)


def plain(header: str) -> str:
    """Return a header as it is compared: words in small letters without accents, one space between them."""
    return _NO_LETTER.sub(" ", folded(_CAMEL.sub(" ", header))).strip()


def target_of(header: str) -> Target | None:
    """Return where a column goes by its header, None where that says nothing."""
    words = plain(header)
    if not words:
        return None
    for target, pattern in _COMPILED:
        if pattern.fullmatch(words):
            return target
    return None


def label_of(header: str) -> str:
    """Return what a number is for people, by its column's header."""
    words = plain(header)
    return next((label for label, pattern in _LABELS if pattern.search(words)), "")


def key_of(header: str) -> str:
    """Return the key of a custom field for a column (`contacts.fields.KEY`)."""
    key = plain(header).replace(" ", "_")[:64].strip("_")
    if not key:
        return "field"
    return key if key[0].isalpha() else f"field_{key}"[:64].strip("_")
