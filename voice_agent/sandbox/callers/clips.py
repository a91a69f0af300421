"""What a scenario sounds like: every step's clip and the background, made before the call begins.

Blocking (synthesis, files): call `render` in a thread. A rendering is immutable; any number of callers may share it.
"""

from collections.abc import Callable
from typing import Literal

import msgspec
import numpy

from voice_agent.audio.mulaw import FRAME_BYTES, RATE_HZ
from voice_agent.errors import ScenarioError
from voice_agent.sandbox.callers import scenario as steps
from voice_agent.sandbox.callers.sounds import (
    VOICE_DB,
    at_level,
    audible_range,
    cough,
    framed,
    from_mulaw,
    hum,
    load_sound,
    noise,
    spoken_digits,
    trimmed,
)
from voice_agent.sandbox.carrier.services import Synthesise
from voice_agent.sandbox.carrier.sound_files import Samples, to_mulaw

BACKGROUND_LOOP_S = 20.0

Kind = Literal["turn", "interruption", "backchannel", "noise"]
"""What a clip is to the agent: words to answer, words to stop for, a sign of listening, nothing."""


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the caller says or does by sound."""

    kind: Kind
    label: str
    """What it is, for people: the text, or the name of the sound."""
    mulaw: bytes
    """Whole frames."""
    start: int
    """First audible sample."""
    end: int
    """The sample after the last audible one."""


class Rendering(msgspec.Struct, frozen=True):
    """A scenario and its sounds."""

    scenario: steps.Scenario
    clips: dict[int, Clip]
    """By the index of the step."""
    background: bytes = b""
    """Whole frames of mu-law, to be repeated; empty for silence."""


def render(scenario: steps.Scenario, synthesise: Synthesise) -> Rendering:
    """Make every sound of `scenario`. Raises ScenarioError, which names the step."""
    clips: dict[int, Clip] = {}
    for index, step in enumerate(scenario.steps):
        sound = _SOUNDS.get(type(step))
        if sound is None:
            continue
        try:
            clips[index] = sound(step, scenario, synthesise)
        except ScenarioError as error:
            raise ScenarioError(f"{scenario.name}: steps[{index}]: {error}") from error
    return Rendering(scenario, clips, _background(scenario))


def _clip(kind: Kind, label: str, samples: Samples) -> Clip:
    whole = framed(samples)
    start, end = audible_range(whole)
    return Clip(kind=kind, label=label, mulaw=to_mulaw(whole), start=start, end=end)


def _speech(text: str, scenario: steps.Scenario, synthesise: Synthesise) -> Samples:
    spoken = trimmed(from_mulaw(synthesise(text, scenario.language)))
    if not spoken.size:
        raise ScenarioError(f"the synthesiser made no sound of {text!r}")
    return at_level(spoken, VOICE_DB)


def _say(step: steps.Say, scenario: steps.Scenario, synthesise: Synthesise) -> Clip:
    return _clip("turn", step.text, _speech(step.text, scenario, synthesise))


def _recording(step: steps.Clip, scenario: steps.Scenario, _: Synthesise) -> Clip:
    sound = load_sound(step.sound, folder=scenario.folder, language=scenario.language)
    return _clip("turn", step.sound, at_level(trimmed(sound), VOICE_DB))


def _digits(step: steps.Digits, scenario: steps.Scenario, _: Synthesise) -> Clip:
    return _clip("turn", step.digits, spoken_digits(step.digits, language=scenario.language, gap_ms=step.gap_ms))


def _interrupt(step: steps.Interrupt, scenario: steps.Scenario, synthesise: Synthesise) -> Clip:
    return _clip("interruption", step.say, _speech(step.say, scenario, synthesise))


def _backchannel(step: steps.Backchannel, scenario: steps.Scenario, synthesise: Synthesise) -> Clip:
    sound = hum() if step.say == "mhm" else _speech(step.say, scenario, synthesise)
    return _clip("backchannel", step.say, sound)


def _cough(step: steps.Cough, _scenario: steps.Scenario, _: Synthesise) -> Clip:
    return _clip("noise", f"cough {step.seed}", cough(step.seed))


def _noise(step: steps.Noise, _scenario: steps.Scenario, _: Synthesise) -> Clip:
    sound = noise(step.kind, step.seconds, level_db=VOICE_DB - step.snr_db, seed=step.seed)
    return _clip("noise", f"{step.kind} noise", sound)


# Each maker takes the step that it is listed under: the table is the one place where the types meet.
_SOUNDS: dict[type, Callable[..., Clip]] = {
    steps.Say: _say,
    steps.Clip: _recording,
    steps.Digits: _digits,
    steps.Interrupt: _interrupt,
    steps.Backchannel: _backchannel,
    steps.Cough: _cough,
    steps.Noise: _noise,
}


def _background(scenario: steps.Scenario) -> bytes:
    behind = scenario.background
    if behind is None:
        return b""
    level_db = VOICE_DB - behind.snr_db
    if behind.noise is not None:
        sound = noise(behind.noise, BACKGROUND_LOOP_S, level_db=level_db)
    else:
        sound = at_level(load_sound(behind.music or "", folder=scenario.folder, language=scenario.language), level_db)
        sound = sound[: int(BACKGROUND_LOOP_S * RATE_HZ * 6)]
    return to_mulaw(sound[: len(sound) // FRAME_BYTES * FRAME_BYTES])


def mix(one: bytes, other: bytes) -> bytes:
    """Return two frames of mu-law sounding together."""
    return to_mulaw(numpy.add(from_mulaw(one), from_mulaw(other)))
