"""Several contacts that are one person become one: which value each field keeps. Pure.

The contact that stays keeps what it has; what it has not comes from the others, the first one that has it. Where
people choose, their choice counts, also where the chosen value is empty. Numbers are joined: the one that is called
first, then its others, then theirs; beyond `MAX_PHONES` they are left out and counted.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from voice_agent.contacts.model import MAX_PHONES
from voice_agent.errors import InvalidRequest

NUMBER = "number"
CUSTOM = "custom."
FIELDS = ("name", "given_name", "family_name", "company", "email", "external_id", "locale", "region", "zone")
"""What can be chosen, beside `number` and `custom.KEY`."""

_OF_NUMBER = ("e164", "raw_number", "country", "line_type")


class Phone(msgspec.Struct, frozen=True):
    """A further number."""

    e164: str
    raw_number: str
    label: str = ""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A contact that is to be one with others."""

    id: UUID
    columns: Mapping[str, Any]
    """Of its row: `FIELDS`, the number's, and `custom`."""

    further: Sequence[Phone] = ()

    @property
    def has_own_name(self) -> bool:
        """Whether its name was said, and not made of its parts."""
        parts = " ".join(part for part in (self.columns["given_name"], self.columns["family_name"]) if part)
        return bool(self.columns["name"] != parts[:200])


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of them."""

    columns: dict[str, Any]
    """Of the row that stays; what follows from them is not there (`contacts.columns.derive`)."""

    further: tuple[Phone, ...]
    left_out: int
    """Numbers beyond those that a contact may have."""


def merged(kept: Candidate, others: Sequence[Candidate], choose: Mapping[str, UUID]) -> Merged:
    """Return what the contact that is kept becomes. Raises InvalidRequest for a choice that there is not."""
    candidates = {each.id: each for each in (kept, *others)}
    _check(choose, candidates)
    chosen = {field: candidates[key] for field, key in choose.items()}
    first = chosen.get(NUMBER, kept)
    columns: dict[str, Any] = {name: first.columns[name] for name in _OF_NUMBER}
    for field in FIELDS:
        columns[field] = (
            chosen[field].columns[field]
            if field in chosen
            else next((each.columns[field] for each in candidates.values() if each.columns[field]), None)
        )
        if columns[field] is None and field != "external_id":
            columns[field] = ""
    if "name" not in chosen and not kept.has_own_name and kept.columns["name"]:
        columns["name"] = ""  # it follows from its parts, also where they come from others
    columns["custom"] = _custom(list(candidates.values()), chosen)
    further = _further(first, list(candidates.values()))
    most = MAX_PHONES - 1
    return Merged(columns=columns, further=tuple(further[:most]), left_out=len(further[most:]))


def _check(choose: Mapping[str, UUID], candidates: Mapping[UUID, Candidate]) -> None:
    for field, key in choose.items():
        if field not in (NUMBER, *FIELDS) and not field.startswith(CUSTOM):
            raise InvalidRequest(f"choose.{field}: there is no such field")
        if key not in candidates:
            raise InvalidRequest(f"choose.{field}: is none of these contacts")


def _custom(candidates: Sequence[Candidate], chosen: Mapping[str, Candidate]) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    for each in reversed(candidates):  # the first one that has it counts
        custom |= each.columns["custom"]
    for field, each in chosen.items():
        if field.startswith(CUSTOM):
            key = field.removeprefix(CUSTOM)
            custom.pop(key, None)
            if key in each.columns["custom"]:
                custom[key] = each.columns["custom"][key]
    return custom


def _further(first: Candidate, candidates: Sequence[Candidate]) -> list[Phone]:
    """Return every number but the first one, once: those of the contact that is kept, then those of the others."""
    found: dict[str, Phone] = {}
    for each in candidates:
        own = Phone(each.columns["e164"], each.columns["raw_number"])
        for phone in (own, *each.further):
            if phone.e164 != first.columns["e164"]:
                found.setdefault(phone.e164, phone)
    return list(found.values())
