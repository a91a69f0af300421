"""Rows of vCards, as telephones and address books export them: versions 2.1, 3.0 and 4.0. Pure.

Sources: RFC 6350 (4.0), RFC 2426 (3.0) and the vCard 2.1 specification of versit (1996), whose quoted-printable and
parameters without a name old telephones still write. Only what a contact has is kept, so that photographs cost nothing;
a card in a card (AGENT) is passed over.
"""

import codecs
import quopri
import re
from collections.abc import Iterator

from voice_agent.contacts.reading.encodings import mended, without_surrogates
from voice_agent.contacts.reading.model import MAX_CELL, CellRepair, RowProblem
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.contacts.reading.text_source import TextSource

HEADERS = (
    "full name",
    "given name",
    "family name",
    "mobile phone",
    "phone",
    "home phone",
    "work phone",
    "other phone",
    "e-mail",
    "other e-mail",
    "company",
    "job title",
    "city",
    "region",
    "postal code",
    "country",
    "time zone",
    "language",
    "birthday",
    "tags",
    "note",
    "uid",
)
"""Five of numbers, so that each kind has its own label."""

_PLACE = {header: place for place, header in enumerate(HEADERS)}

MAX_LINES = 20_000
"""Of one card: a photograph of 1 MB has 14,000."""

MAX_PROPERTIES = 500
"""Of one card, among those that are kept."""

_SIMPLE = {
    "FN": "full name",
    "TITLE": "job title",
    "NOTE": "note",
    "TZ": "time zone",
    "LANG": "language",
    "BDAY": "birthday",
    "UID": "uid",
}
_KEPT = frozenset({*_SIMPLE, "N", "TEL", "EMAIL", "ORG", "ADR", "CATEGORIES"})
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_STRUCTURE = re.compile(r"(?<!\\)(?:\\\\)*;")
_NO_VOICE = frozenset({"FAX", "PAGER", "MODEM", "BBS", "X-FAX"})
_CHARSETS = ("utf-8", "iso8859", "cp125", "latin", "ascii", "mac", "gb", "big5", "shift_jis", "euc", "koi8")
"""How the names of those begin that text is in; Python knows others, which are no encodings of text."""

_QUOTED_NAME = re.compile(r'"[^"]*"|[^;:"]+|[;:"]')


class _Card:
    """One card while it is read."""

    def __init__(self) -> None:
        self.cells = [""] * len(HEADERS)
        self.lines = 0
        self.properties = 0
        self.problem: RowProblem | None = None
        self.was_mended = False

    def put(self, header: str, value: str) -> bool:
        """Keep a value where there is none yet; tell whether it was."""
        place = _PLACE[header]
        if not value or self.cells[place]:
            return not value
        self.cells[place] = value
        return True

    def note(self, source: TextSource) -> None:
        """Count a line of the card."""
        self.lines += 1
        self.was_mended |= source.was_mended
        source.was_mended = False

    def broken(self) -> "_Card":
        """Return the card as one that cannot be read."""
        self.problem = RowProblem.BROKEN
        return self


def vcard_rows(source: TextSource) -> Iterator[SourceRow]:
    """Yield a row of `HEADERS` for each card; one that does not end is a problem of its own. Raises FileRefused."""
    for number, card in enumerate(_cards(source), start=1):
        repairs = (CellRepair.ENCODING,) if card.was_mended else ()
        yield SourceRow(number, card.cells, card.problem, repairs)


def _cards(source: TextSource) -> Iterator[_Card]:
    card: _Card | None = None
    nested = 0
    """Cards in the card."""
    is_agent = False
    """Whether the line before was an AGENT without a value: the card in it begins on this one."""
    for line in _unfolded(source):
        begins, ends = line[:11].upper() == "BEGIN:VCARD", line[:9].upper() == "END:VCARD"
        if card is None:
            card = _Card() if begins else None
            nested, is_agent = 0, False
            continue
        card.note(source)
        is_agent, begins_nested = _is_agent(line), begins and (is_agent or nested > 0)
        if begins and not begins_nested:
            # The one before has no end.
            yield card.broken()
            card = _Card()
        elif begins_nested or _has_agent(line):
            nested += 1
        elif ends and nested:
            nested -= 1
        elif ends:
            yield card
            card = None
        elif card.lines > MAX_LINES:
            yield card.broken()
            card = None
        elif not nested:
            _take(card, line)
    if card is not None:
        yield card.broken()


def _is_agent(line: str) -> bool:
    return line[:5].upper() == "AGENT" and line.rstrip().endswith(":")


def _has_agent(line: str) -> bool:
    return line[:5].upper() == "AGENT" and line.rstrip().upper().endswith(":BEGIN:VCARD")


def _unfolded(source: TextSource) -> Iterator[str]:
    """Yield whole content lines of what is kept, and the beginnings of all others."""
    held = ""
    is_quoted = is_kept = False
    for line in source.lines():
        text = line.rstrip("\r\n")
        if held and is_quoted and held.endswith("="):
            # A soft line break of quoted-printable (2.1).
            held = _longer(held[:-1], text)
        elif held and text[:1] in (" ", "\t"):
            if is_kept:
                held = _longer(held, text[1:])
        else:
            if held:
                yield held
            held = text[: MAX_CELL * 4]
            name = _name_of(held)
            is_kept = name in _KEPT
            is_quoted = is_kept and "QUOTED-PRINTABLE" in held.partition(":")[0].upper()
    if held:
        yield held


def _longer(held: str, text: str) -> str:
    """Join a line that goes on, up to what a cell may have however it is encoded."""
    return held if len(held) > MAX_CELL * 4 else held + text


def _name_of(line: str) -> str:
    return re.split(r"[;:]", line[:200], maxsplit=1)[0].rpartition(".")[2].strip().upper()


def _take(card: _Card, line: str) -> None:
    """Keep a property of a card."""
    name = _name_of(line)
    if name not in _KEPT:
        return
    card.properties += 1
    if card.properties > MAX_PROPERTIES:
        card.problem = RowProblem.BROKEN
        return
    parameters, raw = _split(line)
    words = {
        word.strip().strip('"').upper()
        for parameter in parameters
        for word in parameter.rpartition("=")[2].strip('"').split(",")
    }
    if words & {"BASE64", "B"}:
        return
    value = _decoded(raw, parameters) if "QUOTED-PRINTABLE" in words else raw
    if len(value) > MAX_CELL:
        card.problem = RowProblem.CELL_TOO_LONG
        value = value[:MAX_CELL]
    _put(card, name, value, words)


def _put(card: _Card, name: str, value: str, words: set[str]) -> None:
    if name in _SIMPLE:
        card.put(_SIMPLE[name], _plain(value))
    elif name == "N":
        family, given, *_ = [*_parts(value), "", ""]
        card.put("family name", family)
        card.put("given name", given)
    elif name == "TEL":
        _put_number(card, _plain(value), words)
    elif name == "EMAIL":
        address = _plain(value)
        if not card.put("e-mail", address):
            card.put("other e-mail", address)
    elif name == "ORG":
        card.put("company", _parts(value)[0])
    elif name == "ADR":
        # RFC 6350 section 6.3.1: box, extended, street, locality, region, code, country.
        for header, part in zip(("city", "region", "postal code", "country"), _parts(value)[3:7], strict=False):
            card.put(header, part)
    else:
        card.put("tags", _plain(value))


def _put_number(card: _Card, value: str, words: set[str]) -> None:
    if words & _NO_VOICE:
        return
    if words & {"CELL", "IPHONE", "MOBILE"}:
        first = "mobile phone"
    elif "HOME" in words:
        first = "home phone"
    else:
        first = "work phone" if "WORK" in words else "phone"
    for header in (first, "phone", "other phone"):
        if card.put(header, value):
            return


def _split(line: str) -> tuple[list[str], str]:
    """Return the parameters and the value of a content line; a colon in quotes ends nothing."""
    end = 0
    parameters = [""]
    for match in _QUOTED_NAME.finditer(line):
        end = match.end()
        if match[0] == ":":
            break
        if match[0] == ";":
            parameters.append("")
        else:
            parameters[-1] += match[0]
    return parameters[1:], line[end:]


def _decoded(raw: str, parameters: list[str]) -> str:
    """Return the text of quoted-printable in its own character set."""
    named = next((each.partition("=")[2] for each in parameters if each.upper().startswith("CHARSET=")), "utf-8")
    octets = quopri.decodestring(raw.encode("utf-8"))
    try:
        charset = codecs.lookup(named.strip('" ')).name
        text = octets.decode(charset if charset.startswith(_CHARSETS) else "utf-8", "surrogateescape")
    except (LookupError, ValueError):
        text = octets.decode("utf-8", "surrogateescape")
    return without_surrogates(mended(text) or text)


def _parts(value: str) -> list[str]:
    """Return the parts of a structured value."""
    parts = []
    start = 0
    for match in _STRUCTURE.finditer(value):
        parts.append(_plain(value[start : match.end() - 1]))
        start = match.end()
    return [*parts, _plain(value[start:])]


def _plain(value: str) -> str:
    """Return a value without escapes."""
    return _ESCAPED.sub(lambda match: "\n" if match[1] in "nN" else match[1], value).strip()
