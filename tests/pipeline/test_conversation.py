"""The shell around the turn machine: what it starts, what it cancels, and what of it the caller hears."""

import asyncio

import msgspec
import pytest

from tests.contracts.eventually import eventually
from tests.fakes.text_to_speech import tone
from tests.pipeline.conversation_world import TARGETS, World, holding
from tests.pipeline.turn_world import LINES
from voice_agent.audio.mulaw import FRAME_BYTES, duration_ms
from voice_agent.audio.tones import dtmf
from voice_agent.errors import CarrierError, ProviderBusy, ProviderRefused, ProviderUnavailable
from voice_agent.pipeline import actions as act
from voice_agent.pipeline import events as ev
from voice_agent.pipeline.conversation import Opening
from voice_agent.pipeline.history import CUT_MARK
from voice_agent.pipeline.ports import AgentMessage, ToolCall, ToolMessage, UserMessage
from voice_agent.pipeline.turn_settings import TurnSettings

PRICE = "What does it cost?"
ANSWER = "It costs fifty euros. "
LONG_ANSWER = "It costs fifty euros, and there is nothing to pay before you come. "
END_CALL = ToolCall(call_id="c1", name="end_call", arguments="{}")


def _length_ms(world: World, text: str) -> float:
    line = world.book.find(text)
    assert line is not None
    return duration_ms(len(line.mulaw))


# --- lines ------------------------------------------------------------------------------------------------------
async def test_the_greeting_comes_from_the_cache_and_enters_the_history() -> None:
    async with holding() as world:
        await world.greeted()
        assert world.synthesis.spoken == {}
        assert world.ear.length_ms(1) == _length_ms(world, LINES.greeting)
        assert world.notes.heard == [(1, LINES.greeting, False)]
        assert world.conversation.history.messages() == (AgentMessage(LINES.greeting),)


async def test_a_line_that_was_not_prepared_is_spoken_live() -> None:
    async with holding(has_lines=False) as world:
        await world.greeted()
        assert world.synthesis.spoken == {1: [LINES.greeting]}
        assert world.synthesis.finished == [1]
        assert world.notes.heard == [(1, LINES.greeting, False)]


async def test_the_machine_is_woken_at_its_deadline() -> None:
    lines = msgspec.structs.replace(LINES, greeting="")
    async with holding(turn_settings=TurnSettings(lines=lines, idle_s=0.05)) as world:
        await eventually(lambda: world.ear.finished)
        assert world.notes.events(ev.DeadlinePassed)
        assert world.ear.length_ms(1) == _length_ms(world, LINES.idle_prompts[0])


# --- answers ----------------------------------------------------------------------------------------------------
async def test_a_question_is_answered_with_everything_said_before_it() -> None:
    async with holding(ANSWER, "Yes.") as world:
        await world.greeted()
        turn = await world.ask(PRICE)
        await eventually(lambda: turn in world.ear.finished)
        world.ear.hear_all(turn)
        await world.ask("Can I pay by card?")
        assert world.llm.requests[0].instructions == "You are kind."
        assert {tool.name for tool in world.llm.requests[0].tools} == {"end_call", "transfer_call", "send_dtmf"}
        assert world.llm.requests[1].messages == (
            AgentMessage(LINES.greeting),
            UserMessage(PRICE),
            AgentMessage(ANSWER.strip()),
            UserMessage("Can I pay by card?"),
        )
        assert (turn, ANSWER.strip(), False) in world.notes.heard


async def test_a_speculation_is_prepared_but_neither_heard_nor_remembered_before_the_turn_is_taken() -> None:
    async with holding(ANSWER) as world:
        await world.greeted()
        world.say(PRICE)
        turn = world.newest_turn
        await eventually(lambda: len(world.notes.events(ev.SynthesisStarted)) == 2)
        assert turn not in world.ear.played
        assert world.conversation.history.messages() == (AgentMessage(LINES.greeting),)
        world.recognition.final(PRICE)
        world.pass_time(1.2)
        await eventually(lambda: turn in world.ear.finished)
        assert world.conversation.history.messages()[1:] == (UserMessage(PRICE), AgentMessage(ANSWER.strip()))
        assert len(world.llm.requests) == 1


async def test_other_words_cancel_a_speculation_without_a_trace() -> None:
    forever = asyncio.Event()
    async with holding(["It costs fifty ", forever], "Yes.") as world:
        await world.greeted()
        world.say(PRICE)
        withdrawn = world.newest_turn
        await eventually(lambda: world.notes.events(ev.ReplyText))
        world.recognition.interim("What does it cost to park?")
        await eventually(lambda: world.llm.requests[0].is_closed)
        assert not world.llm.requests[0].is_complete
        assert withdrawn in world.synthesis.cancelled
        world.recognition.final("What does it cost to park?")
        world.pass_time(1.2)
        await eventually(lambda: world.newest_turn in world.ear.played)
        assert UserMessage(PRICE) not in world.conversation.history.messages()
        assert withdrawn not in world.ear.played


async def test_a_late_final_corrects_what_the_model_is_told_next() -> None:
    async with holding(ANSWER, "Yes.") as world:
        await world.greeted()
        world.say("What does it cast?")
        world.pass_time(0.3)
        world.pass_time(0.4)  # the final has not come: the interim words are believed
        await eventually(lambda: world.newest_turn in world.ear.played)
        world.recognition.final(PRICE)
        assert UserMessage(PRICE) in world.conversation.history.messages()


async def test_keys_are_a_question_of_their_own() -> None:
    async with holding("Thank you. ") as world:
        await world.greeted()
        for key in "42#":
            world.conversation.post(ev.DigitPressed(at=world.at, digit=key))
        await eventually(lambda: world.newest_turn in world.ear.played)
        assert world.llm.requests[0].messages[-1] == UserMessage("[keypad] 42#")


async def test_a_slow_answer_is_covered_by_a_line_that_is_no_part_of_it() -> None:
    goes_on = asyncio.Event()
    async with holding([goes_on, ANSWER]) as world:
        await world.greeted()
        turn = world.finish(PRICE)
        world.pass_time(world.settings.filler_s)
        assert world.ear.length_ms(turn) == _length_ms(world, LINES.filler)
        goes_on.set()
        await eventually(lambda: turn in world.ear.finished)
        assert world.conversation.history.messages()[-1] == AgentMessage(ANSWER.strip())


# --- interruptions ----------------------------------------------------------------------------------------------
async def test_of_an_interrupted_reply_the_model_knows_what_was_heard() -> None:
    async with holding(ANSWER, "Of course.") as world:
        await world.greeted()
        turn = await world.ask(PRICE)
        await eventually(lambda: world.ear.length_ms(turn) > 1_000.0)
        world.ear.hear(turn, 600.0)
        world.voice()
        assert world.ear.stopped == [turn]
        world.recognition.interim("No, on Friday")
        assert world.ear.discarded == [turn]
        assert (turn, "It costs", True) in world.notes.heard
        assert world.conversation.history.messages()[-1] == AgentMessage(f"It costs {CUT_MARK}")


async def test_a_backchannel_is_resumed_from_the_word_that_was_cut() -> None:
    async with holding(LONG_ANSWER) as world:
        await world.greeted()
        turn = await world.ask(PRICE)
        await eventually(lambda: turn in world.ear.finished)
        world.ear.hear(turn, 600.0)
        world.voice()
        world.conversation.post(ev.SpeechStopped(at=world.at, ended_at=world.at))
        world.recognition.final("mhm")
        assert world.ear.resumed == [(turn, 540.0)]  # "fifty" begins behind the nine characters of "It costs "
        assert world.conversation.history.messages()[-1] == AgentMessage(LONG_ANSWER.strip())


async def test_what_happens_while_an_event_is_handled_is_handled_after_it() -> None:
    """Playing reports the start of playback at once, from within an action."""
    async with holding() as world:
        await world.greeted()
        kinds = [type(event) for event, _ in world.notes.steps]
        assert kinds == [ev.CallStarted, ev.SynthesisStarted, ev.PlaybackStarted, ev.PlaybackFinished]


# --- tools ------------------------------------------------------------------------------------------------------
async def test_the_agent_hangs_up_once_its_last_words_were_heard() -> None:
    async with holding(["Goodbye then. ", END_CALL]) as world:
        await world.greeted()
        turn = await world.ask("That is all.")
        await eventually(lambda: turn in world.ear.finished)
        assert world.control.hang_ups == 0
        world.ear.hear_all(turn)
        await eventually(lambda: world.control.hang_ups)
        assert world.conversation.history.messages()[-2:] == (
            AgentMessage("Goodbye then.", (END_CALL,)),
            ToolMessage("c1", "end_call", "The call ends after your last words."),
        )


async def test_a_tool_that_does_not_exist_is_told_to_the_model_which_goes_on() -> None:
    async with holding([ToolCall(call_id="c1", name="book", arguments="{}")], "I cannot book.") as world:
        await world.greeted()
        await world.ask("Book it.")
        answers = [message for message in world.llm.requests[1].messages if isinstance(message, ToolMessage)]
        assert [answer.result for answer in answers] == ["There is no tool 'book'."]


async def test_a_transfer_follows_the_last_words() -> None:
    call = ToolCall(call_id="c1", name="transfer_call", arguments='{"target":"office"}')
    async with holding(["I connect you. ", call]) as world:
        await world.greeted()
        turn = await world.ask("A person, please.")
        await eventually(lambda: turn in world.ear.finished)
        world.ear.hear_all(turn)
        await eventually(lambda: world.control.transfers)
        assert world.control.transfers == [TARGETS["office"]]
        assert world.control.hang_ups == 0


async def test_a_transfer_that_fails_ends_the_call() -> None:
    call = ToolCall(call_id="c1", name="transfer_call", arguments='{"target":"office"}')
    async with holding([call]) as world:
        world.control.error = CarrierError("no such call", code=21220, status=400)
        await world.greeted()
        world.finish("A person, please.")
        await eventually(lambda: world.control.hang_ups)


async def test_keys_of_the_agent_sound_after_its_words() -> None:
    call = ToolCall(call_id="c1", name="send_dtmf", arguments='{"digits":"1#"}')
    async with holding(["One moment. ", call], "") as world:
        await world.greeted()
        turn = await world.ask("Please press one.")
        await eventually(lambda: turn in world.ear.finished)
        assert bytes(world.ear.played[turn]).endswith(dtmf("1#"))


# --- failures ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("failure", [ProviderBusy("fake", "full"), KeyError("a bug of ours")], ids=["provider", "bug"])
async def test_a_model_that_fails_is_apologised_for(failure: Exception) -> None:
    async with holding([failure]) as world:
        await world.greeted()
        world.finish(PRICE)
        await eventually(lambda: len(world.ear.finished) == 2)
        assert world.ear.length_ms(world.ear.finished[-1]) == _length_ms(world, LINES.apology)


async def test_a_voice_that_fails_ends_the_call_with_a_line_from_the_cache() -> None:
    async with holding(ANSWER, tts_is_automatic=False) as world:
        await world.greeted()
        turn = world.finish(PRICE)
        await eventually(lambda: world.synthesis.spoken.get(turn))
        world.synthesis.fail(turn, ProviderRefused("fake", "key"))
        last = world.ear.finished[-1]
        assert world.ear.length_ms(last) == _length_ms(world, LINES.failure)
        world.ear.hear_all(last)
        await eventually(lambda: world.control.hang_ups)


async def test_lost_recognition_ends_the_call_in_words() -> None:
    async with holding() as world:
        await world.greeted()
        world.recognition.lose(ProviderUnavailable("fake", "gone"))
        last = world.ear.finished[-1]
        assert world.ear.length_ms(last) == _length_ms(world, LINES.failure)


async def test_audio_of_a_turn_that_is_gone_is_dropped() -> None:
    async with holding() as world:
        await world.greeted()
        world.conversation.on_audio(7, tone(100), ())
        world.conversation.on_finished(7)
        assert 7 not in world.ear.played
        assert 7 not in world.ear.finished


# --- sound and the end ------------------------------------------------------------------------------------------
async def test_the_callers_audio_reaches_recognition_and_becomes_speech_events() -> None:
    async with holding() as world:
        await world.greeted()
        world.activity.probability = 1.0
        frame = tone(20)
        for _ in range(20):
            world.conversation.hear(frame)
        assert bytes(world.recognition.audio) == frame * 20
        assert len(frame) == FRAME_BYTES
        assert world.notes.events(ev.SpeechStarted)


async def test_the_end_of_a_call_ends_the_work_that_is_under_way() -> None:
    forever = asyncio.Event()
    async with holding([forever]) as world:
        await world.greeted()
        world.say(PRICE)
        await eventually(lambda: world.llm.requests)
        world.end()
        assert world.notes.actions(act.CancelReply)
    assert world.llm.requests[0].is_closed


async def test_a_call_ends_though_its_model_never_gets_warm() -> None:
    async with holding(is_warm=False) as world:
        await world.greeted()
    assert world.llm.warm_ups == 1


# --- beginnings -------------------------------------------------------------------------------------------------
EARLIER = (UserMessage("My name is Ann."), AgentMessage("Hello Ann."))
RESUMED = msgspec.structs.replace(LINES, resumption="We were cut off.")


async def test_f47_a_call_that_is_back_answers_with_everything_said_before_it() -> None:
    resumed = ev.CallResumed(at=0.0, elapsed_s=20.0, question=PRICE)
    opening = Opening(earlier=EARLIER, resumed=resumed)
    async with holding(ANSWER, turn_settings=TurnSettings(lines=RESUMED), opening=opening) as world:
        await world.greeted()
        assert world.llm.requests[0].messages == (*EARLIER, UserMessage(PRICE))
        assert world.ear.length_ms(1) > _length_ms(world, RESUMED.resumption)
        said = AgentMessage(f"{RESUMED.resumption} {ANSWER.strip()}")
        assert world.conversation.history.messages() == (*EARLIER, UserMessage(PRICE), said)


async def test_f47_what_was_cut_is_spoken_after_the_line() -> None:
    resumed = ev.CallResumed(at=0.0, elapsed_s=20.0, unheard="What day?")
    opening = Opening(earlier=EARLIER, resumed=resumed)
    async with holding(turn_settings=TurnSettings(lines=RESUMED), opening=opening) as world:
        await world.greeted()
        assert world.synthesis.spoken == {1: ["What day?"]}
        assert world.conversation.history.messages() == (*EARLIER, AgentMessage("We were cut off. What day?"))


async def test_what_was_heard_before_the_conversation_began_is_heard_by_it() -> None:
    began_at = asyncio.get_running_loop().time() - 0.5
    async with holding(opening=Opening(began_at=began_at, heard=tone(500))) as world:
        assert bytes(world.recognition.audio) == tone(500)
        assert world.notes.steps[0][0].at >= 0.5


# --- campaigns --------------------------------------------------------------------------------------------------
OPTING = TurnSettings(lines=LINES.completed("en"), hears_opt_out=True, on_machine="speak", machine_message="Call us.")


async def test_an_opt_out_is_recorded_before_it_is_confirmed_and_the_agent_hangs_up() -> None:
    async with holding(turn_settings=OPTING) as world:
        await world.greeted()
        world.say("Take me off your list.")
        world.pass_time(2.0)
        await eventually(lambda: world.notes.events(ev.OptOutRecorded))
        (heard,) = world.control.opt_outs
        assert (heard.words, heard.how) == ("Take me off your list.", "phrase")
        assert world.control.hang_ups == 0
        await eventually(lambda: 2 in world.ear.finished)
        world.ear.hear_all(2)
        await eventually(lambda: world.control.hang_ups)
        assert world.control.reasons == ["opted_out"]


async def test_an_opt_out_whose_caller_hangs_up_at_once_is_recorded_before_the_conversation_is_over() -> None:
    async with holding(turn_settings=OPTING) as world:
        await world.greeted()
        world.say("Take me off your list.")
        world.end()
    assert [heard.words for heard in world.control.opt_outs] == ["Take me off your list."]
    assert isinstance(world.notes.steps[-1][0], ev.CallEnded)


async def test_who_answered_may_be_known_before_the_conversation_begins() -> None:
    async with holding(turn_settings=OPTING, opening=Opening(answered_by="machine_end_beep")) as world:
        await eventually(lambda: 3 in world.ear.finished)
        world.ear.hear_all(3)
        await eventually(lambda: world.control.reasons == ["machine"])
        assert ("Call us.", False) in [(text, cut) for _, text, cut in world.notes.heard]
