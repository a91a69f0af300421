"""What is asked of a file of contacts, and what it answers. Pure.

Everything here crosses the pipe between the server and the child as MessagePack.
"""

from enum import StrEnum

import msgspec

from voice_agent.contacts.fields import CustomField, FieldType
from voice_agent.contacts.model import ContactDraft
from voice_agent.errors import InvalidRequest

MAX_FILE_BYTES = 500 * 1024 * 1024
MAX_COLUMNS = 500
"""Both: campaigns.md 1C."""

MAX_CELL = 32_767
"""Characters of one cell, as in Excel (its specifications and limits)."""

MAX_ROW = 1_000_000
"""Characters of one row of a text file."""

MAX_WIDTH = 1_000
"""Cells of one row; more are no row of this table, whatever they are."""

CHUNK_ROWS = 500
SAMPLES = 5
"""Examples of a column that people are shown."""


class FileKind(StrEnum):
    """How a file holds rows."""

    CSV = "csv"
    """Cells divided by a sign: comma, semicolon, tab, bar. A range copied from a spreadsheet is one, by tabs."""

    XLSX = "xlsx"
    JSON = "json"
    """Objects: one a line, or in one array."""

    VCARD = "vcard"
    LINES = "lines"
    """A number a line, with a name or an address around it, as people paste them."""


class FileFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What a file is. None: to be found out."""

    kind: FileKind | None = None
    encoding: str | None = None
    """utf-8, utf-8-sig, utf-16-le, utf-16-be, cp1252 or latin-1."""

    delimiter: str | None = None
    """One sign; empty for a file of one column."""

    quote: str | None = None
    """One sign; empty where none is used."""

    sheet: str | None = None
    """Of XLSX; else the first one that is not hidden and not empty."""

    has_header: bool | None = None
    decimal: str | None = None
    """`.` or `,`."""

    is_day_first: bool | None = None
    """Whether 03/04/2026 is in April."""


class FileProblem(StrEnum):
    """Why a whole file cannot be read."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_CONTACTS = "not_contacts"
    """It is something else: a PDF, a picture, a program."""

    OTHER_SPREADSHEET = "other_spreadsheet"
    """A spreadsheet that must be saved as XLSX or CSV first: .xls, .xlsb, .ods, .numbers."""

    ENCRYPTED = "encrypted"
    BOMB = "bomb"
    """It unfolds to far more than it is."""

    ENTITIES = "entities"
    """Its XML defines entities, which no spreadsheet does."""

    TOO_MANY_COLUMNS = "too_many_columns"
    ROW_TOO_LONG = "row_too_long"
    BROKEN = "broken"
    """It ends too early, or breaks its own format."""

    NO_SUCH_SHEET = "no_such_sheet"
    FORMAT = "format"
    """What was asked for is no format: an unknown encoding, a delimiter of two signs."""

    MAPPING = "mapping"
    """The mapping does not fit the file."""

    LIMITS = "limits"
    """Reading it took more memory or time than a file may."""

    FAILED = "failed"
    """The child process ended without an answer."""


class FileRefused(InvalidRequest):
    """A file cannot be read; `problem` says why, the message what to do about it."""

    def __init__(self, problem: FileProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


class RowProblem(StrEnum):
    """Why a row is no contact. Those of its number are `phone_numbers.NumberProblem`."""

    TOO_MANY_CELLS = "too_many_cells"
    UNTERMINATED_QUOTE = "unterminated_quote"
    CELL_TOO_LONG = "cell_too_long"
    NOT_AN_OBJECT = "not_an_object"
    BROKEN = "broken"
    BAD_VALUE = "bad_value"
    """Of a field, where the order says that such rows are refused."""


ROW_WORDS = {
    RowProblem.TOO_MANY_CELLS: "it has more cells than the table has columns",
    RowProblem.UNTERMINATED_QUOTE: "a quote opens here and does not close",
    RowProblem.CELL_TOO_LONG: f"a cell has more than {MAX_CELL} characters",
    RowProblem.NOT_AN_OBJECT: "this line is no JSON object",
    RowProblem.BROKEN: "it cannot be read",
}


class CellRepair(StrEnum):
    """What was done to a cell beside the repairs of numbers (`phone_numbers.Repair`)."""

    TRIMMED = "trimmed"
    """Spaces around it or doubled inside it were taken away; not told of numbers."""

    CONTROL = "control"
    """Signs that cannot be seen were taken away."""

    ENCODING = "encoding"
    """Bytes that are not the file's encoding were read as cp1252; told of the row."""

    MISSING_CELLS = "missing_cells"
    """The row has fewer cells than the table has columns; told of the row."""

    UNKNOWN_KEYS = "unknown_keys"
    """The object has keys that are no columns; told of the row."""

    SHORTENED = "shortened"
    """It was longer than the field."""

    CASE = "case"
    """An e-mail address in capital letters was made small."""

    DROPPED = "dropped"
    """It is no value of its field, and was left out."""

    DROPPED_NUMBER = "dropped_number"
    """A further number is none, and was left out."""

    MOVED_UP = "moved_up"
    """The first number is none, so that the next one is called first."""

    SPLIT = "split"
    """There were several numbers in one cell."""


class RowWarning(msgspec.Struct, frozen=True):
    """What was done to a row that was taken."""

    column: str
    """Its header; empty where it is the row itself."""

    code: str
    """A `CellRepair`, or a `phone_numbers.Repair`."""

    raw: str
    """What was written, its first 200 characters."""


class RowRefusal(msgspec.Struct, frozen=True):
    """A row that is no contact."""

    row: int
    """Counted from 1 after the header."""

    column: str
    """The header of the cell that is wrong; empty where it is the row itself."""

    code: str
    """A `RowProblem`, or a `phone_numbers.NumberProblem`."""

    reason: str
    cells: tuple[str, ...]
    """The row as it stands in the file."""

    warnings: tuple[RowWarning, ...] = ()


class SaidConsent(msgspec.Struct, frozen=True, kw_only=True):
    """What a row says of a consent, as it is written there but for the dates."""

    at: str | None = None
    """YYYY-MM-DD."""

    expires: str | None = None
    """YYYY-MM-DD."""

    purpose: str = ""
    basis: str = ""
    wording: str = ""
    proof: str = ""


class TakenRow(msgspec.Struct, frozen=True):
    """A row that is a contact."""

    row: int
    draft: ContactDraft
    consent: SaidConsent | None = None
    is_do_not_call: bool = False
    warnings: tuple[RowWarning, ...] = ()


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """At most 500 rows, in the file's order."""

    taken: tuple[TakenRow, ...]
    refused: tuple[RowRefusal, ...]
    last_row: int
    """Every row up to this one is in this chunk or in an earlier one: where to begin again (`Order.start_row`)."""

    blank: int
    """Rows of this chunk with nothing in them."""

    bytes_read: int
    """Of the file so far; of XLSX, of the sheet as it is packed."""

    size_bytes: int
    """What `bytes_read` ends at."""

    is_last: bool = False


class Target(StrEnum):
    """Where a column goes. Beside these: `custom:KEY`, a custom field."""

    IGNORE = "ignore"
    PHONE = "phone"
    """Up to five columns, tried in the table's order."""

    COUNTRY = "country"
    """Where the row's numbers are that have no country's code."""

    NAME = "name"
    GIVEN_NAME = "given_name"
    FAMILY_NAME = "family_name"
    COMPANY = "company"
    EMAIL = "email"
    EXTERNAL_ID = "external_id"
    LOCALE = "locale"
    REGION = "region"
    """Name or code of a state or province."""

    POSTAL_CODE = "postal_code"
    """Tells the region where there is none."""

    ZONE = "zone"
    TAGS = "tags"
    """Divided by commas, semicolons or bars."""

    TAG_IF_YES = "tag_if_yes"
    """The column's header is the tag of every row that says yes in it."""

    CONSENT_AT = "consent.at"
    CONSENT_EXPIRES = "consent.expires"
    CONSENT_PURPOSE = "consent.purpose"
    CONSENT_BASIS = "consent.basis"
    CONSENT_WORDING = "consent.wording"
    CONSENT_PROOF = "consent.proof"
    DO_NOT_CALL = "do_not_call"


CUSTOM = "custom:"


class MappedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """Where one column goes."""

    header: str
    target: str = Target.IGNORE
    """A `Target`, or `custom:KEY`."""

    label: str = ""
    """Of a further number, for people: home, work."""


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """Where all columns of a file go: what users correct, and templates keep."""

    columns: tuple[MappedColumn, ...]


class ReadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the file."""

    default_country: str = ""
    """ISO 3166: where numbers without a country's code are."""

    custom_fields: tuple[CustomField, ...] = ()
    """Of the organisation, those that the import makes included."""

    refuses_bad_values: bool = False
    """Whether a row with a bad e-mail address, date or the like is refused; else the value is left out and told."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is to be read."""

    mapping: Mapping
    format: FileFormat = FileFormat()
    options: ReadOptions = ReadOptions()
    start_row: int = 0
    """Rows up to this one are passed over: 0 begins at the first one."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a file, and what it is taken for."""

    header: str
    samples: tuple[str, ...]
    """The first five cells that are not empty, of 200 characters each."""

    target: str
    confidence: float
    """0 to 1: 0.9 and more by its header's words, less by what stands in it."""

    label: str = ""
    new_field: FieldType | None = None
    """The type of the custom field that `target` names, where the organisation has none of that key yet."""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A sheet of a workbook."""

    name: str
    is_hidden: bool = False


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a file is."""

    format: FileFormat
    """Nothing in it is left to be found out."""

    columns: tuple[Column, ...]
    size_bytes: int
    rows_estimate: int
    """From the size of the first rows; exact where the file is small."""

    sheets: tuple[Sheet, ...] = ()

    @property
    def mapping(self) -> Mapping:
        """What the columns are taken for, to be corrected."""
        return Mapping(
            columns=tuple(
                MappedColumn(header=column.header, target=column.target, label=column.label) for column in self.columns
            )
        )


class PreviewRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row, and what would become of it: `taken` or `refused`, the other is None."""

    row: int
    cells: tuple[str, ...]
    taken: TakenRow | None = None
    refused: RowRefusal | None = None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What an import would do."""

    first: tuple[PreviewRow, ...]
    """The first 50 rows that are not blank."""

    worst: tuple[PreviewRow, ...]
    """Up to 50: refused ones first, then those with most warnings, each code seen at least once."""

    rows: int
    """How many were looked at."""

    is_whole: bool
    """Whether that is the whole file."""

    taken: int
    refused: int
    blank: int
    duplicates: int
    """Rows whose first number an earlier row has."""

    codes: dict[str, int]
    """How often each refusal and each warning came."""
