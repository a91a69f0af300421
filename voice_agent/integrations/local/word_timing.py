"""When each word of a text sounds, from a synthesiser that reports only where some of them begin. Pure.

Words are runs of non-blank characters with the blanks that follow. The synthesiser may report several beginnings
inside one word ("£45" is three) or none at all (a dash; "of the" said as one): the former count once, the latter share
the time of their neighbours by their letters.
"""

import re
from itertools import accumulate

from voice_agent.pipeline.ports import Word

_WORD = re.compile(r"\s*\S+\s*")


class WordTimer:
    """The words of one text, closed one after another as their ends become known."""

    def __init__(self, text: str, began_ms: float) -> None:
        """`began_ms` is where the text begins in its turn's audio; times reported are relative to it."""
        self._words = _WORD.findall(text)
        self._ends = list(accumulate(map(len, self._words)))
        self._began_ms = began_ms
        self._open = 0
        self._open_began_ms = began_ms

    def word_began(self, index: int, at_ms: float) -> tuple[Word, ...]:
        """Note that the word around character `index` begins. Returns the words that end with it, in order."""
        current = next((number for number, end in enumerate(self._ends) if index < end), self._open)
        return self._close(current, self._began_ms + at_ms)

    def finish(self, end_ms: float) -> tuple[Word, ...]:
        """Return the words that are left, the last of which ends at `end_ms` of the turn's audio."""
        return self._close(len(self._words), end_ms)

    def _close(self, stop: int, end_ms: float) -> tuple[Word, ...]:
        texts = self._words[self._open : stop]
        if not texts:
            return ()
        began_ms = self._open_began_ms
        weights = [sum(map(str.isalnum, text)) for text in texts]
        share_ms = (end_ms - began_ms) / max(sum(weights), 1)
        bounds_ms = [began_ms + share_ms * weight for weight in accumulate(weights, initial=0)]
        bounds_ms[-1] = end_ms
        self._open, self._open_began_ms = stop, end_ms
        return tuple(
            Word(text=text, start_ms=start_ms, end_ms=stop_ms)
            for text, start_ms, stop_ms in zip(texts, bounds_ms[:-1], bounds_ms[1:], strict=True)
        )
