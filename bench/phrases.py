"""What the benchmarks' callers say: recorded human telephone phrases, as scenarios.

From Debian's asterisk-core-sounds-en-wav (recordings by Allison Smith, CC BY-SA 3.0), with their published texts.
"""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from voice_agent.audio.mulaw import BYTES_PER_MS, FRAME_BYTES
from voice_agent.sandbox.callers.clips import Clip as SpokenClip
from voice_agent.sandbox.callers.clips import Rendering
from voice_agent.sandbox.callers.run import prepare
from voice_agent.sandbox.callers.scenario import Clip, HangUp, Scenario, Step, WaitForAgent
from voice_agent.sandbox.callers.sounds import VOICE_DB, at_level, audible_range, framed, load_sound
from voice_agent.sandbox.carrier.sound_files import Samples, to_mulaw

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

INTERRUPTIONS = {
    "Your call cannot be completed as dialed.": "en/cannot-complete-as-dialed",
    "Please check the number and dial again.": "en/check-number-dial-again",
    "This conference is locked!": "en/conf-locked",
    "You are currently the only person in this conference.": "en/conf-onlyperson",
    "You will now be placed into the conference.": "en/conf-placeintoconf",
    "The conference will begin when the leader arrives.": "en/conf-waitforleader",
    "That feature is not available on this line.": "en/feature-not-avail-line",
    "Please hold while we try to connect you.": "en/pls-hold-while-try",
    "At the tone, please say your name.": "en/priv-recordintro",
    "Please enter your phone number, starting with the area code.": "en/privacy-prompt",
    "Sorry you're having problems.": "en/sorry-youre-having-problems",
    "Something is terribly wrong!": "en/something-terribly-wrong",
    "Weasels have eaten our phone system.": "en/tt-weasels",
    "They have been carried away by monkeys.": "en/tt-monkeysintro",
    "Your message has been saved.": "en/vm-msgsaved",
    "The passwords you entered and re-entered did not match.": "en/vm-mismatch",
    "La conferencia ha sido extendida.": "es/conf-extended",
    "Ya está en la conferencia.": "es/conf-hasjoin",
    "El líder ha dejado la conferencia.": "es/conf-leaderhasleft",
    "Por el momento no hay conferencias vacías.": "es/conf-noempty",
    "Nadie en el directorio corresponde a su búsqueda.": "es/dir-nomatch",
    "Por favor intente de nuevo.": "es/please-try-again",
    "Al tono, por favor indique su nombre.": "es/priv-recordintro",
    "Lo siento, ese número no es válido.": "es/privacy-incorrect",
    "Muchas gracias por su paciencia.": "es/queue-thankyou",
    "Por favor espere mientras le comunico con esa extensión.": "es/transfer",
}
"""Text to language and sound name: two voices, beginnings of every kind, from plosives to a sigh."""

HUM = "mhm"
"""The backchannel that is hummed: no recogniser makes a word of it."""


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
        (clip.mulaw, text, _word_ends_ms(clip, text))
        for rendering in renderings
        for clip in rendering.clips.values()
        if clip.kind != "noise" and clip.label != HUM
        for text in [SENTENCES.get(clip.label, clip.label)]
    ]


def _word_ends_ms(clip: SpokenClip, text: str) -> tuple[float, ...]:
    letters = list(accumulate(len(word) for word in text.split()))
    return tuple((clip.start + (clip.end - clip.start) * count / letters[-1]) / BYTES_PER_MS for count in letters)


def framing_ms(clip: SpokenClip) -> float:
    """Return how long the last sample waits for the end of its 20 ms frame: the carrier's delay, nobody else's."""
    return -clip.end % FRAME_BYTES / BYTES_PER_MS


def recorded(text: str, _language: str) -> bytes:
    """Say one of INTERRUPTIONS, in the place of a synthesiser."""
    return to_mulaw(_recording(text))


def interruption(text: str) -> SpokenClip:
    """Return one of INTERRUPTIONS as it was recorded, breath and soft onset before the first audible sample included.

    The sandbox trims what its callers say. A voice that begins out of nothing takes the detector longer: people's
    do not (p95 over 150 recordings: 272 ms, trimmed 320 ms).
    """
    samples = framed(at_level(_recording(text), VOICE_DB))
    start, end = audible_range(samples)
    return SpokenClip(kind="interruption", label=text, mulaw=to_mulaw(samples), start=start, end=end)


def _recording(text: str) -> Samples:
    language, _, name = INTERRUPTIONS[text].partition("/")
    return load_sound(name, folder=Path(), language=language)


def _no_synthesis(text: str, language: str) -> bytes:
    raise AssertionError(f"nothing is to be synthesised here: {text!r} in {language}")
