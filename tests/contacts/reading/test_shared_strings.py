"""Texts by number."""

from collections.abc import Iterator

import pytest

from tests.contacts.reading.corpus import NAMESPACE
from voice_agent.contacts.reading.model import MAX_CELL, FileRefused
from voice_agent.contacts.reading.shared_strings import SharedStrings


def part(*items: str) -> Iterator[bytes]:
    yield f"<sst {NAMESPACE}>".encode()
    for item in items:
        yield f"<si>{item}</si>".encode()
    yield b"</sst>"


def test_texts_are_found_by_number() -> None:
    runs = "<r><rPr/><t>a</t></r><r><t xml:space='preserve'> b</t></r>"
    phonetic = "<t>漢</t><rPh sb='0' eb='1'><t>kan</t></rPh>"
    with SharedStrings(part("<t>ñ</t>", runs, phonetic, "<t/>")) as strings:
        assert [strings.get(number) for number in range(len(strings))] == ["ñ", "a b", "漢", ""]


@pytest.mark.parametrize("number", [-1, 1, 10**9])
def test_a_text_that_is_not_there(number: int) -> None:
    with SharedStrings(part("<t>a</t>")) as strings, pytest.raises(FileRefused):
        strings.get(number)


def test_without_the_part_there_are_none() -> None:
    with SharedStrings(None) as strings:
        assert len(strings) == 0


def test_texts_are_found_across_blocks() -> None:
    texts = [f"{number}-" + "ñ" * (number % 900) for number in range(1_000)]
    with SharedStrings(part(*(f"<t>{text}</t>" for text in texts))) as strings:
        assert [strings.get(number) for number in range(1_000)] == texts


def test_of_a_text_that_is_too_long_one_sign_more_than_allowed_is_kept() -> None:
    with SharedStrings(part(f"<t>{'x' * 100_000}</t>")) as strings:
        assert len(strings.get(0)) == MAX_CELL + 1
