"""Reads rule packs: those that come with the package, and newer ones of the installation.

Every field is checked when a file is read: that sources, zones and calendars exist, not only types. Of two packs of one
jurisdiction the one with the higher version is in force. Files are read once, when the process starts.
"""

from functools import cache
from importlib import resources
from pathlib import Path
from zoneinfo import available_timezones

import holidays
import msgspec
import yaml

from voice_agent.compliance.rule_pack import DEFAULT, Region, RulePack, RulePacks
from voice_agent.errors import RulePackError

OURS = Path(str(resources.files("voice_agent.compliance") / "packs"))
"""The packs that come with the package."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast where the C library is there; with the other one a start would wait a second."""


def load_packs(folder: Path | None = None) -> RulePacks:
    """Return the packs in force; `folder` may have newer ones. Raises RulePackError."""
    in_force = {pack.jurisdiction: pack for pack in _ours()}
    if folder is not None:
        if not folder.is_dir():
            raise RulePackError(f"{folder}: there is no such folder")
        for path in sorted(folder.glob("*.y*ml")):
            pack = read_pack(path)
            known = in_force.get(pack.jurisdiction)
            if known is None or pack.version > known.version:
                in_force[pack.jurisdiction] = pack
    default = in_force.pop(DEFAULT)
    return RulePacks(packs=tuple(in_force.values()), default=default)


@cache
def _ours() -> tuple[RulePack, ...]:
    return tuple(read_pack(path) for path in sorted(OURS.glob("*.yaml")))


@cache
def built_in() -> RulePacks:
    """Return the packs that come with the package."""
    return load_packs()


def read_pack(path: Path) -> RulePack:
    """Return what a file has. Raises RulePackError, which names the file and the field."""
    try:
        document = yaml.load(path.read_text("utf-8"), Loader=_LOADER)  # noqa: S506 - both are safe ones
    except OSError as error:
        raise RulePackError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise RulePackError(f"{path}: is no YAML: {error}") from None
    try:
        pack = msgspec.convert(document, RulePack)
    except msgspec.ValidationError as error:
        raise RulePackError(f"{path}: {error}") from None
    if fault := _fault(pack):
        raise RulePackError(f"{path}: {fault}")
    return pack


def _fault(pack: RulePack) -> str:
    """Return what is wrong with a pack that has the right form, with the field; empty where nothing is."""
    return (
        next((fault for where, holder in _holders(pack) if (fault := _unknown_source(pack, where, holder))), "")
        or next((fault for key, region in pack.regions.items() if (fault := _region_fault(pack, key, region))), "")
        or ("" if pack.jurisdiction != DEFAULT or not pack.regions else "regions: the default pack has none")
    )


def _holders(pack: RulePack) -> list[tuple[str, RulePack | Region]]:
    return [("", pack), *((f"regions.{key}.", region) for key, region in pack.regions.items())]


def _unknown_source(pack: RulePack, where: str, holder: RulePack | Region) -> str:
    for section in ("windows", "consent", "registries", "duties"):
        for n, rule in enumerate(getattr(holder, section)):
            if rule.source not in pack.sources:
                return f"{where}{section}[{n}].source: {rule.source!r} is none of the pack's sources"
    return ""


def _region_fault(pack: RulePack, key: str, region: Region) -> str:
    if unknown := set(region.zones) - available_timezones():
        return f"regions.{key}.zones: there is no time zone {min(unknown)!r}"
    if key[:2] not in pack.countries:
        return f"regions.{key}: its country is none of the pack's countries"
    if region.prefixes and not pack.calling_code:
        return f"regions.{key}.prefixes: the pack has no calling_code"
    calendars = holidays.list_supported_countries().get(key[:2], [])
    if region.calendar and region.calendar not in calendars:
        return f"regions.{key}.calendar: there is no calendar {region.calendar!r}"
    return ""
