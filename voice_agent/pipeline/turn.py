"""The turn machine: who has the floor in a call. Events in, actions out; no I/O, no clock, no task.

How it works
------------
Two small machines stand side by side. The **user** is SILENT, SPEAKING or PAUSED (voice activity has stopped, the
turn has not been taken yet). The **agent** is

    IDLE         listening
    SPECULATING  preparing a reply to what was said so far; nothing of it may be heard, no tool may run
    THINKING     the turn is the agent's: a reply or a line is on its way
    SPEAKING     the caller hears it
    STOPPED      cut by the caller's voice, its audio kept until words tell whether that was an interruption

In `turn_tables`, `USER_TABLE` and `AGENT_TABLE` are all the moves each can make and `RULES` what they mean together:
a rule is found by the kind of event and the pair of states *after* the user's own move. An event without a rule in the
current pair changes nothing, and an event of a turn that is over is dropped by the one guard in `handle`.

`TIMERS` are the machine's own moments. `deadline` is the next of them; the shell sends DeadlinePassed when it has
come. Handling an event never raises on what a provider, the carrier or the caller does.

A caller's turn, with nothing in its way:

    SpeechStopped      first pause: timers for commit, speculation and endpoint are armed from the last speech sample
    TranscriptUpdated  StartReply(confirmed=False): model and first clause work behind the endpoint wait
    (commit)           CommitTranscript
    TranscriptFinal    same words: the speculation stands; other words: CancelReply, StartReply anew
    (endpoint)         ConfirmReply: what is ready is heard at once

Two things end the conversation before it is over. A machine: `_judge_answer` makes the agent hold its tongue until the
greeting is over, leave its message, and hang up. And a caller who asks not to be called any more, in words, by key or
as the model understands it: that is written down first (RecordOptOut), then confirmed, then the agent hangs up; one
who says so and hangs up is heard as well.

A disclosure is locked: a turn of its own that nothing interrupts but the end of the call. What is said, or keyed in,
over it is kept and answered once it was heard to its end; the greeting follows it, unless the caller wants something.

The states and the joint rules as a picture: docs/turn-machine.md, generated from the tables below.
"""

from collections.abc import Iterable

from voice_agent.pipeline import opt_out, voicemail
from voice_agent.pipeline.actions import (
    AnyAction,
    CancelReply,
    CommitTranscript,
    ConfirmReply,
    ContinueReply,
    FinishSpeaking,
    HangUp,
    RecordOptOut,
    ResumePlayback,
    ReviseHistory,
    RunTool,
    SendDigits,
    Speak,
    StartReply,
    StopPlayback,
    TransferCall,
    TrimHistory,
)
from voice_agent.pipeline.endpointing import endpoint_wait_s, is_salutation
from voice_agent.pipeline.events import (
    AnsweredBy,
    AnyEvent,
    CallEnded,
    CallResumed,
    CallStarted,
    DeadlinePassed,
    DigitPressed,
    EndRequested,
    OptOutRecorded,
    PlaybackFinished,
    PlaybackMarked,
    PlaybackStarted,
    PlaybackStopped,
    ReplyFailed,
    ReplyFinished,
    ReplyText,
    ReplyToolCalled,
    SpeechStarted,
    SpeechStopped,
    SynthesisFailed,
    ToolFinished,
    TranscriptFinal,
    TranscriptionFailed,
    TranscriptUpdated,
    VoiceConfirmed,
)
from voice_agent.pipeline.reply import Reply
from voice_agent.pipeline.turn_settings import TurnSettings
from voice_agent.pipeline.turn_tables import AGENT_TABLE, DISPATCH, TIMERS, USER_TABLE, Agent, Phase, Step, Timer, User
from voice_agent.pipeline.utterance import Utterance

_PAUSE_TIMERS = (Timer.COMMIT, Timer.SPECULATE, Timer.ENDPOINT, Timer.WORDS)

MACHINES = frozenset({"machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other", "fax"})
"""The carrier's verdicts that say that no person answered."""

MOST_KEYS = 64
"""Keys of one turn that are kept; the rest of a storm is ignored (F35)."""


class TurnMachine:
    """One call's turns. Call `handle` with every event in order; wake it at `deadline`.

    `user`, `agent`, `phase` and `turn` are for reading; `turn` is the number of the reply under way, or of the last
    one withdrawn or finished.
    """

    def __init__(self, settings: TurnSettings) -> None:
        self.settings = settings
        self.user = User.SILENT
        self.agent = Agent.IDLE
        self.phase = Phase.WAITING
        self.turn = 0
        self._at = 0.0
        self._utterance = Utterance()
        # The reply under way while the agent is not IDLE; else the last one, which no event can name any more.
        self._reply = Reply(0, settings.language)
        self._timers: dict[Timer, float] = {}
        self._out: list[AnyAction] = []
        self._context = 0
        self._speculations = 0
        self._greeting = ""
        """Still to be said, once the disclosure was heard."""
        self._idle_prompts = 0
        self._failures = 0
        self._asked_again = False
        self._taken = Utterance()
        self._taken_turn = 0
        self._taken_until = 0.0
        self._answered = 0
        """Turns of the caller that were taken."""
        self._verdict = ""
        """The carrier's, on who answered."""
        self._held = ""
        """What made the agent hold its tongue, where that was a machine's words and not a verdict."""
        self._is_at_machine = False
        self._ends_at = 0.0
        """When the call has lasted as long as it may."""

    @property
    def deadline(self) -> float | None:
        """The call-clock second at which the machine wants DeadlinePassed, None for never."""
        return min(self._timers.values(), default=None)

    def handle(self, event: AnyEvent) -> tuple[AnyAction, ...]:
        """Take one event, return what is to be done, in order."""
        if self.phase is Phase.ENDED:
            return ()
        if getattr(event, "turn", self.turn) != self.turn:
            return ()  # of a turn that is over
        self._at = max(self._at, event.at)
        self._out = []
        if isinstance(event, CallEnded):
            self._end_call()
        elif isinstance(event, CallStarted):
            self._start_call()
        elif isinstance(event, CallResumed):
            self._resume_call(event)
        elif self.phase is Phase.ACTIVE:
            self._apply(event)
        elif self.phase is Phase.HOLDING:
            self._apply_to_machine(event)
        elif self.phase is Phase.OPTING_OUT:
            self._apply_to_opt_out(event)
        return tuple(self._out)

    def _apply(self, event: AnyEvent) -> None:
        kind = type(event)
        if isinstance(event, DeadlinePassed):
            self._run_timers()
            return
        if isinstance(event, TranscriptUpdated | TranscriptFinal) and self._is_late(event):
            return
        moved = USER_TABLE.get((self.user, kind))
        if moved is not None:
            self.user = moved
        elif kind is SpeechStopped:
            return  # a pause of a sound that the machine has already stopped listening to
        rule = DISPATCH.get((kind, self.user, self.agent))
        if rule is not None:
            getattr(self, rule)(event)

    def _run_timers(self) -> None:
        """Fire what is due, earliest first; a rule may disarm or re-arm others on the way."""
        for _ in Timer:
            due = [(at, timer.value) for timer, at in self._timers.items() if at <= self._at]
            if not due or self.phase is Phase.ENDING:
                return
            timer = Timer(min(due)[1])
            del self._timers[timer]
            getattr(self, TIMERS[timer])()

    # --- the call ---------------------------------------------------------------------------------------------
    def _start_call(self) -> None:
        if self.phase is not Phase.WAITING:
            return
        self.phase = Phase.ACTIVE
        self._end_at(self._at + self.settings.duration_s)
        if self.settings.disclosure:
            self._disclose()
        else:
            self._say_line(self.settings.lines.greeting)

    def _resume_call(self, event: CallResumed) -> None:
        """The line was lost and is back: say so, and go on where it was lost."""
        if self.phase is not Phase.WAITING:
            return
        self.phase = Phase.ACTIVE
        left_s = max(self.settings.duration_s - event.elapsed_s, self.settings.resumed_s)
        self._end_at(self._at + left_s)
        is_ending = event.hang_up or event.transfer_to
        if event.opted_out:
            self._opt_out(event.opted_out, "phrase")
        elif self.settings.disclosure and not event.is_disclosed and not is_ending:
            self._disclose(self.settings.lines.resumption)
            if event.question:
                self._utterance.prepend(event.question)
        elif event.question:
            self._answer_again(event.question)
        else:
            self._repeat(event)

    def _end_at(self, at: float) -> None:
        self._ends_at = self._timers[Timer.DURATION] = at

    def _disclose(self, first: str = "") -> None:
        """Say the disclosure, not to be interrupted; `first` goes before it. The greeting is to follow."""
        self._greeting = self.settings.lines.greeting
        self._begin_line(None, interruptible=False)
        if first:
            self._out.append(Speak(turn=self.turn, text=first, is_line=True))
        self._out.append(Speak(turn=self.turn, text=self.settings.disclosure, is_line=True, is_locked=True))
        self._out.append(FinishSpeaking(turn=self.turn))
        self._timers[Timer.GOODBYE] = self._at + self.settings.goodbye_s

    def _answer_again(self, question: str) -> None:
        """The model answers what was left unanswered, while the caller hears why it takes a moment."""
        self._utterance.prepend(question)
        self._take_turn()
        if self.settings.lines.resumption and self.phase is Phase.ACTIVE:
            self._out.append(Speak(turn=self.turn, text=self.settings.lines.resumption, is_line=True))
            self._reply.wrote = True

    def _repeat(self, event: CallResumed) -> None:
        """Say again what the caller did not hear to its end; what was to follow it follows now."""
        last: HangUp | TransferCall | None = TransferCall(target=event.transfer_to) if event.transfer_to else None
        if event.hang_up:
            last = last or HangUp(reason="agent")
        self._say_line(self.settings.lines.resumption, last=last, more=event.unheard)

    def _end_call(self) -> None:
        asked = self._asked_to_opt_out() if self.phase is Phase.ACTIVE else None
        if asked is not None:
            self._out.append(RecordOptOut(words=asked[0], how=asked[1]))
        self.phase = Phase.ENDED
        self._timers.clear()
        self._silence_agent()

    def _end_of_time(self) -> None:
        """The call has lasted as long as it may: say goodbye, not to be interrupted, and hang up."""
        self.phase = Phase.ACTIVE
        self._silence_agent()
        self._drop_utterance()
        self._say_line(self.settings.lines.goodbye, last=HangUp(reason="duration"), interruptible=False)

    def _close(self, event: EndRequested) -> None:
        """The server has to stop: say so, not to be interrupted, and hang up. A goodbye under way is left alone."""
        if self.agent is not Agent.IDLE and self._reply.last is not None:
            return
        self._silence_agent()
        self._drop_utterance()
        self._say_line(self.settings.lines.closing, last=HangUp(reason=event.reason), interruptible=False)

    def _force_last(self) -> None:
        """The last words, or the disclosure, were not heard to their end in time: hang up or transfer all the same."""
        self._do_last(self._reply.last or HangUp(reason="failed_provider"))

    def _do_last(self, last: HangUp | TransferCall) -> None:
        if self._heeds_opt_out():
            return  # it was said over the last words
        self.phase = Phase.ENDING
        self._timers.clear()
        self._out.append(last)

    # --- a machine --------------------------------------------------------------------------------------------
    def _judge_answer(self, event: AnsweredBy) -> None:
        """Take the carrier's verdict. One on somebody who was answered twice already comes too late to be believed."""
        self._verdict = event.answered_by
        rule, is_late = self.settings.on_machine, self._answered >= self.settings.answered_turns
        if event.answered_by not in MACHINES or rule == "continue" or is_late or self._is_at_machine:
            return
        if event.answered_by == "machine_start" and self._has_message():
            self._hold()
        elif event.answered_by == "fax":
            self._leave_nothing()
        else:
            self._leave_message()

    def _has_message(self) -> bool:
        return self.settings.on_machine in ("drop", "speak") and bool(self.settings.machine_message)

    def _hold(self, heard: str = "") -> None:
        """Be silent until the machine may be spoken to; `heard` is what gave it away, where no verdict has."""
        self._silence_agent()
        self._drop_utterance()
        self._held = heard
        self.phase = Phase.HOLDING
        self._timers = {Timer.BEEP: self._at + self.settings.beep_s, Timer.DURATION: self._ends_at}

    def _apply_to_machine(self, event: AnyEvent) -> None:
        if isinstance(event, DeadlinePassed):
            self._run_timers()
        elif isinstance(event, AnsweredBy):
            self._hear_of_machine(event)
        elif isinstance(event, EndRequested):
            self._do_last(HangUp(reason=event.reason))
        elif isinstance(event, SpeechStarted):
            self._timers[Timer.BEEP] = self._at + self.settings.beep_s
        elif isinstance(event, SpeechStopped) and self._verdict == "machine_start":
            self._timers[Timer.BEEP] = event.ended_at + self.settings.greeting_end_s

    def _hear_of_machine(self, event: AnsweredBy) -> None:
        """A verdict while the agent holds its tongue: a person after all, the beep, or what has been thought anyway."""
        self._verdict = event.answered_by
        if event.answered_by == "human":
            self.phase = Phase.ACTIVE
            self._timers = {Timer.DURATION: self._ends_at}
            self._utterance.prepend(self._held)
            self._take_turn()
        elif event.answered_by == "fax":
            self._leave_nothing()
        elif event.answered_by != "machine_start" or not self._has_message():
            self._leave_message()

    def _leave_message(self) -> None:
        """Say the message whole, with who it is from, and hang up; only hang up where there is none."""
        if not self._has_message():
            self._leave_nothing()
            return
        self._begin_at_machine()
        self._begin_line(HangUp(reason="machine"), interruptible=False)
        if self.settings.disclosure:  # nobody has heard the one before the beep
            self._out.append(Speak(turn=self.turn, text=self.settings.disclosure, is_line=True))
        self._out.append(Speak(turn=self.turn, text=self.settings.machine_message, is_line=True, is_message=True))
        self._out.append(FinishSpeaking(turn=self.turn))
        self._timers[Timer.GOODBYE] = self._at + self.settings.goodbye_s

    def _leave_nothing(self) -> None:
        self._begin_at_machine()
        self._do_last(HangUp(reason="machine"))

    def _begin_at_machine(self) -> None:
        self._silence_agent()
        self._drop_utterance()
        self._timers.clear()
        self.phase = Phase.ACTIVE
        self._is_at_machine = True

    def _sounds_like_machine(self) -> bool:
        """Whether what was said is a machine's greeting, by its words, and the carrier is still to say who answered."""
        is_open = self.settings.awaits_verdict and not self._verdict and self.settings.on_machine != "continue"
        return is_open and voicemail.is_greeting(self._utterance.text)

    # --- an opt-out -------------------------------------------------------------------------------------------
    def _asked_to_opt_out(self) -> tuple[str, str] | None:
        """Return in which words, and how, the caller has just asked not to be called any more; None where not."""
        if not self.settings.hears_opt_out or self._is_at_machine:
            return None
        words = self._utterance
        if words.keys.rstrip("#") == self.settings.opt_out_key:
            return words.keys, "key"
        return (words.text, "phrase") if opt_out.find(words.text) else None

    def _heeds_opt_out(self) -> bool:
        """Begin to opt the caller out where they have asked for it."""
        asked = self._asked_to_opt_out()
        if asked is not None:
            self._opt_out(*asked)
        return asked is not None

    def _opt_out_by_key(self) -> None:
        """The key for it was pressed, and no other one after it."""
        self._heeds_opt_out()

    def _opt_out(self, words: str, how: str) -> None:
        """Be silent until it is written down: nothing that the caller says now changes it."""
        self._silence_agent()
        self._drop_utterance()
        self.phase = Phase.OPTING_OUT
        self._timers = {Timer.RECORD: self._at + self.settings.opt_out_s}
        self._out.append(RecordOptOut(words=words, how=how))

    def _apply_to_opt_out(self, event: AnyEvent) -> None:
        if isinstance(event, OptOutRecorded):
            self._confirm_opt_out()
        elif isinstance(event, DeadlinePassed):
            self._run_timers()

    def _confirm_opt_out(self) -> None:
        """Say that it is done, not to be interrupted, and hang up."""
        self.phase = Phase.ACTIVE
        self._timers.clear()
        self._say_line(self.settings.lines.opted_out, last=HangUp(reason="opted_out"), interruptible=False)

    # --- the caller's turn ------------------------------------------------------------------------------------
    def _hear_speech(self, event: SpeechStarted) -> None:
        self._disarm(*_PAUSE_TIMERS)
        self._utterance.begin(event.began_at)

    def _note_voice(self, event: VoiceConfirmed) -> None:
        self._disarm(*_PAUSE_TIMERS)
        self._utterance.begin(event.began_at)
        self._utterance.voiced = True

    def _begin_pause(self, event: SpeechStopped) -> None:
        self._disarm(Timer.STALE)
        self._utterance.ended_at = event.ended_at
        self._arm_pause()

    def _arm_pause(self) -> None:
        """Arm what follows a first pause, all counted from the last speech sample, side by side."""
        ended_at = self._utterance.ended_at
        if self._utterance.committed_at is None:
            self._timers[Timer.COMMIT] = ended_at + self.settings.commit_s
        self._timers[Timer.SPECULATE] = ended_at + self.settings.speculation_grace_s
        self._consider_endpoint()

    def _commit(self) -> None:
        """Ask for the final transcript of what was said before the pause."""
        self._disarm(Timer.COMMIT)
        self._utterance.commit(self._at)
        self._out.append(CommitTranscript())
        self._consider_endpoint()

    def _take_words(self, event: TranscriptUpdated | TranscriptFinal) -> None:
        """Words while the floor is the caller's."""
        changed = self._update_utterance(event)
        if not self._utterance.has_words:
            return
        self._disarm(Timer.IDLE)
        if self.user is User.SILENT:
            self._begin_unvoiced_turn()
        if self.user is User.PAUSED:
            self._speculate()
            self._consider_endpoint()
        elif changed:
            self._timers[Timer.STALE] = event.at + self.settings.stale_s
            self._keep_speculation()

    def _begin_unvoiced_turn(self) -> None:
        """Too soft for voice activity, but recognised: the words themselves are the speech."""
        self.user = User.PAUSED
        self._utterance.begin(self._at)
        self._utterance.ended_at = self._at
        self._arm_pause()

    def _update_utterance(self, event: TranscriptUpdated | TranscriptFinal) -> bool:
        if isinstance(event, TranscriptUpdated):
            return self._utterance.update(event.text)
        before = self._utterance.fingerprint
        self._utterance.settle(event.text)
        return self._utterance.fingerprint != before

    def _is_late(self, event: TranscriptUpdated | TranscriptFinal) -> bool:
        """Whether a transcript belongs to words whose turn was taken, or which were dropped, before their final."""
        taken = self._taken
        if not taken.pending or self._at > self._taken_until:
            return False
        if isinstance(event, TranscriptFinal):
            before = taken.fingerprint
            taken.settle(event.text)
            if self.settings.hears_opt_out and taken.fingerprint != before and opt_out.find(taken.text):
                self._opt_out(taken.text, "phrase")  # the interim transcript had it otherwise
            elif not taken.pending and self._taken_turn == self.turn and taken.fingerprint != before:
                self._out.append(ReviseHistory(turn=self.turn, text=taken.text))
        return True

    def _end_stale_speech(self) -> None:
        """Voice activity goes on, the words do not: noise. The turn ends by the words."""
        self.user = User.PAUSED
        self._utterance.ended_at = self._at
        self._commit()
        self._arm_pause()

    def _consider_endpoint(self) -> None:
        """Take the turn if the caller is done; else arm the moment to ask again."""
        self._disarm(Timer.ENDPOINT)
        words = self._utterance
        if self.user is not User.PAUSED or not self._floor_is_callers():
            return
        if not words.has_words:
            self._timers[Timer.WORDS] = words.ended_at + self.settings.words_wait_s
            return
        self._disarm(Timer.WORDS)
        due = words.ended_at + self._endpoint_wait_s()
        if words.committed_at is None or words.pending:
            committed_at = words.committed_at if words.committed_at is not None else self._timers.get(Timer.COMMIT, 0.0)
            due = max(due, committed_at + self.settings.final_wait_s)
        if self._at < due:
            self._timers[Timer.ENDPOINT] = due
        elif self._is_answered_by_greeting():
            self._greet()
        else:
            self._take_turn()

    def _endpoint_wait_s(self) -> float:
        return endpoint_wait_s(
            self._utterance.text,
            self.settings.language,
            self.settings.endpointing,
            is_final=not self._utterance.pending and self._utterance.committed_at is not None,
        )

    def _give_up_words(self) -> None:
        """A sound was heard and no words came for it."""
        was_speech = self._utterance.voiced and self._utterance.duration_s >= self.settings.speech_s
        self._silence_agent()  # a speculation on words that recognition took back
        self._drop_utterance()
        if self._greeting:
            self._greet()
        elif was_speech and not self._asked_again:
            self._asked_again = True
            self._say_line(self.settings.lines.not_understood)
        else:
            self._timers[Timer.IDLE] = self._at + self.settings.idle_s

    # --- the agent's turn -------------------------------------------------------------------------------------
    def _floor_is_callers(self) -> bool:
        return self.agent in (Agent.IDLE, Agent.SPECULATING)

    def _speculate(self) -> None:
        """Prepare a reply to what was said so far, unless it is prepared already or the caller is clearly not done."""
        self._disarm(Timer.SPECULATE)
        if self._asked_to_opt_out() or self._sounds_like_machine():
            return
        if self.user is not User.PAUSED or not self._floor_is_callers() or not self._utterance.has_words:
            return
        if self._keep_speculation() or self._speculations >= self.settings.speculation_limit:
            return
        if self._is_answered_by_greeting() or self._endpoint_wait_s() > self.settings.speculation_max_wait_s:
            return
        self._speculations += 1
        self._move(Step.SPECULATE)
        self._start_reply(confirmed=False)

    def _keep_speculation(self) -> bool:
        """Return whether a speculation on these very words stands; cancel one on others."""
        if self.agent is not Agent.SPECULATING:
            return False
        if self._reply.fingerprint == self._fingerprint():
            return True
        self._withdraw()
        return False

    def _fingerprint(self) -> str:
        """What a reply depends on: the caller's words and the context. Tools and prompt are fixed for a call."""
        return f"{self._utterance.fingerprint}\n{self._context}"

    def _start_reply(self, *, confirmed: bool) -> None:
        self.turn += 1
        text = self._utterance.text
        self._reply = Reply(self.turn, self.settings.language, question=text, fingerprint=self._fingerprint())
        self._out.append(StartReply(turn=self.turn, text=text, confirmed=confirmed))

    def _take_turn(self) -> None:
        """The caller is done: confirm what was prepared for these very words, or start."""
        if self._heeds_opt_out():
            return
        if self._sounds_like_machine():
            self._hold(self._utterance.text)
            return
        self._answered += 1
        prepared = self._keep_speculation()
        self._move(Step.REPLY)
        if prepared:
            self._out.append(ConfirmReply(turn=self.turn))
        else:
            self._start_reply(confirmed=True)
        self._expect_late_finals(self.turn)
        self._leave_caller_turn()
        self._context += 1
        self._greeting = ""
        self._idle_prompts = 0
        self._asked_again = False
        self._timers[Timer.FILLER] = self._at + self.settings.filler_s
        self._timers[Timer.REPLY] = self._at + self.settings.reply_s
        if self._reply.wrote:
            self._disarm(Timer.REPLY)
        self._speak(self._reply.confirm())
        if not self._reply.generating:
            self._after_generation()

    def _expect_late_finals(self, turn: int) -> None:
        """Finals of the words just taken, or dropped (turn 0), may still come."""
        self._taken, self._taken_turn = self._utterance, turn
        self._taken_until = self._at + self.settings.late_final_s

    def _leave_caller_turn(self) -> None:
        self.user = User.SILENT
        self._utterance = Utterance()
        self._speculations = 0
        self._disarm(*_PAUSE_TIMERS, Timer.STALE, Timer.IDLE, Timer.VERDICT, Timer.DIGITS, Timer.OPT_OUT_KEY)

    def _drop_utterance(self) -> None:
        """Forget a sound that was no turn; finals still on their way for it are forgotten too."""
        self._expect_late_finals(0)
        speaking = self.user is User.SPEAKING
        self._leave_caller_turn()
        if speaking:
            self.user = User.SPEAKING

    def _say_line(
        self, text: str, *, more: str = "", last: HangUp | TransferCall | None = None, interruptible: bool = True
    ) -> None:
        """Say a fixed phrase as a turn of its own, and `more` after it; `last` follows once it was heard.

        The agent must be idle.
        """
        if not text and not more:
            if last is not None:
                self._do_last(last)
            else:
                self._timers[Timer.IDLE] = self._at + self.settings.idle_s
            return
        self._begin_line(last, interruptible=interruptible)
        if text:
            self._out.append(Speak(turn=self.turn, text=text, is_line=True))
        if more:
            self._out.append(Speak(turn=self.turn, text=more))
        self._out.append(FinishSpeaking(turn=self.turn))
        if last is not None:
            self._timers[Timer.GOODBYE] = self._at + self.settings.goodbye_s

    def _begin_line(self, last: HangUp | TransferCall | None, *, interruptible: bool) -> None:
        self._disarm(Timer.IDLE)
        self.turn += 1
        self._context += 1
        reply = Reply(self.turn, self.settings.language)
        reply.last, reply.is_interruptible, reply.wrote = last, interruptible, True
        self._reply = reply
        self._move(Step.REPLY)

    def _write(self, event: ReplyText) -> None:
        if self._reply.generating:
            self._speak(self._reply.write(event.text, confirmed=self._is_confirmed()))

    def _note_tool(self, event: ReplyToolCalled) -> None:
        if self._reply.generating:
            self._reply.calls.append(event)

    def _end_text(self, _event: ReplyFinished) -> None:
        if not self._reply.generating:
            return
        self._speak(self._reply.end_of_text(confirmed=self._is_confirmed()))
        if self._is_confirmed():
            self._after_generation()

    def _is_confirmed(self) -> bool:
        return self.agent is not Agent.SPECULATING

    def _speak(self, pieces: Iterable[str]) -> None:
        for piece in pieces:
            self._out.append(Speak(turn=self.turn, text=piece))
            self._reply.wrote = True
            if self._is_confirmed():
                self._disarm(Timer.REPLY)

    def _after_generation(self) -> None:
        """The model has said all of a confirmed generation: run its tools, or let the reply end."""
        reply = self._reply
        calls, reply.calls = reply.calls, []
        if calls and reply.rounds < self.settings.tool_rounds:
            reply.rounds += 1
            reply.has_run_tools = True
            reply.waiting = {call.call_id for call in calls}
            self._disarm(Timer.REPLY)
            self._timers[Timer.FILLER] = self._at + self.settings.tool_filler_s
            self._out.extend(
                RunTool(turn=self.turn, call_id=call.call_id, name=call.name, arguments=call.arguments)
                for call in calls
            )
        elif reply.wrote:
            self._end_reply()
        else:
            self._apologise()

    def _end_reply(self) -> None:
        self._failures = 0
        self._disarm(Timer.FILLER, Timer.REPLY)
        self._out.append(FinishSpeaking(turn=self.turn))
        if self._reply.last is not None:
            self._timers[Timer.GOODBYE] = self._at + self.settings.goodbye_s

    def _end_tool(self, event: ToolFinished) -> None:
        reply = self._reply
        if event.call_id not in reply.waiting:
            return
        if event.opt_out:
            self._opt_out(reply.question, "tool")
            return
        reply.waiting.discard(event.call_id)
        if event.digits:
            self._out.append(SendDigits(turn=self.turn, digits=event.digits))
            reply.wrote = True
        if event.transfer_to:
            reply.last = TransferCall(target=event.transfer_to)
        elif event.hang_up and reply.last is None:
            reply.last = HangUp(reason="agent")
        if reply.waiting:
            return
        if reply.last is None:
            reply.generating = True
            self._timers[Timer.FILLER] = self._at + self.settings.tool_filler_s
            self._timers[Timer.REPLY] = self._at + self.settings.reply_s
            self._out.append(ContinueReply(turn=self.turn))
        else:
            self._end_with_last(reply.last)

    def _end_with_last(self, last: HangUp | TransferCall) -> None:
        """Nobody is hung up on, or handed over, without a word."""
        lines = self.settings.lines
        line = lines.goodbye if isinstance(last, HangUp) else lines.connecting
        if not self._reply.wrote and line:
            self._out.append(Speak(turn=self.turn, text=line, is_line=True))
            self._reply.wrote = True
        if self._reply.wrote:
            self._end_reply()
        else:
            self._do_last(last)

    def _fill(self) -> None:
        """Nothing was heard for too long: say so in the same voice, as an aside of the same turn."""
        is_silent = self.agent is Agent.THINKING or (self.agent is Agent.SPEAKING and self._reply.waiting)
        if is_silent and not self._reply.is_line and self.settings.lines.filler:
            self._out.append(Speak(turn=self.turn, text=self.settings.lines.filler, is_line=True, is_aside=True))

    # --- hearing it -------------------------------------------------------------------------------------------
    def _play(self, _event: PlaybackStarted) -> None:
        self._move(Step.PLAY)
        self._disarm(Timer.FILLER)

    def _mark(self, event: PlaybackMarked) -> None:
        self._reply.heard_ms = max(self._reply.heard_ms, event.heard_ms)
        if Timer.GOODBYE in self._timers:
            self._timers[Timer.GOODBYE] = self._at + self.settings.goodbye_s

    def _note_stop(self, event: PlaybackStopped) -> None:
        self._reply.heard_ms = event.heard_ms
        self._reply.remaining_ms = event.remaining_ms

    def _finish(self, _event: PlaybackFinished) -> None:
        self._move(Step.FINISH)
        self._disarm(Timer.FILLER, Timer.REPLY, Timer.GOODBYE, Timer.VERDICT)
        if self._reply.last is not None:
            self._do_last(self._reply.last)
            return
        if self._is_answered_by_greeting() and not self._awaits_words():
            self._greet()
            return
        self._timers[Timer.IDLE] = self._at + self.settings.idle_s
        if self._utterance.keys:
            self._take_up_keys()
        elif self.user is User.PAUSED:
            self._arm_pause()
        elif self._utterance.has_words:
            self._take_up_words()

    def _is_answered_by_greeting(self) -> bool:
        """Whether the greeting is still to come, and nothing was said that wants more: "hello?", "okay", or a cough."""
        words, language = self._utterance, self.settings.language
        return bool(self._greeting) and (words.is_backchannel(language) or is_salutation(words.text, language))

    def _awaits_words(self) -> bool:
        """Whether the caller is speaking, or words of theirs are on their way."""
        return self._utterance.voiced and (self.user is User.SPEAKING or self._utterance.pending > 0)

    def _greet(self) -> None:
        """Say the greeting after all. A sound that may still bring words is judged over it as over any reply."""
        greeting, self._greeting = self._greeting, ""
        self._silence_agent()  # a speculation on words that have changed
        if self.user is User.PAUSED and self._utterance.pending:
            self._timers[Timer.VERDICT] = self._at + self.settings.verdict_s
        elif self.user is not User.SPEAKING:
            self._drop_utterance()
        self._say_line(greeting)

    def _take_up_words(self) -> None:
        """Words that were too few to interrupt the agent outlast it: they are a turn, and no newer ones need come."""
        if self.user is User.SPEAKING:
            self._timers[Timer.STALE] = self._at + self.settings.stale_s
        else:
            self._begin_unvoiced_turn()

    # --- interruptions ----------------------------------------------------------------------------------------
    def _take_back(self, event: VoiceConfirmed) -> None:
        """The caller goes on before the agent is heard: the same turn, with more words."""
        self._note_voice(event)
        if self._reply.is_interruptible:
            self._rejoin()

    def _rejoin(self) -> None:
        """Withdraw a reply that was not heard; what it answered is said again together with what follows."""
        question, has_run_tools = self._reply.question, self._reply.has_run_tools
        if question and not has_run_tools:
            self._utterance.prepend(question)
            self._withdraw()
        else:
            self._silence_agent()

    def _stop_agent(self, event: VoiceConfirmed) -> None:
        self._note_voice(event)
        if self._reply.is_interruptible:
            self._move(Step.STOP)
            self._out.append(StopPlayback(turn=self.turn))
            self._timers[Timer.VERDICT] = self._at + self.settings.stopped_s

    def _end_sound(self, event: SpeechStopped) -> None:
        """A sound over the agent has ended: ask for its words at once, they decide."""
        self._utterance.ended_at = event.ended_at
        self._commit()
        self._timers[Timer.VERDICT] = event.ended_at + self.settings.verdict_s

    def _weigh_words(self, event: TranscriptUpdated | TranscriptFinal) -> None:
        """Words over an agent that was not stopped: no voice was confirmed for them."""
        self._update_utterance(event)
        words = self._utterance
        if not self._reply.is_interruptible:
            return
        is_final = isinstance(event, TranscriptFinal)
        if not words.is_backchannel(self.settings.language) and self._is_believed(is_final=is_final):
            self._interrupt()
        elif is_final and not words.pending and self.user is not User.SPEAKING:
            self._drop_utterance()

    def _is_believed(self, *, is_final: bool) -> bool:
        """Whether words over the agent are surely the caller's: a voice was confirmed, or there are enough of them."""
        enough = self.settings.interrupting_words
        count = len(self._utterance.text.split()) + (1 if is_final else 0)
        return self._utterance.voiced or (enough is not None and count >= enough)

    def _interrupt(self) -> None:
        if self.agent is Agent.SPEAKING:
            self._move(Step.STOP)
            self._out.append(StopPlayback(turn=self.turn))
        self._confirm_interruption()

    def _judge_words(self, event: TranscriptUpdated | TranscriptFinal) -> None:
        """Words decide over an agent that was stopped."""
        self._update_utterance(event)
        words = self._utterance
        if not words.is_backchannel(self.settings.language):
            self._confirm_interruption()
        elif isinstance(event, TranscriptFinal) and self.user is not User.SPEAKING and not words.pending:
            self._resolve_backchannel()

    def _resolve_backchannel(self) -> None:
        """Go on from the word where the agent was cut, unless the sound answered a reply that was nearly over."""
        reply = self._reply
        was_ending = not reply.generating and not reply.waiting and reply.last is None
        is_near_end = reply.remaining_ms <= self.settings.answer_remaining_ms
        if self._utterance.has_words and was_ending and is_near_end:
            self._confirm_interruption()
        else:
            self._resume()

    def _resume(self) -> None:
        self._drop_utterance()
        self._move(Step.RESUME)
        self._out.append(ResumePlayback(turn=self.turn))

    def _confirm_interruption(self) -> None:
        """The floor is the caller's. Of the reply only what was heard remains."""
        if self._reply.heard_ms < self.settings.unheard_ms:
            self._rejoin()
        else:
            self._silence_agent()
        if self.user is not User.SPEAKING:
            if self.user is User.SILENT:
                self.user = User.PAUSED
                self._utterance.ended_at = self._at
            self._arm_pause()
            self._speculate()
        else:
            self._timers[Timer.STALE] = self._at + self.settings.stale_s

    def _dismiss_sound(self) -> None:
        """No words came in time for a sound over the agent, or only a backchannel."""
        if self.agent is Agent.STOPPED:
            if self.user is User.SPEAKING:
                self._resume()
            else:
                self._resolve_backchannel()
        elif self.user is User.PAUSED and not self._reply.is_locked:
            self._drop_utterance()

    def _press(self, event: DigitPressed) -> None:
        if len(self._utterance.keys) >= MOST_KEYS:
            return
        if self._is_interruptible():
            self._silence_agent()
            self._utterance.keys += event.digit
            self._take_up_keys()
        elif self._reply.is_locked or self.settings.hears_opt_out:
            self._utterance.keys += event.digit
        if self.settings.hears_opt_out and self._utterance.keys == self.settings.opt_out_key:
            self._timers[Timer.OPT_OUT_KEY] = self._at + self.settings.opt_out_key_s
        else:
            self._disarm(Timer.OPT_OUT_KEY)

    def _take_up_keys(self) -> None:
        """Wait for more keys, but not after `#`."""
        self._disarm(*_PAUSE_TIMERS, Timer.STALE, Timer.IDLE)
        if self._utterance.keys.endswith("#"):
            self._take_turn()
        else:
            self._timers[Timer.DIGITS] = self._at + self.settings.digits_s

    def _is_interruptible(self) -> bool:
        return self._floor_is_callers() or self._reply.is_interruptible

    # --- failures ---------------------------------------------------------------------------------------------
    def _fail_reply(self, _event: ReplyFailed) -> None:
        if not self._reply.generating:
            return
        if not self._is_confirmed():
            self._withdraw()  # the endpoint asks again
        elif self._reply.wrote:
            self._speak(self._reply.end_of_text(confirmed=True))
            self._end_reply()
        else:
            self._apologise()

    def _apologise(self) -> None:
        """No answer can be had: say so; hang up where it has happened twice in a row."""
        self._failures += 1
        self._silence_agent()
        if self._failures > 1:
            self._hang_up_failed()
        else:
            self._say_line(self.settings.lines.apology)

    def _fail_voice(self, _event: SynthesisFailed) -> None:
        """Nothing can be said any more but what is cached."""
        if self.agent is Agent.SPECULATING:
            self._withdraw()
        elif self._reply.is_line and self._reply.last is not None:
            self._do_last(self._reply.last)
        else:
            self._silence_agent()
            self._hang_up_failed()

    def _fail_for_good(self, _event: TranscriptionFailed) -> None:
        if self._is_interruptible() or self._reply.is_locked:
            self._silence_agent()
            self._hang_up_failed()

    def _hang_up_failed(self) -> None:
        self._drop_utterance()
        self._say_line(self.settings.lines.failure, last=HangUp(reason="failed_provider"), interruptible=False)

    # --- silence ----------------------------------------------------------------------------------------------
    def _prompt(self) -> None:
        """Both have been silent: prompt, and in the end say goodbye."""
        words = self._utterance
        if self.agent is not Agent.IDLE or words.has_words:
            return
        if (
            self.user is User.SPEAKING
            and words.voiced
            and self._at - (words.began_at or 0.0) < self.settings.monologue_s
        ):
            self._timers[Timer.IDLE] = self._at + self.settings.idle_s
            return
        prompts = self.settings.lines.idle_prompts
        self._drop_utterance()
        if self._greeting:
            self._greet()
        elif self._idle_prompts < len(prompts):
            self._idle_prompts += 1
            self._say_line(prompts[self._idle_prompts - 1])
        else:
            self._say_line(self.settings.lines.goodbye, last=HangUp(reason="idle"))

    # --- small moves ------------------------------------------------------------------------------------------
    def _move(self, step: Step) -> None:
        self.agent = AGENT_TABLE[self.agent, step]

    def _withdraw(self) -> None:
        """Cancel a reply that nobody heard; its turn number dies with it."""
        self._out.append(CancelReply(turn=self.turn))
        self._move(Step.WITHDRAW)
        self.turn += 1
        self._disarm(Timer.FILLER, Timer.REPLY, Timer.GOODBYE, Timer.VERDICT)

    def _silence_agent(self) -> None:
        """Bring the agent to IDLE from wherever it is; of what was begun, only what was heard remains."""
        if self.agent is Agent.IDLE:
            return
        if self.agent is Agent.SPEAKING:
            self._out.append(StopPlayback(turn=self.turn))
            self._move(Step.STOP)
        if self.agent is Agent.STOPPED or self._reply.has_run_tools:
            self._out.append(TrimHistory(turn=self.turn))
        self._withdraw()

    def _disarm(self, *timers: Timer) -> None:
        for timer in timers:
            self._timers.pop(timer, None)
