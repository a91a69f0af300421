"""Callers who disturb an agent while it speaks: noises, hold music, signs of listening. For bench/barge_in.py."""

import msgspec

from bench.phrases import HUM, INTERRUPTIONS, recorded
from voice_agent.sandbox.callers import local_synthesis, prepare
from voice_agent.sandbox.callers.clips import Clip, Rendering
from voice_agent.sandbox.callers.scenario import (
    Backchannel,
    Background,
    Cough,
    HangUp,
    Language,
    Noise,
    Say,
    Scenario,
    Silence,
    Step,
    WaitForAgent,
)
from voice_agent.sandbox.callers.sounds import audible_range, framed, hum
from voice_agent.sandbox.carrier.sound_files import to_mulaw

MUSIC = (
    "macroform-cold_day",
    "macroform-robot_dity",
    "macroform-the_simplicity",
    "manolo_camp-morning_coffee",
    "reno_project-system",
)
"""The hold music of Debian's asterisk-moh-opsound-wav."""

BACKCHANNELS: dict[Language, tuple[str, ...]] = {
    "en": (HUM, "Okay.", "Uh huh.", HUM, "Yeah.", "Right.", HUM, "I see."),
    "es": (HUM, "Vale.", "Ajá.", HUM, "Claro.", "Sí.", HUM, "Muy bien."),
}

QUESTIONS: dict[Language, str] = {
    "en": "Please hold while we try to connect you.",
    "es": "Al tono, por favor indique su nombre.",
}
"""What is said to have the agent speak: of INTERRUPTIONS."""

VOICES: dict[Language, tuple[str, ...]] = {
    "en": ("en-us", "en-us+f3", "en-us+m3", "en-us+f4"),
    "es": ("es", "es+f3", "es-419+m3", "es-419+f4"),
}
"""espeak-ng's."""

BEGIN_MS = 2_200
"""How long the agent has spoken at the first disturbance. What follows on a turn within 2 s counts as its stop."""

LEAST_GAP_S = 1.0
BACKCHANNELS_EACH = 6
"""In each call: with what each stop adds, half a minute of speech has room for no more."""

BACKCHANNEL_GAP_S = 2.2
"""Long enough for a verdict, and for a second of the reply to be heard between two stops."""


async def noises(number: int, *, sounds: int) -> Rendering:
    """Return caller `number`, who coughs, clicks keys and sits in bursts of noise, over the greeting."""
    steps: list[Step] = []
    for each in range(number * sounds, (number + 1) * sounds):
        burst = (0.15, 0.4, 0.8, 1.5)[each % 4]
        snr_db = (0, 5, 10)[each % 3]
        made = (
            Cough(after_ms=BEGIN_MS, seed=each),
            Noise(kind="white", seconds=burst, snr_db=snr_db, after_ms=BEGIN_MS, seed=each),
            Cough(after_ms=BEGIN_MS, seed=1_000 + each),
            Noise(kind="pink", seconds=burst, snr_db=snr_db, after_ms=BEGIN_MS, seed=each),
            Noise(kind="clicks", seconds=1.5, snr_db=snr_db, after_ms=BEGIN_MS, seed=each),
        )
        steps += [made[each % len(made)], Silence(seconds=LEAST_GAP_S + 0.13 * (each % 5))]
    return await prepare(Scenario(name=f"noises {number}", steps=(*steps, HangUp())))


async def music(name: str, snr_db: float) -> Rendering:
    """Return a caller in whose room hold music plays, and who listens to the greeting."""
    steps = (WaitForAgent(within_s=60), HangUp())
    background = Background(music=name, snr_db=snr_db)
    return await prepare(Scenario(name=f"{name} at {snr_db:g} dB", steps=steps, background=background))


async def backchannels(number: int, language: Language, *, is_asking: bool) -> Rendering:
    """Return caller `number`, who signals listening: over the answer to a sentence, or over the greeting."""
    every = BACKCHANNELS[language]
    said = [every[(number + each) % len(every)] for each in range(BACKCHANNELS_EACH)]
    steps: list[Step] = [WaitForAgent(), Say(text=QUESTIONS[language])] if is_asking else []
    for each in said:
        steps += [Backchannel(say=each, after_ms=BEGIN_MS), Silence(seconds=BACKCHANNEL_GAP_S)]
    synthesise = local_synthesis(VOICES[language][number % len(VOICES[language])])
    rendering = await prepare(
        Scenario(name=f"backchannels {number}", steps=(*steps, HangUp()), language=language),
        lambda text, language: recorded(text, language) if text in INTERRUPTIONS else synthesise(text, language),
    )
    clips = {index: _hummed(number + index) if clip.label == HUM else clip for index, clip in rendering.clips.items()}
    return msgspec.structs.replace(rendering, clips=clips)


def _hummed(seed: int) -> Clip:
    """Return an "mhm" of its own: other pitches, other lengths."""
    samples = framed(hum(seed))
    start, end = audible_range(samples)
    return Clip(kind="backchannel", label=HUM, mulaw=to_mulaw(samples), start=start, end=end)
