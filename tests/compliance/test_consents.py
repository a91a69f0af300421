"""The ledger of consents: added to and never changed; what is undated counts only for who never said no."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.compliance.ledgers import ANA, BEN, Ledgers, ledgers
from tests.compliance.people import LONG_AGO
from voice_agent.compliance.model import Basis, ConsentAction, ConsentEntry, Purpose
from voice_agent.compliance.rules import months_later
from voice_agent.errors import Conflict, InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.tables import AuditRow, ConsentRow

M = Purpose.MARKETING
DAY = timedelta(days=1)


@pytest.fixture
async def world(database: Database) -> Ledgers:
    return await ledgers(database)


def said(number: str = ANA, **words: object) -> ConsentEntry:
    return ConsentEntry(**({"e164": number, "purpose": M, "basis": Basis.EXPRESS, "at": LONG_AGO} | words))  # type: ignore[arg-type]


async def add(world: Ledgers, *entries: ConsentEntry) -> int:
    async with world.database.write() as session:
        return await world.service.consent_many(session, world.org_id, entries, created_by="Marta")


async def ledger(world: Ledgers, number: str = ANA) -> list[ConsentRow]:
    async with world.database.read() as session:
        return list(await world.service.consents_of(session, world.org_id, number))


async def test_a_consent_lets_a_number_be_called_and_saying_it_again_changes_nothing(world: Ledgers) -> None:
    assert "consent_missing" in await world.codes(ANA, M)

    entry = said(wording_version="2026-1", proof={"form": "https://harbour.test/form"})
    assert await add(world, entry, entry, said(BEN)) == 2
    assert await add(world, entry) == 0
    assert await world.codes(ANA, M) == []
    (row,) = await ledger(world)
    assert (row.wording_version, row.proof, row.created_by) == (
        "2026-1", {"form": "https://harbour.test/form"}, "Marta",
    )  # fmt: skip


async def test_a_consent_ends_as_its_countrys_pack_says_or_earlier(world: Ledgers) -> None:
    early = LONG_AGO + 20 * DAY
    await add(
        world,
        said(),
        said(BEN, expires_at=early),
        said("+447700900123", expires_at=None),
        said("+34000000000"),
    )  # fmt: skip

    rows = [(await ledger(world, number))[0] for number in (ANA, BEN, "+447700900123", "+34000000000")]
    assert [row.expires_at for row in rows] == [months_later(LONG_AGO, 24), early, None, None]


async def test_the_last_word_counts_and_an_old_one_that_comes_late_does_not(world: Ledgers) -> None:
    await add(world, said())
    await add(world, said(action=ConsentAction.REVOKE, basis=Basis.MESSAGE, at=LONG_AGO + 9 * DAY))
    assert await world.codes(ANA, M) == ["consent_revoked", "registry_unchecked"]

    assert await add(world, said(at=LONG_AGO + DAY)) == 1
    assert "consent_revoked" in await world.codes(ANA, M)
    assert await add(world, said(at=LONG_AGO + 10 * DAY)) == 1
    assert await world.codes(ANA, M) == []
    assert len(await ledger(world)) == 4


@pytest.mark.parametrize("is_dated_later", [True, False])
async def test_what_has_no_date_counts_for_who_never_took_it_back_and_once(
    world: Ledgers, is_dated_later: bool
) -> None:
    undated = said(at=world.now + DAY if is_dated_later else None)

    assert await add(world, undated) == 1
    world.pass_time(minutes=1)
    assert await add(world, undated, said(at=None, basis=Basis.WRITTEN)) == 1
    revocation = said(action=ConsentAction.REVOKE, at=None)
    assert await add(world, revocation) == 1
    world.pass_time(minutes=1)
    assert await add(world, undated, said(at=None, basis=Basis.CUSTOMER)) == 0
    assert await add(world, said(at=None, purpose=Purpose.SURVEY)) == 1
    assert "consent_revoked" in await world.codes(ANA, M)


async def test_many_undated_ones_are_looked_up_in_parts(world: Ledgers) -> None:
    entries = [said(f"+3461234{n:04d}", at=None) for n in range(1_200)]

    assert await add(world, *entries) == 1_200
    world.pass_time(seconds=1)
    assert await add(world, *entries) == 0


async def test_what_a_person_records_is_audited_without_the_number(world: Ledgers) -> None:
    async with world.database.write() as session:
        row = await world.service.consents.record(session, world.principal, said(at=None))
        again = await world.service.consents.record(session, world.principal, said(at=row.at))
        with pytest.raises(Conflict):
            await world.service.consents.record(session, world.principal, said(at=row.at, basis=Basis.WRITTEN))
        with pytest.raises(InvalidRequest, match="at:"):
            await world.service.consents.record(session, world.principal, said(at=world.now + DAY))

    assert again.id == row.id
    assert row.at == world.now
    async with world.database.read() as session:
        (entry,) = (await session.scalars(select(AuditRow).where(AuditRow.action == "consent.grant"))).all()
    assert (entry.target_id, entry.after) == (str(row.id), {"purpose": "marketing", "basis": "express"})


async def test_a_revocation_holds_for_the_purposes_that_it_names_or_for_all(world: Ledgers) -> None:
    revocation = said(basis=Basis.IN_CALL, at=None)
    async with world.database.write() as session:
        (one,) = await world.service.consents.revoke(session, world.principal, revocation, purposes=[Purpose.SURVEY])
    assert (one.action, one.purpose, one.expires_at) == ("revoke", "survey", None)
    assert await world.codes(ANA, Purpose.SERVICE) == []

    world.pass_time(seconds=1)
    async with world.database.write() as session:
        every = await world.service.consents.revoke(session, world.principal, revocation)
    assert len(every) == len(Purpose)
    assert await world.codes(ANA, Purpose.SERVICE) == ["consent_revoked"]


async def test_pages_find_numbers_and_purposes(world: Ledgers) -> None:
    await add(world, said(), said(BEN, purpose=Purpose.SURVEY))

    async with world.database.read() as session:
        page = world.service.consents.page
        everything = await page(session, world.org_id, before=None, limit=9)
        surveys = await page(session, world.org_id, purpose="survey", before=None, limit=9)
        of_ana = await page(session, world.org_id, number=ANA, before=None, limit=9)
        rest = await page(session, world.org_id, before=(everything[0].created_at, everything[0].id), limit=9)
    assert len(everything) == 2
    assert [row.e164 for row in surveys] == [BEN]
    assert [row.e164 for row in of_ana] == [ANA]
    assert [row.id for row in rest] == [everything[1].id]
