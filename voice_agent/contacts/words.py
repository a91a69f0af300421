"""What a contact is found by: words in small letters without accents, matched from their beginning. Pure.

Both databases match the same words, one by an index of them and one by looking through the text, so that a search
finds the same contacts on either. Of a number its ends are words too: people know the last digits.
"""

import re
import unicodedata
from functools import cache

import phonenumbers

LONGEST_WORD = 60
MOST_WORDS = 40
ENDS = (6, 4)
"""How many last digits of a number are words."""

_NO_WORD = re.compile(r"[^\w@.+-]+")
_SIGNS = ".+-_@"
_PARTS = re.compile(r"[@.+_-]+")
_NUMBER = re.compile(r"[+(]?\d[\d ().+/-]*\d")
_ABROAD = re.compile(r"00(?=[1-9])")
_CODES = frozenset(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
_LONGEST_CODE = 3


def folded(text: str) -> str:
    """Return a text in small letters without accents."""
    if text.isascii():  # most of them, and three times faster
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


def words_of(text: str) -> list[str]:
    """Return the words of a name, an address or a key: whole, and in the parts that people would type."""
    found: list[str] = []
    for word in _NO_WORD.split(folded(text)):
        if word.isalnum():  # most of them
            found.append(word[:LONGEST_WORD])
            continue
        whole = word.strip(_SIGNS)
        parts = [part for part in _PARTS.split(whole) if part]
        found += [each[:LONGEST_WORD] for each in ([whole, *parts] if len(parts) > 1 else parts)]
    return found


def words_of_number(e164: str) -> list[str]:
    """Return a number's digits: with its country's code, without it, as it is dialled at home, and its last ones."""
    digits = e164.removeprefix("+")
    code = _calling_code(digits)
    national = digits[len(code) :]
    at_home = ["0" + national] if _has_trunk_zero(code) else []
    return [digits, national, *at_home, *(digits[-end:] for end in ENDS)]


def _calling_code(digits: str) -> str:
    """Return the country's code that a number begins with: no code is the beginning of another one."""
    for end in range(1, _LONGEST_CODE + 1):
        if digits[:end] in _CODES:
            return digits[:end]
    return ""


@cache
def _has_trunk_zero(code: str) -> bool:
    """Tell whether numbers are dialled with a 0 before them in their own country."""
    region = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[int(code)][0] if code else ""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    return metadata is not None and metadata.national_prefix == "0"


def search_words(numbers: list[str], texts: list[str]) -> str:
    """Return what is kept in `ContactRow.search_words`: of its E.164 numbers, names, e-mail address and keys."""
    found = [word for number in numbers for word in words_of_number(number)]
    found += words_of(" ".join(texts))
    return " ".join(list(dict.fromkeys(found))[:MOST_WORDS])


def query_words(query: str) -> list[str]:
    """Return the beginnings of words that a contact must have for a search, all of them; at most eight."""
    text = query.strip()
    if _NUMBER.fullmatch(text):
        digits = re.sub(r"\D", "", text)
        return [(digits[2:] if _ABROAD.match(digits) else digits)[:LONGEST_WORD]]
    wanted = [word.strip(_SIGNS)[:LONGEST_WORD] for word in _NO_WORD.split(folded(text))]
    return list(dict.fromkeys(word for word in wanted if word))[:8]
