"""In which encoding a text is, and what to do with bytes that are not in it. Pure.

Exports of older programs are often joined from pieces: UTF-8 with a few names in cp1252. Such bytes are read as cp1252
and the row is told of, instead of losing the row or the file.
"""

import codecs
import re

from voice_agent.contacts.reading.model import FileProblem, FileRefused

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "cp1252", "latin-1")

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FOREIGN = re.compile("[\udc80-\udcff]+")
"""What `surrogateescape` makes of bytes that are not in the encoding."""

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MOST_CONTROL = 0.05
"""Of all bytes: text of any language has none; a NUL here and there is what old databases pad with."""

_ZEROS = 0.3
"""Share of NULs at even or odd places from which bytes are UTF-16: Latin script has 0.5."""


def encoding_of(head: bytes) -> str:
    """Return the encoding that a file begins in. Raises FileRefused where it is no text."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            if encoding not in ENCODINGS:
                raise FileRefused(FileProblem.FORMAT, "the text is UTF-32: save it as UTF-8")
            return encoding
    if encoding := _utf16_without_mark(head):
        return encoding
    if len(_CONTROL.findall(head)) > _MOST_CONTROL * len(head):
        raise FileRefused(FileProblem.NOT_CONTACTS, "this is no text and no spreadsheet")
    text = head.decode("utf-8", "surrogateescape")
    # The last character may be cut.
    foreign = sum(map(len, _FOREIGN.findall(text[:-4])))
    if foreign and foreign >= sum(not sign.isascii() for sign in text) - foreign:
        return "cp1252"
    return "utf-8"


def _utf16_without_mark(head: bytes) -> str:
    half = len(head) // 2
    if half < 2:
        return ""
    first = head[: half * 2 : 2].count(0) / half
    second = head[1 : half * 2 : 2].count(0) / half
    if second > _ZEROS and first < second / 10:
        return "utf-16-le"
    if first > _ZEROS and second < first / 10:
        return "utf-16-be"
    return ""


def check_encoding(name: str) -> str:
    """Return an encoding as `ENCODINGS` names it. Raises FileRefused for one that is not among them."""
    try:
        known = codecs.lookup(name.strip()).name
    except LookupError:
        known = ""
    known = {"iso8859-1": "latin-1", "utf-16": "utf-16-le"}.get(known, known)
    if known not in ENCODINGS:
        raise FileRefused(FileProblem.FORMAT, f"the encoding must be one of {', '.join(ENCODINGS)}")
    return known


def on_error(encoding: str) -> str:
    """Return the error handler with which a text is decoded, for `mended`."""
    return "replace" if encoding.startswith("utf-16") else "surrogateescape"


def mended(text: str) -> str | None:
    """Return a text that was decoded with `surrogateescape`, its foreign bytes read as cp1252; None if it has none."""
    if not _FOREIGN.search(text):
        return None
    return _FOREIGN.sub(_as_cp1252, text)


def _as_cp1252(match: "re.Match[str]") -> str:
    foreign = match[0].encode("utf-8", "surrogateescape")
    try:
        return foreign.decode("cp1252")
    except UnicodeDecodeError:
        return foreign.decode("latin-1")


def without_surrogates(text: str) -> str:
    r"""Return a text that can be encoded: JSON may write half a pair, as \ud83d."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
