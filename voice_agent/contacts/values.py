"""Values of a contact's fields as people write them: an e-mail address, a locale, a region, a time zone.

Checked is whether they can be such a thing, not whether they exist: an address may be any that could get mail. Zones
are those of the IANA database that this Python has.
"""

import re
from functools import cache
from zoneinfo import available_timezones

from voice_agent.errors import InvalidRequest

LONGEST_EMAIL = 254
"""RFC 5321, section 4.5.3.1.3, without its angle brackets."""

_EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,63}")
_LOCALE = re.compile(r"([a-zA-Z]{2,3})(?:[-_]([a-zA-Z]{2}|\d{3}))?")
_REGION = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")


def read_email(text: str) -> str:
    """Return an address as it is kept: its domain in small letters; empty for none. Raises InvalidRequest."""
    text = text.strip()
    if not text:
        return ""
    if len(text) > LONGEST_EMAIL or not _EMAIL.fullmatch(text) or ".." in text:
        raise InvalidRequest("email: this is no e-mail address")
    local, _, domain = text.rpartition("@")
    return f"{local}@{domain.lower()}"


def read_locale(text: str) -> str:
    """Return a language, with its country where it is named: es, es-MX; empty for none. Raises InvalidRequest."""
    text = text.strip()
    if not text:
        return ""
    match = _LOCALE.fullmatch(text)
    if match is None:
        raise InvalidRequest("locale: is written as es or es-MX")
    language, country = match.groups()
    return f"{language.lower()}-{country.upper()}" if country else language.lower()


def read_region(text: str) -> str:
    """Return an ISO 3166-2 region, such as US-FL; empty for none. Raises InvalidRequest."""
    text = text.strip().upper()
    if text and not _REGION.fullmatch(text):
        raise InvalidRequest("region: is written as in ISO 3166-2, such as US-FL")
    return text


def read_zone(text: str) -> str:
    """Return the IANA name of a time zone, in its own spelling; empty for none. Raises InvalidRequest."""
    text = text.strip()
    if not text:
        return ""
    zone = _zones().get(text.lower())
    if zone is None:
        raise InvalidRequest("zone: there is no such IANA time zone")
    return zone


@cache
def _zones() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}
