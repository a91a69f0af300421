"""Judges a finished call from what the caller said and heard, sample by sample.

Pure. The server's own clock is not asked: latency is what a caller would measure with a stop watch, the carrier's
20 ms framing included. What was said in words is judged from the server's transcript, where one is given.

How it reads the timelines
- Speech of the agent: stretches of audible samples, joined over gaps shorter than `PAUSE_MS` in which no turn of the
  caller ends.
- Voice-to-voice latency: last audible sample of a caller's turn to the first audible one of the agent after it. Not
  measured where the agent spoke over the end of the turn (a cut-in), nor where the caller went on first.
- A barge-in: an interruption that began inside the agent's speech, and a `clear` after its first sample. It stops the
  agent at the last sample heard of that stretch.
- Any other `clear` that dropped audio, but for one within `KEY_STOP_MS` of a key, is a stop for a noise or a
  backchannel. It is a false one unless the agent was heard again within `RESUME_MS`.
- An underrun: the carrier had nothing to play for 1 to 1,000 ms inside the agent's speech, with no `clear` and no
  word of the caller in between. A provider that pauses for less than a second between sentences counts as well.
- Stuck: a turn with no answer in `STUCK_S`.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec
import numpy

from voice_agent.audio.mulaw import BYTES_PER_MS, RATE_HZ
from voice_agent.sandbox.callers.caller import ANSWERED_KINDS, Utterance
from voice_agent.sandbox.callers.scenario import Expectations
from voice_agent.sandbox.callers.sounds import AUDIBLE, from_mulaw
from voice_agent.sandbox.callers.timeline import Clear, Timeline

PAUSE_MS = 400
LEAST_GAP_MS = 60
"""Shorter silences are inside a word: the closure of a plosive."""
RESUME_MS = 700
STUCK_S = 10.0
STOP_WITHIN_MS = 2_000
"""A `clear` later than this after the end of an interruption has another cause."""
KEY_STOP_MS = 1_000
"""A key stops the agent as words do."""
UNDERRUN_LEAST_SAMPLES = BYTES_PER_MS
UNDERRUN_MOST_SAMPLES = RATE_HZ


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of the caller and what came of it."""

    text: str
    ended_s: float
    """Last sample of the caller's speech, seconds from the answer."""
    outcome: Literal["answered", "cut_in", "went_on", "stuck"]
    latency_ms: float | None
    """Voice to voice; None unless answered."""


class BargeIn(msgspec.Struct, frozen=True, kw_only=True):
    """One interruption of the agent. Both times are from the first sample of the caller's speech."""

    text: str
    began_s: float
    clear_ms: float | None
    """Until the server's `clear` arrived; None where none came."""
    stop_ms: float | None
    """Until the last audible sample of the agent; None where it did not stop."""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """The agent was stopped by something that is no interruption."""

    cause: str
    at_s: float
    resumed_ms: float | None
    """Silence before the agent went on; None where it did not go on within ten seconds."""

    @property
    def is_false(self) -> bool:
        """Whether the caller noticed."""
        return self.resumed_ms is None or self.resumed_ms > RESUME_MS


class Check(msgspec.Struct, frozen=True):
    """One expectation: what was wanted, what was found; `is_met` None where it could not be judged."""

    name: str
    wanted: str
    found: str
    is_met: bool | None


class Words(msgspec.Struct, frozen=True):
    """What was said in words, from the server's transcript."""

    agent: str
    caller: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one simulated call."""

    scenario: str
    call_sid: str
    duration_s: float
    turns: tuple[Turn, ...]
    barge_ins: tuple[BargeIn, ...]
    stops: tuple[Stop, ...]
    underruns_ms: tuple[float, ...]
    ended_by: Literal["agent", "caller"]
    checks: tuple[Check, ...] = ()

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """Voice-to-voice latency of the turns that have one, in order."""
        return tuple(turn.latency_ms for turn in self.turns if turn.latency_ms is not None)

    @property
    def answered_turns(self) -> int:
        """Turns the agent answered."""
        return sum(turn.outcome in ("answered", "cut_in") for turn in self.turns)

    @property
    def stopping_barge_ins(self) -> int:
        """Interruptions that stopped the agent."""
        return sum(barge_in.stop_ms is not None for barge_in in self.barge_ins)

    @property
    def false_stops(self) -> int:
        """Stops without an interruption that the caller noticed."""
        return sum(stop.is_false for stop in self.stops)

    @property
    def stuck(self) -> int:
        """Turns that got no answer."""
        return sum(turn.outcome == "stuck" for turn in self.turns)

    @property
    def underrun_ms(self) -> float:
        """Silence inside replies that nobody meant."""
        return sum(self.underruns_ms)

    @property
    def has_passed(self) -> bool:
        """Whether no expectation was missed. One that could not be judged is not missed."""
        return all(check.is_met is not False for check in self.checks)


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the nearest-rank percentile, `share` from 0 to 1; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def judge(
    timeline: Timeline,
    expectations: Expectations,
    *,
    scenario: str = "",
    call_sid: str = "",
    words: Words | None = None,
) -> Verdict:
    """Return the verdict on one call; without `words`, what was said is not judged."""
    spoken = [utterance for utterance in timeline.utterances if utterance.kind in ANSWERED_KINDS]
    speech = speech_of(timeline.heard, [utterance.end for utterance in spoken])
    verdict = Verdict(
        scenario=scenario,
        call_sid=call_sid,
        duration_s=len(timeline.heard) / RATE_HZ,
        turns=tuple(_turns(timeline, speech)),
        barge_ins=tuple(_barge_ins(timeline, speech)),
        stops=tuple(_stops(timeline)),
        underruns_ms=tuple(_underruns(timeline)),
        ended_by="caller" if timeline.has_caller_hung_up else "agent",
    )
    return msgspec.structs.replace(verdict, checks=tuple(_checks(verdict, expectations, words)))


Stretch = tuple[int, int]
"""First audible sample, and the one after the last."""


def speech_of(heard: bytes, turn_ends: Iterable[int] = ()) -> list[Stretch]:
    """Return the stretches of speech in mu-law audio; one does not go on over the end of a caller's turn."""
    loud = numpy.flatnonzero(numpy.abs(from_mulaw(heard)) > AUDIBLE)
    if not loud.size:
        return []
    gaps = numpy.diff(loud)
    is_break = gaps > PAUSE_MS * BYTES_PER_MS
    for end in turn_ends:
        after = int(numpy.searchsorted(loud, end))
        if 0 < after < loud.size and gaps[after - 1] > LEAST_GAP_MS * BYTES_PER_MS:
            is_break[after - 1] = True
    breaks = numpy.flatnonzero(is_break)
    starts = loud[numpy.concatenate(([0], breaks + 1))]
    ends = loud[numpy.concatenate((breaks, [loud.size - 1]))] + 1
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def _turns(timeline: Timeline, speech: list[Stretch]) -> Iterable[Turn]:
    spoken = [utterance for utterance in timeline.utterances if utterance.kind in ANSWERED_KINDS]
    for index, utterance in enumerate(spoken):
        limit = spoken[index + 1].start if index + 1 < len(spoken) else len(timeline.heard)
        outcome, latency_ms = _answer(utterance, limit, speech)
        yield Turn(text=utterance.label, ended_s=utterance.end / RATE_HZ, outcome=outcome, latency_ms=latency_ms)


def _answer(
    utterance: Utterance, limit: int, speech: list[Stretch]
) -> tuple[Literal["answered", "cut_in", "went_on", "stuck"], float | None]:
    """Return what became of a turn; `limit` is where the caller went on or the call ended."""
    if any(start < utterance.end < end and start >= utterance.start for start, end in speech):
        return "cut_in", None
    answer = next((start for start, _ in speech if utterance.end <= start < limit), None)
    if answer is not None and answer - utterance.end <= STUCK_S * RATE_HZ:
        return "answered", _ms(answer - utterance.end)
    return ("stuck" if limit - utterance.end >= STUCK_S * RATE_HZ else "went_on"), None


def _barge_ins(timeline: Timeline, speech: list[Stretch]) -> Iterable[BargeIn]:
    for utterance in timeline.utterances:
        stretch = _stretch_at(utterance.start, speech)
        if utterance.kind != "interruption" or stretch is None:
            continue
        clear = next((clear for clear in timeline.clears if _is_for(clear, utterance)), None)
        yield BargeIn(
            text=utterance.label,
            began_s=utterance.start / RATE_HZ,
            clear_ms=None if clear is None else _ms(clear.sample - utterance.start),
            stop_ms=None if clear is None else _ms(min(stretch[1], clear.sample) - utterance.start),
        )


def _stops(timeline: Timeline) -> Iterable[Stop]:
    meant = [utterance for utterance in timeline.utterances if utterance.kind in ANSWERED_KINDS]
    for clear in timeline.clears:
        is_for_key = any(0 <= clear.sample - key <= KEY_STOP_MS * BYTES_PER_MS for key in timeline.keys)
        if not clear.dropped_bytes or is_for_key or any(_is_for(clear, utterance) for utterance in meant):
            continue
        again = _heard_again(clear.sample, timeline.heard)
        yield Stop(cause=_cause(clear, timeline), at_s=clear.sample / RATE_HZ, resumed_ms=again)


def _underruns(timeline: Timeline) -> Iterable[float]:
    for before, after in zip(timeline.spans, timeline.spans[1:], strict=False):
        gap = after.start - before.end
        if not UNDERRUN_LEAST_SAMPLES <= gap < UNDERRUN_MOST_SAMPLES:
            continue
        is_cut = any(before.end <= clear.sample <= after.start for clear in timeline.clears)
        is_answer = any(
            before.end <= utterance.end <= after.start
            for utterance in timeline.utterances
            if utterance.kind in ANSWERED_KINDS
        )
        if not is_cut and not is_answer:
            yield _ms(gap)


def _stretch_at(sample: int, speech: list[Stretch]) -> Stretch | None:
    return next(((start, end) for start, end in speech if start <= sample < end), None)


def _is_for(clear: Clear, utterance: Utterance) -> bool:
    return utterance.start <= clear.sample <= utterance.end + STOP_WITHIN_MS * BYTES_PER_MS


def _heard_again(sample: int, heard: bytes) -> float | None:
    following = from_mulaw(heard[sample : sample + int(STUCK_S * RATE_HZ)])
    loud = numpy.flatnonzero(numpy.abs(following) > AUDIBLE)
    return _ms(int(loud[0])) if loud.size else None


def _cause(clear: Clear, timeline: Timeline) -> str:
    return next((spoken.label for spoken in timeline.utterances if _is_for(clear, spoken)), "the background")


def _ms(samples: int) -> float:
    return samples / BYTES_PER_MS


# --- expectations -----------------------------------------------------------------------------------------------
def _checks(verdict: Verdict, expected: Expectations, words: Words | None) -> Iterable[Check]:
    yield from _word_checks("heard", expected.heard, None if words is None else words.agent)
    yield from _word_checks("understood", expected.understood, None if words is None else words.caller)
    if expected.min_turns:
        yield _at_least("turns", expected.min_turns, verdict.answered_turns)
    if expected.max_latency_ms is not None:
        yield _at_most("latency p95", expected.max_latency_ms, percentile(verdict.latencies_ms, 0.95), "ms")
    if expected.barge_ins is not None:
        found = verdict.stopping_barge_ins
        yield Check("barge-ins", str(expected.barge_ins), str(found), found == expected.barge_ins)
    if expected.max_barge_in_ms is not None:
        stops = [barge_in.stop_ms for barge_in in verdict.barge_ins if barge_in.stop_ms is not None]
        yield _at_most("barge-in stop", expected.max_barge_in_ms, max(stops, default=None), "ms")
    yield _at_most("false stops", expected.max_false_stops, verdict.false_stops)
    yield _at_most("stuck", expected.max_stuck, verdict.stuck)
    yield _at_most("underruns", expected.max_underrun_ms, verdict.underrun_ms, "ms")
    if expected.ended_by is not None:
        yield Check("ended by", expected.ended_by, verdict.ended_by, verdict.ended_by == expected.ended_by)


def _word_checks(name: str, parts: tuple[str, ...], text: str | None) -> Iterable[Check]:
    spoken = _plain(text or "")
    for part in parts:
        if text is None:
            yield Check(name, part, "no transcript", None)
        else:
            is_met = f" {_plain(part)} " in f" {spoken} "
            yield Check(name, part, "yes" if is_met else "no", is_met)


def _at_least(name: str, wanted: float, found: float) -> Check:
    return Check(name, f"at least {wanted:g}", f"{found:g}", found >= wanted)


def _at_most(name: str, wanted: float, found: float | None, unit: str = "") -> Check:
    if found is None:
        return Check(name, f"at most {wanted:g} {unit}".strip(), "nothing measured", False)
    return Check(name, f"at most {wanted:g} {unit}".strip(), f"{found:.0f} {unit}".strip(), found <= wanted)


_plain_pattern: Callable[[str], list[str]] = re.compile(r"[^\W_]+").findall


def _plain(text: str) -> str:
    return " ".join(_plain_pattern(text.lower().replace("'", "").replace("’", "")))
