"""What a turn machine is told before the call: its fixed phrases and its time budgets.

Frozen and serialisable, because the header of a call's event log stores it: a replay starts from the same numbers.
Times are seconds. Where a number comes from stands beneath it; "others" are the defaults of pipecat and
livekit-agents as published in their own sources.
"""

from typing import Literal

import msgspec

from voice_agent.pipeline.endpointing import PROFILES, EndpointingSettings


class Lines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fixed phrases an agent needs even when its language model is silent. All are synthesised ahead."""

    greeting: str
    """Said as soon as the call is answered; empty to let the caller speak first."""

    idle_prompts: tuple[str, ...]
    """Said in turn, each after one more stretch of silence; after the last one comes `goodbye`."""

    goodbye: str
    """Said before the agent hangs up on a silent caller, at the longest duration, or after a wordless end_call."""

    filler: str
    """Said when an answer takes long."""

    not_understood: str
    """Said when a voice was heard and no words were recognised."""

    apology: str
    """Said when a provider failed and the caller may try again."""

    failure: str
    """Said before hanging up on a failure that lasts."""

    resumption: str = ""
    """Said first where the line was lost in mid-call and is back; empty for a sentence in the call's language."""

    closing: str = ""
    """Said before the server ends a call because it has to stop; empty for a sentence in the call's language."""

    connecting: str = ""
    """Said before the caller is connected to somebody else; empty for a sentence in the call's language."""

    opted_out: str = ""
    """Said last to a caller who asked not to be called any more; empty for a sentence in the call's language."""

    def all(self) -> tuple[str, ...]:
        """Return every phrase that is not empty, to be synthesised before the call."""
        single = (
            self.greeting, self.goodbye, self.filler, self.not_understood, self.apology, self.failure,
            self.resumption, self.closing, self.connecting, self.opted_out,
        )  # fmt: skip
        return tuple(phrase for phrase in (*single, *self.idle_prompts) if phrase)

    def completed(self, language: str) -> "Lines":
        """Return these phrases with sentences of ours in place of those that an agent need not bring."""
        sentences = _SENTENCES.get(language, _SENTENCES["en"])
        own = {name: getattr(self, name) or sentence for name, sentence in sentences.items()}
        return msgspec.structs.replace(self, **own)


_SENTENCES: dict[str, dict[str, str]] = {
    "en": {
        "resumption": "Sorry, we were cut off for a moment.",
        "closing": "I am sorry, I have to end our call now. Please call again in a few minutes. Goodbye.",
        "connecting": "One moment, I am connecting you.",
        "opted_out": "I have taken your number off our list. We will not call you again. Goodbye.",
    },
    "es": {
        "resumption": "Disculpe, se ha cortado un momento.",
        "closing": "Lo siento, tengo que terminar la llamada. Por favor, vuelva a llamar en unos minutos. Adiós.",
        "connecting": "Un momento, por favor, le paso.",
        "opted_out": "He borrado su número de nuestra lista. No le volveremos a llamar. Adiós.",
    },
}
"""What we say where an agent brings no phrase of its own: by language, by the phrase's name."""


OnMachine = Literal["continue", "hang_up", "drop", "speak"]
"""What is done where a machine answers: nothing, the end of the call, or a message after its beep (`drop` is the same
for everybody, `speak` is not; here they do not differ)."""


class TurnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The budgets of one call's turn machine."""

    lines: Lines
    disclosure: str = ""
    """Said first, and heard to its end whatever the caller does; empty where there is nothing to disclose."""

    language: str = "en"
    """ISO 639-1: decides clause boundaries, backchannels and what counts as unfinished."""

    endpointing: EndpointingSettings = msgspec.field(default_factory=lambda: PROFILES["normal"])

    commit_s: float = 0.2
    """From the last speech sample to the commit of the transcript. Shorter cuts segments inside a sentence (a stop
    consonant or a gap between words lasts up to 150 ms) and costs recognition accuracy; longer delays the final.
    Others: 0.2 (pipecat's VAD stop), 0.55 (livekit-agents)."""

    final_wait_s: float = 0.3
    """How long an endpoint waits for the final transcript of its commit before the interim one is believed.
    ElevenLabs answers a manual commit in 250-380 ms, counted from the commit."""

    speculation_grace_s: float = 0.2
    """From the last speech sample to a speculation on the interim transcript as it is, if no newer one came:
    interim transcripts lag the audio by about 150 ms."""

    speculation_limit: int = 4
    """Speculations per utterance; bounds what a caller who pauses often can cost."""

    speculation_max_wait_s: float = 0.8
    """No speculation on text whose endpoint wait is longer: the caller is not done."""

    words_wait_s: float = 1.5
    """From the last speech sample to giving up on words for it."""

    speech_s: float = 0.4
    """A voice that lasted this long and brought no words deserves "I did not catch that"."""

    monologue_s: float = 20.0
    """A voice without any words for this long is not waited for any more: recognition is stuck, or it is a radio."""

    stale_s: float = 1.5
    """Voice activity that goes on while the transcript stays the same this long is noise: the turn has ended."""

    verdict_s: float = 0.6
    """From the end of a sound over the agent to the verdict that it was no interruption: it must have brought words
    by then. Commit to final takes 100 ms (local) to 380 ms (ElevenLabs)."""

    stopped_s: float = 4.0
    """The longest the agent stays silent for a voice that brings no words (F09, noise)."""

    interrupting_words: int | None = 2
    """Interim words that interrupt the agent although no voice was confirmed for them; of a final transcript one less
    will do. None: no words do. A recogniser that hears words in music, as the local one does, is not believed alone."""

    unheard_ms: float = 300.0
    """Of a reply of which less was heard, nothing was understood: the caller goes on with the same turn."""

    answer_remaining_ms: float = 800.0
    """With less than this left of a finished reply, "yes" or "okay" over its end is an answer, not a backchannel."""

    filler_s: float = 1.5
    """Silence after the caller's turn before the filler is said (F01, F12)."""

    tool_filler_s: float = 2.0
    """Silence while a tool runs before the filler is said (F07)."""

    reply_s: float = 10.0
    """Without any reply after this long the agent apologises (F01)."""

    tool_rounds: int = 5
    """Generations in one turn that may ask for tools; bounds a model that calls tools for ever."""

    idle_s: float = 8.0
    """Silence of both sides before an idle prompt (F34)."""

    duration_s: float = 1_800.0
    """The longest call."""

    resumed_s: float = 30.0
    """What is left at least of a call that was lost and is back, whatever its longest duration: time for a goodbye."""

    goodbye_s: float = 12.0
    """The longest that a last phrase, or the disclosure, may go without being heard before the call is ended."""

    digits_s: float = 2.0
    """Pause after a key before the digits are taken as the caller's turn; `#` ends them at once."""

    late_final_s: float = 1.0
    """How long a final transcript may still arrive for words that were taken from the interim one. Until then no
    interim transcript is believed: it restates the words that were taken."""

    hears_opt_out: bool = False
    """Whether a caller who asks not to be called any more, in words or by key, is taken at their word at once."""

    opt_out_key: str = "9"
    opt_out_key_s: float = 1.0
    """Pause after that key, pressed first, before it means it: it may be the first digit of a number. People who key
    in a number leave 0.2 to 0.5 s between digits."""

    opt_out_s: float = 6.0
    """The longest that writing an opt-out down is waited for, silently; the caller is told the same then."""

    on_machine: OnMachine = "continue"
    machine_message: str = ""
    """What a machine is told after its beep."""

    awaits_verdict: bool = False
    """Whether the carrier has been asked who answers: then words that sound like a machine's wait for its answer."""

    beep_s: float = 45.0
    """The longest that a machine's greeting is waited for. Twilio's own detection gives up after 30 s."""

    greeting_end_s: float = 2.0
    """Silence of a machine, where nobody will tell of its beep, after which it has said its greeting."""

    answered_turns: int = 2
    """Of a caller who was answered so often, no later verdict is believed that they are a machine: detection errs, and
    a machine's greeting seldom leaves room for two answers."""
