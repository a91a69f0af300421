from pathlib import Path

import pytest

from tests.sandbox.callers.voices import synthesise
from voice_agent.audio.mulaw import FRAME_BYTES, silence
from voice_agent.errors import ScenarioError
from voice_agent.sandbox.callers import parse
from voice_agent.sandbox.callers.clips import mix, render
from voice_agent.sandbox.callers.sounds import from_mulaw


def test_every_sound_is_made_in_whole_frames_with_its_audible_range() -> None:
    scenario = parse(
        "name: x\nsteps:\n- wait_for_agent\n- say: hello there\n- interrupt: stop it\n- backchannel\n"
        "- backchannel: {say: uh huh}\n- cough\n- noise: {kind: white, seconds: 0.5}\n- hang_up"
    )
    rendering = render(scenario, synthesise)
    assert sorted(rendering.clips) == [1, 2, 3, 4, 5, 6]
    assert [clip.kind for clip in rendering.clips.values()] == [
        "turn",
        "interruption",
        "backchannel",
        "backchannel",
        "noise",
        "noise",
    ]
    for clip in rendering.clips.values():
        assert len(clip.mulaw) % FRAME_BYTES == 0
        assert 0 <= clip.start < clip.end <= len(clip.mulaw)
    assert rendering.clips[1].end - rendering.clips[1].start == pytest.approx(110 * 8, abs=20)


def test_the_background_is_a_loop_of_whole_frames() -> None:
    scenario = parse("name: x\nsteps: [hang_up]\nbackground: {noise: white}")
    background = render(scenario, synthesise).background
    assert background
    assert len(background) % FRAME_BYTES == 0
    assert render(parse("name: x\nsteps: [hang_up]"), synthesise).background == b""


def test_a_sound_that_is_missing_names_the_step(tmp_path: Path) -> None:
    scenario = parse("name: x\nsteps: [hang_up, {clip: absent}]", folder=tmp_path)
    with pytest.raises(ScenarioError, match=r"x: steps\[1\]: there is no sound 'absent'"):
        render(scenario, synthesise)


def test_a_text_without_sound_is_refused() -> None:
    with pytest.raises(ScenarioError, match="made no sound"):
        render(parse("name: x\nsteps: [{say: hm}]"), lambda _text, _language: silence(800))


def test_mixing_adds() -> None:
    frame = synthesise("ab", "en")
    assert mix(frame, silence(len(frame))) == frame
    assert abs(from_mulaw(mix(frame, frame))).max() == pytest.approx(2 * abs(from_mulaw(frame)).max(), rel=0.1)
