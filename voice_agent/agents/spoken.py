"""Written text as the plain words that were said: lower case, no punctuation, digits as words. Pure.

Recognisers write what they hear in their own style ("On the 3rd at 9:30, please." or "on the third at nine thirty
please"); rules that look for words need one of them. Digits become words in English only; other languages keep them.
"""

import re

_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty")

_CLOCK = re.compile(r"\b(\d{1,2})[:.](\d\d)\b")
_NUMBER = re.compile(r"\d+")
_NOT_A_WORD = re.compile(r"(?:[^\w']|_)+")


def plain_words(text: str, language: str) -> str:
    """Return the words of `text` with single spaces between them; empty where there are none."""
    text = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if language == "en":
        text = _CLOCK.sub(_clock_words, text)
        text = _NUMBER.sub(_number_words, text)
    return _NOT_A_WORD.sub(" ", text).strip()


def _clock_words(found: re.Match[str]) -> str:
    hour, minute = int(found[1]), int(found[2])
    if hour > 23 or minute > 59:
        return found[0]
    if not minute:
        return f"{_small_number(hour)} o'clock"
    return f"{_small_number(hour)} {'oh ' * (minute < 10)}{_small_number(minute)}"


def _number_words(found: re.Match[str]) -> str:
    """Numbers up to 59 are said as numbers, anything else (telephone numbers above all) digit by digit."""
    digits = found[0]
    if len(digits) <= 2 and not digits.startswith("0") and int(digits) < 60:
        return f" {_small_number(int(digits))} "
    return " " + " ".join(_UNITS[int(digit)] for digit in digits) + " "


def _small_number(number: int) -> str:
    if number < len(_UNITS):
        return _UNITS[number]
    tens, units = divmod(number, 10)
    return f"{_TENS[tens]} {_UNITS[units]}" if units else _TENS[tens]
