"""What the local recogniser can hear: a JSGF grammar made from a dialogue's caller phrases. Pure.

Everything that a dialogue's rules list under `says` is one alternative; an utterance is one or two of them, because
callers answer and ask in one breath. Noises of agreement are added to any dialogue, for they come at any time.
Format: JSpeech Grammar Format, https://www.w3.org/TR/jsgf/.
"""

import msgspec

from voice_agent.agents import phrases
from voice_agent.agents.dialogue import Dialogue, Slot

BACKCHANNELS = ("mhm", "uh huh", "okay", "right", "yeah", "yes", "no")
"""Said by callers of any dialogue, often while the agent speaks."""

PRONUNCIATIONS = (
    ("mhm", "M HH M"),
    ("mhm", "M M HH M M"),
    ("mhm", "AH M HH AH M"),
    ("uh", "AH"),
    ("huh", "HH AH"),
    ("okay", "OW K EY"),
)
"""CMU phonemes. The dictionary writes "mhm" with vowels that most people leave out."""


class Grammar(msgspec.Struct, frozen=True):
    """What the recognition worker is told at its start."""

    jsgf: str
    words: tuple[str, ...]
    """All words of the grammar, each once: those that the dictionary lacks must be among the pronunciations."""

    pronunciations: tuple[tuple[str, str], ...] = PRONUNCIATIONS
    """(word, CMU phonemes); several for one word are alternatives."""


def from_dialogue(dialogue: Dialogue) -> Grammar:
    """Return the grammar of everything that a dialogue's callers may say."""
    said = [*BACKCHANNELS, *(text for rule in dialogue.rules() for text in rule.says)]
    # One text may be said in several states.
    parsed = [phrases.parse(text) for text in dict.fromkeys(said)]
    slots = {name: dialogue.slots[name] for phrase in parsed for name in phrases.slots(phrase)}
    rules = [f"<{name}> = {_slot_rule(slot)};" for name, slot in slots.items()]
    rules += [f"<phrase{number}> = {phrases.to_jsgf(phrase)};" for number, phrase in enumerate(parsed)]
    alternatives = " | ".join(f"<phrase{number}>" for number in range(len(parsed)))
    lines = ["#JSGF V1.0;", "grammar dialogue;", "public <utterance> = <phrase> [<phrase>];"]
    lines += [f"<phrase> = {alternatives};", *rules]
    words = {word for phrase in parsed for word in phrases.words(phrase)}
    words |= {word for slot in slots.values() for value in slot.values for word in value.lower().split()}
    return Grammar(
        jsgf="\n".join(lines) + "\n",
        words=tuple(sorted(words)),
        pronunciations=PRONUNCIATIONS + tuple(dialogue.pronunciations.items()),
    )


def _slot_rule(slot: Slot) -> str:
    choice = " | ".join(value.lower() for value in slot.values)
    return f"( {choice} )+" if slot.is_repeated else choice
