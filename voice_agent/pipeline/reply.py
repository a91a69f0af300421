"""The agent's reply under way. Pure bookkeeping, owned by the turn machine."""

from voice_agent.pipeline.actions import HangUp, TransferCall
from voice_agent.pipeline.events import ReplyToolCalled
from voice_agent.pipeline.sentences import ClauseChunker


class Reply:
    """One turn of the agent: an answer of the language model, or a fixed line.

    Until it is confirmed only its first piece is sent to the synthesiser; later ones are held, since most
    speculations that fail do so within that time.
    """

    __slots__ = (
        "_chunker", "_held", "calls", "fingerprint", "generating", "has_run_tools", "heard_ms", "is_interruptible",
        "is_line", "last", "question", "remaining_ms", "rounds", "turn", "waiting", "wrote",
    )  # fmt: skip

    def __init__(self, turn: int, language: str, *, question: str = "", fingerprint: str = "") -> None:
        self.turn = turn
        self.question = question
        """The caller's words it answers; empty for a fixed line."""

        self.fingerprint = fingerprint
        """Of the question and the context it was asked in."""

        self.is_line = not question
        self.is_interruptible = True
        self.generating = not self.is_line
        """Whether the language model is still at it."""

        self.wrote = False
        """Whether any text of it was sent to the synthesiser."""

        self.heard_ms = 0.0
        self.remaining_ms = 0.0
        self.calls: list[ReplyToolCalled] = []
        """Tools asked for in this generation, not yet started."""

        self.waiting: set[str] = set()
        """Ids of tools that are running."""

        self.rounds = 0
        """Generations so far that asked for tools."""

        self.has_run_tools = False
        self.last: HangUp | TransferCall | None = None
        """What is done to the call once all of it has been heard."""

        self._chunker = ClauseChunker(language)
        self._held: list[str] = []

    @property
    def is_locked(self) -> bool:
        """Whether nothing may interrupt it and the call goes on after it: what is said over it is answered then."""
        return not self.is_interruptible and self.last is None

    def write(self, text: str, *, confirmed: bool) -> list[str]:
        """Take more of the model's text; return the pieces to be synthesised now."""
        return self._release(self._chunker.feed(text), confirmed)

    def end_of_text(self, *, confirmed: bool) -> list[str]:
        """The generation is over: return what is left to be synthesised now."""
        self.generating = False
        return self._release(self._chunker.flush(), confirmed)

    def confirm(self) -> list[str]:
        """Return the pieces that were held back."""
        held, self._held = self._held, []
        return held

    def _release(self, pieces: tuple[str, ...], confirmed: bool) -> list[str]:
        ready: list[str] = []
        for piece in pieces:
            if confirmed or not (self.wrote or ready or self._held):
                ready.append(piece)
            else:
                self._held.append(piece)
        return ready
