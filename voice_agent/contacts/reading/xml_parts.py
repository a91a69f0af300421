"""XML of a workbook's parts, read as it is inflated: handlers are called, nothing is built.

What XML can be made to do is refused: a document type and with it every entity, elements nested deeper than a workbook
has them, one token that does not end. Python's own pull parsers build a whole row before anybody can count its cells.
"""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from xml.parsers import expat

from voice_agent.contacts.reading.archive import broken
from voice_agent.contacts.reading.model import FileProblem, FileRefused

MAX_DEPTH = 64
MAX_TOKEN_BYTES = 1024 * 1024
"""Of a tag with its attributes, or anything else that the parser must keep whole."""

Attributes = dict[str, str]
OnStart = Callable[[str, Attributes], None]
OnEnd = Callable[[str], None]
OnText = Callable[[str], None]


def parse(pieces: Iterable[bytes], on_start: OnStart, on_end: OnEnd, on_text: OnText) -> Iterator[int]:
    """Call handlers with local names, and yield how many bytes have been parsed after each piece.

    Raises FileRefused.
    """
    depth = 0

    def start(name: str, attributes: Attributes) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise FileRefused(FileProblem.BOMB, "the workbook's XML is nested too deep")
        on_start(name.rpartition(":")[2] if ":" in name else name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        on_end(name.rpartition(":")[2] if ":" in name else name)

    waiting = iter(pieces)
    first = next(waiting, b"")
    # ECMA-376 part 2 allows no other encodings; what the XML itself says may be any that Python knows.
    parser = expat.ParserCreate("utf-16" if first[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = on_text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    fed = 0
    try:
        for piece in chain((first,), waiting):
            parser.Parse(piece, False)
            fed += len(piece)
            if fed - max(parser.CurrentByteIndex, 0) > MAX_TOKEN_BYTES:
                raise FileRefused(FileProblem.BOMB, "a tag of the workbook's XML does not end")
            yield fed
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_NO_MEMORY]:
            raise MemoryError from None
        raise broken("its XML is damaged") from None
    yield fed


def _refuse_doctype(*_: object) -> None:
    raise FileRefused(FileProblem.ENTITIES, "the workbook's XML declares a document type, as no spreadsheet does")
