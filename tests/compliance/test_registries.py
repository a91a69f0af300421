"""What registries said: kept as long as a pack says, newer over older, and read from the files that they sell."""

from datetime import timedelta

import pytest

from tests.calls.stored_calls import NOW
from tests.compliance.ledgers import AMERICAN, Ledgers, ledgers
from voice_agent.compliance.model import Purpose
from voice_agent.compliance.registries import numbers_of_file
from voice_agent.errors import InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import ContactPhoneRow, ContactRow

DNC = "us_national_dnc"
DAY = timedelta(days=1)


@pytest.fixture
async def world(database: Database) -> Ledgers:
    return await ledgers(database)


async def record(world: Ledgers, *results: tuple[str, bool], **when: float) -> int:
    async with world.database.write() as session:
        return await world.service.registries.record(
            session, world.org_id, DNC, results, checked_at=world.now + timedelta(**when), source="a file"
        )


async def registry_codes(world: Ledgers) -> list[str]:
    return [code for code in await world.codes(AMERICAN, Purpose.MARKETING) if code.startswith("registry")]


async def test_an_answer_counts_for_31_days_and_a_newer_one_takes_its_place(world: Ledgers) -> None:
    assert await registry_codes(world) == ["registry_unchecked"]
    assert await record(world, (AMERICAN, False)) == 1
    assert await registry_codes(world) == []
    world.pass_time(days=31)
    assert await registry_codes(world) == ["registry_expired"]

    await record(world, (AMERICAN, True))
    await record(world, (AMERICAN, False), days=-1)
    assert await registry_codes(world) == ["registry_listed"]
    async with world.database.read() as session:
        (row,) = await world.service.registries.of_number(session, world.org_id, "+1 305 555 0100")
    assert (row.is_listed, row.checked_at, row.valid_until) == (True, world.now, world.now + 31 * DAY)


async def test_a_registry_that_no_pack_has_is_refused(world: Ledgers) -> None:
    async with world.database.write() as session:
        with pytest.raises(InvalidRequest, match="es_lista_robinson, mx_repep, us_national_dnc"):
            await world.service.registries.record(session, world.org_id, "lista", [], checked_at=world.now, source="")


def contact(world: Ledgers, number: str) -> ContactRow:
    return ContactRow(
        id=new_id(), org_id=world.org_id, e164=number, raw_number=number, country="US", created_at=NOW, updated_at=NOW
    )


async def test_a_file_says_of_the_contacts_that_it_covers_that_they_are_not_on_it(world: Ledgers) -> None:
    elsewhere, second, gone = contact(world, "+12125550100"), contact(world, AMERICAN), contact(world, "+13055550199")
    gone.deleted_at = NOW
    async with world.database.write() as session:
        session.add_all([elsewhere, second, gone])
        await session.flush()
        session.add(
            ContactPhoneRow(
                contact_id=second.id, e164="+13055550101", org_id=world.org_id, rank=1, raw_number="+13055550101"
            )
        )
    async with world.database.write() as session:
        added, clear = await world.service.registries.load(
            session, world.org_id, DNC, ["+13055550102", "+13055550101", "+13055550101"],
            covers=["+1305"], checked_at=world.now,
        )  # fmt: skip

    assert (added, clear) == (2, 1)
    async with world.database.read() as session:
        numbers = (AMERICAN, "+13055550101", "+13055550102", "+12125550100", "+13055550199")
        found = [await world.service.registries.of_number(session, world.org_id, number) for number in numbers]
    assert [[row.is_listed for row in rows] for rows in found] == [[False], [True], [True], [], []]


def test_files_have_a_number_a_line_whatever_is_behind_it() -> None:
    text = '\ufeffnumber;name\n\n+34 612 345 678;Ana\n"+34612345679",x\n612345670\t\n'

    assert numbers_of_file(text, default_country="ES") == ["+34612345678", "+34612345679", "+34612345670"]
    assert numbers_of_file("305,5550100\n305,5550101\n") == [AMERICAN, "+13055550101"]
    assert numbers_of_file("") == []


@pytest.mark.parametrize("line", ["Ana", "12", "+340"])
def test_a_line_that_is_no_number_is_named(line: str) -> None:
    with pytest.raises(InvalidRequest, match="line 2"):
        numbers_of_file(f"number\n{line}\n+34612345678")
