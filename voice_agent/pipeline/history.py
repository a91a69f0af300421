"""What was said: the messages the language model sees, and the words behind a reply's audio. Pure.

The history of an interrupted turn holds only what the caller heard, followed by a dash, so that the model knows what
it never got to say.
"""

from bisect import bisect_right
from collections.abc import Sequence

from voice_agent.audio.mulaw import duration_ms
from voice_agent.pipeline.ports import AgentMessage, Message, ToolCall, ToolMessage, UserMessage, Word

CUT_MARK = "—"
"""Ends the text of a reply that was cut short."""


def joined(text: str, more: str) -> str:
    """Join two pieces of a reply; fixed phrases bring no space of their own."""
    return f"{text} {more}" if text and more and not text[-1].isspace() and not more[0].isspace() else text + more


class SpokenReply:
    """The audio of one turn as words on a time line, in milliseconds from its first sample.

    Audio is appended in the order in which it is played. Word times are those of the synthesiser, whose clock knows
    nothing of asides (cached lines) played before its audio; they are shifted by what was inserted.
    """

    __slots__ = ("_inserted_ms", "_starts_ms", "_text", "_total_ms", "_words")

    def __init__(self) -> None:
        self._words: list[Word] = []
        self._starts_ms: list[float] = []
        self._text = ""
        self._total_ms = 0.0
        self._inserted_ms = 0.0

    def add_text(self, text: str) -> None:
        """Note text that was given to the synthesiser; used where it gives no word times."""
        self._text = joined(self._text, text)

    def add_audio(self, mulaw: bytes, words: Sequence[Word]) -> None:
        """Append synthesised audio and the words whose times came with it."""
        self._total_ms += duration_ms(len(mulaw))
        for word in words:
            self._add_word(word, self._inserted_ms)

    def add_line(self, mulaw: bytes, words: Sequence[Word], *, is_aside: bool) -> None:
        """Append a cached line; an aside takes time but is no part of the text."""
        if not is_aside:
            for word in words:
                self._add_word(word, self._total_ms)
        length_ms = duration_ms(len(mulaw))
        self._total_ms += length_ms
        self._inserted_ms += length_ms

    def _add_word(self, word: Word, shift_ms: float) -> None:
        self._words.append(Word(text=word.text, start_ms=word.start_ms + shift_ms, end_ms=word.end_ms + shift_ms))
        self._starts_ms.append(word.start_ms + shift_ms)

    @property
    def text(self) -> str:
        """Everything given to the synthesiser."""
        return self._text.strip()

    def heard_text(self, heard_ms: float) -> str:
        """Return the words heard by `heard_ms`; a word counts once half of it was heard."""
        if not self._words:
            return self._heard_share(heard_ms)
        heard = [word.text for word in self._words if (word.start_ms + word.end_ms) / 2 <= heard_ms]
        return "".join(heard).strip()

    def _heard_share(self, heard_ms: float) -> str:
        """Without word times: the share of the text that the audio heard is of all audio, cut at a word."""
        text = self.text
        if not text or self._total_ms <= 0:
            return ""
        count = int(len(text) * min(1.0, heard_ms / self._total_ms))
        return text if count >= len(text) else text[:count].rpartition(" ")[0].strip()

    def word_start_ms(self, heard_ms: float) -> float:
        """Return where the word sounding at `heard_ms` begins; `heard_ms` itself where no word times are known."""
        index = bisect_right(self._starts_ms, heard_ms) - 1
        return self._starts_ms[index] if index >= 0 else heard_ms


class _Turn:
    """One turn in the history: the caller's words, then what the agent said and did, in order."""

    __slots__ = ("parts", "user_text")

    def __init__(self, user_text: str) -> None:
        self.user_text = user_text
        self.parts: list[AgentMessage | ToolMessage] = []


class History:
    """The conversation so far, by turn. Turns keep the order in which they began.

    `earlier` is what was said before this media stream began, for a call whose line was lost.
    """

    def __init__(self, earlier: Sequence[Message] = ()) -> None:
        self._earlier = tuple(earlier)
        self._turns: dict[int, _Turn] = {}

    def begin(self, turn: int, user_text: str = "") -> None:
        """Open a turn with the caller's words; without any it is a line of the agent's own."""
        self._turns[turn] = _Turn(user_text)

    def revise(self, turn: int, user_text: str) -> None:
        """Replace the caller's words of a turn by better ones. An unknown turn is ignored."""
        if turn in self._turns:
            self._turns[turn].user_text = user_text

    def say(self, turn: int, text: str) -> None:
        """Add text that the agent is saying in the turn."""
        parts = self._turns[turn].parts if turn in self._turns else []
        if parts and isinstance(parts[-1], AgentMessage) and not parts[-1].tool_calls:
            parts[-1] = AgentMessage(text=joined(parts[-1].text, text))
        else:
            parts.append(AgentMessage(text=text))

    def call_tool(self, turn: int, call: ToolCall) -> None:
        """Note that the agent asked for a tool. Calls without an answer between them belong to one message."""
        parts = self._turns[turn].parts
        last = parts[-1] if parts else None
        if isinstance(last, AgentMessage):
            parts[-1] = AgentMessage(text=last.text, tool_calls=(*last.tool_calls, call))
        else:
            parts.append(AgentMessage(text="", tool_calls=(call,)))

    def answer_tool(self, turn: int, answer: ToolMessage) -> None:
        """Note what a tool answered. An unknown turn is ignored."""
        if turn in self._turns:
            self._turns[turn].parts.append(answer)

    def trim(self, turn: int, heard: str) -> None:
        """Keep of what the agent said in the turn only `heard`. Tools that have run stay: their effects do."""
        if turn not in self._turns:
            return
        kept: list[AgentMessage | ToolMessage] = []
        answered = {part.call_id for part in self._turns[turn].parts if isinstance(part, ToolMessage)}
        left = heard
        for part in self._turns[turn].parts:
            if isinstance(part, ToolMessage):
                kept.append(part)
                continue
            length = len(part.text.strip()) if part.tool_calls else len(left)
            text, left = left[:length], left[length:].lstrip()
            calls = tuple(call for call in part.tool_calls if call.call_id in answered)
            if text or calls:
                kept.append(AgentMessage(text=text, tool_calls=calls))
        if kept and isinstance(kept[-1], AgentMessage) and not kept[-1].tool_calls:
            kept[-1] = AgentMessage(text=f"{kept[-1].text.rstrip()} {CUT_MARK}")
        self._turns[turn].parts = kept

    def drop(self, turn: int) -> None:
        """Forget a turn: nothing of it was heard. An unknown turn is ignored."""
        self._turns.pop(turn, None)

    def messages(self) -> tuple[Message, ...]:
        """Return the conversation in order, as the language model wants it."""
        found: list[Message] = list(self._earlier)
        for turn in self._turns.values():
            if turn.user_text:
                found.append(UserMessage(text=turn.user_text))
            for part in turn.parts:
                if isinstance(part, AgentMessage):
                    found.append(AgentMessage(text=part.text.strip(), tool_calls=part.tool_calls))
                else:
                    found.append(part)
        return tuple(found)
