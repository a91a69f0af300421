from pathlib import Path

import pytest

from voice_agent.errors import ScenarioError
from voice_agent.sandbox.callers import built_in_scenarios, find_scenario, load, parse
from voice_agent.sandbox.callers.scenario import (
    Backchannel,
    Background,
    Cough,
    Digits,
    HangUp,
    Interrupt,
    Noise,
    Press,
    Say,
    Silence,
    Step,
    WaitForAgent,
)


def steps_of(text: str) -> tuple[Step, ...]:
    return parse(f"name: test\nsteps:\n{text}").steps


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("- wait_for_agent", WaitForAgent()),
        ("- wait_for_agent: begins", WaitForAgent(until="begins")),
        ("- wait_for_agent: {quiet_ms: 900, within_s: 4}", WaitForAgent(quiet_ms=900, within_s=4.0)),
        ("- say: hello", Say(text="hello")),
        ("- digits: '0123'", Digits(digits="0123")),
        ("- interrupt: stop", Interrupt(say="stop")),
        ("- interrupt: {say: stop, after_ms: 300}", Interrupt(say="stop", after_ms=300)),
        ("- backchannel", Backchannel()),
        ("- backchannel: {after_ms: 1500}", Backchannel(after_ms=1_500)),
        ("- cough", Cough()),
        ("- noise: {kind: clicks, seconds: 2}", Noise(kind="clicks", seconds=2.0)),
        ("- press: 12#", Press(keys="12#")),
        ("- silence: 3", Silence(seconds=3.0)),
        ("- hang_up", HangUp()),
    ],
)
def test_each_step_in_its_short_and_long_form(text: str, step: Step) -> None:
    assert steps_of(text) == (step,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "file.yaml: not YAML"),
        ("- a list", "file.yaml: Expected `object`, got `array`"),
        ("steps: [hang_up]", "file.yaml: Object missing required field `name`"),
        ("name: x\nsteps: []", "file.yaml: steps: Expected `array` of length >= 1"),
        ("name: x\nstep: [hang_up]\nsteps: [hang_up]", "unknown field `step`"),
        ("name: x\nsteps: [dance]", "file.yaml: steps[0]: there is no step 'dance'; there are wait_for_agent, say"),
        ("name: x\nsteps: [hang_up, 7]", "file.yaml: steps[1]: a step is a name"),
        ("name: x\nsteps: [{say: a, cough: 1}]", "file.yaml: steps[0]: a step is a name"),
        ("name: x\nsteps: [say]", "file.yaml: steps[0].say: Object missing required field `text`"),
        ("name: x\nsteps: [{say: 5}]", "file.yaml: steps[0].say.text: Expected `str`, got `int`"),
        ("name: x\nsteps: [{hang_up: now}]", "file.yaml: steps[0].hang_up: takes no value"),
        ("name: x\nsteps: [{silence: -1}]", "file.yaml: steps[0].silence.seconds: Expected `float` > 0"),
        ("name: x\nsteps: [{press: abc}]", "file.yaml: steps[0].press.keys: Expected `str` matching regex"),
        (
            "name: x\nsteps: [{interrupt: {say: a, after_ms: soon}}]",
            "file.yaml: steps[0].interrupt.after_ms: Expected `int`, got `str`",
        ),
        ("name: x\nsteps: [{wait_for_agent: sometimes}]", "file.yaml: steps[0].wait_for_agent.until: Invalid enum"),
        ("name: x\nsteps: [hang_up]\nlanguage: fr", "file.yaml: language: Invalid enum value 'fr'"),
        ("name: x\nsteps: [hang_up]\nbackground: {}", "file.yaml: background: give either `noise` or `music`"),
        ("name: x\nsteps: [hang_up]\nexpect: {max_stuck: many}", "file.yaml: expect.max_stuck: Expected `int`"),
    ],
)
def test_an_error_names_the_file_and_the_field(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        parse(text, source="file.yaml")
    assert message in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="missing.yaml"):
        load(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ScenarioError, match="latin.yaml"):
        load(tmp_path / "latin.yaml")


def test_a_scenario_is_found_by_path_or_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nsteps: [hang_up]\nbackground: {noise: pink, snr_db: 10}", "utf-8")
    mine = find_scenario(str(path))
    assert (mine.name, mine.folder, mine.background) == ("mine", tmp_path, Background(noise="pink", snr_db=10.0))
    assert find_scenario("hang_up").steps[-1] == HangUp()
    with pytest.raises(ScenarioError, match="built in are demo, hang_up"):
        find_scenario("nothing_of_this_name")


@pytest.mark.parametrize("name", sorted(built_in_scenarios()))
def test_the_built_in_scenarios_can_be_read(name: str) -> None:
    assert find_scenario(name).steps
