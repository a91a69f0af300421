"""Rule packs: what a jurisdiction demands, as dated data. Their form, and which of them hold for whom. Pure.

How it works: a pack holds for countries. Every pack that names a country holds there, and all of them must allow
(Spain: its own and the European Union's). A region's rules are added to its country's: a state can only be stricter.
Where no pack of the country says anything about a purpose (its hours, say), the cautious default does. A region that is
not known may be any: then the rules of all of them hold.

What is in the files, and how sure it is: docs/compliance.md. `compliance.packs` reads them.
"""

from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from voice_agent.compliance.model import Basis, Callee, PackName, Purpose

DEFAULT = "default"
"""The jurisdiction of the pack that holds where no other says anything."""

Clock = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$")]
"""A local time of day, HH:MM."""

RegionCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$")]
Country = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]


class Weekday(StrEnum):
    """A day of the week, in the order of `datetime.weekday`."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class Holidays(StrEnum):
    """What public holidays of country and region mean for a window."""

    OPEN = "open"
    CLOSED = "closed"


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a rule is written."""

    title: str
    url: str = ""
    verify: bool = False
    """Whether it was taken from somebody's account of the law, and is to be checked against the law itself."""

    note: str = ""

    def __str__(self) -> str:
        return f"{self.title} ({self.url})" if self.url else self.title


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every rule has."""

    purposes: tuple[Purpose, ...]
    source: str
    """A key of the pack's `sources`."""

    since: date | None = None
    """The first day on which it holds."""

    until: date | None = None
    """The last one."""

    consumers_only: bool = False
    note: str = ""

    def holds_on(self, day: date) -> bool:
        """Tell whether the rule is in force on a day."""
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when to when on some days of the week; one that closes before it opens goes on into the next day."""

    days: tuple[Weekday, ...]
    opens: Clock
    closes: Clock


class WindowRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When calls are allowed, in the callee's own time. Days that `hours` does not name are closed."""

    hours: tuple[Hours, ...]
    holidays: Holidays = Holidays.OPEN


class ConsentRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On what consent calls with an artificial voice are allowed."""

    accepts: tuple[Basis, ...] = ()
    presumed: bool = False
    """Whether nothing need be recorded: the purpose itself says why they may be called. A revocation counts anyway."""

    expires_months: Annotated[int, msgspec.Meta(ge=1, le=1_200)] | None = None
    """How long a consent lasts from its date."""


class RegistryRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which registry has to be asked before."""

    key: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    name: str
    valid_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)]
    """How long an answer counts."""

    overridden_by: tuple[Basis, ...] = ()
    """Consents for the purpose that make it needless."""


class Duty(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a call has to do or to show beside being allowed, for those who place and hold it."""

    key: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    text: str
    forbidden_callers: tuple[str, ...] = ()
    """How numbers begin that must not be shown as the caller's."""

    lines: dict[str, str] = {}
    """Sentences that fulfil it, by language (ISO 639-1): said where an agent brings none of its own."""


class RuleSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules of one country or region."""

    windows: tuple[WindowRule, ...] = ()
    consent: tuple[ConsentRule, ...] = ()
    registries: tuple[RegistryRule, ...] = ()
    duties: tuple[Duty, ...] = ()


class Region(RuleSet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a country."""

    name: str
    zones: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Every time zone that is used in it."""

    includes: tuple[RegionCode, ...] = ()
    """Codes of its parts (provinces)."""

    prefixes: tuple[Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,8}$")], ...] = ()
    """How its numbers begin after the country's code; a prefix that several regions share may be any of them."""

    calendar: str = ""
    """Its name in the package `holidays`; empty: what follows the dash of its code."""


class RulePack(RuleSet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of a jurisdiction."""

    jurisdiction: str
    """Its key: US, ES, EU, default."""

    name: str
    version: Annotated[int, msgspec.Meta(ge=1)]
    """The higher one of two wins. Ours are the day of their release, YYYYMMDD."""

    as_of: date
    """Until when its sources were followed."""

    countries: tuple[Country, ...] = ()
    calling_code: str = ""
    """+ and the code that the regions' prefixes follow."""

    sources: dict[str, Source]
    regions: dict[RegionCode, Region] = {}

    @property
    def label(self) -> str:
        """What people see of it."""
        return f"{self.jurisdiction} {self.version}"

    def region_named(self, code: str) -> tuple[str, Region] | None:
        """Return the region with this code, or that includes the part with this code."""
        if region := self.regions.get(code):
            return code, region
        return next(((key, region) for key, region in self.regions.items() if code in region.includes), None)

    def regions_of(self, callee: Callee) -> dict[str, Region]:
        """Return in which regions somebody may be: by address, else by number, else in any."""
        known = [self.region_named(code) for code in callee.regions if code[:2] in self.countries]
        if known and None not in known:
            return dict(each for each in known if each is not None)
        if self.calling_code and callee.e164.startswith(self.calling_code):
            digits = callee.e164.removeprefix(self.calling_code)
            numbered = {key: each for key, each in self.regions.items() if digits.startswith(each.prefixes)}
            if numbered:
                return numbered
        return self.regions


_Rule = TypeVar("_Rule", bound=Rule)


class RulePacks(msgspec.Struct, frozen=True, kw_only=True):
    """Every pack that is in force in this installation."""

    packs: tuple[RulePack, ...]
    default: RulePack

    def of(self, callee: Callee) -> tuple[RulePack, ...]:
        """Return the packs that name a callee's country: that of the number, and that of an address."""
        countries = {callee.country, *(code[:2] for code in callee.regions)}
        return tuple(pack for pack in self.packs if not countries.isdisjoint(pack.countries))

    def asked(self, callee: Callee) -> tuple[PackName, ...]:
        """Return which packs decide about somebody, the default one at the end."""
        return tuple(
            PackName(jurisdiction=pack.jurisdiction, version=pack.version, as_of=pack.as_of.isoformat())
            for pack in (*self.of(callee), self.default)
        )

    def rules(
        self, section: Callable[[RuleSet], tuple[_Rule, ...]], callee: Callee, purpose: Purpose
    ) -> list[tuple[RulePack, _Rule]]:
        """Return the rules of one kind that hold for somebody, whatever the day, each with its pack."""
        found = [
            (pack, rule)
            for pack in self.of(callee)
            for holder in (pack, *pack.regions_of(callee).values())
            for rule in section(holder)
            if _is_for(rule, callee, purpose)
        ]
        return found or [(self.default, rule) for rule in section(self.default) if _is_for(rule, callee, purpose)]

    def zones_of_region(self, region: str) -> tuple[str, ...]:
        """Return the time zones that are used in a region (ISO 3166-2); empty for one that no pack knows."""
        for pack in self.packs:
            if named := pack.region_named(region):
                return named[1].zones
        return ()

    def zones_of(self, callee: Callee) -> tuple[str, ...]:
        """Return every zone in which somebody may be: what is known, else all of the region's or the country's."""
        if callee.zones:
            return callee.zones
        return tuple(
            dict.fromkeys(
                zone for pack in self.of(callee) for region in pack.regions_of(callee).values() for zone in region.zones
            )
        )

    def calendars_of(self, pack: RulePack, callee: Callee) -> tuple[tuple[str, str], ...]:
        """Return the calendars of public holidays, as (country, part), that count for somebody under a pack."""
        if pack.regions:
            regions = pack.regions_of(callee)
            return tuple((key[:2], each.calendar or key[3:]) for key, each in regions.items())
        return ((callee.country, ""), *((code[:2], code[3:]) for code in callee.regions))


def _is_for(rule: Rule, callee: Callee, purpose: Purpose) -> bool:
    return purpose in rule.purposes and (callee.is_consumer or not rule.consumers_only)
