"""Which rules of which packs hold for whom, and in which regions, zones and calendars somebody may be."""

from datetime import date

import msgspec
import pytest

from tests.compliance.people import FLORIDIAN, SPANIARD
from voice_agent.compliance.model import Callee, Purpose
from voice_agent.compliance.packs import built_in
from voice_agent.compliance.rule_pack import ConsentRule, RulePack, RulePacks, RuleSet, Source

PACKS = built_in()
ES, US = (next(pack for pack in PACKS.packs if pack.jurisdiction == key) for key in ("ES", "US"))


def consent(holder: RuleSet) -> tuple[ConsentRule, ...]:
    return holder.consent


def packs_with(callee: Callee, purpose: Purpose) -> list[str]:
    return [pack.jurisdiction for pack, _ in PACKS.rules(consent, callee, purpose)]


def moved(callee: Callee, **facts: object) -> Callee:
    return msgspec.structs.replace(callee, **facts)


@pytest.mark.parametrize(
    ("callee", "purpose", "packs"),
    [
        (SPANIARD, Purpose.MARKETING, ["ES", "EU"]),
        (SPANIARD, Purpose.CHARITY, ["EU"]),
        (SPANIARD, Purpose.SURVEY, ["default"]),
        (moved(SPANIARD, is_consumer=False), Purpose.MARKETING, ["default"]),
        (FLORIDIAN, Purpose.SERVICE, ["US"]),
        (Callee(e164="+4420", country="GB"), Purpose.MARKETING, ["default"]),
        (Callee(e164="+4420", country="GB", regions=("US-FL",)), Purpose.MARKETING, ["US"]),
        (Callee(e164="+800"), Purpose.MARKETING, ["default"]),
        (Callee(e164="+800"), Purpose.TEST, []),
    ],
)
def test_every_pack_of_the_country_counts_and_the_default_one_where_none_says_anything(
    callee: Callee, purpose: Purpose, packs: list[str]
) -> None:
    assert packs_with(callee, purpose) == packs


@pytest.mark.parametrize(
    ("pack", "callee", "regions"),
    [
        (ES, SPANIARD, {"ES-MD"}),
        (ES, moved(SPANIARD, regions=("ES-GC", "ES-B")), {"ES-CN", "ES-CT"}),
        (ES, moved(SPANIARD, regions=(), e164="+34956000000"), {"ES-AN", "ES-CE"}),
        (ES, moved(SPANIARD, regions=()), set(ES.regions)),
        (ES, moved(SPANIARD, regions=("ES-MD", "ES-XX")), set(ES.regions)),
        (ES, moved(SPANIARD, regions=("ES-MD", "FR-75")), {"ES-MD"}),
        (US, moved(FLORIDIAN, regions=()), {"US-FL"}),
        (US, moved(FLORIDIAN, regions=("US-NY",)), {"US-NY"}),
        (US, moved(FLORIDIAN, regions=(), e164="+18005550100"), set(US.regions)),
        (US, moved(FLORIDIAN, regions=(), e164="+34600000000"), set(US.regions)),
    ],
)
def test_a_region_is_that_of_the_address_else_of_the_number_else_any(
    pack: RulePack, callee: Callee, regions: set[str]
) -> None:
    assert set(pack.regions_of(callee)) == regions


def test_zones_are_those_that_are_known_else_all_of_the_region() -> None:
    assert PACKS.zones_of(SPANIARD) == ("Europe/Madrid",)
    assert PACKS.zones_of(moved(SPANIARD, zones=())) == ("Europe/Madrid",)
    assert set(PACKS.zones_of(moved(SPANIARD, zones=(), regions=()))) == {
        "Europe/Madrid", "Africa/Ceuta", "Atlantic/Canary",
    }  # fmt: skip
    assert PACKS.zones_of(Callee(e164="+33", country="FR")) == ()
    assert PACKS.zones_of_region("US-NE") == ("America/Chicago", "America/Denver")


def test_calendars_are_those_of_the_regions_else_of_the_country() -> None:
    assert PACKS.calendars_of(ES, SPANIARD) == (("ES", "MD"),)
    assert len(PACKS.calendars_of(ES, moved(SPANIARD, regions=()))) == 19
    scot = Callee(e164="+44", country="GB", regions=("GB-SCT",))
    assert PACKS.calendars_of(PACKS.default, scot) == (("GB", ""), ("GB", "SCT"))


def test_a_source_is_shown_with_its_address_where_it_has_one() -> None:
    assert str(Source(title="The law")) == "The law"
    assert str(Source(title="The law", url="https://law.test")) == "The law (https://law.test)"


def test_the_packs_that_decide_are_told_with_their_dates() -> None:
    pack = RulePack(
        jurisdiction="GB", name="Britain", version=3, as_of=date(2027, 1, 1), countries=("GB",), sources={}
    )  # fmt: skip
    packs = RulePacks(packs=(pack,), default=PACKS.default)

    asked = packs.asked(Callee(e164="+44", country="GB"))
    assert [(each.jurisdiction, each.version, each.as_of) for each in asked] == [
        ("GB", 3, "2027-01-01"), ("default", 20261125, "2026-11-25"),
    ]  # fmt: skip
    assert pack.label == "GB 3"


def test_a_rule_holds_from_its_first_day_to_its_last() -> None:
    rule = ConsentRule(purposes=(), source="law", since=date(2026, 8, 2), until=date(2026, 8, 3))

    assert [rule.holds_on(date(2026, 8, day)) for day in (1, 2, 3, 4)] == [False, True, True, False]


def test_a_region_that_no_pack_knows_has_no_zones() -> None:
    assert PACKS.zones_of_region("US-XX") == ()
