"""What a contact is before it is a row: from the REST interface, or from a line of somebody's file. Pure."""

from enum import StrEnum
from typing import Any

import msgspec

from voice_agent.phone_numbers import PhoneNumber

MAX_PHONES = 5
"""Numbers of one contact, the first included."""

MAX_TAGS = 50
MAX_CUSTOM_FIELDS = 500
"""Of an organisation (campaigns.md 1C)."""


class ZoneOrigin(StrEnum):
    """How it is known in which time zones a contact may be; the earlier ones win."""

    EXPLICIT = "explicit"
    ADDRESS = "address"
    NUMBER = "number"
    NONE = "none"


class FurtherNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A number beside the one that is called first."""

    number: PhoneNumber
    raw: str
    label: str = ""


class ContactDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about a contact. None means that nothing is said, and "" that there is nothing."""

    number: PhoneNumber
    raw_number: str
    further: tuple[FurtherNumber, ...] = ()
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    company: str | None = None
    email: str | None = None
    external_id: str | None = None
    locale: str | None = None
    region: str | None = None
    """ISO 3166-2 of the address, such as US-FL."""

    zone: str | None = None
    """IANA time zone, where it is said."""

    custom: dict[str, Any] = msgspec.field(default_factory=dict)
    """Values of custom fields, checked (`contacts.fields`); a key that is absent is not said."""

    tags: tuple[str, ...] = ()

    @property
    def display_name(self) -> str:
        """What people see: the name that was said, or its parts."""
        return self.name or " ".join(part for part in (self.given_name, self.family_name) if part)
