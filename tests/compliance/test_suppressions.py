"""Suppressions: one for a number, however many say so at once; ended by their time or by somebody with a reason."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from tests.calls.stored_calls import an_organisation
from tests.compliance.ledgers import ANA, BEN, EVA, Ledgers, ledgers
from voice_agent.auth.principal import system
from voice_agent.compliance.model import SuppressionEntry
from voice_agent.errors import Conflict, NotFound
from voice_agent.storage.database import Database
from voice_agent.storage.tables import AuditRow, SuppressionRow


@pytest.fixture
async def world(database: Database) -> Ledgers:
    return await ledgers(database)


async def rows_of(world: Ledgers) -> list[SuppressionRow]:
    async with world.database.read() as session:
        return list((await session.scalars(select(SuppressionRow).order_by(SuppressionRow.created_at))).all())


async def test_a_suppressed_number_is_refused_from_then_on_and_its_evidence_is_kept(world: Ledgers) -> None:
    assert await world.codes(ANA) == []
    evidence = {"call": "CA1", "second": 12.5, "words": "take me off your list"}
    entry = SuppressionEntry(e164=ANA, source="call", reason="said so", evidence=evidence)
    async with world.database.write() as session:
        row = await world.service.suppress(session, world.org_id, entry, created_by="agent")

    assert await world.codes(ANA) == ["suppressed"]
    assert (row.evidence, row.until, row.source) == (evidence, None, "call")
    assert await world.codes(BEN) == []


async def test_whoever_suppresses_twice_or_at_once_makes_one_row_and_no_error(world: Ledgers) -> None:
    found = await asyncio.gather(*(world.suppress(ANA) for _ in range(8)))
    again = await world.suppress(ANA)

    assert {row.id for row in found} == {again.id}
    assert len(await rows_of(world)) == 1


async def test_many_that_suppress_the_same_numbers_in_any_order_do_not_stop_each_other(world: Ledgers) -> None:
    numbers = [f"+3461234{n:04d}" for n in range(200)]

    async def all_of(order: list[str]) -> int:
        async with world.database.write() as session:
            return await world.service.suppress_many(
                session, world.org_id, order, source="import", reason="a list", created_by="Marta"
            )

    added = await asyncio.gather(all_of(numbers), all_of(numbers[::-1]), all_of(numbers[100:] + numbers[:100]))
    assert sorted(added) == [0, 0, 200]
    async with world.database.read() as session:
        assert await world.service.suppressed_among(session, world.org_id, [*numbers, EVA]) == set(numbers)


async def test_more_than_one_statement_holds(world: Ledgers) -> None:
    numbers = [f"+34612{n:06d}" for n in range(2_500)]
    async with world.database.write() as session:
        added = await world.service.suppress_many(
            session, world.org_id, numbers, source="import", reason="", created_by=""
        )
        assert await world.service.suppressed_among(session, world.org_id, numbers) == set(numbers)

    assert added == 2_500


async def test_one_that_ends_gives_way_to_a_longer_one_and_not_to_a_shorter(world: Ledgers) -> None:
    day = await world.suppress(ANA, until=world.now.replace(day=26))
    week = await world.suppress(ANA, until=world.now.replace(day=30))
    assert (await world.suppress(ANA, until=world.now.replace(day=27))).id == week.id
    for_good = await world.suppress(ANA)
    assert (await world.suppress(ANA, until=world.now.replace(day=30))).id == for_good.id

    lifted = {row.id: row.lift_reason for row in await rows_of(world)}
    assert lifted == {day.id: "a longer one takes its place", week.id: "a longer one takes its place", for_good.id: ""}


async def test_one_that_is_over_does_not_count_and_a_new_one_can_be_made(world: Ledgers) -> None:
    await world.suppress(ANA, until=world.now.replace(hour=12))
    world.pass_time(hours=2)
    assert await world.codes(ANA) == []
    async with world.database.read() as session:
        assert await world.service.suppressed_among(session, world.org_id, [ANA]) == set()

    await world.suppress(ANA, until=world.now.replace(hour=14))
    assert await world.codes(ANA) == ["suppressed"]
    assert [row.lift_reason for row in await rows_of(world)] == ["it was over", ""]


async def test_of_the_same_number_twice_the_longer_is_taken(world: Ledgers) -> None:
    entries = [SuppressionEntry(e164=ANA, source="api", until=until) for until in (world.now.replace(day=26), None)]
    async with world.database.write() as session:
        added = await world.service.suppressions.add_many(session, world.org_id, entries, created_by="")

    assert added == 1
    assert [row.until for row in await rows_of(world)] == [None]


async def test_scopes_do_not_touch_each_other(world: Ledgers) -> None:
    other = await an_organisation(world.database, "Other")
    campaign = uuid4()
    await world.suppress(ANA, campaign_id=campaign)
    async with world.database.write() as session:
        await world.service.suppress(session, other, SuppressionEntry(e164=BEN, source="api"), created_by="")
        await world.service.suppress(
            session, None, SuppressionEntry(e164=EVA, source="command_line"), created_by="operator"
        )

    async with world.database.read() as session:
        asked = await world.service.callee(session, world.org_id, ANA, campaign_id=campaign)
        found = await world.service.suppressed_among(session, world.org_id, [ANA, BEN, EVA])
    assert [fact.scope for fact in asked.suppressions] == ["campaign"]
    assert [await world.codes(number) for number in (ANA, BEN, EVA)] == [[], [], ["suppressed"]]
    assert found == {EVA}


async def test_lifting_takes_a_reason_is_audited_without_the_number_and_is_done_once(world: Ledgers) -> None:
    row = await world.suppress(ANA)
    async with world.database.write() as session:
        lifted = await world.service.suppressions.lift(session, world.principal, row.id, "she wrote to us")
    async with world.database.write() as session:
        with pytest.raises(Conflict):
            await world.service.suppressions.lift(session, world.principal, row.id, "again")

    assert (lifted.lifted_by, lifted.lift_reason) == ("Marta", "she wrote to us")
    assert await world.codes(ANA) == []
    async with world.database.read() as session:
        (entry,) = (await session.scalars(select(AuditRow).where(AuditRow.action == "suppression.lift"))).all()
    assert (entry.target_id, entry.after) == (str(row.id), {"reason": "she wrote to us"})


async def test_nobody_lifts_what_is_another_organisations_or_the_operators(world: Ledgers) -> None:
    stranger = system(await an_organisation(world.database, "Other"), "Otto")
    row = await world.suppress(ANA)
    async with world.database.write() as session:
        everywhere = await world.service.suppress(
            session, None, SuppressionEntry(e164=BEN, source="command_line"), created_by="operator"
        )
        for principal, suppression in ((stranger, row), (world.principal, everywhere)):
            with pytest.raises(NotFound):
                await world.service.suppressions.lift(session, principal, suppression.id, "mine now")


async def test_the_operator_lifts_what_holds_everywhere(world: Ledgers) -> None:
    async with world.database.write() as session:
        await world.service.suppress(session, None, SuppressionEntry(e164=ANA, source="command_line"), created_by="")
        assert await world.service.suppressions.lift_everywhere(session, ANA, "a mistake", lifted_by="operator")
        assert not await world.service.suppressions.lift_everywhere(session, ANA, "again", lifted_by="operator")

    assert await world.codes(ANA) == []


async def test_a_digest_is_enough_to_suppress_and_an_import_afterwards_lifts_nothing(world: Ledgers) -> None:
    digest = (await world.suppress(ANA)).digest
    async with world.database.write() as session:
        await world.service.erase_number(session, world.org_id, ANA)
    (erased,) = await rows_of(world)
    assert (erased.e164, erased.digest) == (None, digest)

    by_digest = SuppressionEntry(digest=digest, source="import")
    async with world.database.write() as session:
        again = await world.service.suppress(session, world.org_id, by_digest, created_by="")
        new = await world.service.suppress_many(session, world.org_id, [ANA], source="import", reason="", created_by="")
    assert (again.id, new) == (erased.id, 0)
    assert await world.codes(ANA) == ["suppressed"]


async def test_pages_show_the_newest_first_and_find_a_number(world: Ledgers) -> None:
    rows = [await world.suppress(number) for number in (ANA, BEN, EVA) if world.pass_time(seconds=1)]
    async with world.database.write() as session:
        await world.service.suppressions.lift(session, world.principal, rows[1].id, "reason")

    async with world.database.read() as session:
        page = world.service.suppressions.page
        newest = await page(session, world.org_id, before=None, limit=2)
        rest = await page(session, world.org_id, before=(newest[-1].created_at, newest[-1].id), limit=2)
        by_number = await page(session, world.org_id, number="+34 612 345 678", before=None, limit=9)
        lifted = await page(session, world.org_id, is_lifted=True, before=None, limit=9)
        standing = await page(session, world.org_id, is_lifted=False, before=None, limit=9)
        nobody = await page(session, uuid4(), before=None, limit=9)
        history = await world.service.suppressions_of(session, world.org_id, BEN)
    assert [row.e164 for row in [*newest, *rest]] == [EVA, BEN, ANA]
    assert [row.e164 for row in by_number] == [ANA]
    assert [row.e164 for row in lifted] == [BEN]
    assert [row.e164 for row in standing] == [EVA, ANA]
    assert list(nobody) == []
    assert [row.id for row in history] == [rows[1].id]


async def test_the_database_itself_has_one_suppression_in_force_for_a_number(world: Ledgers) -> None:
    await asyncio.gather(*(world.suppress(ANA, until=world.now.replace(day=26 + n % 4)) for n in range(8)))

    async with world.database.read() as session:
        standing = select(func.count()).where(SuppressionRow.lifted_at.is_(None))
        assert (await session.execute(standing)).scalar_one() == 1
        row = await session.scalar(select(SuppressionRow).where(SuppressionRow.lifted_at.is_(None)))
    assert row is not None
    assert row.until == world.now.replace(day=29)
