"""What a contact is found by: words in small letters without accents, matched from their beginning. Pure.

Both databases match the same words, one by an index of them and one by looking through the text, so that a search
finds the same contacts on either. Of a number its ends are words too: people know the last digits.
"""

import re
import unicodedata

import phonenumbers

LONGEST_WORD = 60
MOST_WORDS = 40
ENDS = (6, 4)
"""How many last digits of a number are words."""

_NO_WORD = re.compile(r"[^\w@.+-]+")
_PARTS = re.compile(r"[@.+_-]+")
_NUMBER = re.compile(r"[+(]?\d[\d ().+/-]*\d")


def folded(text: str) -> str:
    """Return a text in small letters without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


def words_of(text: str) -> list[str]:
    """Return the words of a name, an address or a key: whole, and in the parts that people would type."""
    found: list[str] = []
    for word in _NO_WORD.split(folded(text)):
        whole = word.strip(".+-_@")
        parts = [part for part in _PARTS.split(whole) if part]
        found += [each[:LONGEST_WORD] for each in ([whole, *parts] if len(parts) > 1 else parts)]
    return found


def words_of_number(e164: str) -> list[str]:
    """Return a number's digits: with its country's code, without it, and its last ones."""
    digits = e164.removeprefix("+")
    parsed = phonenumbers.parse(e164, None, _check_region=False)
    national = phonenumbers.national_significant_number(parsed)
    return [digits, national, *(digits[-end:] for end in ENDS)]


def search_words(numbers: list[str], texts: list[str]) -> str:
    """Return what is kept in `ContactRow.search_words`: of its E.164 numbers, names, e-mail address and keys."""
    found = [word for number in numbers for word in words_of_number(number)]
    found += [word for text in texts for word in words_of(text)]
    return " ".join(list(dict.fromkeys(found))[:MOST_WORDS])


def query_words(query: str) -> list[str]:
    """Return the beginnings of words that a contact must have for a search, all of them; at most eight."""
    text = query.strip()
    if _NUMBER.fullmatch(text):
        return [re.sub(r"\D", "", text)[:LONGEST_WORD]]
    wanted = [word.strip(".+-_@")[:LONGEST_WORD] for word in _NO_WORD.split(folded(text))]
    return list(dict.fromkeys(word for word in wanted if word))[:8]
