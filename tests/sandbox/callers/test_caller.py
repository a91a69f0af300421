"""The caller against an agent made of silence and tones: no clock, a tick is 20 ms."""

from tests.sandbox.callers.voices import synthesise, tone_mulaw
from voice_agent.audio.mulaw import FRAME_BYTES, silence
from voice_agent.sandbox.callers import Caller, parse
from voice_agent.sandbox.callers.clips import render

TONE = tone_mulaw(20)
SILENT = silence(FRAME_BYTES)


class Phone:
    def __init__(self) -> None:
        self.keys = ""
        self.has_hung_up = False

    def press(self, digit: str) -> None:
        self.keys += digit

    def hang_up(self) -> None:
        self.has_hung_up = True


class Call:
    """A caller on the line, and how it is driven."""

    def __init__(self, steps: str, *, more: str = "") -> None:
        self.phone = Phone()
        self.caller = Caller(render(parse(f"name: x\n{more}\nsteps:\n{steps}"), synthesise))
        self.caller.on_answer(self.phone)

    def agent(self, *, speaks_ms: int = 0, silent_ms: int = 0) -> None:
        for _ in range(speaks_ms // 20):
            self.caller.on_tick(TONE)
        for _ in range(silent_ms // 20):
            self.caller.on_tick(SILENT)

    def is_held(self) -> bool:
        return not self.phone.has_hung_up

    @property
    def said(self) -> list[tuple[str, int]]:
        """Labels and the ms at which they began."""
        return [(utterance.label, utterance.start // 8) for utterance in self.caller.utterances]


def test_waits_for_the_end_of_the_agents_speech() -> None:
    call = Call("- wait_for_agent\n- say: hello")
    call.agent(silent_ms=2_000)
    call.agent(speaks_ms=1_000, silent_ms=500)
    call.agent(speaks_ms=300)
    assert call.said == []
    call.agent(silent_ms=700)
    assert call.said == [("hello", 2_000 + 1_000 + 500 + 300 + 580)]


def test_waits_for_the_beginning_only() -> None:
    call = Call("- wait_for_agent: begins\n- say: hello")
    call.agent(silent_ms=1_000)
    call.agent(speaks_ms=100)
    assert call.said == [("hello", 1_000)]


def test_gives_up_waiting_for_a_silent_agent() -> None:
    call = Call("- wait_for_agent: {within_s: 2}\n- say: hello")
    call.agent(silent_ms=2_100)
    assert call.said == [("hello", 2_000)]


def test_speech_before_the_own_turn_is_no_answer() -> None:
    call = Call("- wait_for_agent\n- say: hello\n- wait_for_agent\n- say: again")
    call.agent(speaks_ms=500)
    call.agent(silent_ms=5_000)
    assert [label for label, _ in call.said] == ["hello"]
    call.agent(speaks_ms=500)
    call.agent(silent_ms=700)
    assert [label for label, _ in call.said] == ["hello", "again"]


def test_interrupts_after_the_agent_has_spoken_for_a_while() -> None:
    call = Call("- interrupt: {say: stop there, after_ms: 800}\n- wait_for_agent\n- say: thanks")
    call.agent(silent_ms=400)
    call.agent(speaks_ms=1_000)
    assert call.said == [("stop there", 400 + 800 - 20)]
    # The agent stops at once: what it said before the interruption is not taken for the answer.
    call.agent(silent_ms=3_000)
    assert len(call.said) == 1
    call.agent(speaks_ms=400)
    call.agent(silent_ms=700)
    assert [label for label, _ in call.said] == ["stop there", "thanks"]


def test_an_agent_that_talks_on_over_an_interruption_counts_as_speaking() -> None:
    call = Call("- interrupt: {say: stop, after_ms: 200}\n- wait_for_agent\n- say: thanks")
    call.agent(speaks_ms=4_000)
    call.agent(silent_ms=700)
    assert [label for label, _ in call.said] == ["stop", "thanks"]


def test_a_reply_shorter_than_the_interruption_waits_for_is_answered_normally() -> None:
    call = Call("- interrupt: {say: stop, after_ms: 5000}")
    call.agent(speaks_ms=400)
    call.agent(silent_ms=700)
    assert [label for label, _ in call.said] == ["stop"]


def test_a_backchannel_leaves_the_turn_with_the_agent() -> None:
    call = Call("- backchannel: {after_ms: 400}\n- wait_for_agent\n- say: fine")
    call.agent(speaks_ms=1_500)
    call.agent(silent_ms=700)
    assert [label for label, _ in call.said] == ["mhm", "fine"]


def test_presses_keys_is_silent_and_hangs_up() -> None:
    call = Call("- press: 12#\n- silence: 1\n- hang_up\n- say: never")
    call.agent(silent_ms=1_500)
    assert call.phone.keys == "12#"
    assert call.is_held()
    call.agent(silent_ms=200)
    assert not call.is_held()
    assert call.caller.has_hung_up
    call.agent(silent_ms=200)
    assert call.said == []


def test_hangs_up_at_the_limit() -> None:
    call = Call("- silence: 60", more="limit_s: 2")
    call.agent(silent_ms=1_980)
    assert call.is_held()
    call.agent(silent_ms=20)
    assert not call.is_held()


def test_what_is_said_lies_exactly_where_the_utterance_says() -> None:
    call = Call("- silence: 0.1\n- say: hello there")
    call.agent(silent_ms=1_000)
    utterance = call.caller.utterances[0]
    said = bytes(call.caller.said)
    assert len(said) == len(call.caller.heard) == 8_000
    spoken = said[utterance.start : utterance.end]
    assert len(spoken) == 880
    assert set(said[: utterance.start]) == {0xFF}
    assert said[utterance.end :].strip(b"\xff") in (b"", b"\x7f")


def test_the_background_is_there_all_the_time_and_under_the_voice() -> None:
    call = Call("- silence: 0.2\n- say: hello there", more="background: {noise: white, snr_db: 20}")
    call.agent(silent_ms=1_000)
    utterance = call.caller.utterances[0]
    said = bytes(call.caller.said)
    assert len(set(said[:1_600])) > 20
    assert said[utterance.start : utterance.end] != tone_mulaw(110)


def test_the_line_goes_dead() -> None:
    call = Call("- silence: 60")
    call.caller.on_hang_up()
    assert [call.caller.is_on_the_line] == [False]
