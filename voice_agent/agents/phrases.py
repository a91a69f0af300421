"""Word patterns: what a caller may say, written once, for recognition (a grammar) and for understanding (a search).

    [i would like to | can i] book an appointment [on <day>]

Words, [optional parts], (alternatives | in | groups), and <slots> whose values are listed elsewhere: the right-hand
side of a rule in the JSpeech Grammar Format (https://www.w3.org/TR/jsgf/), without weights, tags and repetition. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

_TOKEN = re.compile(r"\s*(?:(?P<slot><[a-z_]+>)|(?P<mark>[\[\]()|])|(?P<word>[^\W\d_](?:[^\W\d_]|')*))")
_CLOSING = {"[": "]", "(": ")"}


class PhraseError(ValueError):
    """A word pattern cannot be read. The message shows the place."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, lower case."""

    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    """One of a slot's values."""

    name: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts one after another."""

    parts: "tuple[Phrase, ...]"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several; an optional choice may also be left out."""

    options: "tuple[Phrase, ...]"
    is_optional: bool = False


Phrase = Word | Slot | Sequence | Choice


def parse(text: str) -> Phrase:
    """Read a word pattern. Raises PhraseError."""
    tokens = _Tokens(text)
    phrase = _alternatives(tokens)
    if tokens.next_one:
        raise tokens.error(f"{tokens.next_one!r} closes nothing")
    return phrase


def words(phrase: Phrase) -> Iterator[str]:
    """Yield every word of the pattern, slots apart."""
    match phrase:
        case Word(text):
            yield text
        case Sequence(parts) | Choice(parts):
            for part in parts:
                yield from words(part)


def slots(phrase: Phrase) -> Iterator[str]:
    """Yield the name of every slot of the pattern."""
    match phrase:
        case Slot(name):
            yield name
        case Sequence(parts) | Choice(parts):
            for part in parts:
                yield from slots(part)


def to_jsgf(phrase: Phrase) -> str:
    """Write the pattern as the right-hand side of a JSGF rule."""
    match phrase:
        case Word(text):
            return text
        case Slot(name):
            return f"<{name}>"
        case Sequence(parts):
            return " ".join(map(to_jsgf, parts))
        case Choice(options, is_optional):
            inside = " | ".join(map(to_jsgf, options))
            return f"[ {inside} ]" if is_optional else f"( {inside} )"
        case _:
            assert_never(phrase)


def to_regex(phrase: Phrase, slot_patterns: Mapping[str, str]) -> str:
    """Write the pattern as a regular expression over words that are each followed by one space.

    `slot_patterns` has the expression of each slot's values; what they match is the group of the slot's name.
    """
    match phrase:
        case Word(text):
            return re.escape(text) + " "
        case Slot(name):
            return f"(?P<{name}>{slot_patterns[name]})"
        case Sequence(parts):
            return "".join(to_regex(part, slot_patterns) for part in parts)
        case Choice(options, is_optional):
            inside = "|".join(to_regex(option, slot_patterns) for option in options)
            return f"(?:{inside})" + "?" * is_optional
        case _:
            assert_never(phrase)


class _Tokens:
    """The tokens of a pattern, with one token of lookahead."""

    def __init__(self, text: str) -> None:
        self._text = " ".join(text.split())
        self._end = 0
        self.next_one = ""
        self.take()

    def take(self) -> str:
        """Return the token that was next, and look at the one after it; "" at the end."""
        taken = self.next_one
        found = _TOKEN.match(self._text, self._end)
        if found:
            self._end = found.end()
            self.next_one = found[0].strip()
        elif self._end < len(self._text):
            raise self.error("expected a word, a <slot>, or one of [ ] ( ) |")
        else:
            self.next_one = ""
        return taken

    def error(self, problem: str) -> PhraseError:
        """Return an error that shows how far the pattern was read."""
        return PhraseError(f"{problem}, after {self._text[: self._end]!r}")


def _alternatives(tokens: _Tokens) -> Phrase:
    options = [_sequence(tokens)]
    while tokens.next_one == "|":
        tokens.take()
        options.append(_sequence(tokens))
    return options[0] if len(options) == 1 else Choice(tuple(options))


def _sequence(tokens: _Tokens) -> Phrase:
    parts: list[Phrase] = []
    while tokens.next_one not in ("", "|", "]", ")"):
        parts.append(_part(tokens))
    if not parts:
        raise tokens.error("nothing to say")
    return parts[0] if len(parts) == 1 else Sequence(tuple(parts))


def _part(tokens: _Tokens) -> Phrase:
    first = tokens.take()
    if first not in _CLOSING:
        return Slot(first[1:-1]) if first.startswith("<") else Word(first)
    inside = _alternatives(tokens)
    if tokens.take() != _CLOSING[first]:
        raise tokens.error(f"{first!r} is not closed")
    options = inside.options if isinstance(inside, Choice) and not inside.is_optional else (inside,)
    return Choice(options, is_optional=first == "[")
