"""From a row of a file to a contact, or to why it is none. Pure.

This is the loop of a million rows: what a mapping means is worked out once, in `Cleaner`, and reading a number takes
four fifths of the rest (`bench.contacts_reading`). Everything that is done to what was written is told as a warning.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from voice_agent.contacts.fields import LONGEST_TEXT, FieldType, Style, ValueRefused, read_value
from voice_agent.contacts.model import MAX_PHONES, ContactDraft, FurtherNumber
from voice_agent.contacts.reading.model import (
    CUSTOM,
    ROW_WORDS,
    CellRepair,
    MappedColumn,
    ReadOptions,
    RowProblem,
    RowRefusal,
    RowWarning,
    SaidConsent,
    TakenRow,
    Target,
)
from voice_agent.contacts.reading.regions import country_of, region_of, region_of_postal_code
from voice_agent.contacts.reading.rows import SourceRow
from voice_agent.contacts.reading.values import date_of, email_of, is_yes, locale_of, tags_of, zone_of
from voice_agent.phone_numbers import NumberProblem, NumberRefused, PhoneNumber, read_number

LONGEST_RAW = 200
"""Characters of a cell that a warning shows."""

_LONGEST_RAW_NUMBER = 60
"""As `storage.tables.contacts.ContactRow.raw_number` keeps it."""

_LONGEST = {
    Target.NAME: 200,
    Target.GIVEN_NAME: 200,
    Target.FAMILY_NAME: 200,
    Target.COMPANY: 200,
    Target.EXTERNAL_ID: 200,
    Target.CONSENT_PURPOSE: 100,
    Target.CONSENT_BASIS: 100,
    Target.CONSENT_WORDING: 100,
    Target.CONSENT_PROOF: 500,
}
"""Characters, as the tables keep them."""

_LONGEST_REGION = 100

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
"""Control signs, and marks of direction and width. Not the joiners that Persian and emoji are written with."""

_SPACES = re.compile(r"\s+")
_SEVERAL = re.compile(r"\s*(?:[;,|\n]|\s/\s|/(?=\s*[+(]?\d{6}))\s*")
"""What divides several numbers in one cell."""

_Named = tuple[int, str]
"""Where a column is, and its header."""


class ValueDropped(Exception):
    """A value is none of its field, and the order says that such rows are refused."""

    def __init__(self, header: str, reason: str) -> None:
        super().__init__(reason)
        self.header = header
        self.reason = reason


class Cleaner:
    """Rows of one file, by one mapping. Its own state is the row at hand: one thread."""

    def __init__(self, columns: Sequence[MappedColumn], options: ReadOptions, style: Style) -> None:
        """`columns` are those of the file, in its order (`columns.fit`), checked by `columns.check_mapping`."""
        self._options = options
        self._style = style
        self._warnings: list[RowWarning] = []
        by_target: dict[str, list[_Named]] = {}
        for index, column in enumerate(columns):
            by_target.setdefault(column.target, []).append((index, column.header))
        self._phones = [
            (index, column.header, column.label)
            for index, column in enumerate(columns)
            if column.target == Target.PHONE
        ]
        self._texts = [
            (target, field, by_target[target], _LONGEST[target])
            for target, field in (
                (Target.NAME, "name"),
                (Target.GIVEN_NAME, "given_name"),
                (Target.FAMILY_NAME, "family_name"),
                (Target.COMPANY, "company"),
                (Target.EXTERNAL_ID, "external_id"),
            )
            if target in by_target
        ]
        readers: tuple[tuple[Target, str, Callable[[str], str | None]], ...] = (
            (Target.EMAIL, "email", email_of),
            (Target.LOCALE, "locale", locale_of),
            (Target.ZONE, "zone", zone_of),
        )
        self._read = [(field, by_target[target][0], read) for target, field, read in readers if target in by_target]
        fields = {field.key: field for field in options.custom_fields}
        self._custom = [
            (index, column.header, field, field.type is FieldType.TEXT)
            for index, column in enumerate(columns)
            if column.target.startswith(CUSTOM) and (field := fields[column.target.removeprefix(CUSTOM)])
        ]
        self._tags = by_target.get(Target.TAGS, [])
        self._tags_if_yes = by_target.get(Target.TAG_IF_YES, [])
        self._country = _first(by_target, Target.COUNTRY)
        self._region = _first(by_target, Target.REGION)
        self._postal_code = _first(by_target, Target.POSTAL_CODE)
        self._do_not_call = _first(by_target, Target.DO_NOT_CALL)
        self._consent_dates = [
            (field, by_target[target][0])
            for target, field in ((Target.CONSENT_AT, "at"), (Target.CONSENT_EXPIRES, "expires"))
            if target in by_target
        ]
        self._consent_texts = [
            (field, by_target[target][0], _LONGEST[target])
            for target, field in (
                (Target.CONSENT_PURPOSE, "purpose"),
                (Target.CONSENT_BASIS, "basis"),
                (Target.CONSENT_WORDING, "wording"),
                (Target.CONSENT_PROOF, "proof"),
            )
            if target in by_target
        ]
        self._has_consent = bool(self._consent_dates or self._consent_texts)
        self._has_region = self._region is not None or self._postal_code is not None

    def clean(self, row: SourceRow) -> TakenRow | RowRefusal | None:
        """Return what becomes of a row; None where there is nothing in it."""
        cells = row.cells
        self._warnings = [RowWarning("", repair, "") for repair in row.repairs] if row.repairs else []
        if row.problem is not None:
            return self._refusal(row, "", row.problem, ROW_WORDS[row.problem])
        if not any(map(str.strip, cells)):
            return None
        country = self._options.default_country
        if self._country is not None and (named := cells[self._country[0]].strip()):
            country = country_of(named[:_LONGEST_REGION]) or country
        try:
            numbers = self._numbers(cells, country)
        except _NoNumber as refusal:
            return self._refusal(row, refusal.header, refusal.problem, str(NumberRefused(refusal.problem)))
        try:
            return self._taken(row.number, cells, numbers, country)
        except ValueDropped as refusal:
            return self._refusal(row, refusal.header, RowProblem.BAD_VALUE, refusal.reason)

    def _taken(self, row: int, cells: list[str], numbers: list[tuple[PhoneNumber, str, str]], country: str) -> TakenRow:
        number, raw, _ = numbers[0]
        values = self._own_values(cells)
        if self._has_region and (region := self._region_of(cells, number.country or country)):
            values["region"] = region
        if self._custom:
            values["custom"] = self._custom_values(cells)
        if self._tags or self._tags_if_yes:
            values["tags"] = self._tags_of(cells)
        if len(numbers) > 1:
            values["further"] = _further(numbers)
        return TakenRow(
            row,
            ContactDraft(number=number, raw_number=raw, **values),
            self._consent(cells) if self._has_consent else None,
            self._do_not_call is not None and is_yes(self._text(cells[self._do_not_call[0]], "")),
            tuple(self._warnings),
        )

    def _own_values(self, cells: list[str]) -> dict[str, Any]:
        """Return the values of a contact's own fields, those that are said."""
        values: dict[str, Any] = {}
        for target, field, columns, longest in self._texts:
            if text := self._joined(cells, columns, longest, target):
                values[field] = text
        for field, (index, header), read in self._read:
            if not cells[index] or not (text := self._text(cells[index], header)):
                continue
            value = read(text)
            if value is None:
                self._drop(header, text, f"this is no {field}")
                continue
            if field == "email" and text.isupper():
                self._warnings.append(RowWarning(header, CellRepair.CASE, text[:LONGEST_RAW]))
            values[field] = value
        return values

    # --- numbers --------------------------------------------------------------------------------------------------
    def _numbers(self, cells: list[str], country: str) -> list[tuple[PhoneNumber, str, str]]:
        """Return the row's numbers with what was written and their labels. Raises _NoNumber where there is none."""
        numbers: list[tuple[PhoneNumber, str, str]] = []
        failed: list[tuple[str, str, NumberProblem]] = []
        for index, header, label in self._phones:
            raw = cells[index]
            if not raw.isprintable():
                raw = self._seen(raw, header)
            raw = raw.strip()
            if not raw:
                continue
            try:
                number = read_number(raw, country)
            except NumberRefused as error:
                numbers += self._several(raw, header, label, country, error.problem, failed)
                continue
            numbers.append((number, raw[:_LONGEST_RAW_NUMBER], label))
            for repair in number.repairs:
                self._warnings.append(RowWarning(header, repair, raw[:LONGEST_RAW]))
        if not numbers:
            header, _, problem = failed[0] if failed else (self._phones[0][1], "", NumberProblem.MISSING)
            raise _NoNumber(header, problem)
        for header, raw, _ in failed:
            self._warnings.append(RowWarning(header, CellRepair.DROPPED_NUMBER, raw[:LONGEST_RAW]))
        if failed and failed[0][0] == self._phones[0][1]:
            self._warnings.append(RowWarning(self._phones[0][1], CellRepair.MOVED_UP, ""))
        return numbers

    def _several(
        self,
        raw: str,
        header: str,
        label: str,
        country: str,
        problem: NumberProblem,
        failed: list[tuple[str, str, NumberProblem]],
    ) -> list[tuple[PhoneNumber, str, str]]:
        """Return the numbers of a cell that is none itself, because there are several in it."""
        numbers = []
        for part in _SEVERAL.split(raw):
            try:
                number = read_number(part, country)
            except NumberRefused:
                continue
            numbers.append((number, part[:_LONGEST_RAW_NUMBER], label))
            self._warnings += [RowWarning(header, repair, part[:LONGEST_RAW]) for repair in number.repairs]
        if numbers:
            self._warnings.append(RowWarning(header, CellRepair.SPLIT, raw[:LONGEST_RAW]))
        else:
            failed.append((header, raw, problem))
        return numbers

    # --- everything else ------------------------------------------------------------------------------------------
    def _text(self, cell: str, header: str) -> str:
        """Return a cell without what cannot be seen, and one space where there were several."""
        if cell.isprintable():
            if "  " not in cell and " " not in (cell[:1], cell[-1:]):
                return cell
        else:
            cell = self._seen(cell, header)
        text = cell.strip()
        if "  " in text:
            text = _SPACES.sub(" ", text)
        if len(text) != len(cell):
            self._warnings.append(RowWarning(header, CellRepair.TRIMMED, cell[:LONGEST_RAW]))
        return text

    def _seen(self, cell: str, header: str) -> str:
        seen, removed = _UNSEEN.subn("", cell)
        if removed:
            self._warnings.append(RowWarning(header, CellRepair.CONTROL, cell[:LONGEST_RAW]))
        return seen

    def _joined(self, cells: list[str], columns: list[_Named], longest: int, target: Target) -> str:
        """Return a text from its columns: parts of a name joined, of others the first that is not empty."""
        if len(columns) == 1:
            index, header = columns[0]
            if not cells[index]:
                return ""
            text = self._text(cells[index], header)
            if not text.isprintable():
                text = _SPACES.sub(" ", text)
            return text if len(text) <= longest else self._cut(text, longest, header)
        texts = [text for index, header in columns if (text := _SPACES.sub(" ", self._text(cells[index], header)))]
        if target is Target.NAME:
            texts = texts[:1]
        return self._cut(" ".join(texts), longest, columns[0][1])

    def _cut(self, text: str, longest: int, header: str) -> str:
        if len(text) <= longest:
            return text
        self._warnings.append(RowWarning(header, CellRepair.SHORTENED, text[:LONGEST_RAW]))
        return text[:longest].rstrip()

    def _drop(self, header: str, text: str, reason: str) -> None:
        """Leave a value out, and tell. Raises ValueDropped where the row is to be refused for it."""
        if self._options.refuses_bad_values:
            raise ValueDropped(header, reason)
        self._warnings.append(RowWarning(header, CellRepair.DROPPED, text[:LONGEST_RAW]))

    def _region_of(self, cells: list[str], country: str) -> str:
        if self._region is not None:
            index, header = self._region
            if text := self._text(cells[index], header):
                if region := region_of(text[:_LONGEST_REGION], country):
                    return region
                self._drop(header, text, "no such state or province is known")
        if self._postal_code is not None:
            index, header = self._postal_code
            if text := self._text(cells[index], header):
                return region_of_postal_code(text[:_LONGEST_REGION], country)
        return ""

    def _custom_values(self, cells: list[str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for index, header, field, is_text in self._custom:
            if not cells[index] or not (text := self._text(cells[index], header)):
                continue
            if is_text:
                values[field.key] = text if len(text) <= LONGEST_TEXT else self._cut(text, LONGEST_TEXT, header)
                continue
            try:
                values[field.key] = read_value(field, text, self._style)
            except ValueRefused as error:
                self._drop(header, text, str(error))
        return values

    def _tags_of(self, cells: list[str]) -> tuple[str, ...]:
        marked = [header for index, header in self._tags_if_yes if is_yes(self._text(cells[index], header))]
        return tags_of([*(self._text(cells[index], header) for index, header in self._tags), *marked])

    def _consent(self, cells: list[str]) -> SaidConsent | None:
        said: dict[str, str] = {}
        for field, (index, header) in self._consent_dates:
            if text := self._text(cells[index], header):
                day = date_of(text, self._style)
                if day is None:
                    self._drop(header, text, "this is no date")
                else:
                    said[field] = day
        for field, (index, header), longest in self._consent_texts:
            if text := self._text(cells[index], header):
                said[field] = self._cut(text, longest, header)
        return SaidConsent(**said) if said else None

    def _refusal(self, row: SourceRow, header: str, code: str, reason: str) -> RowRefusal:
        return RowRefusal(row.number, header, code, reason, tuple(row.cells), tuple(self._warnings))


class _NoNumber(Exception):
    def __init__(self, header: str, problem: NumberProblem) -> None:
        super().__init__(problem)
        self.header = header
        self.problem = problem


def _first(by_target: dict[str, list[_Named]], target: Target) -> _Named | None:
    return by_target[target][0] if target in by_target else None


def _further(numbers: list[tuple[PhoneNumber, str, str]]) -> tuple[FurtherNumber, ...]:
    """Return the numbers behind the first one, each once, as many as a contact may have."""
    seen = {numbers[0][0].e164}
    further = []
    for number, raw, label in numbers[1:]:
        if number.e164 not in seen and len(seen) < MAX_PHONES:
            seen.add(number.e164)
            further.append(FurtherNumber(number=number, raw=raw, label=label))
    return tuple(further)
