r"""What a cell of a workbook shows: dates of serial numbers, numbers without what floats do to them. Pure.

Source: ECMA-376 part 1, 18.8.30 (number formats), 18.17.4 (dates), 22.9.2.19 (`_x000D_`). Serial 60 is the day that
1900 did not have; serials below it are one day off, as in Excel.
"""

import math
import re
from datetime import datetime, timedelta

_DATE_FORMATS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
"""Built-in formats that show a day or an hour."""

_NO_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
"""What stands in a number format that is shown as it is: quoted text, colours, conditions."""

_DATE_CODE = re.compile(r"[dmyhs]", re.IGNORECASE)
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001
_EPOCH_1904 = datetime(1904, 1, 1)  # noqa: DTZ001
_LAST_SERIAL = 2_958_466
"""The day behind 9999-12-31."""


def is_date_format(number: int, code: str | None) -> bool:
    """Tell whether a number format shows a day or an hour; `code` is that of a format that the workbook defines."""
    if code is None:
        return number in _DATE_FORMATS
    shown = _NO_CODE.sub("", code.split(";", 1)[0][:500])
    return "general" not in shown.lower() and bool(_DATE_CODE.search(shown))


def number_text(written: str) -> str:
    """Return a number as people write it: 34612345678 for 3.4612345678E10, 7 for 7.0. One of too many digits stays."""
    if written.isdecimal():
        return written
    try:
        value = float(written)
    except ValueError:
        return written
    if math.isfinite(value) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return written


def date_text(written: str, *, is_1904: bool) -> str:
    """Return a serial number as YYYY-MM-DD, HH:MM:SS behind it where it has an hour; a number that is none stays."""
    try:
        serial = float(written)
    except ValueError:
        return written
    if not 0 <= serial < _LAST_SERIAL:
        return number_text(written)
    begin = _EPOCH_1904 if is_1904 else _EPOCH
    if serial < 60 and not is_1904:
        begin += timedelta(days=1)
    try:
        # To the second: half of one is a float's.
        moment = begin + timedelta(seconds=round(serial * 86_400))
    except OverflowError:
        return number_text(written)
    if serial < 1:
        return f"{moment:%H:%M:%S}"
    has_hour = moment.hour or moment.minute or moment.second
    return f"{moment:%Y-%m-%d %H:%M:%S}" if has_hour else moment.date().isoformat()


def unescaped(text: str) -> str:
    """Return a text whose control signs are written as _x000D_."""
    return _ESCAPED.sub(_sign, text) if "_x" in text else text


def _sign(match: "re.Match[str]") -> str:
    code = int(match[1], 16)
    return match[0] if 0xD800 <= code <= 0xDFFF else chr(code)
