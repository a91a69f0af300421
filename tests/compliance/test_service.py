"""What is known of a number is gathered from contact, ledgers and numbers, and decides in the same transaction."""

from uuid import UUID

import pytest

from tests.calls.stored_calls import NOW, OURS
from tests.compliance.ledgers import AMERICAN, ANA, Ledgers, ledgers
from tests.compliance.people import LONG_AGO
from voice_agent.compliance.model import (
    Basis,
    Callee,
    ConsentAction,
    ConsentEntry,
    ConsentFact,
    Purpose,
    SuppressionEntry,
)
from voice_agent.errors import InvalidRequest
from voice_agent.storage.database import Database
from voice_agent.storage.ids import new_id
from voice_agent.storage.tables import (
    ConsentRow,
    ContactPhoneRow,
    ContactRow,
    PhoneNumberRow,
    RegistryCheckRow,
    SuppressionRow,
)


@pytest.fixture
async def world(database: Database) -> Ledgers:
    return await ledgers(database)


async def callee(world: Ledgers, number: str) -> Callee:
    async with world.database.read() as session:
        return await world.service.callee(session, world.org_id, number)


def contact(world: Ledgers, **columns: object) -> ContactRow:
    known: dict[str, object] = {"e164": ANA, "raw_number": ANA, "created_at": NOW, "updated_at": NOW}
    return ContactRow(id=new_id(), org_id=world.org_id, **(known | columns))


async def test_a_number_alone_says_its_country_and_the_zones_it_may_be_in(world: Ledgers) -> None:
    found = await callee(world, "+34 612 345 678")

    assert (found.e164, found.country, found.regions) == (ANA, "ES", ())
    assert set(found.zones) == {"Europe/Madrid", "Atlantic/Canary"}
    assert not found.is_own
    with pytest.raises(InvalidRequest):
        await callee(world, "+34000")


@pytest.mark.parametrize(
    ("columns", "zones"),
    [
        ({"zone": "Europe/London", "zone_candidates": ["Europe/Madrid"]}, ("Europe/London",)),
        ({"region": "ES-CN", "zone_candidates": ["Atlantic/Canary"]}, ("Atlantic/Canary",)),
        ({}, ("Atlantic/Canary", "Europe/Madrid")),
    ],
)
async def test_a_contact_says_where_it_is(world: Ledgers, columns: dict[str, object], zones: tuple[str, ...]) -> None:
    async with world.database.write() as session:
        session.add(contact(world, **columns))

    found = await callee(world, ANA)
    assert tuple(sorted(found.zones)) == zones
    assert found.regions == ((str(columns["region"]),) if "region" in columns else ())


async def test_everything_that_was_said_is_found_again(world: Ledgers) -> None:
    async with world.database.write() as session:
        session.add(PhoneNumberRow(id=new_id(), org_id=world.org_id, e164=OURS, created_at=NOW))
        await world.service.consent_many(
            session, world.org_id,
            [ConsentEntry(e164=AMERICAN, purpose=Purpose.MARKETING, basis=Basis.WRITTEN, at=LONG_AGO)],
            created_by="",
        )  # fmt: skip
        await world.service.registries.record(
            session, world.org_id, "us_national_dnc", [(AMERICAN, True)], checked_at=world.now, source=""
        )
        await world.service.suppress(session, None, SuppressionEntry(e164=AMERICAN, source="call"), created_by="")

    found = await callee(world, AMERICAN)
    assert found.consents == (
        ConsentFact(purpose=Purpose.MARKETING, action=ConsentAction.GRANT, basis=Basis.WRITTEN, at=LONG_AGO),
    )
    assert [(fact.scope, fact.source) for fact in found.suppressions] == [("global", "call")]
    assert [(fact.registry_key, fact.is_listed) for fact in found.registry_checks] == [("us_national_dnc", True)]
    assert (await callee(world, OURS)).is_own


async def test_who_was_erased_is_still_known_to_have_said_no(world: Ledgers) -> None:
    await world.suppress(ANA)
    async with world.database.write() as session:
        await world.service.consent_many(
            session, world.org_id,
            [ConsentEntry(e164=ANA, purpose=Purpose.MARKETING, basis=Basis.EXPRESS, at=LONG_AGO)],
            created_by="",
        )  # fmt: skip
        await world.service.registries.record(
            session, world.org_id, "es_lista_robinson", [(ANA, True)], checked_at=world.now, source=""
        )
    before = await callee(world, ANA)
    async with world.database.write() as session:
        await world.service.erase_number(session, world.org_id, ANA)

    async with world.database.read() as session:
        kept: list[SuppressionRow | ConsentRow | RegistryCheckRow] = [
            *await world.service.suppressions_of(session, world.org_id, ANA),
            *await world.service.consents_of(session, world.org_id, ANA),
            *await world.service.registries.of_number(session, world.org_id, ANA),
        ]
    assert [row.e164 for row in kept] == [None, None, None]
    assert await callee(world, ANA) == before
    assert await world.codes(ANA, Purpose.MARKETING) == ["suppressed"]


async def test_the_verdict_names_the_packs_and_the_hour_counts(world: Ledgers) -> None:
    verdict = await world.verdict(ANA)

    assert verdict.is_allowed
    assert [pack.jurisdiction for pack in verdict.packs] == ["ES", "EU", "default"]
    world.pass_time(hours=12)
    assert await world.codes(ANA, Purpose.REMINDER) == ["outside_window"]


async def test_many_are_gathered_as_one_by_one(world: Ledgers) -> None:
    ben, eva, campaign_id = "+34612345679", "+34612345670", UUID(int=7)
    await world.suppress(ANA)
    await world.suppress(ben, campaign_id=campaign_id)
    numbers = [ANA, ben, eva, AMERICAN]
    async with world.database.write() as session:
        rows = [
            contact(world, e164=e164, region="ES-MD", zone=zone, zone_candidates=["Europe/Madrid", "Atlantic/Canary"])
            for e164, zone in ((ANA, ""), (ben, "Europe/Madrid"), (eva, "Europe/Madrid"))
        ]
        session.add_all(rows)
        await session.flush()
        session.add(
            ContactPhoneRow(org_id=world.org_id, contact_id=rows[0].id, e164=AMERICAN, raw_number=AMERICAN, rank=1)
        )
        session.add(PhoneNumberRow(id=new_id(), org_id=world.org_id, e164=eva, created_at=NOW))

    async with world.database.read() as session:
        many = await world.service.callees(session, world.org_id, [*numbers, "+3461"], campaign_id=campaign_id)
        for e164 in numbers:
            assert many[e164] == await world.service.callee(session, world.org_id, e164, campaign_id=campaign_id)
        assert await world.service.callees(session, world.org_id, ["+3461"]) == {}
    assert set(many) == set(numbers)
    assert (many[eva].is_own, many[AMERICAN].regions, len(many[ben].suppressions)) == (True, ("ES-MD",), 1)
