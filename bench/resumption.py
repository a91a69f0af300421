"""Where a reply that was stopped went on: what was heard before and after, looked up in what was synthesised.

The synthesis double makes the same sound of the same text each time and nothing on the way changes a sample, so a
second of what was heard is found in it again, to the sample. Pure.
"""

from collections.abc import Iterable
from itertools import accumulate

import msgspec

from voice_agent.audio.mulaw import BYTES_PER_MS, RATE_HZ
from voice_agent.calls.event_log import EventLog
from voice_agent.pipeline.actions import Speak
from voice_agent.sandbox.providers import sound

WINDOW_BYTES = RATE_HZ
"""A second, some 16 characters: no other place of a reply sounds like it."""

NEAR_BYTES = 2 * RATE_HZ
"""A reply that is found again farther from the cut was not resumed: it was begun anew."""


class Spoken(msgspec.Struct, frozen=True):
    """What the synthesis double made of one reply."""

    audio: bytes
    word_starts: frozenset[int]
    """Samples."""


class Resumption(msgspec.Struct, frozen=True):
    """How a reply went on. Where `is_found` is false, something else was said, and the rest means nothing."""

    is_found: bool
    is_word_start: bool = False
    repeated_ms: float = 0.0
    """What was heard twice; below zero, what was skipped."""


def spoken_in(log: EventLog) -> list[Spoken]:
    """Return what was to be said in each of a call's turns."""
    turns: dict[int, list[str]] = {}
    for logged in log.entries:
        for action in logged.actions:
            if isinstance(action, Speak):
                turns.setdefault(action.turn, []).append(action.text)
    return [_spoken(pieces) for pieces in turns.values()]


def _spoken(pieces: Iterable[str]) -> Spoken:
    # A piece is sent with a space at its end, because ElevenLabs speaks up to the last one.
    sounds = [sound.speak(piece if piece[-1:].isspace() else f"{piece} ") for piece in pieces]
    begins = [0, *accumulate(len(each.audio) for each in sounds)]
    starts = {
        begin + at_ms * BYTES_PER_MS
        for begin, each in zip(begins, sounds, strict=False)
        for before, char, at_ms in zip(" " + "".join(each.timing.chars), each.timing.chars, each.timing.starts_ms,
                                       strict=False)
        if before.isspace() and not char.isspace()
    }  # fmt: skip
    return Spoken(b"".join(each.audio for each in sounds), frozenset(starts))


def resumption(heard: bytes, cut: int, resumed: int, replies: Iterable[Spoken]) -> Resumption:
    """Return how the reply that was cut at one sample of `heard` went on at another."""
    before, after = heard[cut - WINDOW_BYTES : cut], heard[resumed : resumed + WINDOW_BYTES]
    for reply in replies:
        cut_at = reply.audio.find(before) + WINDOW_BYTES
        if cut_at < WINDOW_BYTES:
            continue
        begin = reply.audio.find(after, max(0, cut_at - NEAR_BYTES), cut_at + NEAR_BYTES)
        if begin >= 0:
            return Resumption(True, begin in reply.word_starts, (cut_at - begin) / BYTES_PER_MS)
    return Resumption(False)
