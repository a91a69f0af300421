"""What the benchmarks' callers say: recorded human telephone phrases, as scenarios.

From Debian's asterisk-core-sounds-en-wav (recordings by Allison Smith, CC BY-SA 3.0), with their published texts.
"""

from collections.abc import Sequence
from itertools import accumulate

from voice_agent.audio.mulaw import BYTES_PER_MS, FRAME_BYTES
from voice_agent.sandbox.callers.clips import Clip as SpokenClip
from voice_agent.sandbox.callers.clips import Rendering
from voice_agent.sandbox.callers.run import prepare
from voice_agent.sandbox.callers.scenario import Clip, HangUp, Scenario, Step, WaitForAgent

SENTENCES = {
    "vm-savefolder": "Which folder should I save the message to?",
    "conf-leaderhasleft": "The leader has left the conference.",
    "number-not-answering": "The number is not answering.",
    "queue-thankyou": "Thank you for your patience.",
    "transfer": "Please hold while I try that extension.",
    "please-try-call-later": "Please try your call again later.",
    "privacy-incorrect": "I'm sorry, that number is not valid.",
    "vm-nobodyavail": "Nobody is available to take your call at the moment.",
    "info-about-last-call": "Information about your last call.",
    "vm-tooshort": "Your message is too short.",
}
"""Sound name to text: whole sentences of 1.5 to 3.5 s."""


def sentences_scenario(turns: int, *, first: int = 0, limit_s: float = 600.0) -> Scenario:
    """Return a caller who says `turns` sentences, each after the agent has finished, and hangs up.

    Where that takes longer than `limit_s` the caller hangs up then.
    """
    names = tuple(SENTENCES)
    steps: list[Step] = [WaitForAgent()]
    for number in range(turns):
        steps += [Clip(sound=names[(first + number) % len(names)]), WaitForAgent()]
    return Scenario(name="sentences", steps=(*steps, HangUp()), limit_s=limit_s)


async def sentences(turns: int, *, callers: int = 1, limit_s: float = 600.0) -> tuple[Rendering, ...]:
    """Return scenarios of `turns` sentences for `callers` callers, who begin with different ones."""
    scenarios = [sentences_scenario(turns, first=first, limit_s=limit_s) for first in range(callers)]
    return tuple([await prepare(scenario, _no_synthesis) for scenario in scenarios])


def known_phrases(renderings: Sequence[Rendering]) -> list[tuple[bytes, str, tuple[float, ...]]]:
    """Return these scenarios' clips, texts and word ends in milliseconds, for the recognition double.

    The words are spread over the audible part by their letters; the last one ends with it.
    """
    return [
        (clip.mulaw, SENTENCES[clip.label], _word_ends_ms(clip, SENTENCES[clip.label]))
        for rendering in renderings
        for clip in rendering.clips.values()
        if clip.label in SENTENCES
    ]


def _word_ends_ms(clip: SpokenClip, text: str) -> tuple[float, ...]:
    letters = list(accumulate(len(word) for word in text.split()))
    return tuple((clip.start + (clip.end - clip.start) * count / letters[-1]) / BYTES_PER_MS for count in letters)


def framing_ms(clip: SpokenClip) -> float:
    """Return how long the last sample waits for the end of its 20 ms frame: the carrier's delay, nobody else's."""
    return -clip.end % FRAME_BYTES / BYTES_PER_MS


def _no_synthesis(text: str, language: str) -> bytes:
    raise AssertionError(f"nothing is to be synthesised here: {text!r} in {language}")
