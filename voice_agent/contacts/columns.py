"""From what is said about a contact to the columns of its row, for one contact and for a million.

What is said (`said`) is kept apart from what follows from it (name, time zones, words to find it by), so that every
writer, the REST interface and an import alike, derives the same. An explicit zone is believed before an address, an
address before a number; several candidates are all kept, because a call is allowed only where it is in each of them.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from voice_agent.contacts.model import ContactDraft, ZoneOrigin
from voice_agent.contacts.words import search_words
from voice_agent.storage.ids import new_id

ZonesOfRegion = Callable[[str], tuple[str, ...]]
"""Zones of an ISO 3166-2 region; empty where it is not known (`RulePacks.zones_of_region`)."""

TEXTS = ("name", "given_name", "family_name", "company", "email", "locale", "region", "zone")
"""Columns that are texts as they are said; empty where there is nothing."""

COPIED = ("e164", "raw_number", "country", "line_type", *TEXTS, "external_id", "custom")
"""Columns that people say, in contrast to those that follow from them."""

DERIVED = ("name", "zone_origin", "zone_candidates", "search_words")
EDITABLE = (*COPIED, "zone_origin", "zone_candidates", "search_words")
"""Whatever a change of a contact may change in its row."""

_FOUND_BY = ("name", "given_name", "family_name", "company", "email", "external_id")


def columns_of(
    draft: ContactDraft,
    org_id: UUID,
    now: datetime,
    *,
    zones_of_region: ZonesOfRegion,
    contact_id: UUID | None = None,
    created_in: UUID | None = None,
    source: str = "api",
) -> dict[str, Any]:
    """Return every column of a new contact's row, its key too: by default a new one. Further numbers are other rows."""
    columns: dict[str, Any] = {
        "id": contact_id or new_id(),
        "org_id": org_id,
        "source": source,
        "created_in": created_in,
        "merged_into": None,
        "revision": 1,
        "created_at": now,
        "updated_at": now,
        "deleted_at": None,
        "external_id": None,
        **dict.fromkeys(TEXTS, ""),
        **said(draft),
    }
    columns["custom"] = {key: value for key, value in draft.custom.items() if value is not None}
    derive(columns, [each.number.e164 for each in draft.further], draft.number.zones, zones_of_region)
    return columns


def changes_of(
    before: Mapping[str, Any],
    draft: ContactDraft,
    further: Sequence[str],
    *,
    zones_of_region: ZonesOfRegion,
) -> dict[str, Any]:
    """Return the columns that a draft changes in a contact, with their new values; none where it says nothing new.

    `before` are the contact's columns (`EDITABLE`), `further` the further numbers that it is going to have, E.164. Of
    its custom fields those stay that the draft does not name; a value of None takes one away.
    """
    columns: dict[str, Any] = {name: before[name] for name in EDITABLE}
    new = said(draft)
    if new["e164"] == before["e164"]:  # the same number written otherwise is no change
        del new["raw_number"]
    if new.get("name") is None and before["name"] == _joined(before):
        columns["name"] = ""  # it was made of its parts, and is made again
    columns |= new
    merged = {**before["custom"], **draft.custom}
    columns["custom"] = {key: value for key, value in merged.items() if value is not None}
    derive(columns, further, draft.number.zones, zones_of_region)
    return {name: value for name, value in columns.items() if value != before[name]}


def said(draft: ContactDraft) -> dict[str, Any]:
    """Return the columns that a draft says something about; not its custom fields, of which each counts by itself."""
    number = draft.number
    columns: dict[str, Any] = {
        "e164": number.e164,
        "raw_number": draft.raw_number,
        "country": number.country,
        "line_type": number.line_type.value,
    }
    for name in TEXTS:
        value = getattr(draft, name)
        if value is not None:
            columns[name] = value
    if draft.external_id is not None:
        columns["external_id"] = draft.external_id or None
    return columns


def derive(
    columns: dict[str, Any], further: Sequence[str], zones_of_number: Sequence[str], zones_of_region: ZonesOfRegion
) -> None:
    """Fill in what follows from the other columns of a row."""
    columns["name"] = columns["name"] or _joined(columns)
    origin, zones = _zones(columns, zones_of_number, zones_of_region)
    columns["zone_origin"] = origin.value
    columns["zone_candidates"] = list(zones)
    texts = [columns[name] for name in _FOUND_BY if columns[name]]
    columns["search_words"] = search_words([columns["e164"], *further], texts)


def _joined(columns: Mapping[str, Any]) -> str:
    return " ".join(part for part in (columns["given_name"], columns["family_name"]) if part)[:200]


def _zones(
    columns: Mapping[str, Any], zones_of_number: Sequence[str], zones_of_region: ZonesOfRegion
) -> tuple[ZoneOrigin, Sequence[str]]:
    if columns["zone"]:
        return ZoneOrigin.EXPLICIT, (columns["zone"],)
    if columns["region"] and (zones := zones_of_region(columns["region"])):
        return ZoneOrigin.ADDRESS, zones
    return (ZoneOrigin.NUMBER if zones_of_number else ZoneOrigin.NONE), zones_of_number
