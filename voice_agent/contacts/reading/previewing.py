"""Which rows people are shown before an import: the first ones, and the worst. Pure."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import msgspec

from voice_agent.contacts.reading.cleaning import Cleaner
from voice_agent.contacts.reading.model import Preview, PreviewRow, RowRefusal, TakenRow
from voice_agent.contacts.reading.rows import SourceRow

FIRST = 50
WORST = 50
LONGEST_CELL = 500
"""Characters of a cell that are shown."""

ROWS = 20_000
"""Rows that are looked at: two seconds."""

_PER_CODE = 3
"""Rows of one kind of refusal or repair that are shown before those of another."""


class Previewer:
    """Counts rows, and keeps those that are worth a look."""

    def __init__(self) -> None:
        self._first: list[PreviewRow] = []
        self._kept: dict[str, list[PreviewRow]] = {}
        """By refusal or warning: up to `WORST` of each."""
        self._codes: Counter[str] = Counter()
        self._numbers: set[str] = set()
        self._taken = self._refused = self._blank = self._duplicates = self._rows = 0

    def add(self, row: SourceRow, outcome: TakenRow | RowRefusal | None) -> None:
        """Take the next row, and what became of it."""
        self._rows = row.number
        if outcome is None:
            self._blank += 1
            return
        cells = tuple(cell[:LONGEST_CELL] for cell in row.cells)
        if isinstance(outcome, RowRefusal):
            self._refused += 1
            shown = PreviewRow(row=row.number, cells=cells, refused=msgspec.structs.replace(outcome, cells=cells))
            codes = [outcome.code]
        else:
            self._taken += 1
            shown = PreviewRow(row=row.number, cells=cells, taken=outcome)
            codes = list(dict.fromkeys(warning.code for warning in outcome.warnings))
            e164 = outcome.draft.number.e164
            self._duplicates += e164 in self._numbers
            self._numbers.add(e164)
        self._codes.update(codes)
        if len(self._first) < FIRST:
            self._first.append(shown)
        for code in codes:
            kept = self._kept.setdefault(code, [])
            if len(kept) < WORST:
                kept.append(shown)

    def preview(self, *, is_whole: bool) -> Preview:
        """Return what was seen."""
        return Preview(
            first=tuple(self._first),
            worst=tuple(self._worst()),
            rows=self._rows,
            is_whole=is_whole,
            taken=self._taken,
            refused=self._refused,
            blank=self._blank,
            duplicates=self._duplicates,
            codes=dict(self._codes),
        )

    def _worst(self) -> list[PreviewRow]:
        """Return up to 50 rows: of every code some, the rare ones first; then refusals, then the most repaired."""
        chosen: dict[int, PreviewRow] = {}
        for code, _ in sorted(self._codes.items(), key=lambda item: item[1]):
            chosen.update((shown.row, shown) for shown in self._kept[code][:_PER_CODE])
        others = [shown for kept in self._kept.values() for shown in kept]
        for shown in sorted(others, key=_badness, reverse=True):
            chosen.setdefault(shown.row, shown)
        worst = list(chosen.values())[:WORST]
        return sorted(worst, key=lambda shown: (-_badness(shown), shown.row))


def _badness(shown: PreviewRow) -> int:
    """Return how bad a row is: a refusal is worse than any number of repairs."""
    return 1_000_000 if shown.taken is None else len(shown.taken.warnings)


def preview_of(rows: Iterator[SourceRow], cleaner: Cleaner, most: int = ROWS) -> Preview:
    """Return what an import would do with the first rows."""
    previewer = Previewer()
    for row in islice(rows, most):
        previewer.add(row, cleaner.clean(row))
    return previewer.preview(is_whole=next(rows, None) is None)
