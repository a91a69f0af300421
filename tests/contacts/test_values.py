"""E-mail addresses, locales, regions and zones as people write them."""

from collections.abc import Callable

import pytest

from voice_agent.contacts.values import read_email, read_locale, read_region, read_zone
from voice_agent.errors import InvalidRequest


@pytest.mark.parametrize(
    ("read", "text", "kept"),
    [
        (read_email, " Ana.G+x@Example.COM ", "Ana.G+x@example.com"),
        (read_email, "ñandú@correo.españa.es", "ñandú@correo.españa.es"),
        (read_email, "", ""),
        (read_locale, "ES", "es"),
        (read_locale, "es_mx", "es-MX"),
        (read_locale, "es-419", "es-419"),
        (read_locale, " ", ""),
        (read_region, "us-fl", "US-FL"),
        (read_region, "", ""),
        (read_zone, "europe/madrid", "Europe/Madrid"),
        (read_zone, "", ""),
    ],
)
def test_what_can_be_is_kept_in_one_spelling(read: Callable[[str], str], text: str, kept: str) -> None:
    assert read(text) == kept


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_email, "ana"),
        (read_email, "ana@"),
        (read_email, "ana@x"),
        (read_email, "ana@x..example"),
        (read_email, "ana b@x.example"),
        (read_email, "a" * 65 + "@x.example"),
        (read_email, "ana@" + "x" * 250 + ".example"),
        (read_locale, "Spanish"),
        (read_locale, "es-MEX"),
        (read_region, "Florida"),
        (read_zone, "CEST+2"),
    ],
)
def test_what_cannot_be_is_refused(read: Callable[[str], str], text: str) -> None:
    with pytest.raises(InvalidRequest):
        read(text)
