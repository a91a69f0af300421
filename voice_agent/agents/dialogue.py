"""A scripted dialogue: what callers may say, what is answered, and in which order things are asked. Pure.

For the demo, tests and simple information lines, where no language model is at hand. It is a form to be filled in: each
state asks for one slot, a caller may fill several at once or ask about something else in between.

    rule      words -> an answer. Rules of the current state come before those valid `anywhere`; of all that match, the
              one that accounts for the most words wins. Its slots are filled in, `sets` and `forgets` applied.
    state     asks its `question`, or `again` where the conversation has not moved; a state whose slot is known already,
              or whose `when` does not hold, is passed over to its `next`.
    answer    the rule's `reply`, then the question of the state arrived at. A rule that calls a tool asks nothing.

Stateless: the whole of what the caller has said is gone through again for each answer, so that a conversation can be
restored, replayed, or cut by an interruption at any point. Reading the YAML is `agents.files`.
"""

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from voice_agent.agents import phrases
from voice_agent.agents.phrases import Phrase, PhraseError
from voice_agent.agents.spoken import plain_words
from voice_agent.errors import AgentDefinitionError

_OPEN_VALUE = r"(?:[^\W\d_][^\s]* ){1,3}"
"""What an open slot takes where nothing known matches: one to three words, the whole of what was said."""


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something a caller tells: a day, a name, a number."""

    values: tuple[str, ...]
    """As they are to be read back; letter case does not matter for recognition."""

    is_open: bool = msgspec.field(default=False, name="open")
    """Other values are taken too, where they are all that was said: names."""

    repeated: Annotated[int, msgspec.Meta(ge=0)] = 0
    """At least so many values one after another: the digits of a number. 0 is exactly one value. The least number is
    the recogniser's; in what it wrote, one value counts already."""


class ToolUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tool that a rule calls once its reply is said."""

    tool: str
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something a caller may say, and what comes of it."""

    says: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Word patterns (`agents.phrases`), for the recogniser's grammar and for understanding."""

    also: tuple[str, ...] = ()
    """Word patterns for understanding alone: other recognisers write more than a grammar holds."""

    reply: str
    """What is answered; {slot} stands for a slot's value."""

    asks: bool = True
    """Whether the question of the state follows the reply."""

    next: str = ""
    """The state to go to; empty to stay, or to go on where the state's slot was filled."""

    sets: dict[str, str] = msgspec.field(default_factory=dict)
    forgets: tuple[str, ...] = ()
    calls: tuple[ToolUse, ...] = ()


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A point of the conversation, at which one question is open."""

    question: str
    again: str = ""
    """The question where it was asked before; empty for the same words."""

    slot: str = ""
    """The slot asked for; once it is known the conversation goes on to `next`."""

    when: dict[str, str] = msgspec.field(default_factory=dict)
    """Slot values without which the state is passed over."""

    next: str = ""
    rules: tuple[Rule, ...] = ()


class Dialogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole script."""

    name: str
    language: str
    start: str
    slots: dict[str, Slot] = msgspec.field(default_factory=dict)
    states: dict[str, State]
    anywhere: tuple[Rule, ...] = ()
    not_understood: tuple[str, ...]
    """Said in turn where no rule matches, the last one from then on."""

    pronunciations: dict[str, str] = msgspec.field(default_factory=dict)
    """CMU phonemes of words that the local recogniser's dictionary lacks: {toothache: T UW TH EY K}."""

    def rules(self) -> Iterator[Rule]:
        """Yield every rule."""
        for state in self.states.values():
            yield from state.rules
        yield from self.anywhere


@dataclass(frozen=True, slots=True)
class Answer:
    """What the script says next, and the tools it calls."""

    text: str
    calls: tuple[ToolUse, ...] = ()


class Script:
    """A dialogue made ready to answer. Raises AgentDefinitionError, which names the field, where it cannot work."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._known = _SlotPatterns(dialogue.slots, takes_open=False)
        self._open = _SlotPatterns(dialogue.slots, takes_open=True)
        self._anywhere = [self._compile(rule, f"anywhere[{n}]") for n, rule in enumerate(dialogue.anywhere)]
        self._rules = {
            name: [self._compile(rule, f"states.{name}.rules[{n}]") for n, rule in enumerate(state.rules)]
            for name, state in dialogue.states.items()
        }
        self._check_references()

    def answer(self, said: Iterable[str]) -> Answer:
        """Return the answer to the last of what the caller has said since the beginning of the call."""
        place = _Place(state=self._dialogue.start)
        answer = Answer(self._dialogue.states[place.state].question)
        for text in said:
            answer = self._step(place, plain_words(text, self._dialogue.language))
        return answer

    def _step(self, place: "_Place", text: str) -> Answer:
        found = self._best(place.state, text)
        if found is None:
            apologies = self._dialogue.not_understood
            apology = apologies[min(place.misses, len(apologies) - 1)]
            place.misses += 1
            return Answer(_joined(apology, self._question(place, has_moved=False)))
        rule, values = found
        place.misses = 0
        before = place.state
        place.values = {slot: value for slot, value in place.values.items() if slot not in rule.forgets}
        place.values |= values | rule.sets
        place.state = self._settled(rule.next or before, place.values)
        reply = rule.reply.format_map(_Spoken(place.values))
        if rule.calls or not rule.asks:
            return Answer(reply, rule.calls)
        return Answer(_joined(reply, self._question(place, has_moved=place.state != before)))

    def _best(self, state: str, text: str) -> "tuple[Rule, dict[str, str]] | None":
        candidates = self._rules[state] + self._anywhere
        spaced = text + " "
        matches = [(compiled, found) for compiled in candidates for found in compiled.search(spaced)]
        if matches:
            compiled, found = max(matches, key=lambda match: len(match[1][0]))
            return compiled.rule, self._known.read(found)
        for compiled in candidates:
            if found_open := compiled.match_open(spaced):
                return compiled.rule, self._open.read(found_open)
        return None

    def _settled(self, state: str, values: Mapping[str, str]) -> str:
        while self._is_passed_over(definition := self._dialogue.states[state], values):
            state = definition.next
        return state

    @staticmethod
    def _is_passed_over(state: State, values: Mapping[str, str]) -> bool:
        holds = all(values.get(slot) == value for slot, value in state.when.items())
        return bool(state.next) and (not holds or state.slot in values)

    def _question(self, place: "_Place", *, has_moved: bool) -> str:
        state = self._dialogue.states[place.state]
        question = state.question if has_moved else state.again or state.question
        return question.format_map(_Spoken(place.values))

    # --- reading the definition -------------------------------------------------------------------------------------
    def _compile(self, rule: Rule, where: str) -> "_CompiledRule":
        try:
            parsed = [phrases.parse(text) for text in rule.says + rule.also]
            return _CompiledRule(
                rule,
                [self._known.compile(phrase) for phrase in parsed],
                [self._open.compile(phrase) for phrase in parsed if self._open.are_used_by(phrase)],
            )
        except (PhraseError, re.error) as error:
            raise AgentDefinitionError(f"{where}.says: {error}") from error
        except KeyError as error:
            raise AgentDefinitionError(f"{where}.says: there is no slot {error}") from error

    def _check_references(self) -> None:
        states = self._dialogue.states
        targets = {"start": self._dialogue.start} | {
            f"states.{name}.next": state.next for name, state in states.items()
        }
        targets |= {f"rule {rule.says[0]!r}, next": rule.next for rule in self._dialogue.rules()}
        for where, target in targets.items():
            if target and target not in states:
                raise AgentDefinitionError(f"{where}: there is no state {target!r}")
        if not self._dialogue.not_understood:
            raise AgentDefinitionError("not_understood: at least one sentence is needed")
        for name in states:
            self._check_end(name)
        self._check_slots()

    def _check_end(self, name: str) -> None:
        seen = {name}
        while (following := self._dialogue.states[name].next) and following not in seen:
            seen.add(following)
            name = following
        if following:
            raise AgentDefinitionError(f"states.{name}.next: leads back to {following!r}, so that it would never end")

    def _check_slots(self) -> None:
        states, rules = self._dialogue.states.values(), tuple(self._dialogue.rules())
        texts = [rule.reply for rule in rules] + [text for state in states for text in (state.question, state.again)]
        named = [(text, slot) for text in texts for _, slot, _, _ in string.Formatter().parse(text) if slot is not None]
        named += [(f"states.{name}", slot) for name, state in self._dialogue.states.items() for slot in state.when]
        named += [(f"states.{name}", state.slot) for name, state in self._dialogue.states.items() if state.slot]
        named += [(f"rule {rule.says[0]!r}", slot) for rule in rules for slot in (*rule.sets, *rule.forgets)]
        for where, slot in named:
            if slot not in self._dialogue.slots:
                raise AgentDefinitionError(f"{where}: there is no slot {slot!r}")


@dataclass(slots=True)
class _Place:
    """Where a conversation stands."""

    state: str
    values: dict[str, str] = field(default_factory=dict)
    misses: int = 0
    """How often in a row nothing was understood."""


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    rule: Rule
    patterns: list[re.Pattern[str]]
    open_patterns: list[re.Pattern[str]]

    def search(self, spaced: str) -> Iterator[re.Match[str]]:
        """Yield what each pattern finds, but not the empty match of a pattern all of whose parts are optional."""
        for pattern in self.patterns:
            if (found := pattern.search(spaced)) and found[0]:
                yield found

    def match_open(self, spaced: str) -> re.Match[str] | None:
        """Return how the whole of what was said fits, where open slots take any words."""
        return next(filter(None, (pattern.fullmatch(spaced) for pattern in self.open_patterns)), None)


class _SlotPatterns:
    """Slots as regular expressions, and back from what they matched to the value as it is written."""

    def __init__(self, slots: Mapping[str, Slot], *, takes_open: bool) -> None:
        self._slots = slots
        self._expressions = {
            name: _OPEN_VALUE if slot.is_open and takes_open else _values_expression(slot)
            for name, slot in slots.items()
        }
        self._written = {value.lower(): value for slot in slots.values() for value in slot.values}

    def compile(self, phrase: Phrase) -> re.Pattern[str]:
        """Raises KeyError for an unknown slot, re.error where a slot is used twice."""
        return re.compile(r"(?<![\w'])" + phrases.to_regex(phrase, self._expressions))

    def are_used_by(self, phrase: Phrase) -> bool:
        """Whether the phrase has an open slot."""
        return any(self._slots[name].is_open for name in phrases.slots(phrase))

    def read(self, found: re.Match[str]) -> dict[str, str]:
        """Return the values of the slots that took part in a match."""
        return {name: self._value(name, said.strip()) for name, said in found.groupdict().items() if said}

    def _value(self, name: str, said: str) -> str:
        if self._slots[name].repeated:
            return _in_groups([self._written[word] for word in said.split()])
        return self._written.get(said) or said.title()


def _values_expression(slot: Slot) -> str:
    # The longest first: "eleven o'clock" before "eleven".
    values = sorted(slot.values, key=len, reverse=True)
    choice = "|".join(re.escape(value.lower()) + " " for value in values)
    return f"(?:{choice})" + ("+" if slot.repeated else "")


def _in_groups(digits: list[str]) -> str:
    """Read a number back as people do: in threes, and what is left with the last of them where it is a single one."""
    groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
    if len(groups) > 1 and len(groups[-1]) == 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return ", ".join(" ".join(group) for group in groups)


class _Spoken(dict[str, str]):
    """Slot values for a template; one that the caller was never asked for is passed over in silence."""

    def __missing__(self, slot: str) -> str:
        return ""


def _joined(*texts: str) -> str:
    return " ".join(filter(None, texts))
