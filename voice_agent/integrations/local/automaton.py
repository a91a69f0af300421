"""Word patterns as one small deterministic automaton: what the local recogniser searches. Pure.

pocketsphinx can read patterns as JSGF itself, but it keeps one path for each alternative and joins them by empty
transitions: the demo's dialogue becomes 4,998 of them. The same language as a minimal deterministic automaton has each
word once at each point, 500 transitions in all, and is searched in half the time.

Thompson's construction, then the subset construction, then Moore's partition refinement (Hopcroft, Motwani and Ullman,
"Introduction to Automata Theory, Languages, and Computation", 2.3, 2.5 and 4.4).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from voice_agent.agents.phrases import Choice, Phrase, Sequence, Slot, Word


class Automaton(msgspec.Struct, frozen=True):
    """States are numbered from 0, which is the start; one word leads from a state to at most one other."""

    transitions: tuple[tuple[int, int, str], ...]
    """(from, to, word)."""

    accepting: tuple[int, ...]
    """States in which an utterance may end."""

    def accepts(self, text: str) -> bool:
        """Whether the words of `text` are an utterance."""
        following = {(state, word): target for state, target, word in self.transitions}
        state: int | None = 0
        for word in text.split():
            state = following.get((state, word)) if state is not None else None
        return state in self.accepting


def minimal(options: Iterable[Phrase], slots: Mapping[str, Phrase], repeated: Mapping[str, int]) -> Automaton:
    """Return the automaton of one of `options`.

    `slots` has the values of each slot; those named in `repeated` come so many times or more.
    """
    graph = _Graph(slots, repeated)
    end = graph.add(Choice(tuple(options)), 0)
    return _minimised(*_deterministic(graph, end))


class _Graph:
    """A non-deterministic automaton under construction; state 0 is its start."""

    def __init__(self, slots: Mapping[str, Phrase], repeated: Mapping[str, int]) -> None:
        self.words: dict[int, list[tuple[str, int]]] = defaultdict(list)
        self.empty: dict[int, list[int]] = defaultdict(list)
        self._slots = slots
        self._repeated = repeated
        self._latest = 0

    def add(self, phrase: Phrase, start: int) -> int:
        """Lead from `start` through the phrase. Returns the state at its end."""
        match phrase:
            case Word(text):
                end = self._new()
                self.words[start].append((text, end))
            case Sequence(parts):
                end = start
                for part in parts:
                    end = self.add(part, end)
            case Choice(options, is_optional):
                end = self._new()
                for option in options:
                    self.empty[self.add(option, start)].append(end)
                if is_optional:
                    self.empty[start].append(end)
            case Slot(name):
                end = start
                for _ in range(self._repeated.get(name, 1)):
                    end = self.add(self._slots[name], end)
                if name in self._repeated:
                    # An own state between, so that the repetition does not lead back into what else begins there.
                    again = self._new()
                    self.empty[end].append(again)
                    self.empty[self.add(self._slots[name], again)].append(end)
        return end

    def closure(self, states: Iterable[int]) -> frozenset[int]:
        """Return the states and all that empty transitions lead to."""
        reached: set[int] = set()
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state not in reached:
                reached.add(state)
                waiting += self.empty[state]
        return frozenset(reached)

    def _new(self) -> int:
        self._latest += 1
        return self._latest


def _deterministic(graph: _Graph, end: int) -> tuple[list[dict[str, int]], set[int]]:
    """Return each state's words and where they lead, and the accepting states."""
    numbers = {graph.closure([0]): 0}
    transitions: list[dict[str, int]] = []
    for states in (queue := list(numbers)):
        targets: dict[str, set[int]] = defaultdict(set)
        for state in states:
            for word, target in graph.words[state]:
                targets[word].add(target)
        row: dict[str, int] = {}
        for word, reached in sorted(targets.items()):
            closed = graph.closure(reached)
            if closed not in numbers:
                numbers[closed] = len(numbers)
                queue.append(closed)
            row[word] = numbers[closed]
        transitions.append(row)
    return transitions, {number for states, number in numbers.items() if end in states}


def _minimised(transitions: list[dict[str, int]], accepting: set[int]) -> Automaton:
    """Merge the states that no continuation tells apart."""
    groups = [int(state in accepting) for state in range(len(transitions))]
    while True:
        signatures: dict[tuple[int, frozenset[tuple[str, int]]], int] = {}
        refined = [
            signatures.setdefault(
                (groups[state], frozenset((word, groups[target]) for word, target in row.items())), len(signatures)
            )
            for state, row in enumerate(transitions)
        ]
        is_stable = len(set(refined)) == len(set(groups))
        groups = refined
        if is_stable:
            break
    merged = {
        (groups[state], groups[target], word) for state, row in enumerate(transitions) for word, target in row.items()
    }
    return Automaton(transitions=tuple(sorted(merged)), accepting=tuple(sorted({groups[state] for state in accepting})))
