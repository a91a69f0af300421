"""A simulated caller: the person at the far end of a sandbox line, who follows a scenario.

Driven by the line's 20 ms ticks alone: no task, no timer, no clock but the samples. The script is a generator that is
resumed once a tick; each kind of step is one short generator below. When the script is over the caller stays on the
line, listening, until the other side hangs up or the scenario's limit is reached.
"""

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from voice_agent.audio.mulaw import BYTES_PER_MS, FRAME_BYTES, RATE_HZ, silence
from voice_agent.sandbox.callers import scenario as steps
from voice_agent.sandbox.callers.clips import Clip, Kind, Rendering, mix
from voice_agent.sandbox.callers.ear import Ear
from voice_agent.sandbox.carrier import Handset

_SILENT_FRAME = silence(FRAME_BYTES)

ANSWERED_KINDS: frozenset[Kind] = frozenset({"turn", "interruption"})

OVERLAP_SAMPLES = RATE_HZ
"""An agent that still speaks a second after an interruption did not stop for it."""

Script = Generator[None, None, None]


class Utterance(msgspec.Struct, frozen=True, kw_only=True):
    """Something the caller said, on the line's sample clock."""

    kind: Kind
    label: str
    start: int
    """First audible sample."""
    end: int
    """The sample after the last audible one."""


class Caller:
    """One caller. After the call, `heard`, `said` and `utterances` tell what happened to the sample."""

    def __init__(self, rendering: Rendering) -> None:
        self.heard = bytearray()
        """Mu-law; sample 0 is the answer."""
        self.said = bytearray()
        """Mu-law, the background included; as long as `heard`."""
        self.utterances: list[Utterance] = []
        self.has_hung_up = False
        """Whether it was this side that ended the call."""
        self.is_on_the_line = False

        self._rendering = rendering
        self._ear = Ear()
        self._mouth: Clip | None = None
        self._mouth_frame = 0
        self._last_turn = (0, 0)
        self._handset: Handset | None = None
        self._script = self._follow()

    @property
    def sample(self) -> int:
        """The present: the first sample of the frame that is said next."""
        return len(self.said)

    @property
    def _is_speaking(self) -> bool:
        return self._mouth is not None

    # --- the line's side ----------------------------------------------------------------------------------------
    def on_answer(self, handset: Handset) -> None:
        """Take the receiver."""
        self._handset = handset
        self.is_on_the_line = True

    def on_tick(self, heard: bytes) -> bytes:
        """Hear one frame and say one."""
        self.heard += heard
        self._ear.hear(heard)
        next(self._script, None)
        frame = self._next_frame()
        self.said += frame
        if len(self.said) >= self._rendering.scenario.limit_s * RATE_HZ:
            self._hang_up()
        return frame

    def on_hang_up(self) -> None:
        """The line is dead."""
        self.is_on_the_line = False
        self._script.close()

    def _next_frame(self) -> bytes:
        behind = self._rendering.background
        background = b""
        if behind:
            offset = len(self.said) % len(behind)
            background = behind[offset : offset + FRAME_BYTES]
        if self._mouth is None:
            return background or _SILENT_FRAME
        offset = self._mouth_frame * FRAME_BYTES
        frame = self._mouth.mulaw[offset : offset + FRAME_BYTES]
        self._mouth_frame += 1
        if offset + FRAME_BYTES >= len(self._mouth.mulaw):
            self._mouth = None
        return mix(frame, background) if background else frame

    def _hang_up(self) -> None:
        if self._handset is not None and not self.has_hung_up:
            self.has_hung_up = True
            self._handset.hang_up()

    # --- the script ---------------------------------------------------------------------------------------------
    def _follow(self) -> Script:
        # Each step's generator takes the step that it is listed under: the table is where the types meet.
        players: dict[type, Callable[[Any, int], Script]] = {
            steps.WaitForAgent: self._wait_for_agent,
            steps.Say: self._say,
            steps.Clip: self._say,
            steps.Digits: self._say,
            steps.Interrupt: self._say_into_speech,
            steps.Backchannel: self._say_into_speech,
            steps.Cough: self._say_into_speech,
            steps.Noise: self._say_into_speech,
            steps.Press: self._press,
            steps.Silence: self._silence,
            steps.HangUp: self._end,
        }
        for index, step in enumerate(self._rendering.scenario.steps):
            yield from players[type(step)](step, index)

    def _say(self, _step: steps.Step, index: int) -> Script:
        clip = self._rendering.clips[index]
        began = self.sample
        self._mouth, self._mouth_frame = clip, 0
        self.utterances.append(
            Utterance(kind=clip.kind, label=clip.label, start=began + clip.start, end=began + clip.end)
        )
        if clip.kind == "turn":
            self._ear.expect_answer()
        while self._is_speaking:
            yield
        if clip.kind in ANSWERED_KINDS:
            self._last_turn = (began + clip.start, began + clip.end)

    def _say_into_speech(
        self, step: steps.Interrupt | steps.Backchannel | steps.Cough | steps.Noise, index: int
    ) -> Script:
        """Wait until the agent has spoken for `after_ms`; where it was faster or silent, go on all the same."""
        if step.after_ms is not None:
            patience_ends = self.sample + int(step.within_s * RATE_HZ)
            while self._ear.spoken_ms < max(step.after_ms, 1) and self.sample < patience_ends:
                if self._has_answered and self._ear.quiet_ms >= steps.QUIET_MS:
                    break
                yield
        yield from self._say(step, index)

    def _wait_for_agent(self, step: steps.WaitForAgent, _index: int) -> Script:
        patience_ends = self.sample + int(step.within_s * RATE_HZ)
        while self.sample < patience_ends:
            if self._has_answered and (step.until == "begins" or self._ear.quiet_ms >= step.quiet_ms):
                return
            yield

    @property
    def _has_answered(self) -> bool:
        """Whether the agent has spoken in answer to what this caller said last.

        Speech that was there before counts only where it goes on: an agent needs a moment to stop.
        """
        began, ended = self._last_turn
        if self._ear.speech_began is None:
            return False
        return self._ear.speech_began >= began or self._ear.speech_ended > ended + OVERLAP_SAMPLES

    def _press(self, step: steps.Press, _index: int) -> Script:
        for key in step.keys:
            if self._handset is not None:
                self._handset.press(key)
            yield from self._pause(step.gap_ms * BYTES_PER_MS)

    def _silence(self, step: steps.Silence, _index: int) -> Script:
        yield from self._pause(int(step.seconds * RATE_HZ))

    def _pause(self, samples: int) -> Script:
        ends = self.sample + samples
        while self.sample < ends:
            yield

    def _end(self, _step: steps.HangUp, _index: int) -> Script:
        self._hang_up()
        while True:
            yield
