"""Contacts in a database, for the tests of what is done with them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.calls.stored_calls import NOW
from voice_agent.contacts import repository
from voice_agent.contacts.columns import columns_of
from voice_agent.contacts.model import ContactDraft, FurtherNumber
from voice_agent.phone_numbers import read_number
from voice_agent.storage.database import Database
from voice_agent.storage.tables import ContactRow

ANA = "+34612345678"
BEN = "+447400123456"
EVA = "+12125550100"


def zones_of_region(region: str) -> tuple[str, ...]:
    """Return the zones of the one region that there is here."""
    return ("America/New_York", "America/Chicago") if region == "US-FL" else ()


def a_draft(number: str = ANA, *, further: Sequence[str] = (), **said: Any) -> ContactDraft:
    """Return what is said about a contact."""
    numbers = tuple(FurtherNumber(number=read_number(each), raw=each, label="home") for each in further)
    return ContactDraft(number=read_number(number), raw_number=number, further=numbers, **said)


async def store_contacts(database: Database, org_id: UUID, *drafts: ContactDraft, **columns: Any) -> list[ContactRow]:
    """Store contacts with their further numbers and tags, a second apart; return them in the same order."""
    rows = [
        columns_of(draft, org_id, NOW + timedelta(seconds=number), zones_of_region=zones_of_region) | columns
        for number, draft in enumerate(drafts)
    ]
    async with database.write() as session:
        await repository.insert_many(session, rows)
        for draft, row in zip(drafts, rows, strict=True):
            await repository.insert_phones(session, repository.phones_of(row["id"], org_id, draft.further))
            tags = await repository.ensure_tags(session, org_id, draft.tags, NOW)
            await repository.tag_many(session, org_id, [(row["id"], tag) for tag in tags.values()], added_in=None)
    async with database.read() as session:
        return [await session.get_one(ContactRow, row["id"]) for row in rows]


async def reread(database: Database, contact_id: UUID) -> ContactRow:
    """Return a contact as it is stored."""
    async with database.read() as session:
        return await session.get_one(ContactRow, contact_id)
