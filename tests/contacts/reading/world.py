"""What the tests of reading need: a file with some bytes in it, and its rows."""

from collections.abc import Callable
from pathlib import Path

from voice_agent.contacts.fields import CustomField, FieldType
from voice_agent.contacts.reading.model import FileFormat, MappedColumn, Mapping, ReadOptions
from voice_agent.contacts.reading.opening import open_table
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.contacts.reading.text_source import TextSource

TextRows = Callable[[TextSource], "list[SourceRow]"]

SPAIN = ReadOptions(default_country="ES")

FIELDS = (
    CustomField(key="balance", label="Balance", type=FieldType.NUMBER),
    CustomField(key="plan", label="Plan"),
)


def written(folder: Path, content: bytes | str, name: str = "contacts") -> Path:
    """Return the path of a file with this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def text_rows(folder: Path, content: bytes | str, read: TextRows, encoding: str = "utf-8") -> list[SourceRow]:
    """Return what a reader of text makes of some content."""
    with TextSource(written(folder, content), encoding) as source:
        return read(source)


def table_of(
    folder: Path, content: bytes | str, given: FileFormat | None = None, country: str = ""
) -> tuple[FileFormat, tuple[str, ...], list[SourceRow]]:
    """Return a file's format, headers and rows."""
    with open_table(written(folder, content), given or FileFormat(), country) as table:
        return table.format, table.headers, list(table.rows)


def mapping(**targets: str) -> Mapping:
    """Return a mapping of headers, spaces as underscores, to targets."""
    return Mapping(columns=tuple(MappedColumn(header=header, target=target) for header, target in targets.items()))
