"""XML that is made to hurt."""

from collections.abc import Iterable

import pytest

from voice_agent.contacts.reading.model import FileProblem, FileRefused
from voice_agent.contacts.reading.xml_parts import MAX_DEPTH, MAX_TOKEN_BYTES, parse


def events(*pieces: bytes) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for _ in parse(
        pieces,
        lambda name, attributes: found.append((name, attributes)),
        lambda name: found.append((name, None)),
        lambda text: found.append(("", text)),
    ):
        pass
    return found


def problem_of(pieces: Iterable[bytes]) -> FileProblem:
    with pytest.raises(FileRefused) as refusal:
        events(*pieces)
    return refusal.value.problem


def test_handlers_are_called_with_local_names() -> None:
    assert events(b"<x:a b='1'>te", b"xt</x:a>") == [("a", {"b": "1"}), ("", "te"), ("", "xt"), ("a", None)]


@pytest.mark.parametrize(
    "text",
    [
        b"<?xml version='1.0' encoding='nothing'?><a/>",
        "\ufeff<?xml version='1.0' encoding='UTF-16'?><a/>".encode("utf-16-le"),
        "\ufeff<?xml version='1.0' encoding='nothing'?><a/>".encode("utf-16-be"),
        b"\xef\xbb\xbf<a/>",
    ],
)
def test_xml_is_in_one_of_two_encodings(text: bytes) -> None:
    assert events(text) == [("a", {}), ("a", None)]


def test_parsed_bytes_are_told() -> None:
    assert list(parse([b"<a>", b"</a>"], lambda *_: None, lambda _: None, lambda _: None)) == [3, 7, 7]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"<!DOCTYPE a><a/>", FileProblem.ENTITIES),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', FileProblem.ENTITIES),
        (b"<a>&nothing;</a>", FileProblem.BROKEN),
        (b"<a>", FileProblem.BROKEN),
        (b"", FileProblem.BROKEN),
        (b"<a>\xff\xfe</a>", FileProblem.BROKEN),
        (b"<a>" * (MAX_DEPTH + 1), FileProblem.BOMB),
    ],
)
def test_other_xml_is_refused(text: bytes, problem: FileProblem) -> None:
    assert problem_of([text]) is problem


def test_a_tag_must_end() -> None:
    piece = b"x" * 64_000

    assert problem_of([b'<a b="', *[piece] * (MAX_TOKEN_BYTES // len(piece) + 2)]) is FileProblem.BOMB
