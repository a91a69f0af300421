"""What the local recogniser can hear: a grammar made from a dialogue's caller phrases. Pure.

Everything that a dialogue's rules list under `says`, and noises of agreement, which come at any time of any dialogue.
"""

import msgspec

from voice_agent.agents import phrases
from voice_agent.agents.dialogue import Dialogue
from voice_agent.agents.phrases import Choice
from voice_agent.integrations.local import automaton
from voice_agent.integrations.local.automaton import Automaton

BACKCHANNELS = ("mhm", "uh huh", "okay", "right", "yeah", "yes", "no")

PRONUNCIATIONS = (
    ("mhm", "M HH M"),
    ("mhm", "M M HH M M"),
    ("mhm", "EH M HH M"),
    ("huh", "HH AH"),
)
"""CMU phonemes beside the dictionary's own: it writes "mhm" with vowels that most people leave out."""


class Grammar(msgspec.Struct, frozen=True):
    """What the recognition worker is told at its start."""

    automaton: Automaton
    pronunciations: tuple[tuple[str, str], ...]
    """(word, CMU phonemes), in addition to those of the dictionary."""

    repeated_words: tuple[str, ...] = ()
    """Values of slots that repeat, digits above all: left alone, their loop swallows whatever is unclear."""

    def words(self) -> frozenset[str]:
        """Return all words of the grammar."""
        return frozenset(word for _, _, word in self.automaton.transitions)


def from_dialogue(dialogue: Dialogue) -> Grammar:
    """Return the grammar of everything that a dialogue's callers may say."""
    said = [*BACKCHANNELS, *(text for rule in dialogue.rules() for text in rule.says)]
    slots = {
        name: Choice(tuple(phrases.parse(value.lower()) for value in slot.values))
        for name, slot in dialogue.slots.items()
    }
    repeated = {name: slot.repeated for name, slot in dialogue.slots.items() if slot.repeated}
    return Grammar(
        automaton=automaton.minimal(map(phrases.parse, said), slots, repeated),
        pronunciations=PRONUNCIATIONS + tuple(dialogue.pronunciations.items()),
        repeated_words=tuple(word for name in repeated for word in phrases.words(slots[name])),
    )
