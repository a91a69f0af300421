"""Which words are left to say when a synthesiser has died in the middle of a reply.

Pure. Repeats at most the word that was cut; where the synthesiser gave no timing it would rather repeat than skip.
"""

import re
from collections.abc import Sequence

from voice_agent.pipeline.ports import Word

SLOWEST_CHAR_MS = 80.0
"""Used only without timing. Voices speak 55 to 75 ms a character: more, so that no word is skipped."""

FASTEST_CHAR_MS = 40.0
"""Used only without timing: no voice is faster, so less audio than this is surely not all of it."""

TIMING_SLACK_MS = 30.0
"""Timing and audio are rounded apart by up to a frame; a word that lacks less than this was said."""


def undelivered(text: str, words: Sequence[Word], delivered_ms: float) -> str:
    """Return the end of `text` that begins with the first word not wholly within `delivered_ms` of its audio.

    `words` are the timed words of `text` from its beginning, `delivered_ms` the audio counted from the same moment.
    """
    tokens = re.findall(r"\S+\s*", text)
    if words:
        said = [word for word in words if word.end_ms <= delivered_ms + TIMING_SLACK_MS]
        # Synthesisers may split or spell words in their own way, but not the spaces between them.
        return "".join(tokens[sum(len(word.text.split()) for word in said) :])
    chars = delivered_ms / SLOWEST_CHAR_MS
    for index, token in enumerate(tokens):
        chars -= len(token)
        if chars < 0:
            return "".join(tokens[index:])
    return ""


def is_outstanding(text: str, words: Sequence[Word], delivered_ms: float) -> bool:
    """Return whether more of `text` must still come. One word may be missing: its end shows only with the next one."""
    if words or not delivered_ms:
        return len(undelivered(text, words, delivered_ms).split()) > (1 if words else 0)
    return delivered_ms < len(text) * FASTEST_CHAR_MS
