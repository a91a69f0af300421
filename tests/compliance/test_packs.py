"""The packs that come with the package, newer ones of an installation, and files that cannot be used."""

from pathlib import Path

import pytest

from voice_agent.compliance.model import Purpose
from voice_agent.compliance.packs import OURS, built_in, load_packs, read_pack
from voice_agent.errors import RulePackError

TINY = """
jurisdiction: {jurisdiction}
name: Tiny
version: {version}
as_of: 2027-01-01
countries: [GB]
sources: {{law: {{title: The law}}}}
"""


def written(folder: Path, text: str, name: str = "tiny.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("path", sorted(OURS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_pack_of_ours_can_be_read_and_says_until_when_it_was_followed(path: Path) -> None:
    pack = read_pack(path)

    assert pack.version >= int(pack.as_of.strftime("%Y%m%d"))
    assert {source for holder in (pack, *pack.regions.values()) for source in _sources(holder)} <= set(pack.sources)


def _sources(holder: object) -> list[str]:
    sections = ("windows", "consent", "registries", "duties")
    return [rule.source for section in sections for rule in getattr(holder, section)]


def test_every_source_that_is_not_the_law_itself_is_marked_or_has_an_address() -> None:
    packs = built_in()

    sources = [source for pack in packs.packs for source in pack.sources.values()]
    assert all(source.verify or source.url for source in sources)


def test_the_default_pack_has_hours_and_a_word_on_consent_for_every_purpose_but_tests() -> None:
    default = built_in().default
    purposes = set(Purpose) - {Purpose.TEST}

    assert {purpose for rule in default.windows for purpose in rule.purposes} == purposes
    assert {purpose for rule in default.consent for purpose in rule.purposes} == purposes


@pytest.mark.parametrize(
    ("region", "zones"),
    [
        ("US-FL", ("America/New_York", "America/Chicago")),
        ("US-AZ", ("America/Phoenix", "America/Denver")),
        ("US-PR", ("America/Puerto_Rico",)),
        ("ES-CN", ("Atlantic/Canary",)),
        ("ES-TF", ("Atlantic/Canary",)),
        ("ES-MD", ("Europe/Madrid",)),
        ("ES-M", ("Europe/Madrid",)),
        ("MX-BCN", ("America/Tijuana",)),
        ("US-XX", ()),
        ("FR-75", ()),
        ("", ()),
    ],
)
def test_zones_of_a_region(region: str, zones: tuple[str, ...]) -> None:
    assert built_in().zones_of_region(region) == zones


def test_every_state_of_the_us_and_of_mexico_and_every_part_of_spain_has_zones() -> None:
    regions = {pack.jurisdiction: pack.regions for pack in built_in().packs}

    assert (len(regions["US"]), len(regions["MX"]), len(regions["ES"])) == (56, 32, 19)
    assert sum(len(region.includes) for region in regions["ES"].values()) == 50


def test_a_newer_pack_of_the_installation_wins_and_an_older_one_does_not(tmp_path: Path) -> None:
    written(tmp_path, TINY.format(jurisdiction="EU", version=1), "old.yaml")
    written(tmp_path, TINY.format(jurisdiction="US", version=99990101), "new.yaml")
    written(tmp_path, TINY.format(jurisdiction="GB", version=1), "other.yml")

    in_force = {pack.jurisdiction: pack for pack in load_packs(tmp_path).packs}
    assert in_force["EU"].name == "European Union and EEA"
    assert (in_force["US"].name, in_force["GB"].name) == ("Tiny", "Tiny")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            "windows: [{purposes: [marketing], source: law, hours: [{days: [mon], opens: 21:00, closes: '22:00'}]}]",
            "opens",
        ),
        ("windows: [{purposes: [sales], source: law, hours: []}]", "windows[0].purposes[0]"),
        ("consent: [{purposes: [marketing], source: lore}]", "consent[0].source"),
        ("hours: []", "hours"),
        ("calling_code: 44", "calling_code"),
        ("regions: {GB-ENG: {name: England, zones: []}}", "zones"),
        ("regions: {GB-ENG: {name: England, zones: [Europe/Camelot]}}", "regions.GB-ENG.zones"),
        ("regions: {FR-75: {name: Paris, zones: [Europe/Paris]}}", "regions.FR-75: its country"),
        ("regions: {GB-ENG: {name: England, zones: [Europe/London], prefixes: ['20']}}", "regions.GB-ENG.prefixes"),
        ("regions: {GB-ENG: {name: England, zones: [Europe/London], calendar: X}}", "regions.GB-ENG.calendar"),
        ("regions: {GB-ENG: {name: E, zones: [UTC], duties: [{purposes: [], source: x, key: a, text: b}]}}", "duties"),
        ("jurisdiction: default\nregions: {GB-ENG: {name: England, zones: [Europe/London]}}", "the default pack"),
        ("[", "is no YAML"),
        ("? [a]: b", "tiny.yaml"),
    ],
)
def test_a_pack_that_cannot_be_used_is_refused_by_file_and_field(tmp_path: Path, change: str, fault: str) -> None:
    text = TINY.format(jurisdiction="GB", version=1)
    if change.startswith("jurisdiction"):
        text = text.replace("jurisdiction: GB\n", "")
    path = written(tmp_path, text + change)

    with pytest.raises(RulePackError, match=r"tiny\.yaml") as refusal:
        load_packs(tmp_path)
    assert fault in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_folder_or_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RulePackError, match="no such folder"):
        load_packs(tmp_path / "gone")
    with pytest.raises(RulePackError, match="cannot be read"):
        read_pack(tmp_path / "gone.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\xff")
    with pytest.raises(RulePackError, match="is no YAML"):
        read_pack(tmp_path / "latin.yaml")
