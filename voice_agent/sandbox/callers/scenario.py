"""A scenario: what a simulated caller does, step by step, and what is expected of the call. Read from YAML.

Every field is checked when the file is read: a wrong one raises ScenarioError with the file, the field and the
reason. docs/sandbox.md has the reference table, voice_agent/sandbox/scenarios/ the examples.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
import yaml

from voice_agent.errors import ScenarioError

Language = Literal["en", "es"]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=600)]
Decibels = Annotated[float, msgspec.Meta(ge=-20, le=60)]
Keys = Annotated[str, msgspec.Meta(pattern="^[0-9*#A-D]+$")]
Text = Annotated[str, msgspec.Meta(min_length=1)]

QUIET_MS = 600
"""This much silence after speech means that the agent has finished."""

PATIENCE_S = 15.0
"""How long a caller waits for an agent that does not speak before the next step."""


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One step. The first field may stand alone: `silence: 2` is `silence: {seconds: 2}`."""


class WaitForAgent(_Step, frozen=True):
    """Listen until the agent has begun, or has finished, to answer what this caller said last."""

    until: Literal["begins", "finishes"] = "finishes"
    quiet_ms: Milliseconds = QUIET_MS
    within_s: Seconds = PATIENCE_S


class Say(_Step, frozen=True):
    """Say a text, by local synthesis."""

    text: Text


class Clip(_Step, frozen=True):
    """Say what a recording says: a WAV file beside the scenario, or a sound of the Asterisk packages by name."""

    sound: Text


class Digits(_Step, frozen=True):
    """Dictate digits, from recordings of a human voice."""

    digits: Annotated[str, msgspec.Meta(pattern="^[0-9]+$")]
    gap_ms: Milliseconds = 250


class Interrupt(_Step, frozen=True):
    """Say a text into the agent's speech; it is expected to stop."""

    say: Text
    after_ms: Milliseconds = 1_000
    """How long the agent has then been speaking."""
    within_s: Seconds = PATIENCE_S


class Backchannel(_Step, frozen=True):
    """Hum "mhm", or say a text, into the agent's speech; it is expected to go on."""

    say: str = "mhm"
    """"mhm" is hummed with a closed mouth; anything else is said by synthesis."""
    after_ms: Milliseconds = 1_000
    within_s: Seconds = PATIENCE_S


class Cough(_Step, frozen=True):
    """Cough, into the agent's speech where `after_ms` is given."""

    after_ms: Milliseconds | None = None
    seed: int = 1
    within_s: Seconds = PATIENCE_S


class Noise(_Step, frozen=True):
    """Make a noise, into the agent's speech where `after_ms` is given."""

    kind: Literal["white", "pink", "clicks"]
    seconds: Seconds = 1.0
    snr_db: Decibels = 5.0
    """How far the noise lies below the caller's voice."""
    after_ms: Milliseconds | None = None
    seed: int = 1
    within_s: Seconds = PATIENCE_S


class Press(_Step, frozen=True):
    """Press keys."""

    keys: Keys
    gap_ms: Milliseconds = 200


class Silence(_Step, frozen=True):
    """Say nothing."""

    seconds: Seconds


class HangUp(_Step, frozen=True):
    """Put the telephone down."""


Step = WaitForAgent | Say | Clip | Digits | Interrupt | Backchannel | Cough | Noise | Press | Silence | HangUp

_STEPS: dict[str, type[Step]] = {
    "wait_for_agent": WaitForAgent,
    "say": Say,
    "clip": Clip,
    "digits": Digits,
    "interrupt": Interrupt,
    "backchannel": Backchannel,
    "cough": Cough,
    "noise": Noise,
    "press": Press,
    "silence": Silence,
    "hang_up": HangUp,
}


class Background(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is heard behind the caller all the time; one of the two sounds."""

    noise: Literal["white", "pink", "clicks"] | None = None
    music: str | None = None
    """A WAV file, or a piece of hold music of the Asterisk package by name."""
    snr_db: Decibels = 20.0
    """How far the sound lies below the caller's voice."""

    def __post_init__(self) -> None:
        if (self.noise is None) == (self.music is None):
            raise ValueError("give either `noise` or `music`")


class Expectations(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the call is judged by. What is left out is not judged, but for the three that are 0 by default."""

    heard: tuple[str, ...] = ()
    """Parts of what the agent says, letter case and punctuation aside; needs the server's event log."""
    understood: tuple[str, ...] = ()
    """Parts of what speech recognition made of the caller; needs the server's event log."""
    min_turns: int = 0
    """Turns of the caller that were answered."""
    max_latency_ms: Milliseconds | None = None
    """Voice-to-voice latency, 95th percentile."""
    barge_ins: int | None = None
    """Interruptions that stopped the agent."""
    max_barge_in_ms: Milliseconds | None = None
    """First sample of an interruption to the agent's last one, the slowest."""
    max_false_stops: int = 0
    max_stuck: int = 0
    """Turns that got no answer in ten seconds."""
    max_underrun_ms: Milliseconds = 0
    ended_by: Literal["agent", "caller"] | None = None


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole scenario."""

    name: str
    steps: tuple[Step, ...]
    language: Language = "en"
    voice: str = ""
    """The synthesiser's voice for this caller (espeak-ng: "en-us+f3"); empty for its default."""
    background: Background | None = None
    limit_s: Seconds = 180.0
    """The caller hangs up at the latest then."""
    expect: Expectations = Expectations()
    folder: Path = Path()
    """Where relative sound files are looked for; set by `load`."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file as it is written."""

    name: Text
    steps: Annotated[list[object], msgspec.Meta(min_length=1)]
    language: Language = "en"
    voice: str = ""
    background: Background | None = None
    limit_s: Seconds = 180.0
    expect: Expectations = Expectations()


def load(path: Path) -> Scenario:
    """Return the scenario in a file. Raises ScenarioError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    return parse(text, source=str(path), folder=path.parent)


def parse(text: str, *, source: str = "scenario", folder: Path = Path()) -> Scenario:
    """Return the scenario in a YAML text; `source` is the file's name in errors. Raises ScenarioError."""
    try:
        written = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{source}: not YAML: {error}") from error
    file = _convert(written, _File, source, "")
    return Scenario(
        name=file.name,
        steps=tuple(_step(step, f"steps[{index}]", source) for index, step in enumerate(file.steps)),
        language=file.language,
        voice=file.voice,
        background=file.background,
        limit_s=file.limit_s,
        expect=file.expect,
        folder=folder,
    )


def _step(written: object, place: str, source: str) -> Step:
    """Return one step from `hang_up`, `say: text` or `interrupt: {say: text, after_ms: 800}`."""
    kind, value = _kind_and_value(written, place, source)
    step_type = _STEPS.get(kind)
    if step_type is None:
        raise ScenarioError(f"{source}: {place}: there is no step {kind!r}; there are {', '.join(_STEPS)}")
    fields = msgspec.structs.fields(step_type)
    if value is None:
        value = {}
    elif not isinstance(value, Mapping):
        if not fields:
            raise ScenarioError(f"{source}: {place}.{kind}: takes no value")
        value = {fields[0].name: value}
    return _convert(value, step_type, source, f"{place}.{kind}")


def _kind_and_value(written: object, place: str, source: str) -> tuple[str, object]:
    if isinstance(written, str):
        return written, None
    if isinstance(written, Mapping) and len(written) == 1:
        kind, value = next(iter(written.items()))
        return str(kind), value
    raise ScenarioError(f"{source}: {place}: a step is a name, or one name with its value")


_Converted = TypeVar("_Converted")


def _convert(written: object, into: type[_Converted], source: str, place: str) -> _Converted:
    try:
        return msgspec.convert(written, into)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        field = (place + path.rstrip("`")).lstrip(".")
        raise ScenarioError(f"{source}: {field}: {reason}" if field else f"{source}: {reason}") from error
