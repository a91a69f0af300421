"""Single cells that become a contact's own fields: what each may be, and how it is written. Pure.

Every reader takes a cell without spaces around it, which is not empty, and returns the value or None where it is none.
"""

import re
from collections.abc import Iterable

from phonenumbers.tzdata import TIMEZONE_DATA

from voice_agent.contacts.fields import CustomField, FieldType, Style, ValueRefused, read_value
from voice_agent.contacts.model import MAX_TAGS
from voice_agent.contacts.words import folded

LONGEST_EMAIL = 320
LONGEST_TAG = 100

_EMAIL = re.compile(r"[^\s@<>(),;:\"\[\]]{1,64}@(?:[^\s@<>(),;:\"\[\].]+\.)+[^\s@<>(),;:\"\[\].\d]{2,}")
_EMAIL_AROUND = re.compile(r"^(?:mailto:|.*<)|>.*$|[;,.]+$", re.IGNORECASE)
_LOCALE = re.compile(r"([a-z]{2,3})(?:[-_]([a-z]{2}|\d{3}))?", re.IGNORECASE)
_TAG_SEPARATOR = re.compile(r"[,;|\n]")
_DATE = CustomField(key="at", label="at", type=FieldType.DATE)

_LANGUAGES = {
    "espanol": "es",
    "castellano": "es",
    "spanish": "es",
    "ingles": "en",
    "english": "en",
    "catalan": "ca",
    "catala": "ca",
    "gallego": "gl",
    "galego": "gl",
    "euskera": "eu",
    "vasco": "eu",
    "basque": "eu",
    "portugues": "pt",
    "portuguese": "pt",
    "frances": "fr",
    "french": "fr",
    "aleman": "de",
    "german": "de",
    "italiano": "it",
    "italian": "it",
}
_ZONES = frozenset(zone for zones in TIMEZONE_DATA.values() for zone in zones if "/" in zone) - {"Etc/Unknown"}
"""Zones in which there are telephones."""

_ZONES_BY_WORD = {zone.lower(): zone for zone in _ZONES} | {
    "utc": "Etc/UTC",
    "etc/utc": "Etc/UTC",
    "us/eastern": "America/New_York",
    "us/central": "America/Chicago",
    "us/mountain": "America/Denver",
    "us/pacific": "America/Los_Angeles",
}
_NOT = frozenset({"no", "n", "0", "false", "falso", "off", "-", "none", "null", "n/a", "na"})


def email_of(cell: str) -> str | None:
    """Return an e-mail address, of "Ana <ana@x.es>" the one between; in small letters where all are capital."""
    address = cell
    if not _EMAIL.fullmatch(address):
        address = _EMAIL_AROUND.sub("", address).strip()
        if not _EMAIL.fullmatch(address):
            return None
    if len(address) > LONGEST_EMAIL:
        return None
    return address.lower() if address.isupper() else address


def locale_of(cell: str) -> str | None:
    """Return a BCP 47 tag of a language and perhaps a region, by tag or by name."""
    if known := _LANGUAGES.get(folded(cell)):
        return known
    match = _LOCALE.fullmatch(cell)
    if match is None:
        return None
    return f"{match[1].lower()}-{match[2].upper()}" if match[2] else match[1].lower()


def zone_of(cell: str) -> str | None:
    """Return an IANA time zone that has telephones, however its letters are written."""
    return _ZONES_BY_WORD.get(cell.lower().replace(" ", "_"))


def date_of(cell: str, style: Style) -> str | None:
    """Return a day as YYYY-MM-DD."""
    try:
        day = read_value(_DATE, cell, style)
    except ValueRefused:
        return None
    return str(day)


def tags_of(cells: Iterable[str]) -> tuple[str, ...]:
    """Return the tags in some cells, each once, at most as many as a contact may have."""
    tags: dict[str, str] = {}
    for cell in cells:
        for part in _TAG_SEPARATOR.split(cell):
            tag = " ".join(part.split())[:LONGEST_TAG].strip()
            if tag:
                tags.setdefault(tag.casefold(), tag)
    return tuple(list(tags.values())[:MAX_TAGS])


def is_yes(cell: str) -> bool:
    """Tell whether a mark is set: anything but nothing and words for no. A date of an opt-out is one."""
    return bool(cell) and folded(cell) not in _NOT
