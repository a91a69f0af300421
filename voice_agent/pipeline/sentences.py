"""From a language model's tokens to pieces of text that can be spoken.

Two steps, both incremental and linear in the length of the text:

1. `speakable` drops what nobody can say: markdown, list bullets, emoji, code fences, the scheme of an address.
   It works on whole words (runs without white space), so that how the text was split into tokens never matters.
   White space becomes one space, a line break, or both.
2. `ClauseChunker` joins the words to pieces and releases each piece as early as is safe. A piece ends with the
   white space that follows it, so joining the pieces gives the speakable text back, character by character.

It does not expand numbers or abbreviations: synthesisers do that well. The word lists are for English and Spanish.
What a boundary is follows Unicode's UAX #29 (sentence boundaries) in spirit, tuned to release early: a boundary
that is missed costs some milliseconds, one that is wrong is heard.
"""

import re
from enum import IntEnum

EARLY_CHARS = 25
"""Until so much has been released, clauses are spoken; afterwards whole sentences.

25 characters sound for about 1.6 s (15 characters a second at 160 words a minute), in which a model of 25 tokens a
second writes 160 more: the next sentence is there in time, and sentences are spoken with the better melody.
"""

LONGEST_CHARS = 200
"""A piece that has grown beyond this is cut at its last clause, or else at a word: it sounds for 13 s already."""

LONGEST_WORD_CHARS = 200
"""A run without white space is treated as words of this length: it bounds the work and the waiting."""

MIN_CLAUSE_CHARS = 8
MIN_CLAUSE_WORDS = 2
"""A shorter first clause ("Then,") is joined with the next one, unless it is one of the openers below."""


def _phrases(listed: str) -> frozenset[str]:
    return frozenset(listed.split("|"))


_OPENERS = {
    "en": _phrases(
        "absolutely|ah|all right|alright|certainly|exactly|fine|good|great|hello|hey|hi|hmm|i see|indeed|no|no problem|"
        "of course|oh|ok|okay|perfect|please|right|sorry|sure|thanks|understood|very well|welcome|well|wonderful|"
        "yeah|yes"
    ),
    "es": _phrases(
        "ah|bien|bueno|claro|cómo no|de acuerdo|desde luego|disculpe|entendido|entiendo|exacto|genial|gracias|hola|"
        "listo|lo siento|mire|muy bien|no|ok|okay|perdón|perfecto|por supuesto|pues|sí|vale|ya"
    ),
}
"""One-clause beginnings that people say with a pause of their own."""

_ABBREVIATIONS = _phrases(
    # Titles, addresses, companies and the like: something nearly always follows, so the full stop ends nothing.
    "adj|al|apdo|appt|approx|apt|aprox|arq|art|atte|av|avda|ave|bldg|blvd|cap|capt|cía|co|col|corp|cta|cte|dcha|"
    "dept|depto|dir|doc|dr|dra|dres|drs|dña|ed|ej|est|ext|fig|gen|gob|gov|gral|hon|inc|ing|izq|izqda|jr|lic|lt|ltd|"
    "máx|max|mín|min|mr|mrs|ms|mt|mtro|pág|pags|págs|ph|pl|pp|prof|profa|pza|rd|rep|rev|sgt|sr|sra|sras|sres|srta|"
    "st|sta|ste|sto|tel|teléf|tfno|ud|uds|univ|vd|vds|vol|vs"
)
_BEFORE_NUMBERS = frozenset({"no", "nos", "nº", "num", "núm", "nro"})
"""Abbreviations only before a number: "No. 5" against "No. We are closed."."""

_INITIALS = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}\Z|[^\W\d_]\Z")
_ORDINAL = re.compile(r"\d{1,2}\Z")
_CLOSERS = "\"'”’»)]"
_INSIDE_WORD = re.compile(r"(?<=—)(?=[^\W\d]|[¿¡\"“])|(?<=…)(?=\w)|(?<=\.\.\.)(?=\w)|(?<=[!?])(?=[A-ZÁÉÍÓÚÑ¿¡])")
_ADDRESS = re.compile(r"[/@]|www\.")


class Boundary(IntEnum):
    """What ends after a word."""

    NONE = 0
    UNDECIDED = 1
    """The next word tells."""
    CLAUSE = 2
    SENTENCE = 3


def speakable(text: str) -> str:
    """Return `text` without what cannot be spoken; white space normalised, none at the beginning."""
    words = _SpeakableWords()
    return "".join(word + space for word, space in [*words.feed(text), *words.flush()])


class ClauseChunker:
    """Turn a reply's tokens into pieces to be spoken, each as soon as it may be. One instance for each reply.

    `language` is ISO 639-1; any but "es" is taken for English.
    """

    def __init__(self, language: str) -> None:
        self._openers = _OPENERS.get(language, _OPENERS["en"])
        self._words = _SpeakableWords()
        self._pending: list[str] = []
        self._pending_chars = 0
        self._clause_end = 0
        """How many of the pending words end with the last clause boundary."""
        self._boundary = Boundary.NONE
        self._last_word = ""
        self._released_chars = 0

    def feed(self, text: str) -> tuple[str, ...]:
        """Take more of the reply, any length; return the pieces that are ready, usually none."""
        pieces: list[str] = []
        for word, space in self._words.feed(text):
            self._take(word, space, pieces)
        return tuple(pieces)

    def flush(self) -> tuple[str, ...]:
        """Return what is left at the end of the reply. The chunker is empty afterwards and may go on."""
        pieces: list[str] = []
        for word, space in self._words.flush():
            self._take(word, space, pieces)
        self._release(len(self._pending), pieces)
        self._boundary = Boundary.NONE
        return tuple(pieces)

    def _take(self, word: str, space: str, pieces: list[str]) -> None:
        parts = [word] if _ADDRESS.search(word) else _INSIDE_WORD.split(word)
        for part in parts[:-1]:
            self._take_part(part, "", pieces)
        self._take_part(parts[-1], space, pieces)

    def _take_part(self, word: str, space: str, pieces: list[str]) -> None:
        if not word:
            self._take_space(space, pieces)
            return
        self._decide(word, pieces)
        is_first = not self._pending or self._pending[-1].endswith("\n")
        self._pending.append(word + space)
        self._pending_chars += len(word) + len(space)
        self._last_word = word
        self._boundary = Boundary.SENTENCE if space == "\n" else _boundary_after(word, is_first=is_first)
        self._release_if_ready(pieces)
        if self._pending_chars > LONGEST_CHARS:
            self._release(self._clause_end or max(1, len(self._pending) - 1), pieces)

    def _take_space(self, space: str, pieces: list[str]) -> None:
        """White space that comes after its word, which may have been released by now."""
        self._pending.append(space)
        self._pending_chars += len(space)
        if space == "\n" and len(self._pending) > 1:
            self._boundary = Boundary.SENTENCE
            self._release_if_ready(pieces)

    def _decide(self, next_word: str, pieces: list[str]) -> None:
        """Settle the boundary before `next_word` where only that word can tell."""
        if not self._pending:
            return
        if self._boundary is Boundary.UNDECIDED and _ends_before(self._last_word, next_word):
            self._boundary = Boundary.SENTENCE
            self._release_if_ready(pieces)
        elif self._boundary is Boundary.NONE and next_word[0] in "¿¡":
            self._boundary = Boundary.CLAUSE
            self._release_if_ready(pieces)

    def _release_if_ready(self, pieces: list[str]) -> None:
        if self._boundary < Boundary.CLAUSE:
            return
        self._clause_end = len(self._pending)
        if self._boundary is Boundary.SENTENCE or (self._released_chars < EARLY_CHARS and self._is_clause_enough()):
            self._release(len(self._pending), pieces)

    def _is_clause_enough(self) -> bool:
        clause = "".join(self._pending).strip()
        if len(clause) >= MIN_CLAUSE_CHARS and len(self._pending) >= MIN_CLAUSE_WORDS:
            return True
        return clause.rstrip(" ,;:.…—–").lstrip("¿¡").lower() in self._openers

    def _release(self, count: int, pieces: list[str]) -> None:
        piece = "".join(self._pending[:count])
        if not piece:
            return
        del self._pending[:count]
        self._pending_chars -= len(piece)
        self._clause_end = 0
        self._released_chars += len(piece)
        pieces.append(piece)


def _boundary_after(word: str, *, is_first: bool) -> Boundary:
    """Tell what ends with `word`; `is_first` where it is the first one of its line or piece."""
    bare = word.rstrip(_CLOSERS)
    last = bare[-1:]
    if last in ("!", "?"):
        return Boundary.SENTENCE
    if last in (",", ";", ":", "…", "—", "–") or bare.endswith("..."):
        return Boundary.CLAUSE
    return _boundary_of_stop(bare[:-1].lstrip("¿¡\"'“‘«(["), is_first) if last == "." else Boundary.NONE


def _boundary_of_stop(stem: str, is_first: bool) -> Boundary:
    """Tell what the full stop after `stem` ends."""
    lower = stem.lower()
    if lower in _ABBREVIATIONS or _INITIALS.match(stem):
        return Boundary.NONE
    if lower in _BEFORE_NUMBERS or lower == "etc":
        return Boundary.UNDECIDED
    if _ORDINAL.match(stem):
        return Boundary.NONE if is_first else Boundary.UNDECIDED
    return Boundary.SENTENCE


def _ends_before(word: str, next_word: str) -> bool:
    """Tell whether the full stop of an undecided `word` ends a sentence, seeing what follows."""
    first = next_word.lstrip("\"'“‘«([")[:1]
    if word.rstrip(_CLOSERS)[:-1].lower() in _BEFORE_NUMBERS:
        return not first.isdigit()
    return first.isupper() or first in "¿¡"


# --- what can be spoken -----------------------------------------------------------------------------------------
_TOKENS = re.compile(r"\s+|\S+")
_CLAUSE_WORD = re.compile(r"[^\W\d_]{2,}[,;]")
"""A word that ends with its mark, whatever follows: after letters alone the mark belongs to no number or address.

Models write the space with the next token; waiting for it would cost the first clause a token's time.
"""

_LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"

_UNSPOKEN_CHARS = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufffc\ufffd"
    "\u20e3\u2190-\u21ff\u2300-\u23ff\u2500-\u27bf\u2900-\u297f\u2b00-\u2bff\ud800-\udfff\ue000-\uf8ff"
    "\U0001f000-\U0001faff\U000e0000-\U000e007f"
)
"""Controls, invisible marks, arrows, box drawing, dingbats, emoji and their modifiers, private use."""

_UNSPOKEN = re.compile(f"[{_UNSPOKEN_CHARS}]+")
_SUSPECT = re.compile(rf"[*_`~|#<>\[\]\\{_UNSPOKEN_CHARS}]|//|:")
_FENCE = re.compile(r"(?:```|~~~)[\w+-]*\Z")
_LINE_MARK = re.compile(r"[-*+•·‣◦–—>]+\Z|#{1,6}\Z|[|:-]+\Z|[-*_=]{3,}\Z")
"""Bullets, quotation, headings, table rules and horizontal rules: only at the beginning of a line."""

_KEY_CODE = re.compile(r"[*#]+\d[\d*#]*[.,;:!?]?\Z|[*#][.,;:!?]?\Z")
"""Keys of a telephone ("*67#"): there the asterisk is meant."""

_LINK_TARGET = re.compile(r"\]\([^)\s]*\)?")
_TAG = re.compile(r"</?[A-Za-z][\w-]*/?>")
_BRACKETED_ADDRESS = re.compile(r"<((?:https?|mailto):[^>]*)>")
_SCHEME = re.compile(r"(?:https?|ftp)://|\b(?:mailto|tel):(?=[\w+])")
_MARKUP = re.compile(r"\A!(?=\[)|\*+|`+|~~+|[|\[\]\\]|(?<![^\W_])_+|_+(?![^\W_])")
_BARE_SYMBOLS = re.compile(r"[-–—…&+=%@*#$€£¥.?!,;:/\"'()«»“”°]{1,3}\Z")
"""Words without a letter or digit that are kept: they are read aloud or make a pause."""


class _SpeakableWords:
    """The first step: pairs of a word and the white space after it ("", " " or a line break).

    The word is empty where the white space comes late: after an over-long word, or a line break after a space. After
    a comma the space is given before it has come, or where there is none.
    """

    def __init__(self) -> None:
        self._word = ""
        self._is_line_start = True
        self._has_spoken = False
        self._is_stopped = False
        """Whether the last word ends with punctuation, which says as much as a line break that comes late."""
        self._space = "\n"
        """What was given after the last word; before any word, nothing more is wanted."""

    def feed(self, text: str) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        for token in _TOKENS.findall(text):
            if not token[0].isspace():
                self._grow_word(token, pairs)
                continue
            self._end_word("\n" if token[0] in _LINE_BREAKS else " ", pairs)
            if any(char in _LINE_BREAKS for char in token):
                self._break_line(pairs)
        return pairs

    def flush(self) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        self._end_word("", pairs)
        return pairs

    def _grow_word(self, token: str, pairs: list[tuple[str, str]]) -> None:
        start = 0
        while len(self._word) + len(token) - start >= LONGEST_WORD_CHARS:
            end = start + LONGEST_WORD_CHARS - len(self._word)
            self._word += token[start:end]
            start = end
            self._end_word("", pairs)
        self._word += token[start:]
        while ended := _CLAUSE_WORD.match(self._word):
            rest = self._word[ended.end() :]
            self._word = ended.group()
            self._end_word(" ", pairs)
            self._word = rest

    def _end_word(self, space: str, pairs: list[tuple[str, str]]) -> None:
        word = self._cleaned(self._word) if self._word else ""
        self._word = ""
        if word:
            self._is_line_start = False
            self._has_spoken = True
            self._is_stopped = word[-1] in ".,;:!?…—–"
        if word or (space and not self._space):
            pairs.append((word, space))
            self._space = space

    def _break_line(self, pairs: list[tuple[str, str]]) -> None:
        self._is_line_start = True
        if self._space == " " and not self._is_stopped:
            pairs.append(("", "\n"))
            self._space = "\n"

    def _cleaned(self, word: str) -> str:
        if self._is_line_start:
            if _LINE_MARK.match(word) or _FENCE.match(word):
                return ""
            word = word.lstrip(">")
        if _SUSPECT.search(word):
            word = _without_markup(word)
        if any(map(str.isalnum, word)) or (self._has_spoken and _BARE_SYMBOLS.match(word)):
            return word
        return ""


def _without_markup(word: str) -> str:
    word = _UNSPOKEN.sub("", word)
    if _KEY_CODE.match(word):
        return word
    word = _LINK_TARGET.sub("", word)
    word = _BRACKETED_ADDRESS.sub(r"\1", word)
    word = _TAG.sub("", word)
    return _MARKUP.sub("", _SCHEME.sub("", word))
