"""What each column of a file is taken for, and whether a mapping that somebody corrected can be used. Pure.

A header's words decide; where they say nothing, or too much, what stands in the column does: a column of telephone
numbers is one, even when it is called "dato 3". What fits nothing becomes a custom field.
"""

from collections.abc import Callable, Sequence

from voice_agent.contacts.fields import KEY, CustomField, FieldType, Style, ValueRefused, read_value
from voice_agent.contacts.model import MAX_PHONES
from voice_agent.contacts.reading.header_words import key_of, label_of, plain, target_of
from voice_agent.contacts.reading.line_rows import EMAIL
from voice_agent.contacts.reading.model import (
    CUSTOM,
    SAMPLES,
    Column,
    FileProblem,
    FileRefused,
    MappedColumn,
    Mapping,
    ReadOptions,
    Target,
)
from voice_agent.contacts.reading.regions import COUNTRIES, country_of, region_of
from voice_agent.phone_numbers import NumberProblem, NumberRefused, read_number

BY_HEADER = 0.95
BY_HEADER_ALONE = 0.6
"""Confidence where a header says what the column's cells do not bear out."""

BY_CONTENT = 0.75
AS_FIELD = 0.5

LONGEST_SAMPLE = 200
_LOOKED_AT = 50
"""Cells of a column: reading one as a number takes 55 us, and there may be 500 columns."""

_MOST = 0.7
"""Share of cells from which a column is what they are: lists have gaps and remarks in them."""

_REPEATED = frozenset(
    {Target.PHONE, Target.NAME, Target.GIVEN_NAME, Target.FAMILY_NAME, Target.TAGS, Target.TAG_IF_YES, Target.IGNORE}
)
"""Targets that several columns may have: the parts of names are joined, of two names the first that is not empty."""


def is_known_header(cell: str) -> bool:
    """Tell whether a cell is a word that columns are called by."""
    return target_of(cell) is not None


def guess(headers: Sequence[str], rows: Sequence[Sequence[str]], options: ReadOptions, style: Style) -> list[Column]:
    """Return what columns are taken for by their headers and some rows, which are as wide as the headers."""
    cells = [[row[index].strip() for row in rows if row[index].strip()] for index in range(len(headers))]
    guesses = _by_header(headers, cells, options)
    if not any(target is Target.PHONE for target, _ in guesses.values()):
        _find(Target.PHONE, lambda some: _numbers(some, options.default_country), guesses, cells, limit=MAX_PHONES)
    if not any(target is Target.EMAIL for target, _ in guesses.values()):
        _find(Target.EMAIL, _addresses, guesses, cells, limit=1)
    used = {field.key for field in options.custom_fields}
    columns = []
    for index, header in enumerate(headers):
        samples = tuple(cell[:LONGEST_SAMPLE] for cell in cells[index][:SAMPLES])
        target, confidence, new_field = _final(header, cells[index], guesses.get(index), options, style, used)
        columns.append(
            Column(
                header=header,
                samples=samples,
                target=target,
                confidence=confidence,
                label=label_of(header) if target == Target.PHONE else "",
                new_field=new_field,
            )
        )
    return columns


def _by_header(
    headers: Sequence[str], cells: Sequence[Sequence[str]], options: ReadOptions
) -> dict[int, tuple[Target, float]]:
    """Return what headers say, each target that only one column can have once, and no more numbers than allowed."""
    guesses: dict[int, tuple[Target, float]] = {}
    taken: list[Target] = []
    fields = {field.key for field in options.custom_fields}
    for index, header in enumerate(headers):
        target = target_of(header)
        if target is None or key_of(header) in fields or (target not in _REPEATED and target in taken):
            continue
        if taken.count(target) == MAX_PHONES:
            continue
        share = _share(target, cells[index], options.default_country)
        if share == 0:
            # "Number" is that of a house, "estado" how things stand.
            continue
        taken.append(target)
        guesses[index] = (target, BY_HEADER if share >= _MOST else BY_HEADER_ALONE)
    if not {Target.NAME, Target.FAMILY_NAME} & set(taken):
        # "Nombre" alone is the whole of it.
        guesses = {
            index: (Target.NAME if target is Target.GIVEN_NAME else target, confidence)
            for index, (target, confidence) in guesses.items()
        }
    return guesses


def _share(target: Target, cells: Sequence[str], default_country: str) -> float:
    """Return how many of a column's cells are what its header says, 0 to 1; an empty column is what it is called."""
    if not cells:
        return 1.0
    match target:
        case Target.PHONE:
            return _numbers(cells, default_country)
        case Target.EMAIL:
            return _addresses(cells)
        case Target.REGION:
            return _fitting(cells, lambda cell: any(region_of(cell[:100], country) for country in COUNTRIES))
        case Target.COUNTRY:
            return _fitting(cells, lambda cell: bool(country_of(cell[:100])))
        case _:
            return 1.0


def _find(
    target: Target,
    share_of: Callable[[Sequence[str]], float],
    guesses: dict[int, tuple[Target, float]],
    cells: Sequence[Sequence[str]],
    *,
    limit: int,
) -> None:
    """Take columns whose header says nothing for a target that no header names."""
    for index, some in enumerate(cells):
        if limit and index not in guesses and some and (share := share_of(some)) >= _MOST:
            guesses[index] = (target, round(BY_CONTENT * share, 2))
            limit -= 1


def _final(
    header: str,
    cells: Sequence[str],
    guessed: tuple[Target, float] | None,
    options: ReadOptions,
    style: Style,
    used: set[str],
) -> tuple[str, float, FieldType | None]:
    """Return target, confidence, and the type of a new custom field."""
    if guessed is not None:
        return str(guessed[0]), guessed[1], None
    for field in options.custom_fields:
        if plain(header) in (plain(field.key), plain(field.label)):
            return CUSTOM + field.key, BY_HEADER, None
    if not cells:
        return str(Target.IGNORE), AS_FIELD, None
    key = key_of(header)
    again = 1
    while key in used:
        again += 1
        key = f"{key_of(header)[:58]}_{again}"
    used.add(key)
    return CUSTOM + key, AS_FIELD, type_of(cells, style)


def type_of(cells: Sequence[str], style: Style) -> FieldType:
    """Return the narrowest type that all of some cells have. Digits that begin with 0 are a text: some code."""
    if any(cell[0] == "0" and cell.isdigit() and len(cell) > 1 for cell in cells):
        return FieldType.TEXT
    # Numbers before yes and no: 0 and 1 alone are either, and a number loses nothing.
    for kind in (FieldType.NUMBER, FieldType.BOOLEAN, FieldType.DATE):
        field = CustomField(key="x", label="x", type=kind)
        if all(_is_value(field, cell, style) for cell in cells[:_LOOKED_AT]):
            return kind
    return FieldType.TEXT


def _is_value(field: CustomField, cell: str, style: Style) -> bool:
    try:
        read_value(field, cell, style)
    except ValueRefused:
        return False
    return True


def _numbers(cells: Sequence[str], default_country: str) -> float:
    return _fitting(cells, lambda cell: _is_number(cell, default_country))


def _is_number(cell: str, default_country: str) -> bool:
    if len(cell) < 7 or (sum(sign.isdigit() for sign in cell) < 7 and "E+" not in cell):
        return False
    try:
        read_number(cell, default_country)
    except NumberRefused as error:
        # A number all the same: of a country that nobody named, or spoiled by a spreadsheet.
        return error.problem in (NumberProblem.NO_COUNTRY, NumberProblem.LOST_DIGITS)
    return True


def _addresses(cells: Sequence[str]) -> float:
    return _fitting(cells, lambda cell: EMAIL.fullmatch(cell) is not None)


def _fitting(cells: Sequence[str], fits: Callable[[str], bool]) -> float:
    looked_at = cells[:_LOOKED_AT]
    return sum(map(fits, looked_at)) / len(looked_at)


def with_template(template: Mapping, columns: Sequence[Column]) -> Mapping:
    """Return the mapping of a file's columns: a template's where it has a column of that name, else what was guessed.

    A guess that the template has already given to another column is left out.
    """
    known = {plain(column.header): column for column in template.columns}
    given = {column.target for column in template.columns if plain(column.header) in {plain(c.header) for c in columns}}
    mapped = []
    for column in columns:
        if (wanted := known.get(plain(column.header))) is not None:
            mapped.append(MappedColumn(header=column.header, target=wanted.target, label=wanted.label))
        elif column.target in given and column.target not in _REPEATED:
            mapped.append(MappedColumn(header=column.header))
        else:
            mapped.append(MappedColumn(header=column.header, target=column.target, label=column.label))
    return Mapping(columns=tuple(mapped))


def check_mapping(mapping: Mapping, custom_fields: Sequence[CustomField]) -> None:
    """Raise FileRefused where a mapping cannot be used: no number, an unknown field, one field from two columns."""
    keys = {field.key for field in custom_fields}
    targets = [column.target for column in mapping.columns]
    for column in mapping.columns:
        if column.target.startswith(CUSTOM):
            key = column.target.removeprefix(CUSTOM)
            if not KEY.fullmatch(key) or key not in keys:
                raise _no_mapping(f"column {column.header!r}: there is no custom field {key!r}")
        elif column.target not in set(Target):
            raise _no_mapping(f"column {column.header!r}: {column.target!r} is nowhere to go")
        if column.target not in _REPEATED and targets.count(column.target) > 1:
            raise _no_mapping(f"two columns go to {column.target!r}")
    headers = [column.header for column in mapping.columns]
    if len(set(headers)) != len(headers):
        raise _no_mapping("a column is in it twice")
    if not 1 <= targets.count(Target.PHONE) <= MAX_PHONES:
        raise _no_mapping(f"one to {MAX_PHONES} columns must be telephone numbers")


def fit(mapping: Mapping, headers: Sequence[str]) -> tuple[MappedColumn, ...]:
    """Return where each of a file's columns goes; one that the mapping does not name goes nowhere.

    Raises FileRefused where a column lacks that the mapping wants: a missing opt-out must not go unseen.
    """
    known = {column.header: column for column in mapping.columns}
    missing = [name for name, column in known.items() if column.target != Target.IGNORE and name not in headers]
    if missing:
        raise _no_mapping(f"the file has no column {missing[0]!r}")
    return tuple(known.get(header) or MappedColumn(header=header) for header in headers)


def _no_mapping(message: str) -> FileRefused:
    return FileRefused(FileProblem.MAPPING, f"mapping: {message}")
